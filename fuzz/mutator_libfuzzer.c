/* libFuzzer's entry points for the mutator. Link this file into targets whose input is a program. */
#include "mutator.h"

#include <stdlib.h>
#include <string.h>

/* libFuzzer's own mutation of bytes, with its dictionary and the values it saw compared. Absent without libFuzzer. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
				 size_t max_size, unsigned seed);

#define BLOCK_MAX (4u << 20)

/* Scratch: every call overwrites it. */
static struct program first, second, result;

/* The target's; HEAPSTORM_OPS_MAX in the environment bounds the operations of a program, to measure targets on programs of one size. */
static struct mutator_options options;

static void prepare(void)
{
	const char *ops_max;

	if (first.threads)
		return;
	ops_max = getenv("HEAPSTORM_OPS_MAX");
	options = mutator_options;
	if (ops_max != NULL && strtoul(ops_max, NULL, 10) > 0)
		options.ops_max = strtoul(ops_max, NULL, 10);
	program_init(&first);
	program_init(&second);
	program_init(&result);
}

static size_t encode(const struct program *program, uint8_t *bytes, size_t capacity)
{
	size_t length = program_encode(program, bytes, capacity);

	/* libFuzzer takes 0 for a failed mutation; the shortest program is `a = malloc 0`. */
	if (length == 0 && capacity > 0) {
		bytes[0] = 0x80;
		length = 1;
	}
	return length;
}

/* One size as libFuzzer would change it: towards values that the allocator compares sizes with. */
static void mutate_one_size(struct mutator *m, struct program *program)
{
	struct thread_program *t = &program->threads[mutator_below(m, program->thread_count)];
	struct op *op;
	uint64_t size;

	if (t->count == 0)
		return;
	op = &t->ops[mutator_below(m, t->count)];
	if (!(op_operands(op->kind) & OPERAND_SIZE))
		return;
	size = op->size;
	LLVMFuzzerMutate((uint8_t *)&size, sizeof(size), sizeof(size));
	/* What could be had but costs much is made small. */
	if (size > BLOCK_MAX && size < 1ull << 47)
		size %= BLOCK_MAX;
	op->size = size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	struct mutator m;

	prepare();
	mutator_seed(&m, seed, &options);
	if (LLVMFuzzerMutate && mutator_below(&m, 64) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	program_decode(data, size, &first);
	mutator_mutate(&m, &first);
	if (LLVMFuzzerMutate && mutator_below(&m, 24) == 0)
		mutate_one_size(&m, &first);
	return encode(&first, data, max_size);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
				 size_t max_size, unsigned seed)
{
	struct mutator m;

	prepare();
	mutator_seed(&m, seed, &options);
	program_decode(data1, size1, &first);
	program_decode(data2, size2, &second);
	mutator_cross(&m, &first, &second, &result);
	return encode(&result, out, max_size);
}
