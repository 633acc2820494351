/* The runtime of the scheduled runner: each use of it in runtime.c, in a process of its own, under several schedules. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "arena.h"
#include "bundle/bundle.h"
#include "internal.h"
#include "runtime.h"

extern const struct bundle heapstorm_bundle_runtime;

static struct bundle_snapshot snapshot;
static struct run_record *record;

void runtime_check(bool holds, const char *what, int line)
{
	if (!holds)
		schedule_fail(VERDICT_CONTRACT, 0, "line %d: %s", line, what);
}

static void run_here(void (*function)(void), const struct schedule_options *options)
{
	bundle_snapshot_restore(&snapshot);
	schedule_forget();
	schedule_begin(options, NULL, record);
	function();
	schedule_end();
}

/* Runs in a child, `runs` times with seeds that follow. Returns its exit status, -1 if it died. */
static int run(void (*function)(void), struct schedule_options options, unsigned runs)
{
	int status = 0;
	pid_t child;

	memset(record, 0, sizeof *record);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		schedule_bounded_start(2);
		for (unsigned i = 0; i < runs; i++, options.seed++) {
			run_here(function, &options);
			if (options.strategy == STRATEGY_BOUNDED && schedule_bounded_next(record) != SEARCH_GOES_ON)
				break;
		}
		_exit(0);
	}
	assert_true(child > 0 && waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void holds(void (*function)(void))
{
	for (enum schedule_strategy strategy = STRATEGY_NONE; strategy < STRATEGIES; strategy++) {
		for (int kernel = 0; kernel < 2; kernel++) {
			const struct schedule_options options = {.strategy = strategy,
								 .seed = 1,
								 .depth = 3,
								 .points_max = 20000,
								 .kernel_switch = kernel != 0};
			const int status = run(function, options, 40);

			if (status != 0)
				fail_msg("%s: status %d, %s: %s", schedule_strategy_name(strategy), status,
					 verdict_name(record->verdict.kind), record->verdict.message);
		}
	}
}

#define HOLDS(name)                                                                                                    \
	static void test_##name(void **state)                                                                          \
	{                                                                                                              \
		(void)state;                                                                                           \
		holds(runtime_##name);                                                                                 \
	}
HOLDS(mutex_kinds)
HOLDS(rwlock)
HOLDS(barrier)
HOLDS(timed_wait)
HOLDS(semaphore)
HOLDS(once)
HOLDS(keys)
HOLDS(thread_locals)
HOLDS(c11)
HOLDS(time)
HOLDS(spin)
HOLDS(try)

static void test_stuck(void **state)
{
	(void)state;
	assert_int_equal(run(runtime_stuck, (struct schedule_options){.points_max = 1000}, 1), 1);
	assert_int_equal(record->verdict.kind, VERDICT_STUCK);
	assert_int_equal(record->points, 1001);
	assert_non_null(strstr(record->verdict.message, "1000 scheduling points"));
	assert_int_equal(run(runtime_plain_stuck, (struct schedule_options){0}, 1), 1);
	assert_int_equal(record->verdict.kind, VERDICT_STUCK);
	assert_non_null(strstr(record->verdict.message, "no scheduling point"));
	assert_int_equal(run(runtime_plain_spin, (struct schedule_options){0}, 1), 1);
	assert_int_equal(record->verdict.kind, VERDICT_RACE);
	assert_int_equal(run(runtime_try_in_vain, (struct schedule_options){.points_max = 1000}, 1), 1);
	assert_int_equal(record->verdict.kind, VERDICT_STUCK);
}

static void test_deadlock(void **state)
{
	(void)state;
	assert_int_equal(run(runtime_deadlock, (struct schedule_options){0}, 1), 1);
	assert_int_equal(record->verdict.kind, VERDICT_DEADLOCK);
	assert_non_null(strstr(record->verdict.message, "t1 waits for a mutex that t2 holds"));
	assert_non_null(strstr(record->verdict.message, "t2 waits for a mutex that t1 holds"));
	assert_non_null(strstr(record->verdict.message, "main waits for a thread to end"));
}

/* The emitted list is the same run in the process that emitted it and in another one, by both ways to switch, and only that list is. */
static void test_replay(void **state)
{
	static struct preemption list[RUN_PREEMPTIONS_MAX];
	uint64_t hash_before = 0;
	unsigned different = 0;

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		struct schedule_options options = {.seed = i, .depth = 3};
		const struct schedule_options *const used = &options;

		schedule_mix(i, &options);
		run_here(runtime_work, used);

		const uint64_t hash = record->trace_hash, points = record->points;
		const uint32_t count = record->preemption_count;

		different += hash != hash_before;
		hash_before = hash;
		memcpy(list, record->preemptions, count * sizeof list[0]);
		options = (struct schedule_options){.strategy = STRATEGY_FILE, .list = list, .list_count = count};
		run_here(runtime_work, &options);
		assert_int_equal(record->trace_hash, hash);
		assert_int_equal(record->points, points);
		assert_int_equal(record->preemption_count, count);
		assert_memory_equal(record->preemptions, list, count * sizeof list[0]);
		for (int kernel = 0; kernel < 2; kernel++) {
			options.kernel_switch = kernel != 0;
			assert_int_equal(run(runtime_work, options, 1), 0);
			assert_int_equal(record->trace_hash, hash);
			assert_int_equal(record->points, points);
		}
	}
	assert_in_range(different, 30, 60); /* they are no constants */
}

/* ---- All schedules up to a number of preemptions ---- */

static unsigned steps[3], left;

static void *make_steps(void *argument)
{
	for (unsigned i = 0; i < steps[(uintptr_t)argument]; i++)
		schedule_point(POINT_ATOMIC_WRITE, steps, NULL);
	if (--left == 0)
		schedule_wake(&left, true);
	return NULL;
}

/* Threads with one point at their start and steps[i] more; main goes on when all have ended. */
static void run_steps(void)
{
	left = 0;
	for (uintptr_t i = 0; i < 3; i++)
		if (steps[i] != UINT_MAX) {
			left++;
			schedule_spawn(SCHEDULE_ANY_THREAD, make_steps, (void *)i);
		}
	schedule_block(&left, "for all", false, NULL);
}

static int compare_hashes(const void *a, const void *b)
{
	const uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;

	return one < two ? -1 : one > two;
}

/* Runs all with at most `bound` preemptions; checks that no two are the same. Returns how many there are. */
static unsigned count_schedules(unsigned bound)
{
	static uint64_t hashes[20000];
	const struct schedule_options options = {.strategy = STRATEGY_BOUNDED};
	enum schedule_search search;
	unsigned count = 0, level = 0;

	schedule_bounded_start(bound);
	do {
		assert_in_range(record->bound_level, level, bound);
		level = record->bound_level;
		run_here(run_steps, &options);
		assert_in_range(count, 0, 19999);
		hashes[count++] = record->trace_hash;
		search = schedule_bounded_next(record);
	} while (search == SEARCH_GOES_ON);
	assert_int_equal(search, SEARCH_DONE);
	assert_int_equal(record->bound_pending, 0);
	qsort(hashes, count, sizeof hashes[0], compare_hashes);
	for (unsigned i = 1; i < count; i++)
		assert_true(hashes[i - 1] != hashes[i]);
	return count;
}

/*
 * Two threads with p and q points where they can be preempted: with c preemptions the first is so ceil(c/2) times, the other one
 * floor(c/2) times, each at different points, and each of the two can be the first. All together: the interleavings of p + 1 and q + 1
 * stretches.
 */
static void test_bounded_count(void **state)
{
	static const unsigned expected[] = {2, 2 + 5, 2 + 5 + 12, 2 + 5 + 12 + 9, 2 + 5 + 12 + 9 + 6, 35};

	(void)state;
	steps[0] = 2; /* p = 3 */
	steps[1] = 1; /* q = 2 */
	steps[2] = UINT_MAX;
	for (unsigned bound = 0; bound < 6; bound++) {
		record->bound_level = 0;
		assert_int_equal(count_schedules(bound), expected[bound]);
	}
	record->bound_level = 0;
	assert_int_equal(count_schedules(100), 35);
	/* Three threads: 7! / (2! 2! 3!) */
	steps[0] = steps[1] = 0;
	steps[2] = 1;
	record->bound_level = 0;
	assert_int_equal(count_schedules(100), 210);
	record->bound_level = 0;
	assert_int_equal(count_schedules(0), 6); /* which one goes on is free where one ends */
}

int main(void)
{
	const struct bundle *const bundle = &heapstorm_bundle_runtime;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutex_kinds), cmocka_unit_test(test_rwlock),
		cmocka_unit_test(test_barrier),     cmocka_unit_test(test_timed_wait),
		cmocka_unit_test(test_semaphore),   cmocka_unit_test(test_once),
		cmocka_unit_test(test_keys),        cmocka_unit_test(test_thread_locals),
		cmocka_unit_test(test_c11),         cmocka_unit_test(test_time),
		cmocka_unit_test(test_spin),        cmocka_unit_test(test_try),
		cmocka_unit_test(test_stuck),       cmocka_unit_test(test_deadlock),
		cmocka_unit_test(test_replay),      cmocka_unit_test(test_bounded_count),
	};

	record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (record == MAP_FAILED || !arena_use(0) || !bundle_snapshot_take(bundle, &snapshot)) {
		perror("test_schedule");
		return 3;
	}
	schedule_keep();
	schedule_watch_bundle(bundle);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
