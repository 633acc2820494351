/*
 * Feeds arbitrary bytes to every reader of programs: text, bytes, .rep traces, recordings; and to the mutator. Proves, for what it was given:
 *
 * - no reader crashes, hangs or breaks a rule of the language (ASan, UBSan); what it refuses it explains in one line, at a place that is
 *   in the input;
 * - whatever a reader accepts is a program that both spellings keep: parse(print(p)) = p, decode(encode(p)) = p, and both are
 *   canonical, that is, the second time they are the same text and the same bytes;
 * - every byte string decodes, and a cut one decodes to a program that is no longer;
 * - one byte changed, inserted or deleted in an encoded operation leaves all other operations as they were;
 * - the mutator makes programs only (the same laws hold for them), and the same ones from the same seed.
 *
 * The first byte chooses the reader, the rest is its input.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutator.h"
#include "program.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s: does not hold: %s\n", __FILE__, __LINE__, __func__, #condition);   \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct text {
	char *bytes;
	size_t length;
};

static struct text print(const struct program *p)
{
	struct text text = {NULL, 0};
	FILE *file = open_memstream(&text.bytes, &text.length);

	CHECK(file);
	CHECK(program_print(p, file));
	CHECK(fclose(file) == 0);
	return text;
}

static uint8_t *encode(const struct program *p, size_t *length)
{
	uint8_t *bytes;

	*length = program_encoded_size(p);
	bytes = malloc(*length + 1);
	CHECK(bytes);
	CHECK(program_encode(p, bytes, *length) == *length);
	return bytes;
}

static void check_both_spellings(const struct program *p)
{
	static struct program again;
	struct text text = print(p), text_again;
	struct parse_error error;
	size_t length, length_again;
	uint8_t *bytes = encode(p, &length), *bytes_again;

	if (!again.threads)
		program_init(&again);
	if (!program_parse(text.bytes, text.length, &again, &error)) {
		fprintf(stderr, "%zu:%zu: %s\n%s", error.line, error.column, error.message, text.bytes);
		abort();
	}
	CHECK(program_equal(p, &again));
	text_again = print(&again);
	CHECK(text.length == text_again.length && memcmp(text.bytes, text_again.bytes, text.length) == 0);

	program_decode(bytes, length, &again);
	CHECK(program_equal(p, &again));
	bytes_again = encode(&again, &length_again);
	CHECK(length == length_again && memcmp(bytes, bytes_again, length) == 0);
	free(text.bytes);
	free(text_again.bytes);
	free(bytes);
	free(bytes_again);
}

static void check_error(const struct parse_error *error, const char *text, size_t length)
{
	size_t lines = 1;

	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	CHECK(error->line >= 1 && error->line <= lines);
	CHECK(error->column >= 1 && error->column <= length + 1);
	CHECK(error->message[0] != '\0');
	for (const char *c = error->message; *c; c++)
		CHECK(*c >= ' ' && *c <= '~');
}

static void fuzz_text(struct program *p, const uint8_t *data, size_t size)
{
	struct parse_error error;

	if (program_parse((const char *)data, size, p, &error))
		check_both_spellings(p);
	else
		check_error(&error, (const char *)data, size);
}

static void fuzz_rep(struct program *p, const uint8_t *data, size_t size)
{
	struct parse_error error;

	if (program_parse_rep((const char *)data, size, p, &error)) {
		CHECK(program_is_rep((const char *)data, size));
		check_both_spellings(p);
	} else {
		check_error(&error, (const char *)data, size);
	}
}

static void fuzz_trace(struct program *p, const uint8_t *data, size_t size, bool events_only)
{
	struct parse_error error = {.message = ""};
	bool good = events_only ? trace_read_events(data, size, p, &error) : trace_read_memory(data, size, p, &error);

	if (good)
		check_both_spellings(p);
	else
		CHECK(error.message[0] != '\0');
	CHECK(memchr(error.message, '\n', strlen(error.message)) == NULL);
}

static void fuzz_bytes(struct program *p, const uint8_t *data, size_t size)
{
	size_t whole;

	program_decode(data, size, p);
	check_both_spellings(p);
	whole = program_op_count(p);
	program_decode(data, size / 2, p);
	CHECK(program_op_count(p) <= whole);
	check_both_spellings(p);
}

static bool same_op(const struct op *a, const struct op *b)
{
	struct op x = op_normalized(*a), y = op_normalized(*b);

	return x.kind == y.kind && x.result == y.result && x.block == y.block && x.size == y.size && x.count == y.count;
}

/* The operation at `i`, counted through all threads. */
static const struct op *op_at(const struct program *p, size_t i)
{
	size_t thread = 0;

	while (i >= p->threads[thread].count)
		i -= p->threads[thread++].count;
	return &p->threads[thread].ops[i];
}

/* Two bytes of place, one of the way, one of the new value, then the program: its first thread. */
static void fuzz_edit(struct program *p, const uint8_t *data, size_t size)
{
	static struct program after;
	size_t length, place, record = 0, count, after_count;
	uint8_t *bytes, *edited;
	unsigned way;

	if (!after.threads)
		program_init(&after);
	if (size < 4)
		return;
	program_decode(data + 4, size - 4, p);
	/* Only operations of main: a structural record is not one of them, and a change of it moves others to another thread. */
	p->allocator[0] = '\0';
	p->has_expect = false;
	p->thread_count = 1;
	p->fault_count = 0;
	p->preemption_count = 0;
	count = program_op_count(p);
	if (count == 0)
		return;
	bytes = encode(p, &length);
	edited = malloc(length + 1);
	CHECK(edited);
	place = (data[0] | (size_t)data[1] << 8) % length;
	for (size_t i = 1; i <= place; i++)
		record += bytes[i] >= 0x80;
	way = data[2] % 3;
	memcpy(edited, bytes, place);
	if (way == 0) { /* change */
		edited[place] = data[3];
		memcpy(edited + place + 1, bytes + place + 1, length - place - 1);
	} else if (way == 1) { /* insert */
		edited[place] = data[3];
		memcpy(edited + place + 1, bytes + place, length - place);
		length++;
	} else { /* delete */
		memcpy(edited + place, bytes + place + 1, length - place - 1);
		length--;
	}
	program_decode(edited, length, &after);
	after_count = program_op_count(&after);
	CHECK(after_count + 1 >= count && after_count <= count + 1);
	CHECK(after_count >= count - 1);
	for (size_t i = 0; i < record; i++)
		CHECK(same_op(op_at(&after, i), op_at(p, i)));
	for (size_t i = 1; i < count - record; i++)
		CHECK(same_op(op_at(&after, after_count - i), op_at(p, count - i)));
	free(bytes);
	free(edited);
}

/* Eight bytes of seed, one of how, then a program. */
static void fuzz_mutator(struct program *p, const uint8_t *data, size_t size)
{
	static struct program twin, cross, cross_twin;
	struct mutator m, m_twin;
	struct mutator_options options;
	uint64_t seed;

	if (!twin.threads) {
		program_init(&twin);
		program_init(&cross);
		program_init(&cross_twin);
	}
	if (size < 9)
		return;
	memcpy(&seed, data, sizeof(seed));
	options = (struct mutator_options){
		.ops_max = 1 + data[8] % 250, .threads_max = data[8] & 1 ? 4 : 1, .faults = data[8] & 2};
	program_decode(data + 9, size - 9, p);
	program_copy(&twin, p);
	for (unsigned i = 0; i < 4; i++) {
		mutator_seed(&m, seed + i, &options);
		mutator_seed(&m_twin, seed + i, &options);
		mutator_mutate(&m, p);
		mutator_mutate(&m_twin, &twin);
		CHECK(program_equal(p, &twin));
		check_both_spellings(p);
	}
	mutator_random_program(seed, 1 + data[8] % 100, &twin);
	CHECK(twin.threads[0].count == 1u + data[8] % 100);
	check_both_spellings(&twin);
	mutator_cross(&m, p, &twin, &cross);
	mutator_cross(&m_twin, p, &twin, &cross_twin);
	CHECK(program_equal(&cross, &cross_twin));
	check_both_spellings(&cross);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct program program;
	uint8_t *copy;

	if (!program.threads)
		program_init(&program);
	if (size < 1)
		return 0;
	/* A copy of the exact size, so that a read beyond it is seen. */
	copy = malloc(size - 1 ? size - 1 : 1);
	CHECK(copy);
	memcpy(copy, data + 1, size - 1);
	switch (data[0] % 7) {
	case 0:
		fuzz_text(&program, copy, size - 1);
		break;
	case 1:
		fuzz_bytes(&program, copy, size - 1);
		break;
	case 2:
		fuzz_rep(&program, copy, size - 1);
		break;
	case 3:
		fuzz_trace(&program, copy, size - 1, false);
		break;
	case 4:
		fuzz_trace(&program, copy, size - 1, true);
		break;
	case 5:
		fuzz_edit(&program, copy, size - 1);
		break;
	default:
		fuzz_mutator(&program, copy, size - 1);
	}
	free(copy);
	return 0;
}
