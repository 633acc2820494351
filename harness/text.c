/* The text format: docs/format.md. The parser goes line by line; a line is cut into words, and every error names the word it is about. */
#include "program.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* ---- Words of a line ---- */

struct word {
	const char *text; /* NULL: the end of the line */
	size_t length;
};

struct parser {
	const char *line, *at, *end; /* the line without its newline; `at` is what comes next */
	size_t line_number;
	struct program *program;
	struct parse_error *error;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct word next_word(struct parser *p)
{
	const char *start;

	while (p->at < p->end && is_blank(*p->at))
		p->at++;
	start = p->at;
	if (start == p->end || *start == '#')
		return (struct word){NULL, 0};
	if (*start == '=' || *start == '@') {
		p->at++;
	} else if (p->end - start >= 2 && start[0] == '-' && start[1] == '>') {
		p->at += 2;
	} else {
		while (p->at < p->end && !is_blank(*p->at) && *p->at != '=' && *p->at != '@' && *p->at != '#' &&
		       !(p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] == '>'))
			p->at++;
	}
	return (struct word){start, (size_t)(p->at - start)};
}

static bool word_is(struct word word, const char *text)
{
	return word.text && strlen(text) == word.length && memcmp(word.text, text, word.length) == 0;
}

/* What a message says was found. */
struct found {
	char text[48];
};

static struct found found(struct word word)
{
	struct found f;

	if (!word.text)
		snprintf(f.text, sizeof(f.text), "found the end of the line");
	else if (word.length > 24)
		snprintf(f.text, sizeof(f.text), "found `%.24s...'", word.text);
	else
		snprintf(f.text, sizeof(f.text), "found `%.*s'", (int)word.length, word.text);
	return f;
}

/* An error about `word`; about the end of the line where it has no text. */
__attribute__((format(printf, 3, 4))) static bool fail(struct parser *p, struct word word, const char *format, ...)
{
	va_list arguments;

	p->error->line = p->line_number;
	p->error->column = (size_t)((word.text ? word.text : p->at) - p->line) + 1;
	va_start(arguments, format);
	vsnprintf(p->error->message, sizeof(p->error->message), format, arguments);
	va_end(arguments);
	return false;
}

static bool expect_end(struct parser *p)
{
	struct word word = next_word(p);

	if (word.text)
		return fail(p, word, "expected the end of the line, %s", found(word).text);
	return true;
}

enum number_status { NUMBER_OK, NUMBER_MALFORMED, NUMBER_TOO_LARGE };

/* Decimal, or hexadecimal after 0x. */
static enum number_status read_number(struct word word, uint64_t *value)
{
	unsigned base = 10;
	size_t i = 0;
	bool too_large = false;

	*value = 0;
	if (word.length > 2 && word.text[0] == '0' && (word.text[1] == 'x' || word.text[1] == 'X')) {
		base = 16;
		i = 2;
	}
	if (i == word.length)
		return NUMBER_MALFORMED;
	for (; i < word.length; i++) {
		unsigned char c = (unsigned char)word.text[i];
		unsigned digit;

		if (isdigit(c))
			digit = c - '0';
		else if (base == 16 && isxdigit(c))
			digit = (unsigned)tolower(c) - 'a' + 10;
		else
			return NUMBER_MALFORMED;
		if (__builtin_mul_overflow(*value, (uint64_t)base, value) ||
		    __builtin_add_overflow(*value, (uint64_t)digit, value))
			too_large = true;
	}
	return too_large ? NUMBER_TOO_LARGE : NUMBER_OK;
}

/* Takes a number from `low` to `high`. `what` names it in messages: "a size, a number of bytes". */
static bool take_number(struct parser *p, const char *what, uint64_t low, uint64_t high, uint64_t *value)
{
	struct word word = next_word(p);
	enum number_status status = word.text ? read_number(word, value) : NUMBER_MALFORMED;

	if (status == NUMBER_OK && *value >= low && *value <= high)
		return true;
	return fail(p, word, "expected %s from %" PRIu64 " to %" PRIu64 ", %s%s", what, low, high, found(word).text,
		    status == NUMBER_MALFORMED            ? ""
		    : status == NUMBER_OK && *value < low ? ", which is too small"
							  : ", which is too large");
}

enum label_status { LABEL_OK, LABEL_MALFORMED, LABEL_IS_NULL };

static enum label_status read_label(struct word word, uint32_t *label)
{
	uint32_t n = 0;

	if (!word.text || word.length > 5)
		return LABEL_MALFORMED;
	for (size_t i = 0; i < word.length; i++) {
		if (word.text[i] < 'a' || word.text[i] > 'z')
			return LABEL_MALFORMED;
		n = n * 26 + (uint32_t)(word.text[i] - 'a') + 1;
	}
	*label = n - 1;
	return *label == LABEL_SPELT_NULL ? LABEL_IS_NULL : LABEL_OK;
}

static bool take_block(struct parser *p, uint32_t *label)
{
	struct word word = next_word(p);

	switch (read_label(word, label)) {
	case LABEL_IS_NULL:
		*label = LABEL_NULL;
		return true;
	case LABEL_OK:
		return true;
	default:
		return fail(p, word, "expected a block, a name of 1 to 5 lower-case letters or null, %s",
			    found(word).text);
	}
}

/* "main", "t1" to "t255". */
static bool read_thread(struct word word, uint64_t *thread)
{
	if (word_is(word, "main")) {
		*thread = 0;
		return true;
	}
	if (word.length < 2 || word.text[0] != 't' || word.text[1] == '0')
		return false;
	return read_number((struct word){word.text + 1, word.length - 1}, thread) == NUMBER_OK &&
	       *thread < PROGRAM_THREADS_MAX;
}

static bool take_thread(struct parser *p, uint64_t *thread, struct word *taken)
{
	struct word word = next_word(p);

	if (taken)
		*taken = word;
	if (!read_thread(word, thread))
		return fail(p, word, "expected a thread, main or t1 to t%d, %s", PROGRAM_THREADS_MAX - 1,
			    found(word).text);
	return true;
}

/* ---- Lines ---- */

static bool find_kind(struct word word, enum op_kind *kind)
{
	for (int i = 0; i < OP_KINDS; i++) {
		if (word_is(word, op_kind_name((enum op_kind)i))) {
			*kind = (enum op_kind)i;
			return true;
		}
	}
	return false;
}

/* How an operation of that kind is written, for messages. */
static const char *usage(enum op_kind kind)
{
	static const char *const usages[OP_KINDS] = {
		[OP_MALLOC] = "NAME = malloc SIZE",
		[OP_CALLOC] = "NAME = calloc COUNT SIZE",
		[OP_REALLOC] = "NAME = realloc BLOCK SIZE",
		[OP_REALLOCARRAY] = "NAME = reallocarray BLOCK COUNT SIZE",
		[OP_FREE] = "free BLOCK",
		[OP_ALIGNED_ALLOC] = "NAME = aligned_alloc ALIGNMENT SIZE",
		[OP_POSIX_MEMALIGN] = "NAME = posix_memalign ALIGNMENT SIZE",
		[OP_MEMALIGN] = "NAME = memalign ALIGNMENT SIZE",
		[OP_USABLE_SIZE] = "usable_size BLOCK",
		[OP_TRIM] = "trim SIZE",
		[OP_TOUCH] = "touch BLOCK",
		[OP_SPAWN] = "spawn THREAD",
		[OP_JOIN] = "join THREAD",
		[OP_EXIT] = "exit",
		[OP_SIGNAL] = "signal EVENT",
		[OP_WAIT] = "wait EVENT",
		[OP_FORK] = "fork",
	};

	return usages[kind];
}

static bool parse_operands(struct parser *p, struct op *op)
{
	unsigned operands = op_operands(op->kind);

	if ((operands & OPERAND_BLOCK) && !take_block(p, &op->block))
		return false;
	if ((operands & OPERAND_COUNT) && !take_number(p, "a count, a number", 0, UINT64_MAX, &op->count))
		return false;
	if ((operands & OPERAND_ALIGNMENT) &&
	    !take_number(p, "an alignment, a number of bytes", 0, UINT64_MAX, &op->alignment))
		return false;
	if ((operands & OPERAND_SIZE) && !take_number(p, "a size, a number of bytes", 0, UINT64_MAX, &op->size))
		return false;
	if ((operands & OPERAND_THREAD) && !take_thread(p, &op->thread, NULL))
		return false;
	if ((operands & OPERAND_EVENT) && !take_number(p, "an event, a number", 0, PROGRAM_EVENTS_MAX - 1, &op->event))
		return false;
	return expect_end(p);
}

/* `first` has been taken; `kind = ...` is an assignment to a block of that name, so what follows decides. */
static bool parse_op(struct parser *p, size_t thread, struct word first)
{
	struct op op = {.result = LABEL_NULL, .block = LABEL_NULL};
	const char *after_first = p->at;
	struct word word = next_word(p);
	enum op_kind kind;

	if (word_is(word, "=")) {
		enum label_status status = read_label(first, &op.result);

		if (status == LABEL_IS_NULL)
			return fail(
				p, first,
				"expected the name of a block, found `null', which is the NULL pointer and names none");
		if (status != LABEL_OK)
			return fail(p, first, "expected the name of a block, 1 to 5 lower-case letters, %s",
				    found(first).text);
		word = next_word(p);
		if (!find_kind(word, &kind))
			return fail(p, word, "expected an operation that makes a block, like malloc or realloc, %s",
				    found(word).text);
		if (!op_makes_block(kind))
			return fail(p, word,
				    "expected an operation that makes a block, found `%s', which makes none: `%s'",
				    op_kind_name(kind), usage(kind));
	} else {
		if (!find_kind(first, &kind))
			return fail(p, first,
				    "expected an operation, like `a = malloc 24' or `free a', or a section (thread, "
				    "faults, "
				    "schedule), %s",
				    found(first).text);
		if (op_makes_block(kind))
			return fail(p, first, "expected a name for the block that %s makes: `%s'", op_kind_name(kind),
				    usage(kind));
		p->at = after_first;
	}
	op.kind = (uint8_t)kind;
	if (!parse_operands(p, &op))
		return false;
	program_append(p->program, thread, op);
	return true;
}

static bool parse_fault(struct parser *p, struct word first)
{
	uint64_t n;

	if (!word_is(first, "map"))
		return fail(p, first, "expected a fault, `map N', or another section, %s", found(first).text);
	if (!take_number(p, "the number of a mapping call,", 1, UINT64_MAX, &n) || !expect_end(p))
		return false;
	program_add_fault(p->program, n);
	return true;
}

static bool parse_preemption(struct parser *p, struct word first)
{
	uint64_t thread, target, point;
	struct word word;

	if (!read_thread(first, &thread))
		return fail(p, first, "expected a preemption, `THREAD @POINT -> THREAD', or another section, %s",
			    found(first).text);
	word = next_word(p);
	if (!word_is(word, "@"))
		return fail(p, word, "expected `@' and the number of a scheduling point, %s", found(word).text);
	if (!take_number(p, "the number of a scheduling point,", 1, UINT64_MAX, &point))
		return false;
	word = next_word(p);
	if (!word_is(word, "->"))
		return fail(p, word, "expected `->' and the thread that runs next, %s", found(word).text);
	if (!take_thread(p, &target, NULL) || !expect_end(p))
		return false;
	program_add_preemption(
		p->program,
		(struct preemption){.thread = (uint32_t)thread, .target = (uint32_t)target, .point = point});
	return true;
}

static bool parse_allocator(struct parser *p)
{
	struct word word = {p->at, 0};
	size_t length = (size_t)(p->end - p->at);

	/* The comment is cut and the ends are trimmed here too, so that only what counts is measured. */
	for (size_t i = 0; i < length; i++)
		if (p->at[i] == '#' && (i == 0 || is_blank(p->at[i - 1])))
			length = i;
	while (length > 0 && is_blank(p->at[0])) {
		p->at++;
		length--;
	}
	while (length > 0 && is_blank(p->at[length - 1]))
		length--;
	word.text = p->at;
	if (length == 0)
		return fail(p, (struct word){NULL, 0},
			    "expected an allocator, its name or what to load and how, found the end of the line");
	if (length >= PROGRAM_SPEC_MAX)
		return fail(p, word, "expected an allocator in at most %d characters, found %zu", PROGRAM_SPEC_MAX - 1,
			    length);
	program_set_allocator(p->program, p->at, length);
	return true;
}

static bool parse_expect(struct parser *p)
{
	struct word word = next_word(p);
	char name[32] = "";

	if (word.text && word.length < sizeof(name))
		memcpy(name, word.text, word.length);
	if (!word.text || !verdict_from_name(name, &p->program->expect))
		return fail(p, word, "expected a verdict, like clean or overlap, %s", found(word).text);
	p->program->has_expect = true;
	return expect_end(p);
}

static bool parse_first_line(struct parser *p, struct word first)
{
	struct word version;

	if (!word_is(first, "heapstorm"))
		return fail(p, first, "expected the first line, `heapstorm 1', %s", found(first).text);
	version = next_word(p);
	if (!word_is(version, "1"))
		return fail(p, version, "expected version 1 of the format, %s", found(version).text);
	return expect_end(p);
}

/* ---- The whole text ---- */

enum section { SECTION_START, SECTION_HEADER, SECTION_THREAD, SECTION_FAULTS, SECTION_SCHEDULE };

struct sections {
	enum section at;
	size_t thread;                            /* of SECTION_THREAD */
	size_t thread_lines[PROGRAM_THREADS_MAX]; /* where each section is, 0: none yet */
	size_t faults_line, schedule_line, allocator_line, expect_line;
};

/* Says that `first` may be given once only if `*line` has it already; else notes it. */
static bool once(struct parser *p, struct word first, const char *what, size_t *line)
{
	if (*line != 0)
		return fail(p, first, "expected %s once, found it again (the first is in line %zu)", what, *line);
	*line = p->line_number;
	return true;
}

static bool parse_header_line(struct parser *p, struct sections *s, struct word first)
{
	bool is_allocator = word_is(first, "allocator");

	if (s->at != SECTION_HEADER)
		return fail(p, first, "expected `%s' before the first section, found it after one",
			    is_allocator ? "allocator" : "expect");
	if (is_allocator)
		return once(p, first, "`allocator'", &s->allocator_line) && parse_allocator(p);
	return once(p, first, "`expect'", &s->expect_line) && parse_expect(p);
}

static bool parse_thread_line(struct parser *p, struct sections *s)
{
	uint64_t thread;
	struct word word;
	char what[32] = "the section of ";

	if (!take_thread(p, &thread, &word))
		return false;
	thread_name(thread, what + strlen(what));
	if (!once(p, word, what, &s->thread_lines[thread]) || !expect_end(p))
		return false;
	s->at = SECTION_THREAD;
	s->thread = thread;
	program_require_thread(p->program, thread);
	return true;
}

static bool parse_line(struct parser *p, struct sections *s)
{
	struct word first = next_word(p);

	if (!first.text)
		return true;
	if (s->at == SECTION_START) {
		s->at = SECTION_HEADER;
		return parse_first_line(p, first);
	}
	/* None of these can be the name of a block: they are too long. */
	if (word_is(first, "allocator") || word_is(first, "expect"))
		return parse_header_line(p, s, first);
	if (word_is(first, "thread"))
		return parse_thread_line(p, s);
	if (word_is(first, "faults")) {
		s->at = SECTION_FAULTS;
		return once(p, first, "`faults'", &s->faults_line) && expect_end(p);
	}
	if (word_is(first, "schedule")) {
		s->at = SECTION_SCHEDULE;
		return once(p, first, "`schedule'", &s->schedule_line) && expect_end(p);
	}
	switch (s->at) {
	case SECTION_THREAD:
		return parse_op(p, s->thread, first);
	case SECTION_FAULTS:
		return parse_fault(p, first);
	case SECTION_SCHEDULE:
		return parse_preemption(p, first);
	default:
		return fail(p, first, "expected allocator, expect or a section (thread, faults, schedule), %s",
			    found(first).text);
	}
}

static bool check_characters(struct parser *p)
{
	for (const char *c = p->line; c < p->end; c++) {
		unsigned char byte = (unsigned char)*c;
		struct word word = {c, 1};

		if (byte == '\t' || (byte >= ' ' && byte <= '~'))
			continue;
		if (byte == 0)
			return fail(p, word, "expected text, found a NUL byte");
		if (byte >= 0x80)
			return fail(p, word, "expected ASCII text, found the byte 0x%02x", byte);
		return fail(p, word, "expected text, found the control character 0x%02x", byte);
	}
	return true;
}

bool program_parse(const char *text, size_t length, struct program *program, struct parse_error *error)
{
	struct parser p = {.program = program, .error = error};
	struct sections s = {.at = SECTION_START};
	const char *end = text + length;

	program_clear(program);
	*error = (struct parse_error){.line = 1, .column = 1};
	for (const char *line = text; line < end;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *next = newline ? newline + 1 : end;

		p.line = p.at = line;
		p.end = newline ? newline : end;
		p.line_number++;
		if (p.end > p.line && p.end[-1] == '\r')
			p.end--;
		if (!check_characters(&p) || !parse_line(&p, &s))
			return false;
		line = next;
	}
	if (s.at == SECTION_START) {
		/* In the last line if it has no newline, else in the empty one behind it. */
		if (length == 0 || end[-1] == '\n') {
			p.line = end;
			p.line_number++;
		}
		p.at = end;
		return fail(&p, (struct word){NULL, 0},
			    "expected the first line, `heapstorm 1', found the end of the text");
	}
	return true;
}

/* ---- Printing ---- */

static char *put_text(char *to, const char *text)
{
	size_t length = strlen(text);

	memcpy(to, text, length + 1);
	return to + length;
}

static char *put_number(char *to, uint64_t value)
{
	char digits[24];
	size_t length = 0;

	do
		digits[length++] = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	while (length > 0)
		*to++ = digits[--length];
	*to = '\0';
	return to;
}

static char *put_label(char *to, uint32_t label)
{
	label_name(label, to);
	return to + strlen(to);
}

#define OP_TEXT_MAX 96 /* a result, the longest name, a block, and two numbers of 20 digits, NUL included */

static size_t put_op(char *text, const struct op *op)
{
	unsigned operands = op_operands(op->kind);
	char *to = text;

	if (operands & OPERAND_RESULT)
		to = put_text(put_label(to, op->result), " = ");
	to = put_text(to, op_kind_name(op->kind));
	if (operands & OPERAND_BLOCK)
		to = put_label(put_text(to, " "), op->block);
	if (operands & (OPERAND_COUNT | OPERAND_ALIGNMENT | OPERAND_EVENT))
		to = put_number(put_text(to, " "), op->count);
	if (operands & OPERAND_SIZE)
		to = put_number(put_text(to, " "), op->size);
	if (operands & OPERAND_THREAD) {
		to = put_text(to, " ");
		thread_name(op->thread, to);
		to += strlen(to);
	}
	return (size_t)(to - text);
}

int op_print(const struct op *op, char *text, size_t size)
{
	char whole[OP_TEXT_MAX];
	size_t length = put_op(whole, op);

	if (size > 0) {
		size_t copied = length < size ? length : size - 1;

		memcpy(text, whole, copied);
		text[copied] = '\0';
	}
	return (int)length;
}

bool program_print(const struct program *program, FILE *file)
{
	char name[16], target[16], line[OP_TEXT_MAX + 4] = "  ";

	fputs("heapstorm 1\n", file);
	if (program->allocator[0] != '\0')
		fprintf(file, "allocator %s\n", program->allocator);
	if (program->has_expect)
		fprintf(file, "expect %s\n", verdict_name(program->expect));
	for (size_t i = 0; i < program->thread_count; i++) {
		const struct thread_program *thread = &program->threads[i];

		/* The last one is written even without operations: it tells how many threads there are. */
		if (thread->count == 0 && i > 0 && i < program->thread_count - 1)
			continue;
		thread_name(i, name);
		fprintf(file, "thread %s\n", name);
		for (size_t j = 0; j < thread->count; j++) {
			size_t length = 2 + put_op(line + 2, &thread->ops[j]);

			line[length] = '\n';
			fwrite(line, 1, length + 1, file);
		}
	}
	if (program->fault_count > 0)
		fputs("faults\n", file);
	for (size_t i = 0; i < program->fault_count; i++)
		fprintf(file, "  map %" PRIu64 "\n", program->faults[i]);
	if (program->preemption_count > 0)
		fputs("schedule\n", file);
	for (size_t i = 0; i < program->preemption_count; i++) {
		thread_name(program->schedule[i].thread, name);
		thread_name(program->schedule[i].target, target);
		fprintf(file, "  %s @%" PRIu64 " -> %s\n", name, program->schedule[i].point, target);
	}
	return fflush(file) == 0 && !ferror(file);
}
