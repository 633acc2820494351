/* The shrinker with predicates in place of allocators: what it returns fails, is minimal, and was confirmed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shrink.h"

struct trial {
	bool (*fails)(const struct program *program);
	size_t asked, confirmations, stop_after;
	bool lies; /* first_failing takes anything; only confirm tells the truth */
	bool interrupted;
};

static size_t first_failing(void *context, struct program *candidates, size_t count, unsigned orders)
{
	(void)orders;
	struct trial *const trial = context;

	for (size_t i = 0; i < count; i++) {
		trial->asked++;
		if (trial->stop_after > 0 && trial->asked >= trial->stop_after)
			trial->interrupted = true;
		if (trial->lies || trial->fails(&candidates[i]))
			return i;
	}
	return count;
}

static bool confirm(void *context, const struct program *program)
{
	struct trial *const trial = context;

	trial->confirmations++;
	return trial->fails(program);
}

static bool run(struct trial *trial, struct program *program, struct shrink_figures *figures)
{
	const struct shrink_oracle oracle = {.first_failing = first_failing,
					     .confirm = confirm,
					     .context = trial,
					     .interrupted = &trial->interrupted};

	return shrink(program, &oracle, figures);
}

static void parse(const char *text, struct program *program)
{
	struct parse_error error;

	program_init(program);
	if (!program_parse(text, strlen(text), program, &error))
		fail_msg("%zu: %s", error.line, error.message);
}

static void assert_text(const struct program *program, const char *expected)
{
	char *text;
	size_t size;
	FILE *const file = open_memstream(&text, &size);

	assert_true(program_print(program, file));
	fclose(file);
	assert_string_equal(text, expected);
	free(text);
}

/* A block of at least 100 bytes that is resized later. */
static bool resizes_large(const struct program *program)
{
	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++) {
			const struct op *const made = &program->threads[t].ops[i];

			if (made->kind != OP_MALLOC || made->size < 100)
				continue;
			for (size_t k = i + 1; k < program->threads[t].count; k++)
				if (program->threads[t].ops[k].kind == OP_REALLOC &&
				    program->threads[t].ops[k].block == made->result)
					return true;
		}
	return false;
}

static void make_long(struct program *program, size_t ops)
{
	uint32_t state = 1;

	program_init(program);
	for (size_t i = 0; i < ops; i++) {
		state = state * 1664525 + 1013904223;
		const uint32_t label = state >> 8 & 63;
		const enum op_kind kind = state >> 16 & 1 ? OP_MALLOC : state >> 17 & 1 ? OP_FREE : OP_TOUCH;

		program_append(program, i % 3,
			       (struct op){.kind = kind, .result = label, .block = label, .size = state >> 20 & 63});
	}
	program_append(program, 0, (struct op){.kind = OP_SPAWN, .thread = 1});
	program_append(program, 1, (struct op){.kind = OP_MALLOC, .result = 70, .size = 54321});
	program_append(program, 1, (struct op){.kind = OP_CALLOC, .result = 71, .count = 4, .size = 8});
	program_append(program, 1, (struct op){.kind = OP_REALLOC, .result = 72, .block = 70, .size = 999});
	program_add_fault(program, 7);
	program_add_preemption(program, (struct preemption){.thread = 1, .target = 2, .point = 9});
}

static void finds_the_two_operations(void **state)
{
	struct trial trial = {.fails = resizes_large};
	struct shrink_figures figures;
	struct program program;

	(void)state;
	make_long(&program, 600);
	assert_true(run(&trial, &program, &figures));
	assert_text(&program, "heapstorm 1\nthread main\nthread t1\n  a = malloc 100\n  b = realloc a 0\n");
	assert_true(figures.complete);
	assert_true(figures.accepted > 5);
	assert_true(trial.confirmations >= 2);
	/* Halving, not one at a time: well below the operations times the rounds. */
	assert_true(trial.asked < 6000);
	program_destroy(&program);
}

static bool two_threads(const struct program *program)
{
	bool made = false, freed = false;

	for (size_t i = 0; i < program->threads[0].count; i++)
		made = made || program->threads[0].ops[i].kind == OP_ALIGNED_ALLOC;
	for (size_t t = 1; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++)
			freed = freed || program->threads[t].ops[i].kind == OP_FREE;
	/* The third preemption alone matters, and one fault of at least 3. */
	bool preempted = false;

	for (size_t i = 0; i < program->preemption_count; i++)
		preempted = preempted || (program->schedule[i].target == 0 && program->schedule[i].point >= 5);
	return made && freed && preempted && program->fault_count > 0 && program->faults[program->fault_count - 1] >= 3;
}

static void keeps_threads_faults_and_preemptions_that_matter(void **state)
{
	struct trial trial = {.fails = two_threads};
	struct program program;

	(void)state;
	parse("heapstorm 1\nthread main\n  x = malloc 3\n  y = aligned_alloc 256 4096\n  spawn t1\n  spawn t2\n  spawn "
	      "t4\n"
	      "  signal 9\nthread t1\n  z = malloc 8\nthread t2\n  free y\n  free x\n  wait 9\nthread t4\n  q = malloc "
	      "5\n"
	      "faults\n  map 1\n  map 2\n  map 900\nschedule\n  t1 @3 -> t2\n  t2 @4 -> main\n  t2 @77 -> main\n"
	      "  t4 @1 -> t1\n",
	      &program);
	assert_true(run(&trial, &program, NULL));
	assert_text(&program,
		    "heapstorm 1\nthread main\n  a = aligned_alloc 1 0\nthread t1\n  free b\nfaults\n  map 3\n"
		    "schedule\n  t1 @77 -> main\n");
	program_destroy(&program);
}

/* Two operations of which neither goes without the other. */
static bool both_or_none(const struct program *program)
{
	size_t touches = 0, forks = 0, trims = 0;

	for (size_t i = 0; i < program->threads[0].count; i++) {
		touches += program->threads[0].ops[i].kind == OP_TOUCH;
		forks += program->threads[0].ops[i].kind == OP_FORK;
		trims += program->threads[0].ops[i].kind == OP_TRIM;
	}
	return trims > 0 && touches == forks;
}

static void removes_pairs(void **state)
{
	struct trial trial = {.fails = both_or_none};
	struct program program;

	(void)state;
	parse("heapstorm 1\nthread main\n  touch a\n  trim 4\n  fork\n  fork\n  touch a\n", &program);
	assert_true(run(&trial, &program, NULL));
	assert_text(&program, "heapstorm 1\nthread main\n  trim 0\n");
	program_destroy(&program);
}

static bool has_calloc_of_three(const struct program *program)
{
	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++)
			if (program->threads[t].ops[i].kind == OP_CALLOC && program->threads[t].ops[i].count >= 3)
				return true;
	return false;
}

static void inlines_threads(void **state)
{
	struct trial trial = {.fails = has_calloc_of_three};
	struct program program;

	(void)state;
	/* The thread is not needed for the failure, and goes though its operation stays. */
	parse("heapstorm 1\nthread main\n  spawn t1\n  join t1\nthread t1\n  a = calloc 50 50\n", &program);
	assert_true(run(&trial, &program, NULL));
	assert_int_equal(program_op_count(&program), 1);
	assert_int_equal(program.threads[program.thread_count - 1].ops[0].count, 3);
	program_destroy(&program);
}

static void never_returns_what_does_not_fail(void **state)
{
	struct trial trial = {.fails = resizes_large, .lies = true};
	struct program program, before;

	(void)state;
	make_long(&program, 100);
	program_init(&before);
	program_copy(&before, &program);
	assert_true(run(&trial, &program, NULL));
	assert_true(resizes_large(&program));

	trial = (struct trial){.fails = two_threads};
	program_copy(&program, &before);
	assert_false(run(&trial, &program, NULL));
	assert_true(program_equal(&program, &before));
	assert_int_equal(trial.asked, 0);
	program_destroy(&before);
	program_destroy(&program);
}

static void interrupted_keeps_the_smallest_so_far(void **state)
{
	(void)state;
	for (size_t after = 1; after < 400; after += 13) {
		struct trial trial = {.fails = resizes_large, .stop_after = after};
		struct shrink_figures figures;
		struct program program;

		make_long(&program, 300);
		const size_t before = program_op_count(&program);

		assert_true(run(&trial, &program, &figures));
		assert_true(resizes_large(&program));
		assert_true(trial.asked <= after + 256);
		if (after > 40)
			assert_true(program_op_count(&program) < before);
		assert_false(figures.complete && program_op_count(&program) > 2);
		program_destroy(&program);
	}
}

static void signatures(void **state)
{
	char one[256], other[256];
	struct verdict verdict = {.kind = VERDICT_CONTRACT, .message = "malloc of 12 bytes returned NULL"};

	(void)state;
	verdict_signature(&verdict, one, sizeof one);
	strcpy(verdict.message, "malloc of 4096 bytes returned NULL");
	verdict_signature(&verdict, other, sizeof other);
	assert_string_equal(one, other);
	strcpy(verdict.message, "calloc of 4096 bytes returned NULL");
	verdict_signature(&verdict, other, sizeof other);
	assert_string_not_equal(one, other);
	/* What was found there differs from program to program: one mistake all the same. */
	verdict = (struct verdict){.kind = VERDICT_OVERLAP, .message = "a"};
	verdict_signature(&verdict, one, sizeof one);
	strcpy(verdict.message, "b");
	verdict_signature(&verdict, other, sizeof other);
	assert_string_equal(one, other);
	/* A line of the sources does count; addresses and registers do not. */
	verdict =
		(struct verdict){.kind = VERDICT_CRASH, .message = "undefined behaviour at chunk.c:83:9: null pointer"};
	verdict_signature(&verdict, one, sizeof one);
	strcpy(verdict.message, "undefined behaviour at chunk.c:84:9: null pointer");
	verdict_signature(&verdict, other, sizeof other);
	assert_string_not_equal(one, other);
	strcpy(verdict.message, "AddressSanitizer: SEGV on unknown address 0x12ab (pc 0x1 bp 0x2)");
	verdict_signature(&verdict, one, sizeof one);
	strcpy(verdict.message, "AddressSanitizer: SEGV on unknown address 0x77 (pc 0x9 bp 0x2)");
	verdict_signature(&verdict, other, sizeof other);
	assert_string_equal(one, other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_two_operations),
		cmocka_unit_test(keeps_threads_faults_and_preemptions_that_matter),
		cmocka_unit_test(removes_pairs),
		cmocka_unit_test(inlines_threads),
		cmocka_unit_test(never_returns_what_does_not_fail),
		cmocka_unit_test(interrupted_keeps_the_smallest_so_far),
		cmocka_unit_test(signatures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
