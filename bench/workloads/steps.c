/*
 * steps: what the tracer of bench/steps.c steps through. Each section begins and ends with a breakpoint instruction, which would end
 * the process if nobody traced it; they are enum bench_section, in that order, of BENCH_SECTION_CALLS turns each.
 */
#include <pthread.h>
#include <stdlib.h>

#include "steps.h"
#include "worker.h"

#if defined(__x86_64__)
#define MARK() __asm__ volatile("int3" ::: "memory")
#else
#define MARK() __builtin_trap()
#endif

enum { SIZE = 32, LIVE = 5000, WARM_UP = 20 };

static pthread_barrier_t barrier;
static void *blocks[BENCH_SECTION_CALLS], *live[LIVE];
static void *(*volatile make)(size_t) = malloc;
static void (*volatile end)(void *) = free;

static void make_all(void)
{
	for (int i = 0; i < BENCH_SECTION_CALLS; i++)
		blocks[i] = make(SIZE);
}

static void free_all(void)
{
	for (int i = 0; i < BENCH_SECTION_CALLS; i++)
		end(blocks[i]);
}

/* The other thread: frees what main made, once a turn. It is there from the start, so that no allocator takes the process for single-threaded. */
static void *free_for_main(void *unused)
{
	(void)unused;
	for (int turn = 0; turn <= WARM_UP; turn++) {
		pthread_barrier_wait(&barrier);
		if (turn == WARM_UP)
			MARK();
		free_all();
		if (turn == WARM_UP)
			MARK();
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static uint64_t run_steps(double share, const char *argument)
{
	pthread_t other;
	uint64_t random = 88172645463325252u;

	(void)share, (void)argument;
	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&other, NULL, free_for_main, NULL) != 0)
		die("a thread cannot be started");

	/* BENCH_OWN_PAIR */
	for (int i = 0; i < BENCH_SECTION_CALLS; i++)
		end(make(SIZE));
	MARK();
	for (int i = 0; i < BENCH_SECTION_CALLS; i++)
		end(make(SIZE));
	MARK();

	/* BENCH_OWN_LIVE: sizes of 16 to 512 B */
	for (int i = 0; i < LIVE; i++)
		live[i] = make(random_size(&random, 16, 5));
	for (int turn = 0; turn <= WARM_UP; turn++) {
		if (turn == WARM_UP)
			MARK();
		for (int i = 0; i < BENCH_SECTION_CALLS; i++) {
			void **const place = &live[random_below(&random, LIVE)];

			end(*place);
			*place = make(random_size(&random, 16, 5));
		}
		if (turn == WARM_UP)
			MARK();
	}

	/* BENCH_REMOTE_FREE, BENCH_AFTER_REMOTE */
	for (int turn = 0; turn <= WARM_UP; turn++) {
		make_all();
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
	}
	MARK();
	make_all();
	MARK();
	pthread_join(other, NULL);
	free_all();
	for (int i = 0; i < LIVE; i++)
		end(live[i]);
	return 0;
}

const struct workload workloads_steps[] = {
	{"steps", run_steps},
	{NULL, NULL},
};
