/*
 * The supervisor: whatever becomes of a process, the record says what it was doing, nothing is left running, no descriptor stays open.
 * The process is this executable again: test_supervisor --child MODE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "supervisor.h"

static char self[4096];

/* ---- The child ---- */

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static int child(const char *mode)
{
	struct run_record *const record = run_record_open();

	record->magic = RUN_RECORD_MAGIC;
	record->size = sizeof *record;
	if (strcmp(mode, "nothing") == 0)
		return 0;
	if (strcmp(mode, "refuses") == 0)
		return 3;
	record->thread = 2;
	record->op = 7;
	record->steps = 100;
	memcpy(record->input, "input", 5);
	record->input_size = 5;
	record->state = RUN_RUNNING;
	if (strcmp(mode, "clean") == 0) {
		puts("to standard output");
		fputs("to standard error\n", stderr);
		record->state = RUN_FINISHED;
	} else if (strcmp(mode, "verdict") == 0) {
		record->verdict.kind = VERDICT_OVERLAP;
		record->verdict.op = 3;
		strcpy(record->verdict.message, "what was found first");
		abort();
	} else if (strcmp(mode, "crash") == 0) {
		raise(SIGSEGV);
	} else if (strcmp(mode, "abort") == 0) {
		abort();
	} else if (strcmp(mode, "kill") == 0) {
		raise(SIGKILL);
	} else if (strcmp(mode, "early") == 0) {
		return 0;
	} else if (strcmp(mode, "early-5") == 0) {
		return 5;
	} else if (strcmp(mode, "hang") == 0) {
		for (;;)
			pause();
	} else if (strcmp(mode, "slow") == 0) {
		/* Progress now and then is progress. */
		for (int i = 0; i < 8; i++) {
			usleep(200 * 1000);
			record->steps++;
		}
		record->state = RUN_FINISHED;
	} else if (strcmp(mode, "busy") == 0) {
		signal(SIGINT, on_interrupt);
		for (;;) {
			usleep(1000);
			record->steps++;
		}
	} else if (strcmp(mode, "garbage") == 0) {
		memset(record, 0xff, sizeof *record);
	}
	return 0;
}

/* ---- The supervisor ---- */

static size_t open_descriptors(void)
{
	DIR *const folder = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

static double seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct supervised run(const char *mode, struct supervision supervision)
{
	char *argv[] = {self, "--child", (char *)mode, NULL};
	struct supervised result;
	const size_t before = open_descriptors();

	supervision.argv = argv;
	if (supervision.timeout_seconds == 0)
		supervision.timeout_seconds = 5;
	assert_true(supervise(&supervision, &result));
	assert_true(result.started);
	assert_non_null(result.record);
	/* No zombie, no descriptor. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(open_descriptors(), before);
	return result;
}

static void ends(void **state)
{
	static const struct {
		const char *mode;
		enum verdict_kind kind;
		const char *message;
	} cases[] = {
		{"clean", VERDICT_CLEAN, ""},
		{"nothing", VERDICT_CLEAN, ""},
		{"verdict", VERDICT_OVERLAP, "what was found first"},
		{"crash", VERDICT_CRASH, "signal 11"},
		{"abort", VERDICT_ABORT, "signal 6"},
		{"kill", VERDICT_CRASH, "signal 9"},
		{"early", VERDICT_CRASH, "status 0"},
		{"early-5", VERDICT_CRASH, "status 5"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct supervised result = run(cases[i].mode, (struct supervision){0});

		if (result.record->verdict.kind != cases[i].kind ||
		    strstr(result.record->verdict.message, cases[i].message) == NULL)
			fail_msg("%s: %s (%s)", cases[i].mode, verdict_name(result.record->verdict.kind),
				 result.record->verdict.message);
		assert_false(result.stopped);
		assert_int_equal(result.record->magic, RUN_RECORD_MAGIC);
		if (strcmp(cases[i].mode, "nothing") == 0) {
			assert_int_equal(result.record->state, RUN_NOT_STARTED);
		} else {
			/* The operation and the input are there, whatever ended it. */
			assert_memory_equal(result.record->input, "input", 5);
			assert_int_equal(result.record->input_size, 5);
		}
		if (cases[i].kind == VERDICT_CRASH || cases[i].kind == VERDICT_ABORT) {
			assert_int_equal(result.record->verdict.thread, 2);
			assert_int_equal(result.record->verdict.op, 7);
		}
		supervised_release(&result);
		assert_null(result.record);
	}
}

static void a_process_that_gives_up_is_told_by_its_status(void **state)
{
	struct supervised result = run("refuses", (struct supervision){0});

	(void)state;
	assert_int_equal(result.record->state, RUN_NOT_STARTED);
	assert_true(WIFEXITED(result.status));
	assert_int_equal(WEXITSTATUS(result.status), 3);
	supervised_release(&result);
}

static void a_record_of_garbage_is_in_bounds(void **state)
{
	struct supervised result = run("garbage", (struct supervision){0});
	const struct run_record *const record = result.record;

	(void)state;
	assert_int_equal(record->verdict.kind, VERDICT_CRASH);
	assert_true(record->verdict.block_count <= VERDICT_BLOCKS_MAX);
	assert_true(record->map_count <= MAP_CELLS_MAX);
	assert_true(record->input_size <= RUN_INPUT_MAX);
	assert_non_null(memchr(record->verdict.message, '\0', sizeof record->verdict.message));
	assert_non_null(memchr(record->allocator, '\0', sizeof record->allocator));
	supervised_release(&result);
}

static void a_hang_is_stuck(void **state)
{
	const double start = seconds();
	struct supervised result = run("hang", (struct supervision){.timeout_seconds = 0.5});

	(void)state;
	assert_int_equal(result.record->verdict.kind, VERDICT_STUCK);
	assert_int_equal(result.record->verdict.thread, 2);
	assert_int_equal(result.record->verdict.op, 7);
	assert_true(seconds() - start >= 0.5 && seconds() - start < 5);
	assert_true(WIFSIGNALED(result.status));
	supervised_release(&result);
}

static void slow_progress_is_progress(void **state)
{
	struct supervised result = run("slow", (struct supervision){.timeout_seconds = 1});

	(void)state;
	assert_int_equal(result.record->verdict.kind, VERDICT_CLEAN);
	assert_int_equal(result.record->state, RUN_FINISHED);
	supervised_release(&result);
}

static void the_end_of_the_budget_is_no_failure(void **state)
{
	const double start = seconds();
	struct supervised result = run("busy", (struct supervision){.budget_seconds = 0.4});

	(void)state;
	assert_true(result.stopped);
	assert_int_equal(result.record->verdict.kind, VERDICT_CLEAN);
	assert_true(seconds() - start >= 0.4 && seconds() - start < 5);
	supervised_release(&result);
	/* One that dies of the interrupt did not fail either. */
	result = run("hang", (struct supervision){.budget_seconds = 0.2});
	assert_true(result.stopped);
	assert_int_equal(result.record->verdict.kind, VERDICT_CLEAN);
	supervised_release(&result);
}

static void a_hang_at_the_end_of_the_budget_is_stuck(void **state)
{
	struct supervised result = run("hang", (struct supervision){.budget_seconds = 1.5, .timeout_seconds = 2.5});

	(void)state;
	assert_false(result.stopped);
	assert_int_equal(result.record->verdict.kind, VERDICT_STUCK);
	supervised_release(&result);
}

static volatile bool interrupted;

static void count_progress(const struct run_record *record, void *context)
{
	assert_int_equal(record->magic, RUN_RECORD_MAGIC);
	++*(int *)context;
	interrupted = true;
}

static void an_interrupt_ends_it(void **state)
{
	int reports = 0;
	struct supervised result =
		run("busy",
		    (struct supervision){.interrupted = &interrupted, .progress = count_progress, .context = &reports});

	(void)state;
	assert_true(result.stopped);
	assert_int_equal(reports, 1);
	assert_int_equal(result.record->verdict.kind, VERDICT_CLEAN);
	assert_true(WIFEXITED(result.status));
	supervised_release(&result);
}

static void an_executable_that_is_missing(void **state)
{
	char *argv[] = {"/nonexistent/runner", NULL}, *folder[] = {"/tmp", NULL};
	const struct supervision supervision = {.argv = argv, .timeout_seconds = 5},
				 other = {.argv = folder, .timeout_seconds = 5};
	struct supervised result;
	const size_t before = open_descriptors();

	(void)state;
	assert_false(supervise(&supervision, &result));
	assert_int_equal(errno, ENOENT);
	assert_null(result.record);
	assert_false(supervise(&other, &result));
	assert_int_equal(errno, EACCES);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(open_descriptors(), before);
}

static void output_goes_to_the_file(void **state)
{
	char path[] = "/tmp/heapstorm-output-XXXXXX", text[200] = "";
	const int file = mkstemp(path);
	struct supervised result = run("clean", (struct supervision){.output = path});

	(void)state;
	assert_true(read(file, text, sizeof text - 1) > 0);
	assert_non_null(strstr(text, "to standard error\n"));
	assert_non_null(strstr(text, "to standard output\n"));
	close(file);
	unlink(path);
	supervised_release(&result);
	/* Where the file cannot be, the process runs all the same. */
	result = run("clean", (struct supervision){.output = "/nonexistent/output"});
	assert_int_equal(result.record->state, RUN_FINISHED);
	supervised_release(&result);
}

static void a_process_started_by_hand_has_a_record_of_its_own(void **state)
{
	(void)state;
	unsetenv(RUN_RECORD_ENVIRONMENT);
	struct run_record *record = run_record_open();

	assert_int_equal(record->state, RUN_NOT_STARTED);
	record->steps = 1;
	setenv(RUN_RECORD_ENVIRONMENT, "999", 1);
	record = run_record_open();
	assert_int_equal(record->steps, 0);
	unsetenv(RUN_RECORD_ENVIRONMENT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends),
		cmocka_unit_test(a_process_that_gives_up_is_told_by_its_status),
		cmocka_unit_test(a_record_of_garbage_is_in_bounds),
		cmocka_unit_test(a_hang_is_stuck),
		cmocka_unit_test(slow_progress_is_progress),
		cmocka_unit_test(the_end_of_the_budget_is_no_failure),
		cmocka_unit_test(a_hang_at_the_end_of_the_budget_is_stuck),
		cmocka_unit_test(an_interrupt_ends_it),
		cmocka_unit_test(an_executable_that_is_missing),
		cmocka_unit_test(output_goes_to_the_file),
		cmocka_unit_test(a_process_started_by_hand_has_a_record_of_its_own),
	};

	if (argc == 3 && strcmp(argv[1], "--child") == 0)
		return child(argv[2]);
	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
