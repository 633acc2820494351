/*
 * The generator of stress programs: a round is a function of scenario, seed, number and threads; the programs are valid, are what their scenario
 * says, and do not hang when they run alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator.h"

static size_t count_kind(const struct program *program, enum op_kind kind)
{
	size_t count = 0;

	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++)
			count += program->threads[t].ops[i].kind == kind;
	return count;
}

/* The same arguments give the same program, whatever was made before; any other one gives another. */
static void is_a_function(void **state)
{
	struct program first, again, other;

	(void)state;
	program_init(&first);
	program_init(&again);
	program_init(&other);
	for (size_t s = 0; scenarios[s].name != NULL; s++) {
		for (uint64_t round = 1; round <= 20; round++) {
			generate_round(&scenarios[s], 7, round, 4, &first);
			generate_round(&scenarios[(s + 1) % 3], 1000 + round, round * 3, 9, &other);
			generate_round(&scenarios[s], 7, round, 4, &again);
			assert_true(program_equal(&first, &again));
			generate_round(&scenarios[s], 8, round, 4, &other);
			assert_false(program_equal(&first, &other));
			generate_round(&scenarios[s], 7, round + 1, 4, &other);
			assert_false(program_equal(&first, &other));
			generate_round(&scenarios[s], 7, round, 8, &other);
			assert_false(program_equal(&first, &other));
		}
	}
	program_destroy(&first);
	program_destroy(&again);
	program_destroy(&other);
}

/* A round that was published stays what it is: a seed and a number in a report are of use for ever. */
static void stays_what_it_is(void **state)
{
	struct program program;
	uint64_t hash = 14695981039346656037u;
	char *text = NULL;
	size_t length = 0;

	(void)state;
	program_init(&program);
	for (size_t s = 0; scenarios[s].name != NULL; s++) {
		FILE *const memory = open_memstream(&text, &length);

		generate_round(&scenarios[s], 42, 17, 3, &program);
		assert_true(program_print(&program, memory));
		fclose(memory);
		for (size_t i = 0; i < length; i++)
			hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
		free(text);
	}
	program_destroy(&program);
	/* Changed on purpose? Then put the new number here. */
	assert_int_equal(hash, UINT64_C(0x9ee3156bc53a88));
}

static void programs_are_valid(void **state)
{
	struct program program, parsed;

	(void)state;
	program_init(&program);
	program_init(&parsed);
	for (size_t s = 0; scenarios[s].name != NULL; s++) {
		for (unsigned threads = 1; threads <= STRESS_THREADS_MAX; threads += 21) {
			char *text = NULL;
			size_t length = 0;
			struct parse_error error;
			FILE *const memory = open_memstream(&text, &length);

			generate_round(&scenarios[s], threads, 3, threads, &program);
			assert_true(program.thread_count >= 2);
			assert_true(program.thread_count <= PROGRAM_THREADS_MAX);
			assert_int_equal(count_kind(&program, OP_SPAWN), program.thread_count - 1);
			assert_int_equal(count_kind(&program, OP_SIGNAL) >= count_kind(&program, OP_WAIT), true);
			assert_true(program_print(&program, memory));
			fclose(memory);
			assert_true(program_parse(text, length, &parsed, &error));
			assert_true(program_equal(&program, &parsed));
			free(text);
		}
	}
	program_destroy(&program);
	program_destroy(&parsed);
}

/* Operations after `exit` of a thread. */
static size_t count_rest(const struct program *program)
{
	size_t count = 0;

	for (size_t t = 1; t < program->thread_count; t++) {
		bool ended = false;

		for (size_t i = 0; i < program->threads[t].count; i++) {
			count += ended;
			ended = ended || program->threads[t].ops[i].kind == OP_EXIT;
		}
	}
	return count;
}

/* Operations on a block that another thread has made. */
static bool hands_over(const struct program *program, enum op_kind kind)
{
	static uint8_t maker[1 << 17];

	memset(maker, 0, sizeof maker);
	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++) {
			const struct op *const op = &program->threads[t].ops[i];

			if (op_makes_block(op->kind) && op->block == LABEL_NULL)
				maker[op->result] = (uint8_t)(t + 1);
		}
	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++) {
			const struct op *const op = &program->threads[t].ops[i];

			if (op->kind == kind && op->block != LABEL_NULL && maker[op->block] != 0 &&
			    maker[op->block] != t + 1)
				return true;
		}
	return false;
}

static void scenarios_are_what_they_say(void **state)
{
	struct program program;

	(void)state;
	program_init(&program);
	generate_round(scenario_find("producer-consumer"), 1, 1, 4, &program);
	assert_true(count_kind(&program, OP_WAIT) > 0 && hands_over(&program, OP_FREE));
	generate_round(scenario_find("all-to-all"), 1, 1, 4, &program);
	assert_true(hands_over(&program, OP_FREE));
	generate_round(scenario_find("churn"), 1, 1, 4, &program);
	assert_true(program.thread_count > 12 && hands_over(&program, OP_FREE));
	generate_round(scenario_find("first-call"), 1, 1, 4, &program);
	assert_true(hands_over(&program, OP_FREE) || hands_over(&program, OP_REALLOC));
	generate_round(scenario_find("destructors"), 1, 1, 4, &program);
	assert_true(count_rest(&program) > 0);
	generate_round(scenario_find("fork"), 1, 1, 4, &program);
	assert_int_equal(count_kind(&program, OP_FORK), 2);
	generate_round(scenario_find("foreign-realloc"), 1, 1, 4, &program);
	assert_true(hands_over(&program, OP_REALLOC));
	generate_round(scenario_find("faults"), 1, 1, 4, &program);
	assert_true(program.fault_count > 8);
	assert_null(scenario_find("nothing"));
	program_destroy(&program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_a_function),
		cmocka_unit_test(stays_what_it_is),
		cmocka_unit_test(programs_are_valid),
		cmocka_unit_test(scenarios_are_what_they_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
