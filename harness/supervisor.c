#define _GNU_SOURCE
#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POLL_NANOSECONDS (2 * 1000 * 1000)
#define STOP_GRACE_SECONDS 20 /* a fuzzer writes its corpus and figures before it ends */
#define STANDSTILL_SECONDS 1  /* may be a hang: what stands still when its time is over is waited for */

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct run_record *run_record_open(void)
{
	const char *const number = getenv(RUN_RECORD_ENVIRONMENT);
	struct run_record *record = MAP_FAILED;

	if (number != NULL)
		record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(number), 0);
	if (record == MAP_FAILED)
		record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (record == MAP_FAILED) {
		perror("heapstorm: no memory for the run record");
		exit(3);
	}
	return record;
}

static void run_child(const struct supervision *supervision, int record_fd, int error_fd)
{
	char number[16];
	const int null = open("/dev/null", O_RDWR);
	const int output =
		supervision->output != NULL ? open(supervision->output, O_WRONLY | O_CREAT | O_TRUNC, 0666) : null;
	int error;

	/* A supervisor that dies takes the process with it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0); /* an interrupt from the terminal is the supervisor's to pass on */
	dup2(null, STDIN_FILENO);
	dup2(output >= 0 ? output : null, STDERR_FILENO);
	dup2(output >= 0 ? output : null, STDOUT_FILENO);
	snprintf(number, sizeof number, "%d", record_fd);
	setenv(RUN_RECORD_ENVIRONMENT, number, 1);
	execv(supervision->argv[0], supervision->argv);
	error = errno;
	if (write(error_fd, &error, sizeof error) < 0)
		_exit(126);
	_exit(127);
}

/* The process may have written anything into the record: nothing in it is beyond bounds when the supervisor's user reads it. */
static void make_sound(struct run_record *record)
{
	struct verdict *const verdict = &record->verdict;

	if ((unsigned)verdict->kind >= VERDICT_KINDS)
		verdict->kind = VERDICT_CRASH;
	if (verdict->block_count > VERDICT_BLOCKS_MAX)
		verdict->block_count = 0;
	if (record->map_count > MAP_CELLS_MAX)
		record->map_count = 0;
	if (record->input_size > RUN_INPUT_MAX)
		record->input_size = RUN_INPUT_MAX;
	if (record->preemption_count > RUN_PREEMPTIONS_MAX)
		record->preemption_count = 0;
	if (record->stack_count > sizeof record->stacks / sizeof record->stacks[0])
		record->stack_count = 0;
	for (uint32_t i = 0; i < record->stack_count; i++) {
		struct run_stack *const stack = &record->stacks[i];

		if (stack->count > RUN_STACK_MAX)
			stack->count = 0;
		stack->what[sizeof stack->what - 1] = '\0';
	}
	record->allocator[sizeof record->allocator - 1] = '\0';
	verdict->message[sizeof verdict->message - 1] = '\0';
}

/* What the record does not say by itself: the process hung, was killed or gave up. */
static void conclude(struct supervised *result, bool timed_out, double timeout)
{
	struct run_record *const record = result->record;
	struct verdict *const verdict = &record->verdict;

	if (verdict->kind != VERDICT_CLEAN)
		return;
	verdict->thread = record->thread;
	verdict->op = record->op;
	if (timed_out) {
		verdict->kind = VERDICT_STUCK;
		snprintf(verdict->message, sizeof verdict->message, "no progress for %g seconds", timeout);
	} else if (WIFSIGNALED(result->status) && !result->stopped) {
		verdict->kind = WTERMSIG(result->status) == SIGABRT ? VERDICT_ABORT : VERDICT_CRASH;
		snprintf(verdict->message, sizeof verdict->message, "killed by signal %d (%s)",
			 WTERMSIG(result->status), strsignal(WTERMSIG(result->status)));
	} else if (record->state == RUN_RUNNING && WIFEXITED(result->status) && !result->stopped) {
		verdict->kind = VERDICT_CRASH;
		snprintf(verdict->message, sizeof verdict->message,
			 "the process ended with status %d in the middle of the program", WEXITSTATUS(result->status));
	}
}

/* Seconds of processor time of a process, and whether one of its threads wants a processor at the moment. */
static double processor_time(pid_t process, bool *runnable)
{
	char path[64], text[1024];
	double seconds = 0;
	DIR *tasks;
	const struct dirent *task;

	*runnable = false;
	snprintf(path, sizeof path, "/proc/%d/task", (int)process);
	tasks = opendir(path);
	while (tasks != NULL && (task = readdir(tasks)) != NULL) {
		unsigned long user, system;
		char state, *after_name;
		FILE *file;
		size_t length;

		snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", (int)process, task->d_name);
		file = task->d_name[0] != '.' ? fopen(path, "r") : NULL;
		if (file == NULL)
			continue;
		length = fread(text, 1, sizeof text - 1, file);
		fclose(file);
		text[length] = '\0';
		after_name = strrchr(text, ')');
		if (after_name != NULL && sscanf(after_name, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
						 &state, &user, &system) == 3) {
			seconds += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
			*runnable = *runnable || state == 'R' || state == 'D';
		}
	}
	if (tasks != NULL)
		closedir(tasks);
	return seconds;
}

/* What a process has done since it last made progress. */
struct progress {
	uint64_t steps;
	double waited; /* seconds in which the supervisor itself was running: a machine that is suspended is no hang */
	double last_poll;
	double processor; /* its processor time at the last progress */
	/* At the last look, when it had waited too long: */
	double look, look_processor;
	unsigned asleep; /* looks in a row with all threads asleep, and no processor time in between */
};

#define ASLEEP_LOOKS 10 /* in a fifth of the timeout */

/*
 * No progress for so long is a hang if the process used the time, or if it waits for something: one look may find all threads asleep that
 * hand over to each other at that moment, several looks do not. One that would run if it were let, on a machine with much else to do, is
 * given six times as long.
 */
static bool is_stuck(struct progress *progress, pid_t child, const struct run_record *record, double time,
		     double timeout)
{
	const uint64_t steps = __atomic_load_n(&record->steps, __ATOMIC_RELAXED) +
			       __atomic_load_n(&record->programs, __ATOMIC_RELAXED);
	const double passed = time - progress->last_poll;
	bool runnable;

	progress->last_poll = time;
	if (steps != progress->steps || record->state != RUN_RUNNING) {
		if (progress->waited > 1)
			progress->processor = processor_time(child, &runnable);
		progress->steps = steps;
		progress->waited = 0;
		progress->look = 0;
		progress->asleep = 0;
		return false;
	}
	/* Looked at early, and seldom: reading it costs more than a poll. */
	if (progress->waited < 0.5 && progress->waited + passed >= 0.5)
		progress->processor = processor_time(child, &runnable);
	progress->waited += passed < 0.25 ? passed : 0.25;
	if (progress->waited <= timeout || progress->waited - progress->look < timeout / (5 * ASLEEP_LOOKS))
		return false;
	const double processor = processor_time(child, &runnable);

	progress->asleep = runnable || processor != progress->look_processor ? 0 : progress->asleep + 1;
	progress->look = progress->waited;
	progress->look_processor = processor;
	return processor - progress->processor > timeout / 2 || progress->asleep >= ASLEEP_LOOKS ||
	       progress->waited > 6 * timeout;
}

/* Waits for the process and watches over it. */
static void watch(const struct supervision *supervision, pid_t child, struct supervised *result)
{
	const struct timespec pause = {.tv_nsec = POLL_NANOSECONDS};
	const double start = now();
	double last_report = start, asked_to_stop = 0, killed = 0;
	struct progress progress = {.last_poll = start};

	while (waitpid(child, &result->status, WNOHANG) == 0) {
		const double time = now();

		if (supervision->progress != NULL && time - last_report >= 1) {
			supervision->progress(result->record, supervision->context);
			last_report = time;
		}
		if (asked_to_stop == 0 && killed == 0 &&
		    is_stuck(&progress, child, result->record, time, supervision->timeout_seconds)) {
			killed = time;
			conclude(result, true, supervision->timeout_seconds);
			/* A sanitizer tells where it was; what cannot is killed. */
			kill(child, SIGABRT);
		}
		if (asked_to_stop == 0 &&
		    ((supervision->budget_seconds > 0 && time - start > supervision->budget_seconds &&
		      progress.waited < STANDSTILL_SECONDS) ||
		     (supervision->interrupted != NULL && *supervision->interrupted))) {
			asked_to_stop = time;
			result->stopped = true;
			kill(child, SIGINT);
		}
		if ((asked_to_stop != 0 && time - asked_to_stop > STOP_GRACE_SECONDS) ||
		    (killed != 0 && time - killed > 2))
			kill(child, SIGKILL);
		nanosleep(&pause, NULL);
	}
	make_sound(result->record);
	conclude(result, false, supervision->timeout_seconds);
}

bool supervise(const struct supervision *supervision, struct supervised *result)
{
	const int record_fd = memfd_create("heapstorm-record", 0);
	int errors[2] = {-1, -1}, error = 0;
	pid_t child;

	*result = (struct supervised){0};
	if (record_fd < 0 || ftruncate(record_fd, sizeof *result->record) != 0 || pipe2(errors, O_CLOEXEC) != 0)
		goto failed;
	result->record = mmap(NULL, sizeof *result->record, PROT_READ | PROT_WRITE, MAP_SHARED, record_fd, 0);
	if (result->record == MAP_FAILED) {
		result->record = NULL;
		goto failed;
	}
	child = fork();
	if (child == 0)
		run_child(supervision, record_fd, errors[1]);
	if (child < 0)
		goto failed;
	close(errors[1]);
	close(record_fd);
	result->started = read(errors[0], &error, sizeof error) != (ssize_t)sizeof error;
	close(errors[0]);
	if (!result->started) {
		waitpid(child, &result->status, 0);
		supervised_release(result);
		errno = error;
		return false;
	}
	watch(supervision, child, result);
	return true;
failed:
	error = errno;
	close(record_fd);
	close(errors[0]);
	close(errors[1]);
	supervised_release(result);
	errno = error;
	return false;
}

void supervised_release(struct supervised *result)
{
	if (result->record != NULL)
		munmap(result->record, sizeof *result->record);
	result->record = NULL;
}
