/* CS:APP malloc-lab traces. */
#include "program.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

struct reader {
	const char *at, *end, *line_start;
	size_t line;
	struct parse_error *error;
};

struct word {
	const char *text; /* NULL: the end */
	size_t length;
	size_t line, column;
};

static struct word next_word(struct reader *r)
{
	struct word word;

	while (r->at < r->end && isspace((unsigned char)*r->at)) {
		if (*r->at++ == '\n') {
			r->line++;
			r->line_start = r->at;
		}
	}
	word = (struct word){r->at, 0, r->line, (size_t)(r->at - r->line_start) + 1};
	while (r->at < r->end && !isspace((unsigned char)*r->at))
		r->at++;
	word.length = (size_t)(r->at - word.text);
	if (word.length == 0)
		word.text = NULL;
	return word;
}

/* Says what was expected at `word`, and what was found there. */
__attribute__((format(printf, 3, 4))) static bool fail(struct reader *r, struct word word, const char *format, ...)
{
	size_t size = sizeof(r->error->message);
	char *message = r->error->message;
	size_t length;
	va_list arguments;

	r->error->line = word.line;
	r->error->column = word.column;
	va_start(arguments, format);
	vsnprintf(message, size, format, arguments);
	va_end(arguments);
	length = strlen(message);
	if (!word.text) {
		snprintf(message + length, size - length, ", found the end of the trace");
		return false;
	}
	length += (size_t)snprintf(message + length, size - length, ", found `");
	for (size_t i = 0; i < word.length && i < 24 && length < size - 8; i++) {
		unsigned char c = (unsigned char)word.text[i];

		message[length++] = c >= ' ' && c <= '~' ? (char)c : '?';
	}
	snprintf(message + length, size - length, word.length > 24 ? "...'" : "'");
	return false;
}

/* Decimal digits only. False: malformed or beyond 64 bits. */
static bool read_number(struct word word, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < word.length; i++) {
		if (!isdigit((unsigned char)word.text[i]) || __builtin_mul_overflow(*value, (uint64_t)10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(word.text[i] - '0'), value))
			return false;
	}
	return word.length > 0;
}

static bool take_number(struct reader *r, const char *what, uint64_t *value)
{
	struct word word = next_word(r);

	return read_number(word, value) || fail(r, word, "expected %s, a number of at most 64 bits", what);
}

static bool take_id(struct reader *r, uint64_t ids, uint32_t *label)
{
	struct word word = next_word(r);
	uint64_t id;

	if (!read_number(word, &id) || id >= ids) {
		if (ids == 0)
			return fail(r, word, "expected no operation with an id, as the header declares 0 ids");
		return fail(r, word, "expected an id from 0 to %" PRIu64 ", as the header declares", ids - 1);
	}
	*label = label_nth(id);
	return true;
}

static bool take_op(struct reader *r, struct word word, uint64_t ids, struct op *op)
{
	struct reader ahead = *r;
	struct word id = next_word(&ahead);

	*op = (struct op){.result = LABEL_NULL, .block = LABEL_NULL};
	switch (word.length == 1 ? word.text[0] : '\0') {
	case 'a':
		op->kind = OP_MALLOC;
		return take_id(r, ids, &op->result) && take_number(r, "a size in bytes", &op->size);
	case 'r':
		op->kind = OP_REALLOC;
		if (!take_id(r, ids, &op->block))
			return false;
		op->result = op->block;
		return take_number(r, "a size in bytes", &op->size);
	case 'f':
		op->kind = OP_FREE;
		if (id.length == 2 && memcmp(id.text, "-1", 2) == 0) {
			*r = ahead;
			return true;
		}
		return take_id(r, ids, &op->block);
	default:
		return fail(r, word, "expected an operation, `a ID SIZE', `r ID SIZE' or `f ID'");
	}
}

bool program_parse_rep(const char *text, size_t length, struct program *program, struct parse_error *error)
{
	struct reader r = {.at = text, .end = text + length, .line_start = text, .line = 1, .error = error};
	uint64_t heap_size, ids, ops, weight;
	uint64_t found = 0;
	struct word word;
	struct op op;

	program_clear(program);
	*error = (struct parse_error){.line = 1, .column = 1};
	if (!take_number(&r, "the suggested heap size", &heap_size))
		return false;
	word = next_word(&r);
	if (!read_number(word, &ids) || (ids > 0 && label_nth(ids - 1) == LABEL_NULL))
		return fail(&r, word, "expected the number of ids, at most %u", LABEL_COUNT - 1);
	if (!take_number(&r, "the number of operations", &ops) || !take_number(&r, "the weight", &weight))
		return false;
	for (word = next_word(&r); word.text; word = next_word(&r)) {
		if (found == ops)
			return fail(&r, word, "expected the end after %" PRIu64 " operations, as the header declares",
				    ops);
		if (!take_op(&r, word, ids, &op))
			return false;
		program_append(program, 0, op);
		found++;
	}
	if (found < ops)
		return fail(&r, word, "expected %" PRIu64 " operations, as the header declares, and found %" PRIu64,
			    ops, found);
	return true;
}

bool program_is_rep(const char *text, size_t length)
{
	struct reader r = {.at = text, .end = text + length, .line_start = text, .line = 1};
	struct word word;
	uint64_t number;

	for (int i = 0; i < 4; i++)
		if (!read_number(next_word(&r), &number))
			return false;
	word = next_word(&r);
	return !word.text || (word.length == 1 && memchr("arf", word.text[0], 3));
}
