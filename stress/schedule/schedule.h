/*
 * The scheduled runner: real threads, of which one runs at a time, and every switch between them is chosen.
 *
 * An allocator compiled with -fsanitize=thread calls __tsan_... at each access to memory; this runtime stands behind those names
 * (access.c) in place of ThreadSanitizer's. The calls to pthread functions and to the OS go to heapstorm_sched_... (pthread.c), as
 * cmake/bundle_allocator.sh redirects them in the variant `sched`.
 *
 * Scheduling points: each atomic access, lock, unlock, wait, wake, thread start and end, OS call, and the start of each operation of a
 * program. They are counted per thread, from 1. Plain accesses are none: either they race, which race.c reports whatever the order,
 * or their order cannot matter.
 *
 * At a point the thread goes on, unless the schedule says that another one runs in its place. A thread that blocks or ends gives way
 * to the lowest one that can run, one that yields to the next one in the circle of their numbers. So a list of exceptions, each (thread, point, target), is the whole schedule; every strategy
 * writes that list as it goes, so that a run can be had again from a file.
 *
 * Nothing here allocates memory, and no decision depends on an address: with the same program and schedule, a run is the same in any
 * process.
 */
#ifndef HEAPSTORM_STRESS_SCHEDULE_H
#define HEAPSTORM_STRESS_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/bundle.h"
#include "executor.h"
#include "program.h"
#include "verdict.h"

#define SCHEDULE_THREADS_MAX 128

enum schedule_strategy {
	STRATEGY_NONE,    /* no preemption */
	STRATEGY_FILE,    /* the list that is given */
	STRATEGY_RANDOM,  /* switches at a few random points */
	STRATEGY_PCT,     /* random priorities with d - 1 changes: Burckhardt et al., ASPLOS 2010 */
	STRATEGY_SURW,    /* uniform over the orders of the accesses to one shared address: Zhao et al., ASPLOS 2025 */
	STRATEGY_POS,     /* partial order sampling: Yuan, Yang, Gu, CAV 2018 */
	STRATEGY_BOUNDED, /* all of them, one a run: schedule_bounded_next */
	STRATEGIES
};

const char *schedule_strategy_name(enum schedule_strategy strategy); /* "none", "random", ... */
bool schedule_strategy_from_name(const char *name, enum schedule_strategy *strategy);

struct schedule_options;

/* Sets strategy and depth for run number `run` of a campaign that takes the random strategies in turn. */
void schedule_mix(uint64_t run, struct schedule_options *options);

/*
 * Strategy BOUNDED: iterative context bounding (Musuvathi and Qadeer, PLDI 2007). Each run is another schedule; first those without a
 * preemption, then those with one, and so on up to `bound`. All runs must be of the same program.
 */
enum schedule_search {
	SEARCH_GOES_ON,
	SEARCH_DONE,     /* all were run */
	SEARCH_FULL,     /* too many for the memory there is */
	SEARCH_DIVERGED, /* a run was not as it was before */
};
void schedule_bounded_start(unsigned bound);

/* After a run: goes on to the next schedule. Says in `record` how far the search is. */
enum schedule_search schedule_bounded_next(struct run_record *record);

#define SCHEDULE_FEEDBACK 65536
#define SCHEDULE_CONFLICTS 256

struct schedule_options {
	enum schedule_strategy strategy;
	uint64_t seed;
	unsigned depth;                /* PCT: number of ordering constraints of the bugs looked for, from 1 */
	const struct preemption *list; /* FILE: in any order; at most RUN_PREEMPTIONS_MAX are used */
	size_t list_count;
	void (*failed)(void); /* a verdict is in the record: must not return; NULL: _exit(1) */
	uint8_t *
		feedback; /* SCHEDULE_FEEDBACK counters, one grows for each pair of code places of which one thread reads what another
			    * wrote; NULL: none */
	uint64_t points_max; /* so many points without an end are no progress: verdict stuck; 0: a default */
	bool kernel_switch; /* the kernel's threads hand over to each other; the same runs, several times as slow (threads.c) */
};

/*
 * Starts a run: the calling thread becomes thread 0. The run reports into `record`: verdicts that it finds by itself (race, deadlock,
 * stuck), the schedule, the number of points and the trace hash. A verdict ends the process with status 1.
 */
void schedule_begin(const struct schedule_options *options, const struct scheduler_client *client,
		    struct run_record *record);

/* Ends the run; all other threads must have ended. */
void schedule_end(void);

/*
 * Of the last run, if it had feedback: preemptions that put two accesses of the same memory, one of them a write, by two threads in
 * another order. Returns how many `list` has, at most SCHEDULE_CONFLICTS: the latest of the run, in no order. Valid until the next run.
 */
size_t schedule_conflicts(const struct preemption **list);

/* While paused, the calling thread's accesses and calls are its own business: nothing is a point, nothing is looked at. */
void schedule_pause(bool pause);

/*
 * Starts thread `number` (below SCHEDULE_THREADS_MAX, not in use), or the lowest unused one for SCHEDULE_ANY_THREAD. Returns its number. It runs
 * once it is chosen. Ends the process with status 3 if the OS gives no thread.
 */
#define SCHEDULE_ANY_THREAD UINT32_MAX
uint32_t schedule_spawn(uint32_t number, void *(*start)(void *), void *argument);

/* The calling thread waits until client->ready says that it can go on. */
void schedule_wait(void);

/* A point of its own, at the start of an operation. */
void schedule_operation(void);

/* The order that the program itself makes: what was done before a release comes before what is done after an acquire of the object. */
void schedule_release(const void *object);
void schedule_acquire(const void *object);

/* In the child of a fork: the only thread goes on without a scheduler. A lock that nobody will open ends it with FORK_CHILD_BLOCKED. */
void schedule_fork_child(void);

/* Runs the fork handlers of the allocator: 0 before the fork, 1 in the parent, 2 in the child. */
void schedule_fork_handlers(int when);

/* The scheduler for run_options: `schedule_begin` with these options. The options must stay. */
const struct scheduler *schedule_for_executor(const struct schedule_options *options);

/* Before each program: forgets keys and fork handlers registered since schedule_keep (the constructors' stay). */
void schedule_keep(void);
void schedule_forget(void);

/* The allocator under test: its data for the race detector, its thread-local variables for new threads. */
void schedule_watch_bundle(const struct bundle *bundle);

#endif
