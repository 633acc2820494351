/* What the parts of the scheduler share. */
#ifndef HEAPSTORM_STRESS_SCHEDULE_INTERNAL_H
#define HEAPSTORM_STRESS_SCHEDULE_INTERNAL_H

#include <pthread.h>
#include <setjmp.h>

#include "schedule.h"

#define KEYS_MAX 64
#define CALLS_MAX 512 /* depth of the call stack that is kept */

/* At which step of the run a thread is known to have been, for each thread: a vector clock whose unit is the step. */
struct clock {
	uint32_t steps[SCHEDULE_THREADS_MAX];
};

enum state { STATE_UNUSED, STATE_READY, STATE_BLOCKED, STATE_WAITING, STATE_ENDED };

enum point_kind {
	POINT_START,
	POINT_OPERATION,
	POINT_ATOMIC_READ,
	POINT_ATOMIC_WRITE,
	POINT_LOCK,
	POINT_UNLOCK,
	POINT_WAKE,
	POINT_BLOCKED,
	POINT_YIELD,
	POINT_OS,
	POINT_END,
};

struct thread {
	uint32_t number;
	uint32_t state; /* enum state */
	uint64_t points;
	uint64_t operations, operation_point; /* of the program, begun so far; points before the last of them */
	const void *waits_for;                /* BLOCKED: woken by schedule_wake of it */
	const char *waits_how;                /* "for a mutex" */
	bool timed;                           /* its wait ends by itself when nothing else can run */
	bool timed_out;

	/* The next access, for strategies that look ahead. */
	const void *object;
	bool writes;

	/* Looks that see the same again and again. */
	const void *spin_pc, *spin_address;
	uint64_t spin_value;
	unsigned spins;
	unsigned idle;        /* actions that changed nothing, in a row */
	unsigned plain;       /* plain accesses since the last point */
	unsigned plain_loops; /* yields for too many of them, with no other point in between */

	struct clock clock;
	struct clock relaxed_seen; /* releases seen by relaxed loads: an acquire fence takes them in */
	struct clock fence;        /* at the last release fence */
	bool has_relaxed_seen, has_fence;
	uint32_t calls; /* depth; may exceed CALLS_MAX */
	uint32_t contexts[CALLS_MAX];
	jmp_buf top; /* pthread_exit goes there */

	void *values[KEYS_MAX];
	void *(*start)(void *);
	void *argument, *result;
	pthread_t handle;
	bool joined, detached;

	/* Of the strategies. */
	uint64_t priority;
	uint32_t cursor; /* FILE: next entry in its list */
};

struct schedule {
	bool active;
	struct schedule_options options;
	struct scheduler_client client;
	struct run_record *record;
	struct thread *running;
	uint32_t thread_count; /* numbers below it were in use */
	uint32_t ready;        /* threads that are READY, the running one included */
	uint32_t step;         /* grows for good, over runs: the time of race.c */
	uint32_t first_step;   /* of this run */
	uint64_t points, points_max;
	uint64_t slept;       /* nanoseconds, beyond the time of the points */
	uint64_t points_last; /* of the run before */
	uint64_t hash;
	struct thread threads[SCHEDULE_THREADS_MAX];
};

extern struct schedule schedule;
extern __thread struct thread *schedule_self __attribute__((tls_model("initial-exec")));

/* ---- core.c ---- */

/* A scheduling point of the calling thread, which must be one of the run. `pc` is where in the allocator. */
void schedule_point(enum point_kind kind, const void *object, const void *pc);

/* Blocks until schedule_wake(object), or until nothing else can run if `timed`. `how` is for the report. Returns false if the time was up. */
bool schedule_block(const void *object, const char *how, bool timed, const void *pc);
void schedule_wake(const void *object, bool all);

/* The thread has nothing to do for now: others first. */
void schedule_yield(const void *pc);

/*
 * Loops that wait for another thread, which are to yield. A thread changed something that others can see; did something that may have
 * changed nothing; or saw this value at this place, in memory or as the state of what it tried to get: the same again and
 * again is such a loop.
 */
void schedule_changed(struct thread *thread);
void schedule_idle(struct thread *thread, const void *pc);
void schedule_saw(struct thread *thread, const void *address, uint64_t value, const void *pc);

/* Very many plain accesses came without a point. */
void schedule_plain_loop(struct thread *thread, const void *pc);

/* All of a thread, from its start to the end of its destructors. What it returns to, if it does, must touch nothing of the run. */
void schedule_thread_body(struct thread *thread);

/* pthread_exit of the calling thread. */
__attribute__((noreturn)) void schedule_thread_exit(void *result);

bool schedule_in_child(void); /* of a fork */

/* Where the thread is, as PREEMPTION_ANCHORED. */
uint64_t schedule_anchor(const struct thread *thread);

/* A verdict is in the record. */
__attribute__((noreturn)) void schedule_stop(void);

/* Fails the run. Does not return. */
__attribute__((noreturn, format(printf, 3, 4))) void schedule_fail(enum verdict_kind kind, uint64_t address,
								   const char *format, ...);

/* ---- strategy.c ---- */

void strategy_begin(void);
void strategy_thread(struct thread *thread);
/* Who runs next, `thread` itself if it can go on. At least one thread is READY. */
struct thread *strategy_choose(struct thread *thread, bool blocked);
void strategy_executed(struct thread *thread);
/* Who runs without a strategy. */
struct thread *schedule_usual(struct thread *thread, bool blocked);

/* ---- threads.c ---- */

/* Threads have the thread-local variables of this bundle as they are in a new thread. */
void threads_watch_bundle(const struct bundle *bundle);

/* Whether the kernel switches: if that is wanted, and where it cannot be done without. */
bool threads_in_kernel(bool wanted);

/* A run begins: the calling thread is number 0. `by_kernel`: as in schedule_options. */
void threads_begin(bool by_kernel);

/* The thread is to run schedule_thread_body(thread) when it is switched to for the first time. Ends the process with status 3 if the OS gives no thread. */
pthread_t threads_start(struct thread *thread);

/* To be called by a thread that has just begun: makes it like new. */
void threads_fresh(void);

/* `to` runs. Returns when another thread has switched to `from`; if that has ended never, or at once. */
void threads_switch(struct thread *from, struct thread *to);

/* ---- bounded.c ---- */

/* The list of the schedule that is run, up to its last entry but one. */
void bounded_begin(const struct preemption **list, size_t *count);
/* `listed` is who runs by that list. */
struct thread *bounded_choose(struct thread *thread, bool blocked, struct thread *usual, struct thread *listed);

/* ---- race.c ---- */

void race_watch_bundle(const struct bundle *bundle);

void race_begin(void);
void race_access(struct thread *thread, const void *address, size_t size, bool writes, bool atomic, const void *pc);
void race_unmap(struct thread *thread, const void *address, size_t size, const void *pc);
void race_fresh(const void *address, size_t size); /* new memory: nothing happened there */
void race_release(struct thread *thread, const void *object, bool keep);
void race_acquire(struct thread *thread, const void *object);
void race_atomic(struct thread *thread, const void *object, int order, bool loads, bool stores);
void race_fence(struct thread *thread, int order);
void race_fork_thread(struct thread *parent, struct thread *child);
void race_join_thread(struct thread *thread, const struct thread *ended);
void race_call(struct thread *thread, const void *pc);
void race_return(struct thread *thread);

/* An address as it is in any process: for the trace hash. */
uint64_t race_portable_address(const void *address);

/* ---- pthread.c ---- */

void keys_run_destructors(struct thread *thread);

#endif
