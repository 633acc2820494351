/*
 * The process in which threads stress an allocator:
 *
 *   stress-VARIANT [--threads N] [--seed S] [--scenario NAME] [--first R] [--step N] [--rounds N] ALLOCATOR
 *
 * Runs the rounds R, R + step, R + 2 * step, ... of a scenario (--step 0: the same one again and again), --rounds of them or without end. The
 * number of the round at work is in the record's `round`. Exit status: 0 clean, 1 a verdict, 2 wrong usage, 3 the OS lacks something.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "free_runner.h"
#include "generator.h"
#include "sanitizer_options.h"
#include "supervisor.h"

#define PASSES 12

const char *__tsan_default_options(void);

/* What locks wait for each other is told by the supervisor when they do. */
const char *__tsan_default_options(void)
{
	return "halt_on_error=1:exitcode=66:detect_deadlocks=0:history_size=4:handle_segv=0:handle_sigbus=0:handle_"
	       "abort=0:"
	       "handle_sigfpe=0:handle_sigill=0:atexit_sleep_ms=0";
}

SANITIZER_DEFAULT_OPTIONS(":exitcode=1:allow_user_segv_handler=1")

static int usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [--threads 1..%d] [--seed S] [--scenario NAME] [--first R] [--step N] [--rounds N] "
		"ALLOCATOR\n",
		name, STRESS_THREADS_MAX);
	return 2;
}

int main(int argc, char **argv)
{
	static struct program program;
	struct free_runner_options options = {.oracles = ORACLES_ALL, .passes = PASSES};
	const struct scenario *scenario = &scenarios[0];
	struct run_record *const record = run_record_open();
	struct free_runner *runner;
	struct subject subject;
	char message[256];
	uint64_t seed = 1, round = 1, step = 1, rounds = UINT64_MAX;
	unsigned long threads = 4;
	int at = 1;

	for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
		const char *const value = argv[at + 1];

		if (strcmp(argv[at], "--threads") == 0)
			threads = strtoul(value, NULL, 0);
		else if (strcmp(argv[at], "--seed") == 0)
			seed = strtoull(value, NULL, 0);
		else if (strcmp(argv[at], "--scenario") == 0)
			scenario = scenario_find(value);
		else if (strcmp(argv[at], "--first") == 0)
			round = strtoull(value, NULL, 0);
		else if (strcmp(argv[at], "--step") == 0)
			step = strtoull(value, NULL, 0);
		else if (strcmp(argv[at], "--rounds") == 0)
			rounds = strtoull(value, NULL, 0);
		else
			break;
	}
	if (argc - at != 1 || threads < 1 || threads > STRESS_THREADS_MAX || scenario == NULL)
		return usage(argv[0]);
	if (!subject_open(argv[at], &subject, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	if (subject.allocator->contract.thread_safe == CONTRACT_NO) {
		fprintf(stderr, "heapstorm: %s is for one thread\n", subject.allocator->name);
		return 2;
	}
	runner = free_runner_create(record);
	if (runner == NULL) {
		perror("heapstorm: no memory for the runner");
		return 3;
	}
	program_init(&program);
	for (; rounds > 0; rounds--, round += step) {
		record->round = round;
		generate_round(scenario, seed, round, (unsigned)threads, &program);
		/* Every byte of large blocks is memory speed: in one round of four. */
		options.sparse = round % 4 != 0;
		free_runner_run(runner, &subject, &program, &options);
	}
	record->state = RUN_FINISHED;
	return 0;
}
