/* Recordings: what is written is read, in the recorded order, and what is damaged is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"
#include "trace.h"

static char path[64];

static int make_path(void **state)
{
	(void)state;
	strcpy(path, "/tmp/heapstorm-trace-XXXXXX");
	int file = mkstemp(path);

	return file < 0 ? -1 : close(file);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

static uint8_t *slurp(size_t *length)
{
	int file = open(path, O_RDONLY);
	struct stat status;
	uint8_t *bytes;

	assert_true(file >= 0 && fstat(file, &status) == 0);
	*length = (size_t)status.st_size;
	bytes = malloc(*length);
	assert_int_equal(read(file, bytes, *length), status.st_size);
	close(file);
	return bytes;
}

static const char command_line[] = "program\0--option\0argument";

static struct trace_writer *begin(void)
{
	struct trace_writer *writer = trace_writer_open(path, 1234, command_line, sizeof(command_line));

	assert_non_null(writer);
	return writer;
}

static void finish(struct trace_writer *writer)
{
	struct trace_totals totals = {.dropped = 3, .unseen = 2, .lost = 1};
	uint64_t bytes;
	size_t length;

	assert_true(trace_writer_close(writer, &totals, &bytes));
	free(slurp(&length));
	assert_int_equal(bytes, length);
}

static void read_back(struct program *program)
{
	struct parse_error error;

	program_init(program);
	if (!trace_read(path, program, &error))
		fail_msg("%s", error.message);
	assert_string_equal(error.message, "");
}

static void assert_ops(const struct program *program, size_t thread, const char *const *expected, size_t count)
{
	char text[128];

	assert_int_equal(program->threads[thread].count, count);
	for (size_t i = 0; i < count; i++) {
		op_print(&program->threads[thread].ops[i], text, sizeof(text));
		assert_string_equal(text, expected[i]);
	}
}

#define ASSERT_OPS(program, thread, ...)                                                                               \
	assert_ops(program, thread, (const char *const[]){__VA_ARGS__},                                                \
		   sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* ---- Round trip ---- */

static void every_kind_is_read_as_written(void **state)
{
	struct trace_writer *writer = begin();
	struct program program;
	uint64_t a, b, c, d, e, f, g;
	char text[64];

	(void)state;
	a = trace_write_malloc(writer, 7, 14);
	b = trace_write_calloc(writer, 7, 3, UINT64_C(1) << 40);
	c = trace_write_realloc(writer, 7, TRACE_NO_BLOCK, 0);
	d = trace_write_reallocarray(writer, 7, TRACE_NO_BLOCK, 15, 16);
	e = trace_write_aligned(writer, 7, TRACE_ALIGNED_ALLOC, 4096, 1);
	f = trace_write_aligned(writer, 7, TRACE_POSIX_MEMALIGN, 8, UINT64_MAX);
	g = trace_write_aligned(writer, 7, TRACE_MEMALIGN, 24, 127);
	a = trace_write_realloc(writer, 7, a, 128);
	trace_write_block(writer, 7, TRACE_USABLE_SIZE, c);
	d = trace_write_reallocarray(writer, 7, d, 1, 2);
	trace_write_block(writer, 7, TRACE_FREE, b);
	trace_write_block(writer, 7, TRACE_REALLOC_FREE, e);
	trace_write_trim(writer, 7, 15);
	trace_write_malloc(writer, 7, 15);
	trace_write_block(writer, 7, TRACE_FREE, a);
	trace_write_block(writer, 7, TRACE_FREE, d);
	trace_write_block(writer, 7, TRACE_FREE, f);
	trace_write_block(writer, 7, TRACE_FREE, g);
	assert_int_equal(trace_writer_operations(writer), 18);
	assert_int_equal(trace_writer_threads(writer), 1);
	finish(writer);

	read_back(&program);
	assert_int_equal(program.thread_count, 1);
	ASSERT_OPS(&program, 0, "a = malloc 14", "b = calloc 3 1099511627776", "c = realloc null 0",
		   "d = reallocarray null 15 16", "e = aligned_alloc 4096 1",
		   "f = posix_memalign 8 18446744073709551615", "g = memalign 32 127", "a = realloc a 128",
		   "usable_size c", "d = reallocarray d 1 2", "free b", "free e", "trim 15", "e = malloc 15", "free a",
		   "free d", "free f", "free g");
	assert_true(trace_command_line(path, text, sizeof(text)));
	assert_string_equal(text, "program --option argument");
	assert_true(trace_command_line(path, text, 8));
	assert_string_equal(text, "program");
	program_destroy(&program);
}

static void an_empty_recording_is_an_empty_program(void **state)
{
	struct program program;

	(void)state;
	finish(begin());
	read_back(&program);
	assert_int_equal(program_op_count(&program), 0);
	program_destroy(&program);
}

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* More than one frame, many live blocks, and labels no more than live blocks at the peak. */
static void labels_are_dense_and_used_again(void **state)
{
	enum { OPERATIONS = 200000, LIVE = 3000 };
	struct trace_writer *writer = begin();
	static uint64_t live[LIVE], sizes[OPERATIONS];
	static uint32_t label_of[LIVE];
	static bool is_live[LIVE];
	static uint32_t places[OPERATIONS]; /* which of `live` each operation is about */
	struct program program;
	size_t count = 0, live_count = 0, peak = 0;

	(void)state;
	random_state = 20240601;
	for (; count < OPERATIONS; count++) {
		uint32_t place = (uint32_t)(random_next() % LIVE);

		places[count] = place;
		if (is_live[place]) {
			trace_write_block(writer, 0, TRACE_FREE, live[place]);
			live_count--;
		} else {
			sizes[count] = random_next() >> (random_next() % 64);
			live[place] = trace_write_malloc(writer, 0, sizes[count]);
			peak = ++live_count > peak ? live_count : peak;
		}
		is_live[place] = !is_live[place];
	}
	finish(writer);

	read_back(&program);
	assert_int_equal(program.threads[0].count, OPERATIONS);
	memset(is_live, 0, sizeof(is_live));
	for (size_t i = 0; i < OPERATIONS; i++) {
		const struct op *op = &program.threads[0].ops[i];

		if (is_live[places[i]]) {
			assert_int_equal(op->kind, OP_FREE);
			assert_int_equal(op->block, label_of[places[i]]);
		} else {
			assert_int_equal(op->kind, OP_MALLOC);
			assert_int_equal(op->size, sizes[i]);
			label_of[places[i]] = op->result;
		}
		is_live[places[i]] = !is_live[places[i]];
	}
	/* One label is spelt as the NULL pointer is and passed over; it is far above. */
	assert_int_equal(program_label_limit(&program), peak);
	program_destroy(&program);
}

/* ---- Threads ---- */

/* The operations in the order of the default schedule: main until it blocks, then the lowest thread that can run. */
static size_t run_default_schedule(const struct program *program, const struct op **order, size_t capacity)
{
	uint64_t events[PROGRAM_THREADS_MAX] = {0};
	size_t at[PROGRAM_THREADS_MAX] = {0}, count = 0;
	bool started[PROGRAM_THREADS_MAX] = {true};

	for (;;) {
		size_t thread = 0;

		for (; thread < program->thread_count; thread++) {
			const struct thread_program *t = &program->threads[thread];

			if (started[thread] && at[thread] < t->count &&
			    (t->ops[at[thread]].kind != OP_WAIT || events[t->ops[at[thread]].event] > 0))
				break;
		}
		if (thread == program->thread_count)
			break;
		while (at[thread] < program->threads[thread].count) {
			const struct op *op = &program->threads[thread].ops[at[thread]];

			if (op->kind == OP_WAIT && events[op->event] == 0)
				break;
			if (op->kind == OP_WAIT)
				events[op->event]--;
			else if (op->kind == OP_SIGNAL)
				events[op->event]++;
			else if (op->kind == OP_SPAWN)
				started[op->thread] = true;
			else if (count < capacity)
				order[count++] = op;
			at[thread]++;
		}
	}
	/* Nothing is left: no wait without its signal, no thread that is not spawned. */
	for (size_t i = 0; i < program->thread_count; i++)
		assert_int_equal(at[i], program->threads[i].count);
	for (size_t i = 0; i < program->thread_count; i++)
		assert_int_equal(events[i], 0);
	return count;
}

static void assert_order(const struct program *program, size_t expected)
{
	const struct op **order = calloc(expected + 1, sizeof(const struct op *));

	assert_int_equal(run_default_schedule(program, order, expected + 1), expected);
	for (size_t i = 0; i < expected; i++)
		assert_int_equal(order[i]->size, i);
	free(order);
}

static void a_switch_is_a_signal_and_a_wait(void **state)
{
	struct trace_writer *writer = begin();
	struct program program;

	(void)state;
	trace_write_malloc(writer, 0, 0);
	trace_write_malloc(writer, 5, 1);
	trace_write_malloc(writer, 5, 2);
	trace_write_malloc(writer, 3, 3);
	trace_write_malloc(writer, 5, 4);
	trace_write_malloc(writer, 0, 5);
	finish(writer);

	read_back(&program);
	assert_int_equal(program.thread_count, 3);
	ASSERT_OPS(&program, 0, "a = malloc 0", "spawn t1", "wait 0", "spawn t2", "wait 0", "f = malloc 5");
	ASSERT_OPS(&program, 1, "b = malloc 1", "c = malloc 2", "signal 0", "wait 1", "e = malloc 4", "signal 0");
	ASSERT_OPS(&program, 2, "d = malloc 3", "signal 1");
	assert_order(&program, 6);
	program_destroy(&program);
}

static void the_default_schedule_is_the_recorded_order(void **state)
{
	enum { OPERATIONS = 20000 };
	(void)state;
	for (uint32_t threads = 1; threads <= 64; threads *= 2) {
		struct trace_writer *writer = begin();
		struct program program;

		random_state = 99 + threads;
		for (size_t i = 0; i < OPERATIONS; i++)
			trace_write_malloc(writer, (uint32_t)(random_next() % threads), i);
		finish(writer);
		read_back(&program);
		assert_int_equal(program.thread_count, threads);
		assert_order(&program, OPERATIONS);
		program_destroy(&program);
	}
}

/* A thousand threads, one after the other or all at once, find room in 256. */
static void threads_are_folded(void **state)
{
	(void)state;
	for (int ending = 0; ending < 2; ending++) {
		struct trace_writer *writer = begin();
		struct program program;
		size_t i = 0;

		for (uint32_t thread = 0; thread < 1000; thread++) {
			trace_write_malloc(writer, 0, i++);
			trace_write_malloc(writer, thread, i++);
			trace_write_malloc(writer, thread, i++);
			if (ending)
				trace_write_thread_end(writer, thread);
		}
		/* Some go on after their end: destructors run late. */
		for (uint32_t thread = 0; thread < 1000; thread += 7)
			trace_write_malloc(writer, thread, i++);
		assert_int_equal(trace_writer_threads(writer), 1000);
		finish(writer);
		read_back(&program);
		assert_int_equal(program.thread_count, PROGRAM_THREADS_MAX);
		assert_order(&program, i);
		program_destroy(&program);
	}
}

/* A thread that has not ended keeps its number while others take those that are free. */
static void a_live_thread_is_not_folded(void **state)
{
	struct trace_writer *writer = begin();
	struct program program;
	size_t i = 0;

	(void)state;
	trace_write_malloc(writer, 0, i++);
	trace_write_malloc(writer, 1, i++); /* t1 lives on */
	for (uint32_t thread = 2; thread < 700; thread++) {
		trace_write_malloc(writer, thread, i++);
		trace_write_thread_end(writer, thread);
	}
	finish(writer);
	read_back(&program);
	assert_order(&program, i);
	assert_int_equal(program.threads[1].count, 2); /* its malloc and the signal to main */
	program_destroy(&program);
}

/* ---- Damage ---- */

/* Two frames, so that a cut loses one and keeps one. Returns the operations of the first. */
static size_t write_small(void)
{
	struct trace_writer *writer = begin();
	uint64_t block = 0;

	for (uint64_t i = 0; i < 40; i++)
		block = trace_write_malloc(writer, (uint32_t)(i % 3), i * 37);
	trace_writer_flush(writer);
	for (uint64_t i = 0; i < 40; i++)
		block = trace_write_realloc(writer, (uint32_t)(i % 2), block, i);
	finish(writer);
	return 40;
}

static size_t count_allocations(const struct program *program)
{
	size_t count = 0;

	for (size_t i = 0; i < program->thread_count; i++)
		for (size_t j = 0; j < program->threads[i].count; j++)
			count += op_makes_block(program->threads[i].ops[j].kind);
	return count;
}

static void a_file_cut_off_anywhere_is_read_up_to_the_cut(void **state)
{
	size_t first = write_small(), length, header;
	uint8_t *bytes = slurp(&length);
	struct program program;
	struct parse_error error;
	bool seen[3] = {false};

	(void)state;
	header = 16 + bytes[8]; /* magic, size, checksum; the header's size fits a byte */
	program_init(&program);
	for (size_t cut = 0; cut < length; cut++) {
		uint8_t *copy = malloc(cut); /* exactly: a sanitizer sees a read beyond it */
		bool good;
		size_t got;

		if (cut > 0)
			memcpy(copy, bytes, cut);
		good = trace_read_memory(copy, cut, &program, &error);
		got = count_allocations(&program);
		free(copy);
		assert_int_equal(strncmp(error.message, "at byte ", 8), 0);
		assert_int_equal(error.line, 1);
		assert_true(error.column >= 1 && error.column <= cut + 1);
		assert_int_equal(good, cut >= header);
		if (!good)
			continue;
		assert_non_null(strstr(error.message, "cut off"));
		assert_true(got == 0 || got == first || got == 2 * first);
		seen[got / first] = true;
	}
	assert_true(seen[0] && seen[1]); /* the end is in the frame of the last operations */
	assert_true(trace_read_memory(bytes, length, &program, &error));
	assert_string_equal(error.message, "");
	assert_int_equal(count_allocations(&program), 2 * first);
	program_destroy(&program);
	free(bytes);
}

/* zstd has bits that mean nothing: what is read without a word is then what was written. */
static void no_changed_byte_changes_the_program_unnoticed(void **state)
{
	size_t length, unnoticed = 0;
	uint8_t *bytes;
	struct program program, original;
	struct parse_error error;

	(void)state;
	write_small();
	bytes = slurp(&length);
	program_init(&program);
	read_back(&original);
	for (size_t i = 0; i < length; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[i] ^= (uint8_t)(1 << bit);
			if (!trace_read_memory(bytes, length, &program, &error)) {
				assert_int_equal(strncmp(error.message, "at byte ", 8), 0);
			} else if (error.message[0] == '\0') {
				assert_true(program_equal(&program, &original));
				unnoticed++;
			}
			bytes[i] ^= (uint8_t)(1 << bit);
		}
	}
	assert_true(unnoticed < length * 8 / 50);
	program_destroy(&original);
	program_destroy(&program);
	free(bytes);
}

static void what_is_no_recording_is_told(void **state)
{
	struct program program;
	struct parse_error error;
	char text[16];

	(void)state;
	program_init(&program);
	assert_false(trace_is_recording("HSTRAC", 6));
	assert_false(trace_is_recording("heapstorm 1\n", 12));
	assert_true(trace_is_recording("HSTRACE1...", 11));
	assert_false(trace_read_memory("heapstorm 1\n", 12, &program, &error));
	assert_string_equal(error.message, "at byte 0: not a recording: it does not begin with HSTRACE1");
	assert_false(trace_read_memory("HSTRACE9", 8, &program, &error));
	assert_string_equal(error.message, "at byte 7: a recording of an unknown version, expected HSTRACE1");
	assert_false(trace_read_memory("HSTRACE1\377\377\377\377    ", 16, &program, &error));
	assert_non_null(strstr(error.message, "expected at most"));
	assert_false(trace_read("/nonexistent/file", &program, &error));
	assert_string_equal(error.message, "at byte 0: cannot be read: No such file or directory");
	assert_false(trace_command_line("/nonexistent/file", text, sizeof(text)));
	assert_null(trace_writer_open("/nonexistent/file", 1, "", 0));
	assert_int_equal(errno, ENOENT);
	program_destroy(&program);
}

static void bytes_after_the_end_are_told(void **state)
{
	size_t length;
	uint8_t *bytes;
	struct program program;
	struct parse_error error;
	char expected[64];

	(void)state;
	write_small();
	bytes = slurp(&length);
	bytes = realloc(bytes, length + 3);
	memset(bytes + length, 0, 3);
	program_init(&program);
	assert_false(trace_read_memory(bytes, length + 3, &program, &error));
	snprintf(expected, sizeof(expected), "at byte %zu: 3 bytes after the end", length);
	assert_string_equal(error.message, expected);
	program_destroy(&program);
	free(bytes);
}

/* A few kilobytes stand for more operations than a reader takes. */
static void a_reader_stops_at_its_limit(void **state)
{
	struct trace_writer *writer = begin();
	struct program program;
	struct parse_error error;
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < TRACE_OPERATIONS_MAX / 2 + 10; i++)
		trace_write_block(writer, 0, TRACE_FREE, trace_write_malloc(writer, 0, 1));
	assert_true(trace_writer_close(writer, &(struct trace_totals){0}, &bytes));
	assert_true(bytes < 100000);
	program_init(&program);
	assert_true(trace_read(path, &program, &error));
	assert_non_null(strstr(error.message, "beyond 16777216 operations"));
	assert_int_equal(program_op_count(&program), TRACE_OPERATIONS_MAX);
	program_destroy(&program);
}

static void a_full_disk_is_told(void **state)
{
	struct trace_writer *writer = trace_writer_open("/dev/full", 1, "x", 2);

	(void)state;
	assert_non_null(writer);
	trace_write_malloc(writer, 0, 1);
	assert_false(trace_writer_close(writer, &(struct trace_totals){0}, NULL));
	assert_int_equal(errno, ENOSPC);
}

static void malformed_events_are_told(void **state)
{
	static const struct {
		const char *events;
		size_t length;
		const char *message;
	} cases[] = {
		{"\x17", 1, "a block that was never made (byte 0 of the events there)"},
		{"\x12\x27", 2, "a block that was never made (byte 1 of the events there)"},
		{"\x12\x17\x17", 3, "a block that is gone (byte 2 of the events there)"},
		{"\x12\x07", 2, "NULL where a block must be (byte 1 of the events there)"},
		{"\x0b", 1, "NULL where a block must be (byte 0 of the events there)"},
		{"\xf2", 1, "an operand that is cut off or beyond 64 bits (byte 0 of the events there)"},
		{"\x03", 1, "an operand that is cut off or beyond 64 bits (byte 0 of the events there)"},
		{"\x03\x80", 2, "an operand that is cut off or beyond 64 bits (byte 0 of the events there)"},
		{"\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11,
		 "an operand that is cut off or beyond 64 bits (byte 0 of the events there)"},
		{"\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01", 12,
		 "an operand that is cut off or beyond 64 bits (byte 0 of the events there)"},
		/* 2^64 - 1 and the 15 of the head byte */
		{"\xf2\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11,
		 "an operand that is cut off or beyond 64 bits (byte 0 of the events there)"},
		{"\xf8\x31\x01", 3, "an alignment beyond 64 bits (byte 0 of the events there)"},
		{"\xf0\xff\xff\xff\xff\x0f", 6, "a thread number beyond all bounds (byte 0 of the events there)"},
		{"\x0e", 1, "an unknown kind of event (byte 0 of the events there)"},
		{"\x0f", 1, "an unknown kind of event (byte 0 of the events there)"},
		{"\x0d\0\0\x12", 4, "an event after the end (byte 3 of the events there)"},
	};
	struct program program;
	struct parse_error error;
	char expected[128];

	(void)state;
	program_init(&program);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_false(trace_read_events(cases[i].events, cases[i].length, &program, &error));
		snprintf(expected, sizeof(expected), "at byte 0: %s", cases[i].message);
		assert_string_equal(error.message, expected);
	}
	assert_true(
		trace_read_events("\x12\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0d\0\0", 15, &program, &error));
	ASSERT_OPS(&program, 0, "a = malloc 1", "b = calloc 0 18446744073709551615");
	program_destroy(&program);
}

static void assert_sound(const struct program *program)
{
	assert_true(program->thread_count >= 1 && program->thread_count <= PROGRAM_THREADS_MAX);
	assert_true(program_label_limit(program) <= LABEL_COUNT);
	for (size_t i = 0; i < program->thread_count; i++)
		for (size_t j = 0; j < program->threads[i].count; j++)
			assert_true(program->threads[i].ops[j].kind < OP_KINDS);
}

static void arbitrary_events_make_a_sound_program_or_none(void **state)
{
	uint8_t events[300];
	struct program program;
	struct parse_error error;
	size_t read = 0;

	(void)state;
	random_state = 4711;
	program_init(&program);
	for (int round = 0; round < 20000; round++) {
		size_t length = random_next() % sizeof(events);

		for (size_t i = 0; i < length; i++)
			/* Half of them small, so that references meet blocks and whole events come about. */
			events[i] = (uint8_t)(random_next() % 2 ? random_next()
								: (random_next() % 4) << 4 | random_next() % 14);
		if (trace_read_events(events, length, &program, &error)) {
			assert_sound(&program);
			read++;
		} else {
			assert_int_equal(strncmp(error.message, "at byte 0: ", 11), 0);
		}
	}
	assert_true(read > 100);
	program_destroy(&program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_kind_is_read_as_written, make_path, remove_path),
		cmocka_unit_test_setup_teardown(an_empty_recording_is_an_empty_program, make_path, remove_path),
		cmocka_unit_test_setup_teardown(labels_are_dense_and_used_again, make_path, remove_path),
		cmocka_unit_test_setup_teardown(a_switch_is_a_signal_and_a_wait, make_path, remove_path),
		cmocka_unit_test_setup_teardown(the_default_schedule_is_the_recorded_order, make_path, remove_path),
		cmocka_unit_test_setup_teardown(threads_are_folded, make_path, remove_path),
		cmocka_unit_test_setup_teardown(a_live_thread_is_not_folded, make_path, remove_path),
		cmocka_unit_test_setup_teardown(a_file_cut_off_anywhere_is_read_up_to_the_cut, make_path, remove_path),
		cmocka_unit_test_setup_teardown(no_changed_byte_changes_the_program_unnoticed, make_path, remove_path),
		cmocka_unit_test_setup_teardown(bytes_after_the_end_are_told, make_path, remove_path),
		cmocka_unit_test_setup_teardown(a_reader_stops_at_its_limit, make_path, remove_path),
		cmocka_unit_test(what_is_no_recording_is_told),
		cmocka_unit_test(a_full_disk_is_told),
		cmocka_unit_test(malformed_events_are_told),
		cmocka_unit_test(arbitrary_events_make_a_sound_program_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
