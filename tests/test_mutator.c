/* The mutator: what it makes is a program, the same from the same seed, within bounds, and reaches what allocators break on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mutator.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
				 size_t max_size, unsigned seed);

static const struct mutator_options one_thread = {.ops_max = 200, .threads_max = 1, .faults = true};
static const struct mutator_options four_threads = {.ops_max = 200, .threads_max = 4, .faults = true};

#define BATCH 48 /* operations that one mutation may add beyond ops_max */

static void mutate(struct program *p, uint64_t seed, const struct mutator_options *options)
{
	struct mutator m;

	mutator_seed(&m, seed, options);
	mutator_mutate(&m, p);
}

static void assert_encodes(const struct program *p, struct program *scratch)
{
	static uint8_t bytes[1 << 16];
	size_t length = program_encode(p, bytes, sizeof(bytes));

	assert_int_equal(length, program_encoded_size(p));
	program_decode(bytes, length, scratch);
	assert_true(program_equal(p, scratch));
}

static void the_same_seed_gives_the_same_program(void **state)
{
	struct program p, q, r;

	(void)state;
	program_init(&p);
	program_init(&q);
	program_init(&r);
	for (uint64_t seed = 0; seed < 2000; seed++) {
		mutator_random_program(seed, 40, &p);
		mutator_random_program(seed + 1, 90, &r); /* something else in between */
		mutator_random_program(seed, 40, &q);
		assert_true(program_equal(&p, &q));
		mutate(&p, seed, &four_threads);
		mutate(&r, seed, &four_threads);
		mutate(&q, seed, &four_threads);
		assert_true(program_equal(&p, &q));
	}
	program_destroy(&p);
	program_destroy(&q);
	program_destroy(&r);
}

static void chains_of_mutations_stay_programs_within_bounds(void **state)
{
	struct program p, q;
	size_t unchanged = 0;

	(void)state;
	program_init(&p);
	program_init(&q);
	for (uint64_t seed = 0; seed < 20000; seed++) {
		if (seed % 500 == 0)
			program_clear(&p);
		program_copy(&q, &p);
		mutate(&p, seed, seed % 1000 < 500 ? &one_thread : &four_threads);
		unchanged += program_equal(&p, &q);
		/* Several mutations in one call: each may pass the bound once. */
		assert_true(program_op_count(&p) < one_thread.ops_max + 2 * BATCH);
		assert_true(program_op_count(&p) > 0);
		assert_true(program_label_limit(&p) <= 1024);
		assert_encodes(&p, &q);
	}
	assert_true(unchanged < 20000 / 20);
	program_destroy(&p);
	program_destroy(&q);
}

static bool is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static void mutations_reach_what_allocators_break_on(void **state)
{
	enum {
		ZERO,
		TINY,
		CLASS,
		PAGE,
		MAPPED,
		MEGABYTE,
		PTRDIFF,
		SIZE_LIMIT,
		WRAPPED,
		BAD_ALIGNMENT,
		PAGE_ALIGNMENT,
		NULL_BLOCK,
		FAULT,
		THINGS
	};
	size_t seen[THINGS] = {0}, kinds[OP_KINDS] = {0};
	struct program p;

	(void)state;
	program_init(&p);
	for (uint64_t seed = 0; seed < 20000; seed++) {
		if (seed % 100 == 0)
			program_clear(&p);
		mutate(&p, seed, &one_thread);
		seen[FAULT] += p.fault_count > 0;
		for (size_t i = 0; i < p.threads[0].count; i++) {
			const struct op *op = &p.threads[0].ops[i];
			unsigned operands = op_operands(op->kind);
			uint64_t product = op->size;
			bool wraps =
				(operands & OPERAND_COUNT) && __builtin_mul_overflow(op->count, op->size, &product);

			kinds[op->kind]++;
			if (operands & OPERAND_SIZE) {
				seen[ZERO] += op->size == 0;
				seen[TINY] += op->size > 0 && op->size < 16;
				seen[CLASS] += op->size == 256 || op->size == 1024 || op->size == 1025;
				seen[PAGE] += op->size == 4096 || op->size == 4097 || op->size == 4080;
				seen[MAPPED] += op->size >= 128 << 10 && op->size < 512 << 10;
				seen[MEGABYTE] += op->size >= 1 << 20 && op->size <= 8 << 20;
				seen[PTRDIFF] += op->size == INT64_MAX || op->size == (uint64_t)INT64_MAX + 1;
				seen[SIZE_LIMIT] += op->size >= UINT64_MAX - 4096;
				seen[WRAPPED] += wraps && product < 4096;
				/* Nothing that a machine could have but should not be asked for. */
				assert_true(wraps || product <= 64 << 20 || product >= 1ull << 40);
			}
			if (operands & OPERAND_ALIGNMENT) {
				seen[BAD_ALIGNMENT] += !is_power_of_two(op->alignment);
				seen[PAGE_ALIGNMENT] += op->alignment == 4096;
			}
			if (operands & OPERAND_BLOCK)
				seen[NULL_BLOCK] += op->block == LABEL_NULL;
		}
	}
	for (int i = 0; i < THINGS; i++)
		if (seen[i] == 0)
			fail_msg("thing %d was never made", i);
	for (int kind = 0; kind < OP_KINDS; kind++)
		assert_true((kinds[kind] > 0) == (kind < OP_SPAWN || kind == OP_FORK));
	program_destroy(&p);
}

static void threads_come_only_where_they_may(void **state)
{
	size_t spawns = 0, joins = 0, exits = 0, signals = 0, waits = 0, preemptions = 0, operations = 0;
	struct program p;

	(void)state;
	program_init(&p);
	for (uint64_t seed = 0; seed < 5000; seed++) {
		if (seed % 100 == 0)
			program_clear(&p);
		mutate(&p, seed, &four_threads);
		assert_true(p.thread_count <= 4);
		preemptions += p.preemption_count;
		for (size_t i = 0; i < p.thread_count; i++) {
			operations += i > 0 ? p.threads[i].count : 0;
			for (size_t j = 0; j < p.threads[i].count; j++) {
				spawns += p.threads[i].ops[j].kind == OP_SPAWN;
				joins += p.threads[i].ops[j].kind == OP_JOIN;
				exits += p.threads[i].ops[j].kind == OP_EXIT;
				signals += p.threads[i].ops[j].kind == OP_SIGNAL;
				waits += p.threads[i].ops[j].kind == OP_WAIT;
			}
		}
	}
	assert_true(spawns > 0 && joins > 0 && exits > 0 && signals > 0 && waits > 0 && preemptions > 0 &&
		    operations > 0);
	program_clear(&p);
	for (uint64_t seed = 0; seed < 5000; seed++) {
		mutate(&p, seed, &(struct mutator_options){.ops_max = 50, .threads_max = 1, .faults = false});
		assert_int_equal(p.thread_count, 1);
		assert_int_equal(p.preemption_count, 0);
		assert_int_equal(p.fault_count, 0);
	}
	program_destroy(&p);
}

static void random_programs_use_live_blocks_and_modest_memory(void **state)
{
	enum { LABELS = 1024 };
	struct program p;
	size_t frees = 0, hits = 0, without[OP_KINDS] = {0};

	(void)state;
	program_init(&p);
	for (uint64_t seed = 0; seed < 1000; seed++) {
		uint64_t size[LABELS] = {0}, bytes = 0, kinds = 0;
		bool live[LABELS] = {false};

		mutator_random_program(seed, 300, &p);
		assert_int_equal(p.thread_count, 1);
		assert_int_equal(p.threads[0].count, 300);
		for (size_t i = 0; i < 300; i++) {
			const struct op *op = &p.threads[0].ops[i];
			unsigned operands = op_operands(op->kind);
			uint64_t wanted = op->size;
			bool fails =
				((operands & OPERAND_COUNT) && __builtin_mul_overflow(op->count, op->size, &wanted)) ||
				wanted >= 1ull << 40;

			kinds |= 1u << op->kind;
			if (op->kind == OP_FREE) {
				frees++;
				hits += op->block < LABELS && live[op->block];
			}
			if (op->block < LABELS && live[op->block] &&
			    (op->kind == OP_FREE || (op_makes_block(op->kind) && !fails))) {
				bytes -= size[op->block];
				live[op->block] = false;
			}
			if (op_makes_block(op->kind) && !fails) {
				assert_true(op->result < LABELS);
				live[op->result] =
					true; /* a block that was there stays in `bytes`: it lost its name only */
				size[op->result] = wanted;
				bytes += wanted;
			}
			assert_true(bytes <= 72u << 20);
		}
		for (int kind = 0; kind < OP_SPAWN; kind++)
			without[kind] += !(kinds >> kind & 1);
	}
	assert_true(hits * 10 > frees * 8);
	/* Swarm: each kind but free is missing in many programs and there in many. */
	for (int kind = 0; kind < OP_SPAWN; kind++)
		if (kind != OP_FREE)
			if (without[kind] < 100 || without[kind] > 900)
				fail_msg("%s is missing in %zu of 1000 programs", op_kind_name((enum op_kind)kind),
					 without[kind]);
	program_destroy(&p);
}

static void crossovers_hold_operations_of_both(void **state)
{
	struct program a, b, to, scratch;
	size_t both = 0;

	(void)state;
	program_init(&a);
	program_init(&b);
	program_init(&to);
	program_init(&scratch);
	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct mutator m;
		bool from_a = false, from_b = false;

		mutator_random_program(seed, 30, &a);
		mutator_random_program(seed + 100000, 30, &b);
		for (size_t i = 0; i < 30; i++) {
			a.threads[0].ops[i].kind = OP_FREE;
			b.threads[0].ops[i].kind = OP_TOUCH;
		}
		program_add_fault(&a, 3);
		mutator_seed(&m, seed, &one_thread);
		mutator_cross(&m, &a, &b, &to);
		assert_encodes(&to, &scratch);
		for (size_t i = 0; i < to.threads[0].count; i++) {
			from_a |= to.threads[0].ops[i].kind == OP_FREE;
			from_b |= to.threads[0].ops[i].kind == OP_TOUCH;
		}
		both += from_a && from_b;
	}
	assert_true(both > 1500);
	program_destroy(&a);
	program_destroy(&b);
	program_destroy(&to);
	program_destroy(&scratch);
}

static void the_entry_points_keep_to_their_room(void **state)
{
	static uint8_t one[4096], two[4096], out[4096 + 1], twin[4096 + 1];
	struct program p;

	(void)state;
	program_init(&p);
	for (unsigned seed = 0; seed < 4000; seed++) {
		size_t room = seed % 400 == 0 ? 1 : 1 + seed * 7919u % 700;
		size_t length, length_two, made;

		mutator_random_program(seed, 50, &p);
		length = program_encode(&p, one, room);
		mutator_random_program(seed + 1, 50, &p);
		length_two = program_encode(&p, two, room);

		memset(out, 0xee, sizeof(out));
		memset(twin, 0xdd, sizeof(twin));
		memcpy(out, one, length);
		memcpy(twin, one, length);
		made = LLVMFuzzerCustomMutator(out, length, room, seed);
		assert_true(made >= 1 && made <= room);
		assert_int_equal(out[room], 0xee);
		assert_int_equal(LLVMFuzzerCustomMutator(twin, length, room, seed), made);
		assert_memory_equal(out, twin, made);

		memset(out, 0xee, sizeof(out));
		made = LLVMFuzzerCustomCrossOver(one, length, two, length_two, out, room, seed);
		assert_true(made >= 1 && made <= room);
		assert_int_equal(out[room], 0xee);
	}
	program_destroy(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_gives_the_same_program),
		cmocka_unit_test(chains_of_mutations_stay_programs_within_bounds),
		cmocka_unit_test(mutations_reach_what_allocators_break_on),
		cmocka_unit_test(threads_come_only_where_they_may),
		cmocka_unit_test(random_programs_use_live_blocks_and_modest_memory),
		cmocka_unit_test(crossovers_hold_operations_of_both),
		cmocka_unit_test(the_entry_points_keep_to_their_room),
	};

	return cmocka_run_group_tests_name("mutator", tests, NULL, NULL);
}
