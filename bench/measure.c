/* Starts the measured processes. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "record.h"

#define ARGUMENTS_MAX 24

extern char **environ;

const char *const bench_metric_names[BENCH_METRICS] = {"wall", "cpu", "peak", "after", "trimmed", "faults"};
const char *const bench_metric_titles[BENCH_METRICS] = {
	"Wall time",
	"CPU time",
	"Peak of resident memory",
	"Resident memory after the peak was freed",
	"Resident memory after malloc_trim",
	"Page faults",
};

static void work_path(const struct bench_paths *paths, const char *name, char path[PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", paths->work, name) >= PATH_MAX)
		path[0] = '\0';
}

/* Starts a process with standard input and output at /dev/null, standard error in the file `errors`, and the two records on pipes. */
static pid_t start(const char *folder, const char *errors, int spawn_fd, int worker_fd, const char *const arguments[])
{
	posix_spawn_file_actions_t actions;
	pid_t child = -1;
	int error;

	posix_spawn_file_actions_init(&actions);
	if (folder != NULL)
		posix_spawn_file_actions_addchdir_np(&actions, folder);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (spawn_fd >= 0) {
		posix_spawn_file_actions_adddup2(&actions, spawn_fd, BENCH_SPAWN_FD);
		posix_spawn_file_actions_adddup2(&actions, worker_fd, BENCH_WORKER_FD);
	}
	error = posix_spawnp(&child, arguments[0], &actions, NULL, (char *const *)arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (error != 0) {
		errno = error;
		return -1;
	}
	return child;
}

static int finish(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

static int run_script(const struct bench_paths *paths, const char *folder, const char *script)
{
	static const char helpers[] = "set -eu\nneed() { command -v \"$1\" >/dev/null || { echo \"no $1\" >&2; exit 3; "
				      "}; }\n";
	char errors[PATH_MAX], text[8192];
	const char *const arguments[] = {"sh", "-c", text, NULL};
	pid_t child;

	work_path(paths, "script-errors", errors);
	snprintf(text, sizeof text, "%s%s", helpers, script);
	child = start(folder, errors, -1, -1, arguments);
	return child < 0 ? -1 : finish(child);
}

static void first_line(const char *path, char *text, size_t size)
{
	FILE *const file = fopen(path, "re");

	text[0] = '\0';
	if (file != NULL) {
		if (fgets(text, (int)size, file) == NULL)
			text[0] = '\0';
		fclose(file);
	}
	text[strcspn(text, "\n")] = '\0';
}

bool bench_prepare(const struct bench_paths *paths, const struct bench_workload *workload, char *why, size_t why_size)
{
	char path[PATH_MAX], errors[PATH_MAX];
	uint64_t calls;
	int status;

	work_path(paths, workload->name, path);
	switch (workload->kind) {
	case BENCH_WORKER:
		return true;
	case BENCH_REPLAY:
		return bench_replay_write(workload->file, path, &calls, why, why_size);
	default:
		if (mkdir(path, 0700) != 0) {
			snprintf(why, why_size, "%s: %s", path, strerror(errno));
			return false;
		}
		status = run_script(paths, path, workload->setup);
		if (status == 0)
			return true;
		work_path(paths, "script-errors", errors);
		first_line(errors, why, why_size);
		if (why[0] == '\0')
			snprintf(why, why_size, "its set-up failed");
		return false;
	}
}

static bool read_record(int descriptor, void *record, size_t size)
{
	return read(descriptor, record, size) == (ssize_t)size && *(const uint64_t *)record == BENCH_MAGIC;
}

static void describe(int status, bool timed_out, const char *errors, char failure[128])
{
	char line[100];

	first_line(errors, line, sizeof line);
	if (timed_out)
		snprintf(failure, 128, "stopped after the time limit");
	else if (WIFSIGNALED(status))
		snprintf(failure, 128, "%s%s%s", strsignal(WTERMSIG(status)), line[0] != '\0' ? ": " : "", line);
	else
		snprintf(failure, 128, "status %d%s%s", WEXITSTATUS(status), line[0] != '\0' ? ": " : "", line);
}

static void measure_once(const struct bench_paths *paths, const struct bench_workload *workload,
			 const struct bench_peer *peer, double share, double timeout_seconds,
			 struct bench_sample *sample, char failure[128])
{
	char errors[PATH_MAX], path[PATH_MAX], seconds[16], part[32];
	const char *arguments[ARGUMENTS_MAX] = {paths->spawn, seconds, peer->preload};
	size_t count = 3;
	struct bench_process process;
	struct bench_worker worker;
	int spawn_pipe[2], worker_pipe[2], client = 0, status;
	bool has_process, has_worker;
	pid_t child;

	memset(sample, 0, sizeof *sample);
	snprintf(seconds, sizeof seconds, "%.0f", ceil(timeout_seconds));
	snprintf(part, sizeof part, "%.9g", share);
	work_path(paths, workload->name, path);
	work_path(paths, "errors", errors);
	if (workload->kind == BENCH_PROGRAM) {
		arguments[count++] = "./program";
		for (size_t i = 0; workload->run[i] != NULL; i++)
			arguments[count++] = workload->run[i];
	} else {
		arguments[count++] = paths->worker;
		arguments[count++] = workload->name;
		arguments[count++] = part;
		if (workload->kind == BENCH_REPLAY)
			arguments[count++] = path;
	}
	/* Above the descriptors that they become in the child, so that dup2 always clears their flag. */
	if (pipe2(spawn_pipe, O_CLOEXEC) != 0)
		goto no_pipe;
	if (pipe2(worker_pipe, O_CLOEXEC) != 0) {
		close(spawn_pipe[0]);
		close(spawn_pipe[1]);
		goto no_pipe;
	}
	const int high_spawn = fcntl(spawn_pipe[1], F_DUPFD_CLOEXEC, 10);
	const int high_worker = fcntl(worker_pipe[1], F_DUPFD_CLOEXEC, 10);

	close(spawn_pipe[1]);
	close(worker_pipe[1]);
	child = start(workload->kind == BENCH_PROGRAM ? path : NULL, errors, high_spawn, high_worker, arguments);
	const int start_error = errno;

	close(high_spawn);
	close(high_worker);
	if (child >= 0 && workload->client != NULL)
		client = run_script(paths, path, workload->client);
	if (child >= 0 && client != 0)
		kill(child, SIGTERM);
	status = child >= 0 ? finish(child) : -1;
	has_process = read_record(spawn_pipe[0], &process, sizeof process);
	has_worker = read_record(worker_pipe[0], &worker, sizeof worker);
	close(spawn_pipe[0]);
	close(worker_pipe[0]);
	if (child < 0)
		snprintf(failure, 128, "%s: %s", paths->spawn, strerror(start_error));
	else if (!has_process)
		snprintf(failure, 128, "%s did not report (status %d)", paths->spawn, status);
	else if (client != 0)
		snprintf(failure, 128, "its client failed");
	else if (process.timed_out || process.status != 0)
		describe(process.status, process.timed_out, errors, failure);
	else if (workload->kind != BENCH_PROGRAM && !has_worker)
		snprintf(failure, 128, "the worker did not report");
	else
		sample->valid = true;
	if (!sample->valid)
		return;
	for (int m = 0; m < BENCH_METRICS; m++)
		sample->metric[m] = NAN;
	/* An allocator that cannot be preloaded is only a warning of the dynamic linker: it would be libc that is measured. */
	if (peer->preload[0] != '\0') {
		char line[128];

		first_line(errors, line, sizeof line);
		if (strncmp(line, "ERROR: ld.so:", 13) == 0) {
			snprintf(failure, 128, "cannot be preloaded: %.100s", line + 14);
			sample->valid = false;
			return;
		}
	}
	sample->metric[BENCH_WALL] = (double)process.wall_ns / 1e9;
	sample->metric[BENCH_CPU] = (double)process.cpu_ns / 1e9;
	sample->metric[BENCH_PEAK] = (double)process.peak_kib;
	sample->metric[BENCH_FAULTS] = (double)process.faults;
	if (!has_worker)
		return;
	sample->operations = worker.operations;
	if (strcmp(workload->name, "empty") != 0) {
		sample->metric[BENCH_WALL] = (double)worker.wall_ns / 1e9;
		sample->metric[BENCH_CPU] = (double)worker.cpu_ns / 1e9;
		sample->metric[BENCH_PEAK] = (double)worker.peak_kib;
		sample->metric[BENCH_FAULTS] = (double)worker.faults;
		sample->metric[BENCH_AFTER] = (double)worker.after_kib;
		sample->metric[BENCH_TRIMMED] = (double)worker.trimmed_kib;
	}
	return;

no_pipe:
	snprintf(failure, 128, "no pipe: %s", strerror(errno));
}

static int by_cpu(const void *a, const void *b)
{
	const double x = ((const struct bench_sample *)a)->metric[BENCH_CPU];
	const double y = ((const struct bench_sample *)b)->metric[BENCH_CPU];

	return (x > y) - (x < y);
}

void bench_measure(const struct bench_paths *paths, const struct bench_workload *workload,
		   const struct bench_peer *peer, double share, double timeout_seconds, struct bench_sample *sample,
		   char failure[128])
{
	enum { STARTS = 15 };
	struct bench_sample starts[STARTS];

	if (strcmp(workload->name, "empty") != 0) {
		measure_once(paths, workload, peer, share, timeout_seconds, sample, failure);
		return;
	}
	/* A start takes a millisecond: one alone says little. */
	for (int i = 0; i < STARTS && failure[0] == '\0'; i++)
		measure_once(paths, workload, peer, share, timeout_seconds, &starts[i], failure);
	sample->valid = failure[0] == '\0';
	if (sample->valid) {
		qsort(starts, STARTS, sizeof starts[0], by_cpu);
		*sample = starts[STARTS / 2];
	}
}
