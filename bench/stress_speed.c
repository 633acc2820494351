/*
 * What the oracles cost at full thread speed: the same rounds of stress programs with all oracles and as bare calls, interleaved.
 *
 *   stress_speed [--threads N] [--seconds N] [--scenario NAME] [ALLOCATOR]
 *
 * Prints a line for each scenario: million operations a second both ways, and their ratio. Bare calls touch no payload. Both ways leave the
 * walks between passes in: they are part of the time with oracles.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "free_runner.h"
#include "generator.h"
#include "supervisor.h"

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct speed {
	uint64_t operations;
	double seconds;
};

static void measure(struct free_runner *runner, const struct subject *subject, const struct program *program,
		    bool sparse, struct run_record *record, bool bare, struct speed *speed)
{
	const struct free_runner_options options = {
		.oracles = ORACLES_ALL, .passes = 12, .bare = bare, .sparse = sparse};
	const uint64_t before = record->operations;
	const double start = now();

	free_runner_run(runner, subject, program, &options);
	speed->seconds += now() - start;
	speed->operations += record->operations - before;
}

static double rate(const struct speed *speed)
{
	return (double)speed->operations / speed->seconds / 1e6;
}

int main(int argc, char **argv)
{
	static struct program program;
	const char *name = "mem_alloc_2.0", *only = NULL;
	struct run_record *const record = run_record_open();
	struct free_runner *runner;
	struct subject subject;
	unsigned threads = 2;
	double seconds = 4;
	char message[256];

	for (int at = 1; at < argc; at++) {
		if (strcmp(argv[at], "--threads") == 0 && at + 1 < argc)
			threads = (unsigned)strtoul(argv[++at], NULL, 10);
		else if (strcmp(argv[at], "--seconds") == 0 && at + 1 < argc)
			seconds = strtod(argv[++at], NULL);
		else if (strcmp(argv[at], "--scenario") == 0 && at + 1 < argc)
			only = argv[++at];
		else
			name = argv[at];
	}
	if (threads < 1 || threads > STRESS_THREADS_MAX || !(seconds > 0) ||
	    (only != NULL && scenario_find(only) == NULL)) {
		fprintf(stderr, "usage: %s [--threads N] [--seconds N] [--scenario NAME] [ALLOCATOR]\n", argv[0]);
		return 2;
	}
	if (!subject_open(name, &subject, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	runner = free_runner_create(record);
	if (runner == NULL) {
		perror("heapstorm: no memory for the runner");
		return 3;
	}
	program_init(&program);
	printf("%-18s %12s %12s %7s   (M operations/s, %u threads, %s)\n", "scenario", "bare", "oracles", "ratio",
	       threads, name);
	for (size_t s = 0; scenarios[s].name != NULL; s++) {
		struct speed bare = {0, 0}, checked = {0, 0};

		/* Forks take milliseconds, whatever is checked. */
		if (only != NULL ? strcmp(only, scenarios[s].name) != 0 : strcmp(scenarios[s].name, "fork") == 0)
			continue;
		for (uint64_t round = 1; bare.seconds + checked.seconds < seconds; round++) {
			generate_round(&scenarios[s], 1, round, threads, &program);
			measure(runner, &subject, &program, round % 4 != 0, record, round % 2 == 0,
				round % 2 == 0 ? &bare : &checked);
			measure(runner, &subject, &program, round % 4 != 0, record, round % 2 != 0,
				round % 2 != 0 ? &bare : &checked);
		}
		printf("%-18s %12.2f %12.2f %7.2f\n", scenarios[s].name, rate(&bare), rate(&checked),
		       rate(&checked) / rate(&bare));
	}
	return 0;
}
