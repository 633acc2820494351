/*
 * How long a malloc and the free that goes with it take, over the size of the block, beside libc's.
 *
 *   perf ALLOCATOR [CSV]     ALLOCATOR: mem_alloc, mem_alloc_2.0
 *
 * Two workloads, each on one thread, for every power of two from 16 B to 4 MiB:
 * - single: a block is made, its first and last byte are written, and it is freed at once;
 * - live set: of many live blocks of the size a random one is freed and replaced by a new one, which is written as above.
 *
 * All allocators are called through the same kind of pointer, in turns, so that a busy machine slows all of them. What is shown is the
 * median of the rounds; the CSV holds the lowest and the highest round as well. The time of the loop itself, about a nanosecond, is in
 * all of the figures.
 */
#define _GNU_SOURCE
#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem_alloc.h"
#include "mem_alloc_2.0.h"

#define SIZE_FIRST ((size_t)16)
#define SIZE_LAST ((size_t)4 << 20)
#define ROUNDS 15
#define SAMPLE_NS 8e6                 /* a round of one allocator takes about this long */
#define LIVE_MAX 1024                 /* blocks of the live set, a power of two */
#define LIVE_BYTES ((size_t)64 << 20) /* at most, all together */

struct candidate {
	const char *name;
	void *(*malloc)(size_t size);
	void (*free)(void *pointer);
};

static const struct candidate candidates[] = {
	{"mem_alloc", my_malloc, my_free},
	{"mem_alloc_2.0", my_malloc_2_0, my_free_2_0},
	{"malloc/free", malloc, free},
};
#define CANDIDATES (sizeof(candidates) / sizeof(candidates[0]))
#define REFERENCE (CANDIDATES - 1)

struct live_set {
	char *blocks[LIVE_MAX];
	size_t count; /* a power of two */
	uint32_t random;
};

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static char *make_block(const struct candidate *candidate, size_t size)
{
	volatile char *block = candidate->malloc(size);

	if (block == NULL) {
		fprintf(stderr, "perf: %s: no memory for %zu bytes\n", candidate->name, size);
		exit(1);
	}
	block[0] = 1;
	block[size - 1] = 1;
	return (char *)block;
}

/* A workload: does `count` times a malloc and a free. */
typedef void workload(const struct candidate *candidate, struct live_set *live, size_t size, size_t count);

__attribute__((noinline)) static void run_single(const struct candidate *candidate, struct live_set *live, size_t size,
						 size_t count)
{
	(void)live;
	for (size_t i = 0; i < count; i++)
		candidate->free(make_block(candidate, size));
}

__attribute__((noinline)) static void run_live(const struct candidate *candidate, struct live_set *live, size_t size,
					       size_t count)
{
	uint32_t random = live->random;
	const size_t mask = live->count - 1;

	for (size_t i = 0; i < count; i++) {
		/* Marsaglia, "Xorshift RNGs", 2003 */
		random ^= random << 13;
		random ^= random >> 17;
		random ^= random << 5;
		candidate->free(live->blocks[random & mask]);
		live->blocks[random & mask] = make_block(candidate, size);
	}
	live->random = random;
}

static void live_set_make(const struct candidate *candidate, struct live_set *live, size_t size)
{
	live->count = LIVE_MAX;
	while (live->count * size > LIVE_BYTES)
		live->count /= 2;
	live->random = 2463534242u;
	for (size_t i = 0; i < live->count; i++)
		live->blocks[i] = make_block(candidate, size);
}

static void live_set_free(const struct candidate *candidate, struct live_set *live)
{
	for (size_t i = 0; i < live->count; i++)
		candidate->free(live->blocks[i]);
}

/* Nanoseconds of one malloc and free. */
static double sample_ns(workload *run, const struct candidate *candidate, struct live_set *live, size_t size,
			size_t count)
{
	const double start = now_ns();

	run(candidate, live, size, count);
	return (now_ns() - start) / (double)count;
}

/* How many fill a sample. */
static size_t calibrate(workload *run, const struct candidate *candidate, struct live_set *live, size_t size)
{
	size_t count = 16;

	for (;;) {
		const double ns = sample_ns(run, candidate, live, size, count);

		if (ns * (double)count > SAMPLE_NS / 8) {
			const size_t enough = (size_t)(SAMPLE_NS / ns);

			return enough > 0 ? enough : 1;
		}
		count *= 2;
	}
}

static int compare_doubles(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct result {
	double median_ns, low_ns, high_ns;
};

static void print_size(size_t size, char text[16])
{
	if (size >= (size_t)1 << 20)
		snprintf(text, 16, "%zu MiB", size >> 20);
	else if (size >= 1024)
		snprintf(text, 16, "%zu KiB", size >> 10);
	else
		snprintf(text, 16, "%zu B", size);
}

/* Measures all candidates in turns. */
static void measure(workload *run, bool with_live_set, size_t size, struct result results[CANDIDATES])
{
	static struct live_set live[CANDIDATES];
	static double rounds[CANDIDATES][ROUNDS];
	size_t counts[CANDIDATES];
	char text[16];

	for (size_t c = 0; c < CANDIDATES; c++) {
		if (with_live_set)
			live_set_make(&candidates[c], &live[c], size);
		counts[c] = calibrate(run, &candidates[c], &live[c], size);
	}
	for (size_t round = 0; round < ROUNDS; round++) {
		if (isatty(STDERR_FILENO)) {
			print_size(size, text);
			fprintf(stderr, "\r%s, round %zu of %d ", text, round + 1, ROUNDS);
		}
		for (size_t i = 0; i < CANDIDATES; i++) {
			const size_t c = (i + round) % CANDIDATES;

			rounds[c][round] = sample_ns(run, &candidates[c], &live[c], size, counts[c]);
		}
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	for (size_t c = 0; c < CANDIDATES; c++) {
		if (with_live_set)
			live_set_free(&candidates[c], &live[c]);
		qsort(rounds[c], ROUNDS, sizeof(rounds[c][0]), compare_doubles);
		results[c] = (struct result){rounds[c][ROUNDS / 2], rounds[c][0], rounds[c][ROUNDS - 1]};
	}
}

static void measure_sizes(const char *name, workload *run, bool with_live_set, size_t subject, FILE *csv)
{
	double log_sum = 0;
	unsigned sizes = 0;

	printf("\n%s, ns per malloc and free\n%10s", name, "size");
	for (size_t c = 0; c < CANDIDATES; c++)
		printf("  %14s", candidates[c].name);
	printf("  %s / %s\n", candidates[subject].name, candidates[REFERENCE].name);
	for (size_t size = SIZE_FIRST; size <= SIZE_LAST; size *= 2) {
		struct result results[CANDIDATES];
		char text[16];

		measure(run, with_live_set, size, results);
		print_size(size, text);
		printf("%10s", text);
		for (size_t c = 0; c < CANDIDATES; c++) {
			printf("  %14.1f", results[c].median_ns);
			if (csv != NULL)
				fprintf(csv, "%s,%s,%zu,%.2f,%.2f,%.2f\n", name, candidates[c].name, size,
					results[c].median_ns, results[c].low_ns, results[c].high_ns);
		}
		const double ratio = results[subject].median_ns / results[REFERENCE].median_ns;

		printf("  %.2f\n", ratio);
		fflush(stdout);
		log_sum += log(ratio);
		sizes++;
	}
	printf("%10s  %*s  %.2f (geometric mean; below 1 is faster than %s)\n", "all", (int)(CANDIDATES * 16 - 2), "",
	       exp(log_sum / sizes), candidates[REFERENCE].name);
}

/* Stays on the processor it is on: a migration would hit one candidate alone. */
static void stay_on_this_processor(void)
{
	const int processor = sched_getcpu();
	cpu_set_t set;

	if (processor < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int main(int count, char **arguments)
{
	size_t subject = 0;
	FILE *csv = NULL;

	while (count >= 2 && subject < REFERENCE && strcmp(arguments[1], candidates[subject].name) != 0)
		subject++;
	if (count < 2 || count > 3 || subject == REFERENCE) {
		fprintf(stderr, "usage: perf mem_alloc|mem_alloc_2.0 [CSV]\n");
		return 2;
	}
	if (count == 3) {
		csv = fopen(arguments[2], "w");
		if (csv == NULL) {
			perror(arguments[2]);
			return 2;
		}
		fprintf(csv, "workload,allocator,bytes,median_ns,lowest_ns,highest_ns\n");
	}
	stay_on_this_processor();
	measure_sizes("single", run_single, false, subject, csv);
	measure_sizes("live set", run_live, true, subject, csv);
	if (csv != NULL && fclose(csv) != 0) {
		perror(arguments[2]);
		return 1;
	}
	return 0;
}
