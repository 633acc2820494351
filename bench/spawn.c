/*
 * bench-spawn SECONDS PRELOAD PROGRAM ARGUMENT...: runs a program with a library preloaded (none if PRELOAD is empty) and writes what it
 * cost to descriptor 3.
 *
 * Linked statically: the peak of resident memory that wait4 reports of a child is at least that of the process that forked it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "record.h"

static pid_t child;
static volatile sig_atomic_t timed_out;

static void on_signal(int number)
{
	timed_out = number == SIGALRM;
	kill(-child, SIGKILL);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t timeval_ns(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

int main(int count, char **arguments)
{
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct bench_process record = {.magic = BENCH_MAGIC};
	struct rusage usage;
	uint64_t start;
	int status;

	if (count < 4)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	start = now_ns();
	child = fork();
	if (child < 0)
		return 3;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		close(BENCH_SPAWN_FD);
		if (arguments[2][0] != '\0')
			setenv("LD_PRELOAD", arguments[2], 1);
		execvp(arguments[3], arguments + 3);
		fprintf(stderr, "%s: %s\n", arguments[3], strerror(errno));
		_exit(127);
	}
	setpgid(child, child);
	alarm((unsigned)atoi(arguments[1]));
	while (wait4(child, &status, 0, &usage) < 0)
		if (errno != EINTR)
			return 3;
	record.wall_ns = now_ns() - start;
	record.status = status;
	record.timed_out = timed_out;
	record.cpu_ns = timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime);
	record.peak_kib = (uint64_t)usage.ru_maxrss;
	record.faults = (uint64_t)(usage.ru_minflt + usage.ru_majflt);
	return write(BENCH_SPAWN_FD, &record, sizeof record) == sizeof record ? 0 : 3;
}
