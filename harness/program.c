#include "program.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	unsigned operands;
} kinds[OP_KINDS] = {
	[OP_MALLOC] = {"malloc", OPERAND_RESULT | OPERAND_SIZE},
	[OP_CALLOC] = {"calloc", OPERAND_RESULT | OPERAND_COUNT | OPERAND_SIZE},
	[OP_REALLOC] = {"realloc", OPERAND_RESULT | OPERAND_BLOCK | OPERAND_SIZE},
	[OP_REALLOCARRAY] = {"reallocarray", OPERAND_RESULT | OPERAND_BLOCK | OPERAND_COUNT | OPERAND_SIZE},
	[OP_FREE] = {"free", OPERAND_BLOCK},
	[OP_ALIGNED_ALLOC] = {"aligned_alloc", OPERAND_RESULT | OPERAND_ALIGNMENT | OPERAND_SIZE},
	[OP_POSIX_MEMALIGN] = {"posix_memalign", OPERAND_RESULT | OPERAND_ALIGNMENT | OPERAND_SIZE},
	[OP_MEMALIGN] = {"memalign", OPERAND_RESULT | OPERAND_ALIGNMENT | OPERAND_SIZE},
	[OP_USABLE_SIZE] = {"usable_size", OPERAND_BLOCK},
	[OP_TRIM] = {"trim", OPERAND_SIZE},
	[OP_TOUCH] = {"touch", OPERAND_BLOCK},
	[OP_SPAWN] = {"spawn", OPERAND_THREAD},
	[OP_JOIN] = {"join", OPERAND_THREAD},
	[OP_EXIT] = {"exit", 0},
	[OP_SIGNAL] = {"signal", OPERAND_EVENT},
	[OP_WAIT] = {"wait", OPERAND_EVENT},
	[OP_FORK] = {"fork", 0},
};

#define OPERANDS_EXTRA (OPERAND_COUNT | OPERAND_ALIGNMENT | OPERAND_THREAD | OPERAND_EVENT) /* those in the union */

const char *op_kind_name(enum op_kind kind)
{
	return kind < OP_KINDS ? kinds[kind].name : "?";
}

unsigned op_operands(enum op_kind kind)
{
	return kind < OP_KINDS ? kinds[kind].operands : 0;
}

bool op_makes_block(enum op_kind kind)
{
	return op_operands(kind) & OPERAND_RESULT;
}

bool op_takes_block(enum op_kind kind)
{
	return op_operands(kind) & OPERAND_BLOCK;
}

struct op op_normalized(struct op op)
{
	unsigned operands = op_operands(op.kind);

	if (!(operands & OPERAND_RESULT))
		op.result = LABEL_NULL;
	if (!(operands & OPERAND_BLOCK))
		op.block = LABEL_NULL;
	if (!(operands & OPERAND_SIZE))
		op.size = 0;
	if (!(operands & OPERANDS_EXTRA))
		op.count = 0;
	return op;
}

uint32_t label_nth(uint64_t n)
{
	if (n >= LABEL_COUNT - 1)
		return LABEL_NULL;
	return (uint32_t)n + (n >= LABEL_SPELT_NULL);
}

void label_name(uint32_t label, char *name)
{
	char reversed[8];
	size_t length = 0;

	if (label >= LABEL_COUNT) {
		memcpy(name, "null", 5);
		return;
	}
	for (uint32_t n = label + 1; n > 0; n = (n - 1) / 26)
		reversed[length++] = (char)('a' + (n - 1) % 26);
	for (size_t i = 0; i < length; i++)
		name[i] = reversed[length - 1 - i];
	name[length] = '\0';
}

void thread_name(size_t thread, char *name)
{
	if (thread == 0)
		memcpy(name, "main", 5);
	else
		snprintf(name, 16, "t%u", (unsigned)thread);
}

/* ---- The program ---- */

/* Makes room for at least `needed` elements. New bytes are zero: a thread that comes into being has no operations and no memory. */
static void *grow(void *array, size_t *capacity, size_t needed, size_t element_size)
{
	size_t grown = *capacity ? *capacity : 8;

	while (grown < needed)
		grown *= 2;
	array = realloc(array, grown * element_size);
	if (!array) {
		fprintf(stderr, "heapstorm: out of memory for a program of %zu entries\n", grown);
		exit(3);
	}
	memset((char *)array + *capacity * element_size, 0, (grown - *capacity) * element_size);
	*capacity = grown;
	return array;
}

void program_init(struct program *program)
{
	*program = (struct program){0};
	program->threads = grow(NULL, &program->thread_capacity, 1, sizeof(*program->threads));
	program->thread_count = 1;
}

void program_clear(struct program *program)
{
	program->allocator[0] = '\0';
	program->expect = VERDICT_CLEAN;
	program->has_expect = false;
	program->threads[0].count = 0;
	program->thread_count = 1;
	program->fault_count = 0;
	program->preemption_count = 0;
}

void program_destroy(struct program *program)
{
	for (size_t i = 0; i < program->thread_capacity; i++)
		free(program->threads[i].ops);
	free(program->threads);
	free(program->faults);
	free(program->schedule);
	*program = (struct program){0};
}

void program_set_allocator(struct program *program, const char *text, size_t length)
{
	char *spec = program->allocator;
	size_t written = 0;

	for (size_t i = 0; i < length && written < PROGRAM_SPEC_MAX - 1; i++) {
		char c = text[i] == '\t' ? ' ' : text[i];

		if (c < ' ' || c > '~')
			c = '?';
		if (c == '#' && (written == 0 || spec[written - 1] == ' '))
			break;
		if (c == ' ' && written == 0)
			continue;
		spec[written++] = c;
	}
	while (written > 0 && spec[written - 1] == ' ')
		written--;
	spec[written] = '\0';
}

void program_require_thread(struct program *program, size_t thread)
{
	if (thread < program->thread_count)
		return;
	if (thread >= program->thread_capacity)
		program->threads =
			grow(program->threads, &program->thread_capacity, thread + 1, sizeof(*program->threads));
	/* What their memory held before is gone. */
	while (program->thread_count <= thread)
		program->threads[program->thread_count++].count = 0;
}

void program_reserve(struct program *program, size_t thread, size_t ops)
{
	struct thread_program *t;

	program_require_thread(program, thread);
	t = &program->threads[thread];
	if (t->count + ops > t->capacity)
		t->ops = grow(t->ops, &t->capacity, t->count + ops, sizeof(*t->ops));
}

void program_copy(struct program *to, const struct program *from)
{
	if (to == from)
		return;
	program_clear(to);
	memcpy(to->allocator, from->allocator, sizeof(to->allocator));
	to->expect = from->expect;
	to->has_expect = from->has_expect;
	program_require_thread(to, from->thread_count - 1);
	for (size_t i = 0; i < from->thread_count; i++) {
		const struct thread_program *source = &from->threads[i];

		if (source->count == 0)
			continue;
		program_reserve(to, i, source->count);
		memcpy(to->threads[i].ops, source->ops, source->count * sizeof(*source->ops));
		to->threads[i].count = source->count;
	}
	if (from->fault_count > to->fault_capacity)
		to->faults = grow(to->faults, &to->fault_capacity, from->fault_count, sizeof(*to->faults));
	if (from->fault_count > 0)
		memcpy(to->faults, from->faults, from->fault_count * sizeof(*to->faults));
	to->fault_count = from->fault_count;
	if (from->preemption_count > to->preemption_capacity)
		to->schedule =
			grow(to->schedule, &to->preemption_capacity, from->preemption_count, sizeof(*to->schedule));
	if (from->preemption_count > 0)
		memcpy(to->schedule, from->schedule, from->preemption_count * sizeof(*to->schedule));
	to->preemption_count = from->preemption_count;
}

static bool op_equal(const struct op *a, const struct op *b)
{
	struct op x = op_normalized(*a);
	struct op y = op_normalized(*b);

	return x.kind == y.kind && x.result == y.result && x.block == y.block && x.size == y.size && x.count == y.count;
}

bool program_equal(const struct program *a, const struct program *b)
{
	if (strcmp(a->allocator, b->allocator) != 0 || a->has_expect != b->has_expect || a->expect != b->expect ||
	    a->thread_count != b->thread_count || a->fault_count != b->fault_count ||
	    a->preemption_count != b->preemption_count)
		return false;
	for (size_t i = 0; i < a->thread_count; i++) {
		if (a->threads[i].count != b->threads[i].count)
			return false;
		for (size_t j = 0; j < a->threads[i].count; j++)
			if (!op_equal(&a->threads[i].ops[j], &b->threads[i].ops[j]))
				return false;
	}
	for (size_t i = 0; i < a->fault_count; i++)
		if (a->faults[i] != b->faults[i])
			return false;
	for (size_t i = 0; i < a->preemption_count; i++) {
		const struct preemption *x = &a->schedule[i];
		const struct preemption *y = &b->schedule[i];

		if (x->thread != y->thread || x->target != y->target || x->point != y->point)
			return false;
	}
	return true;
}

struct op *program_append(struct program *program, size_t thread, struct op op)
{
	struct thread_program *t;
	struct op *place;

	program_reserve(program, thread, 1);
	t = &program->threads[thread];
	place = &t->ops[t->count++];
	*place = op_normalized(op);
	return place;
}

void program_insert(struct program *program, size_t thread, size_t place, const struct op *ops, size_t count)
{
	struct thread_program *t;

	if (count == 0)
		return;
	program_reserve(program, thread, count);
	t = &program->threads[thread];
	memmove(t->ops + place + count, t->ops + place, (t->count - place) * sizeof(*t->ops));
	for (size_t i = 0; i < count; i++)
		t->ops[place + i] = op_normalized(ops[i]);
	t->count += count;
}

void program_remove(struct program *program, size_t thread, size_t place, size_t count)
{
	struct thread_program *t = &program->threads[thread];

	if (count == 0)
		return;
	t->count -= count;
	memmove(t->ops + place, t->ops + place + count, (t->count - place) * sizeof(*t->ops));
}

void program_add_fault(struct program *program, uint64_t n)
{
	size_t place = program->fault_count;

	while (place > 0 && program->faults[place - 1] > n)
		place--;
	if (place > 0 && program->faults[place - 1] == n)
		return;
	if (program->fault_count == program->fault_capacity)
		program->faults = grow(program->faults, &program->fault_capacity, program->fault_count + 1,
				       sizeof(*program->faults));
	memmove(program->faults + place + 1, program->faults + place,
		(program->fault_count - place) * sizeof(*program->faults));
	program->faults[place] = n;
	program->fault_count++;
}

void program_add_preemption(struct program *program, struct preemption preemption)
{
	if (program->preemption_count == program->preemption_capacity)
		program->schedule = grow(program->schedule, &program->preemption_capacity,
					 program->preemption_count + 1, sizeof(*program->schedule));
	program->schedule[program->preemption_count++] = preemption;
}

void program_take_schedule(struct program *program, const struct run_record *record)
{
	program->preemption_count = 0;
	for (uint32_t i = 0; i < record->preemption_count; i++)
		program_add_preemption(program, record->preemptions[i]);
}

size_t program_op_count(const struct program *program)
{
	size_t count = 0;

	for (size_t i = 0; i < program->thread_count; i++)
		count += program->threads[i].count;
	return count;
}

uint32_t program_label_limit(const struct program *program)
{
	uint32_t limit = 0;

	for (size_t i = 0; i < program->thread_count; i++) {
		for (size_t j = 0; j < program->threads[i].count; j++) {
			struct op op = op_normalized(program->threads[i].ops[j]);

			if (op.result != LABEL_NULL && op.result >= limit)
				limit = op.result + 1;
			if (op.block != LABEL_NULL && op.block >= limit)
				limit = op.block + 1;
		}
	}
	return limit;
}

size_t program_event_limit(const struct program *program)
{
	size_t limit = 0;

	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++) {
			const struct op *const op = &program->threads[t].ops[i];

			if (op_operands(op->kind) & OPERAND_EVENT && op->event >= limit)
				limit = op->event + 1;
		}
	return limit;
}
