/*
 * The byte encoding: docs/format.md. A byte from 0x80 begins a record, the bytes below it are its operands, so that a reader finds the
 * next record whatever happened to this one.
 */
#include "program.h"

#include <string.h>

/* Records that are no operation have the codes after those of the operations. */
enum record {
	RECORD_THREAD = OP_KINDS, /* thread: the operations that follow are its own */
	RECORD_FAULT,             /* number of the mapping call */
	RECORD_PREEMPT,           /* thread, point, target */
	RECORD_ALLOCATOR,         /* its characters */
	RECORD_EXPECT,            /* its characters */
	RECORDS
};

#define RECORD_BIT 0x80u /* of the byte that begins a record */
#define MORE_BIT 0x40u   /* of an operand byte: another one follows */
#define PAYLOAD_BITS 6
#define PAYLOAD_MASK 0x3fu
#define NUMBER_BYTES_MAX 11 /* 64 bits */

/*
 * What each byte from 0x80 begins. The first RECORDS of them are the codes that are written; the others are dealt out so that random bytes are
 * mostly operations that make, resize and free blocks.
 */
#define M OP_MALLOC
#define F OP_FREE
#define R OP_REALLOC
#define C OP_CALLOC
#define A OP_ALIGNED_ALLOC
#define P OP_POSIX_MEMALIGN
#define G OP_MEMALIGN
#define Y OP_REALLOCARRAY
#define U OP_USABLE_SIZE
#define T OP_TOUCH
/* clang-format off */
static const uint8_t record_of[128] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	16, RECORD_THREAD, RECORD_FAULT, RECORD_PREEMPT, RECORD_ALLOCATOR, RECORD_EXPECT, M, F, M, F, R, C, M, F, A, F,
	M, F, R, F, M, T, M, F, C, F, R, M, F, P, M, F,
	M, F, R, F, M, U, M, F, C, F, R, M, F, G, M, F,
	M, F, R, F, M, T, M, F, Y, F, R, M, F, A, M, F,
	M, F, R, F, M, C, M, F, OP_TRIM, F, R, M, F, P, M, F,
	M, F, R, F, M, T, M, F, C, F, R, M, F, G, M, F,
	M, F, R, F, M, U, M, F, Y, F, R, M, F, RECORD_FAULT, M, F,
};
/* clang-format on */
#undef M
#undef F
#undef R
#undef C
#undef A
#undef P
#undef G
#undef Y
#undef U
#undef T

_Static_assert(RECORDS == 22, "record_of holds the codes in order: a new record takes the next place there");

/* ---- Decoding ---- */

struct reader {
	const uint8_t *at, *end;
};

static uint64_t read_rest(struct reader *r)
{
	uint64_t value = 0;
	unsigned shift = 0;

	while (r->at < r->end && *r->at < RECORD_BIT) {
		uint8_t byte = *r->at++;

		if (shift < 64)
			value |= (uint64_t)(byte & PAYLOAD_MASK) << shift;
		shift += PAYLOAD_BITS;
		if (!(byte & MORE_BIT))
			break;
	}
	return value;
}

/* The next operand of the record, 0 where it has no more. */
static inline uint64_t read_number(struct reader *r)
{
	if (r->at < r->end && *r->at < MORE_BIT)
		return *r->at++;
	return read_rest(r);
}

static inline uint32_t read_result(struct reader *r)
{
	uint64_t value = read_number(r);

	if (__builtin_expect(value >= LABEL_COUNT, 0))
		value %= LABEL_COUNT;
	return value == LABEL_SPELT_NULL ? LABEL_SPELT_NULL + 1 : (uint32_t)value;
}

/* 0 is NULL, so that an operation whose operands were cut off has no block. */
static inline uint32_t read_block(struct reader *r)
{
	uint64_t value = read_number(r);

	if (__builtin_expect(value > LABEL_COUNT, 0))
		value %= LABEL_COUNT + 1;
	return value == 0 || value == LABEL_SPELT_NULL + 1 ? LABEL_NULL : (uint32_t)value - 1;
}

static void read_op(struct reader *r, enum op_kind kind, struct op *op)
{
	op->kind = (uint8_t)kind;
	op->result = LABEL_NULL;
	op->block = LABEL_NULL;
	op->size = 0;
	op->count = 0;
	switch (kind) {
	case OP_MALLOC:
		op->result = read_result(r);
		op->size = read_number(r);
		break;
	case OP_CALLOC:
	case OP_ALIGNED_ALLOC:
	case OP_POSIX_MEMALIGN:
	case OP_MEMALIGN:
		op->result = read_result(r);
		op->count = read_number(r);
		op->size = read_number(r);
		break;
	case OP_REALLOC:
		op->result = read_result(r);
		op->block = read_block(r);
		op->size = read_number(r);
		break;
	case OP_REALLOCARRAY:
		op->result = read_result(r);
		op->block = read_block(r);
		op->count = read_number(r);
		op->size = read_number(r);
		break;
	case OP_FREE:
	case OP_USABLE_SIZE:
	case OP_TOUCH:
		op->block = read_block(r);
		break;
	case OP_TRIM:
		op->size = read_number(r);
		break;
	case OP_SPAWN:
	case OP_JOIN:
		op->thread = read_number(r) % PROGRAM_THREADS_MAX;
		break;
	case OP_SIGNAL:
	case OP_WAIT:
		op->event = read_number(r) % PROGRAM_EVENTS_MAX;
		break;
	case OP_EXIT:
	case OP_FORK:
	case OP_KINDS:
		break;
	}
}

/* A record that is no operation. */
static void read_structure(struct reader *r, unsigned record, struct program *program, size_t *thread)
{
	const uint8_t *start = r->at;
	char name[32] = "";
	uint64_t number;
	struct preemption preemption;

	switch (record) {
	case RECORD_THREAD:
		*thread = read_number(r) % PROGRAM_THREADS_MAX;
		program_require_thread(program, *thread);
		break;
	case RECORD_FAULT:
		number = read_number(r);
		program_add_fault(program, number ? number : 1);
		break;
	case RECORD_PREEMPT:
		preemption.thread = read_number(r) % PROGRAM_THREADS_MAX;
		preemption.point = read_number(r);
		if (preemption.point == 0)
			preemption.point = 1;
		preemption.target = read_number(r) % PROGRAM_THREADS_MAX;
		program_add_preemption(program, preemption);
		break;
	case RECORD_ALLOCATOR:
	case RECORD_EXPECT:
		while (r->at < r->end && *r->at < RECORD_BIT)
			r->at++;
		if (record == RECORD_ALLOCATOR) {
			program_set_allocator(program, (const char *)start, (size_t)(r->at - start));
		} else if ((size_t)(r->at - start) < sizeof(name)) {
			memcpy(name, start, (size_t)(r->at - start));
			if (verdict_from_name(name, &program->expect))
				program->has_expect = true;
		}
		break;
	}
}

void program_decode(const uint8_t *bytes, size_t length, struct program *program)
{
	struct reader r = {bytes, bytes + length};
	size_t thread = 0;
	struct thread_program *t;

	program_clear(program);
	t = &program->threads[0];
	for (;;) {
		unsigned record;

		/* What is left of a record, and what precedes the first one, is skipped. */
		while (r.at < r.end && *r.at < RECORD_BIT)
			r.at++;
		if (r.at == r.end)
			break;
		record = record_of[*r.at++ - RECORD_BIT];
		if (record >= OP_KINDS) {
			read_structure(&r, record, program, &thread);
			t = &program->threads[thread];
			continue;
		}
		if (__builtin_expect(t->count == t->capacity, 0))
			program_reserve(program, thread, 1);
		read_op(&r, (enum op_kind)record, &t->ops[t->count++]);
	}
}

/* ---- Encoding ---- */

/* Bytes beyond `capacity` are counted but not written. */
struct writer {
	uint8_t *bytes;
	size_t length, capacity;
};

static inline uint8_t *put_number(uint8_t *to, uint64_t value)
{
	while (value > PAYLOAD_MASK) {
		*to++ = (uint8_t)((value & PAYLOAD_MASK) | MORE_BIT);
		value >>= PAYLOAD_BITS;
	}
	*to++ = (uint8_t)value;
	return to;
}

static size_t number_size(uint64_t value)
{
	size_t size = 1;

	while (value >>= PAYLOAD_BITS)
		size++;
	return size;
}

#define RECORD_BYTES_MAX (1 + 4 * NUMBER_BYTES_MAX) /* of one without characters */

static uint64_t block_number(uint32_t block)
{
	return block == LABEL_NULL ? 0 : (uint64_t)block + 1;
}

static size_t put_op(uint8_t *record, const struct op *op)
{
	unsigned operands = op_operands(op->kind);
	uint8_t *to = record;

	*to++ = (uint8_t)(RECORD_BIT + op->kind);
	if (operands & OPERAND_RESULT)
		to = put_number(to, op->result);
	if (operands & OPERAND_BLOCK)
		to = put_number(to, block_number(op->block));
	if (operands & (OPERAND_COUNT | OPERAND_ALIGNMENT | OPERAND_THREAD | OPERAND_EVENT))
		to = put_number(to, op->count);
	if (operands & OPERAND_SIZE)
		to = put_number(to, op->size);
	return (size_t)(to - record);
}

static size_t op_size(const struct op *op)
{
	unsigned operands = op_operands(op->kind);
	size_t size = 1;

	if (operands & OPERAND_RESULT)
		size += number_size(op->result);
	if (operands & OPERAND_BLOCK)
		size += number_size(block_number(op->block));
	if (operands & (OPERAND_COUNT | OPERAND_ALIGNMENT | OPERAND_THREAD | OPERAND_EVENT))
		size += number_size(op->count);
	if (operands & OPERAND_SIZE)
		size += number_size(op->size);
	return size;
}

/* False if the record does not fit: nothing more is written then. */
static bool put_record(struct writer *w, const uint8_t *record, size_t size)
{
	if (size > w->capacity - w->length)
		return false;
	memcpy(w->bytes + w->length, record, size);
	w->length += size;
	return true;
}

static bool put_characters(struct writer *w, enum record record, const char *text)
{
	uint8_t bytes[1 + PROGRAM_SPEC_MAX];
	size_t length = strlen(text);

	bytes[0] = (uint8_t)(RECORD_BIT + record);
	memcpy(bytes + 1, text, length);
	return put_record(w, bytes, 1 + length);
}

static bool put_structure(struct writer *w, enum record record, size_t count, const uint64_t *numbers)
{
	uint8_t bytes[RECORD_BYTES_MAX];
	uint8_t *to = bytes;

	*to++ = (uint8_t)(RECORD_BIT + record);
	for (size_t i = 0; i < count; i++)
		to = put_number(to, numbers[i]);
	return put_record(w, bytes, (size_t)(to - bytes));
}

static bool put_ops(struct writer *w, const struct thread_program *thread)
{
	uint8_t record[RECORD_BYTES_MAX];

	for (size_t i = 0; i < thread->count; i++) {
		if (w->capacity - w->length >= RECORD_BYTES_MAX)
			w->length += put_op(w->bytes + w->length, &thread->ops[i]);
		else if (!put_record(w, record, put_op(record, &thread->ops[i])))
			return false;
	}
	return true;
}

/* The last thread is named even without operations: it tells how many threads there are. Main is there from the start. */
static bool thread_has_record(const struct program *program, size_t thread)
{
	return thread > 0 && (program->threads[thread].count > 0 || thread == program->thread_count - 1);
}

size_t program_encode(const struct program *program, uint8_t *bytes, size_t capacity)
{
	struct writer w = {bytes, 0, capacity};

	if (program->allocator[0] != '\0' && !put_characters(&w, RECORD_ALLOCATOR, program->allocator))
		return w.length;
	if (program->has_expect && !put_characters(&w, RECORD_EXPECT, verdict_name(program->expect)))
		return w.length;
	for (size_t i = 0; i < program->fault_count; i++)
		if (!put_structure(&w, RECORD_FAULT, 1, &program->faults[i]))
			return w.length;
	for (size_t i = 0; i < program->preemption_count; i++) {
		const struct preemption *p = &program->schedule[i];

		if (!put_structure(&w, RECORD_PREEMPT, 3, (const uint64_t[]){p->thread, p->point, p->target}))
			return w.length;
	}
	for (size_t i = 0; i < program->thread_count; i++) {
		if (thread_has_record(program, i) && !put_structure(&w, RECORD_THREAD, 1, (const uint64_t[]){i}))
			return w.length;
		if (!put_ops(&w, &program->threads[i]))
			return w.length;
	}
	return w.length;
}

size_t program_encoded_size(const struct program *program)
{
	size_t size = 0;

	if (program->allocator[0] != '\0')
		size += 1 + strlen(program->allocator);
	if (program->has_expect)
		size += 1 + strlen(verdict_name(program->expect));
	for (size_t i = 0; i < program->fault_count; i++)
		size += 1 + number_size(program->faults[i]);
	for (size_t i = 0; i < program->preemption_count; i++) {
		const struct preemption *p = &program->schedule[i];

		size += 1 + number_size(p->thread) + number_size(p->point) + number_size(p->target);
	}
	for (size_t i = 0; i < program->thread_count; i++) {
		if (thread_has_record(program, i))
			size += 1 + number_size(i);
		for (size_t j = 0; j < program->threads[i].count; j++)
			size += op_size(&program->threads[i].ops[j]);
	}
	return size;
}
