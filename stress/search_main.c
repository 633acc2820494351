/*
 * The process that runs many programs of one thread, each on the untouched allocator:
 *
 *   search-VARIANT --mode small|random|faults|reclaim [--seed S] [--first N] [--operations K] ALLOCATOR
 *
 *   small   all programs of 1 operation, of 2, ...: small_programs.h; with --operations it ends after those of K, and says how many they are
 *   random  random ones of up to 200 operations, one in 64 with the checks that run it again and again
 *   reclaim random ones, each with these checks
 *   faults  small ones, and of each the runs in which the OS refuses the first mapping, the second, ...; then random ones with faults
 *
 * From number N on (from 0), until it is stopped. The program at work is in the record's `input`, its number in `round`, and for small ones
 * the operations in `candidate`. Exit status: 0 all were run (--operations), 1 a verdict, 2 wrong usage or no such allocator, 3 the OS lacks something.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor.h"
#include "mutator.h"
#include "sanitizer.h"
#include "sanitizer_options.h"
#include "small_programs.h"
#include "supervisor.h"

#define RANDOM_OPERATIONS_MAX 200
#define DEEP_EACH 64
#define FAULTED_MAX 4       /* mappings of a small program that are refused one by one */
#define FAULTED_PROGRAMS 4000 /* small ones that this is done with */

SANITIZER_DEFAULT_OPTIONS(":exitcode=1:allow_user_segv_handler=1:quarantine_size_mb=1")

static uint64_t hash(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static void make_random(uint64_t seed, uint64_t number, bool faults, struct program *program)
{
	const uint64_t random = hash(seed ^ hash(number));

	program_clear(program);
	mutator_random_program(random, 2 + random % RANDOM_OPERATIONS_MAX, program);
	for (unsigned i = 0; faults && i < 1 + random % 3; i++)
		program_add_fault(program, 1 + hash(random + i) % (UINT64_C(1) << (1 + hash(random - i) % 7)));
}

int main(int argc, char **argv)
{
	static struct program program;
	static struct small_programs all;
	struct run_record *const record = run_record_open();
	struct run_options options = {.oracles = ORACLES_ALL, .sparse = true};
	struct executor *executor;
	struct subject subject;
	const char *mode = "";
	char message[512];
	uint64_t seed = 1, first = 0, counts[SMALL_OPERATIONS_MAX + 1] = {0};
	unsigned operations = 0; /* of small programs at most; 0: no limit */
	int at = 1;

	for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
		if (strcmp(argv[at], "--mode") == 0)
			mode = argv[at + 1];
		else if (strcmp(argv[at], "--seed") == 0)
			seed = strtoull(argv[at + 1], NULL, 0);
		else if (strcmp(argv[at], "--first") == 0)
			first = strtoull(argv[at + 1], NULL, 0);
		else if (strcmp(argv[at], "--operations") == 0)
			operations = (unsigned)strtoul(argv[at + 1], NULL, 10);
		else
			break;
	}
	const bool faults = strcmp(mode, "faults") == 0, reclaim = strcmp(mode, "reclaim") == 0;
	const bool random = reclaim || strcmp(mode, "random") == 0;

	if (argc - at != 1 || operations > SMALL_OPERATIONS_MAX - 1 ||
	    (!faults && !random && strcmp(mode, "small") != 0)) {
		fprintf(stderr,
			"usage: %s --mode small|random|faults|reclaim [--seed S] [--first N] [--operations K] "
			"ALLOCATOR\n",
			argv[0]);
		return 2;
	}
	if (!subject_open(argv[at], &subject, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	executor = executor_create(record);
	if (executor == NULL) {
		perror("heapstorm: no memory for the executor");
		return 3;
	}
	executor_watch(executor, !sanitizer_has_asan());
	program_init(&program);
	small_programs_begin(&all);
	for (uint64_t number = 0;; number++) {
		if (random)
			make_random(seed + reclaim, number, false, &program);
		else if (faults && number >= (uint64_t)FAULTED_PROGRAMS * FAULTED_MAX)
			make_random(seed, number, true, &program);
		else if (!faults || number % FAULTED_MAX == 0)
			small_programs_next(&all, &program);
		if (faults && number < (uint64_t)FAULTED_PROGRAMS * FAULTED_MAX) {
			program.fault_count = 0;
			program_add_fault(&program, 1 + number % FAULTED_MAX);
		}
		if (operations != 0 && all.operations > operations)
			break;
		counts[all.operations]++;
		if (number < first)
			continue;
		record->round = number;
		record->candidate = all.operations;
		record->input_size = (uint32_t)program_encode(&program, record->input, RUN_INPUT_MAX);
		options.deep = reclaim || (random && number % DEEP_EACH == 0);
		if (executor_run(executor, &subject, &program, &options) != VERDICT_CLEAN)
			_Exit(1);
	}
	for (unsigned i = 1; i <= operations; i++)
		printf("%u operations: %" PRIu64 " programs\n", i, counts[i]);
	return 0;
}
