/* A bundle's brackets hold every mutable variable of its sources, and a snapshot puts all of them back. */
#define _GNU_SOURCE

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bundle/bundle.h"
#include "sample.h"

extern const struct bundle heapstorm_bundle_sample;
extern const struct bundle heapstorm_bundle_twin;

/* The twin is the same source under other names. */
void twin_change(void);
uint64_t twin_state(void);

static unsigned maps, unmaps;

void *heapstorm_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset);
void *heapstorm_mmap(void *start, size_t size, int protection, int flags, int file, off_t offset)
{
	maps++;
	return mmap(start, size, protection, flags, file, offset);
}

int heapstorm_munmap(void *start, size_t size);
int heapstorm_munmap(void *start, size_t size)
{
	unmaps++;
	return munmap(start, size);
}

static bool inside(struct bundle_range range, const char *start, size_t size)
{
	return start >= range.begin && start + size <= range.end;
}

static void is_bracketed(const char *name, const void *start, size_t size, void *context)
{
	struct bundle_range tdata, tbss;
	unsigned *count = context;

	heapstorm_bundle_sample.thread_local_ranges(&tdata, &tbss);
	if (!inside(heapstorm_bundle_sample.data, start, size) && !inside(heapstorm_bundle_sample.bss, start, size) &&
	    !inside(tdata, start, size) && !inside(tbss, start, size))
		fail_msg("%s lies outside of the brackets", name);
	++*count;
}

static void every_variable_is_bracketed(void **state)
{
	unsigned count = 0;

	(void)state;
	assert_string_equal(heapstorm_bundle_sample.name, "sample");
	sample_addresses(is_bracketed, &count);
	assert_int_equal(count, 11);
}

static void constants_and_other_bundles_are_not_bracketed(void **state)
{
	struct bundle_range ranges[4], others[4];
	const char *constant = sample_constant();

	(void)state;
	ranges[0] = heapstorm_bundle_sample.data;
	ranges[1] = heapstorm_bundle_sample.bss;
	heapstorm_bundle_sample.thread_local_ranges(&ranges[2], &ranges[3]);
	others[0] = heapstorm_bundle_twin.data;
	others[1] = heapstorm_bundle_twin.bss;
	heapstorm_bundle_twin.thread_local_ranges(&others[2], &others[3]);
	for (int i = 0; i < 4; i++) {
		assert_true(ranges[i].begin < ranges[i].end);
		/* The sample's variables take 1 KiB; redzones make it no more than a few. */
		assert_true(ranges[i].end - ranges[i].begin < 8192);
		assert_false(inside(ranges[i], constant, 1));
		assert_false(inside(ranges[i], (const char *)&maps, sizeof(maps)));
		for (int j = 0; j < 4; j++)
			assert_true(others[j].end <= ranges[i].begin || others[j].begin >= ranges[i].end);
	}
}

static void restore_puts_everything_back(void **state)
{
	struct bundle_snapshot snapshot;
	uint64_t before = sample_state(), changed;
	int next;

	(void)state;
	assert_true(bundle_snapshot_take(&heapstorm_bundle_sample, &snapshot));
	next = sample_next();
	bundle_snapshot_restore(&snapshot);
	for (int round = 0; round < 3; round++) {
		sample_change();
		changed = sample_state();
		assert_true(changed != before);
		assert_int_not_equal(sample_next(), next);
		bundle_snapshot_restore(&snapshot);
		assert_true(sample_state() == before);
		assert_int_equal(sample_next(), next);
		bundle_snapshot_restore(&snapshot);
	}
	bundle_snapshot_release(&snapshot);
}

static void bundles_are_restored_each_on_its_own(void **state)
{
	struct bundle_snapshot snapshot;
	uint64_t sample = sample_state(), twin = twin_state(), twin_changed;

	(void)state;
	assert_true(sample == twin);
	assert_true(bundle_snapshot_take(&heapstorm_bundle_sample, &snapshot));
	twin_change();
	assert_true(sample_state() == sample);
	twin_changed = twin_state();
	assert_true(twin_changed != twin);
	sample_change();
	bundle_snapshot_restore(&snapshot);
	assert_true(sample_state() == sample);
	assert_true(twin_state() == twin_changed);
	bundle_snapshot_release(&snapshot);
}

static void *change_and_restore(void *argument)
{
	uint64_t *states = argument;
	struct bundle_snapshot snapshot;

	states[0] = sample_state();
	if (!bundle_snapshot_take(&heapstorm_bundle_sample, &snapshot))
		return NULL;
	sample_change();
	bundle_snapshot_restore(&snapshot);
	states[1] = sample_state();
	bundle_snapshot_release(&snapshot);
	return NULL;
}

static void a_thread_restores_its_own_variables(void **state)
{
	uint64_t states[2] = {0, 1}, before = sample_state();
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, change_and_restore, states), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(states[0] == states[1]);
	assert_true(sample_state() == before);
}

static void os_calls_are_redirected(void **state)
{
	void *page = sample_map(4096);

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(maps, 1);
	assert_int_equal(sample_unmap(page, 4096), 0);
	assert_int_equal(unmaps, 1);
}

#ifdef EXPECT_ASAN
/* The brackets do not blind AddressSanitizer to the variables between them, not after a restore either. */
static void an_overrun_of_a_variable_is_still_reported(void **state)
{
	struct bundle_snapshot snapshot;
	int status;
	pid_t child;

	(void)state;
	assert_true(bundle_snapshot_take(&heapstorm_bundle_sample, &snapshot));
	bundle_snapshot_restore(&snapshot);
	bundle_snapshot_release(&snapshot);
	assert_int_equal(sample_overrun(299), 0);
	child = fork();
	if (child == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		_exit(sample_overrun(300) ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 66); /* the exit code that ASan is told below */
}

const char *__asan_default_options(void);
/* Nothing here is allocated by libc's malloc, the only one that LeakSanitizer knows. */
const char *__asan_default_options(void)
{
	return "exitcode=66:detect_odr_violation=2:detect_leaks=0";
}
#endif

static int all_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_variable_is_bracketed),
		cmocka_unit_test(constants_and_other_bundles_are_not_bracketed),
		cmocka_unit_test(restore_puts_everything_back),
		cmocka_unit_test(bundles_are_restored_each_on_its_own),
		cmocka_unit_test(a_thread_restores_its_own_variables),
		cmocka_unit_test(os_calls_are_redirected),
#ifdef EXPECT_ASAN
		cmocka_unit_test(an_overrun_of_a_variable_is_still_reported),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#ifdef EXPECT_LIBFUZZER
/*
 * As a libFuzzer target the program is run with -runs=0: the tests are in its initialization. Counters that were registered twice would
 * make libFuzzer report twice the number of them, which run.sh of this directory compares.
 */
int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerInitialize(int *count, char ***arguments)
{
	(void)count;
	(void)arguments;
	if (all_tests() != 0)
		_exit(1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	sample_state();
	return 0;
}
#else
int main(void)
{
	return all_tests();
}
#endif
