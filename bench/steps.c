/*
 * Operations on shared lines, counted: the worker is traced and single-stepped through malloc and free, and every instruction that locks the
 * bus is counted: one with a lock prefix, or an exchange with memory. What takes several processors in turns goes through those.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#if defined(__x86_64__)

#define STEPS_MAX 20000000 /* a bound on what is stepped; a section takes some hundred thousand */
#define BREAKPOINT 0xcc

/* Whether the instruction locks. `code`: its first 8 bytes; prefixes beyond that do not occur. */
static bool locks(const unsigned char code[8])
{
	bool locked = false;
	size_t i = 0;

	for (; i < 6; i++) {
		static const unsigned char prefixes[] = {0xf0, 0x66, 0x67, 0xf2, 0xf3, 0x2e,
							 0x36, 0x3e, 0x26, 0x64, 0x65};

		if (memchr(prefixes, code[i], sizeof prefixes) == NULL)
			break;
		locked = locked || code[i] == 0xf0;
	}
	if ((code[i] & 0xf0) == 0x40) /* REX */
		i++;
	return locked || ((code[i] == 0x86 || code[i] == 0x87) && code[i + 1] >> 6 != 3);
}

static pid_t start(const struct bench_paths *paths, const struct bench_peer *peer)
{
	const pid_t child = fork();

	if (child != 0)
		return child;
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < 5; i++)
		dup2(null, i);
	if (peer->preload[0] != '\0')
		setenv("LD_PRELOAD", peer->preload, 1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
		execl(paths->worker, paths->worker, "steps", "1", (char *)NULL);
	_exit(errno == EPERM || errno == EACCES ? 126 : 127);
}

/* Steps a thread that has just passed the breakpoint at the start of a section, up to the one at its end. */
static bool step_section(pid_t thread, struct bench_steps *steps, enum bench_section section)
{
	for (long count = 0; count < STEPS_MAX; count++) {
		union {
			long word;
			unsigned char code[8];
		} at;
		int status;
		errno = 0;
		const unsigned long rip =
			(unsigned long)ptrace(PTRACE_PEEKUSER, thread, offsetof(struct user, regs.rip), NULL);

		at.word = ptrace(PTRACE_PEEKTEXT, thread, rip, NULL);
		if (errno != 0)
			return false;
		if (at.code[0] == BREAKPOINT) {
			/* It is stepped over. */
			return ptrace(PTRACE_POKEUSER, thread, offsetof(struct user, regs.rip), rip + 1) == 0;
		}
		steps->instructions[section]++;
		steps->locked[section] += locks(at.code);
		if (ptrace(PTRACE_SINGLESTEP, thread, NULL, NULL) != 0 || waitpid(thread, &status, __WALL) != thread ||
		    !WIFSTOPPED(status))
			return false;
	}
	return false;
}

bool bench_step(const struct bench_paths *paths, const struct bench_peer *peer, struct bench_steps *steps, char *why,
		size_t why_size)
{
	cpu_set_t before, one;
	pid_t child;
	unsigned section = 0;
	bool options_set = false, ok = true;
	int status;
	pid_t thread;

	/* On one processor, which the child inherits: a step is then a switch and not a wake-up across processors. */
	sched_getaffinity(0, sizeof before, &before);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	child = start(paths, peer);
	memset(steps, 0, sizeof *steps);
	if (child < 0) {
		sched_setaffinity(0, sizeof before, &before);
		snprintf(why, why_size, "%s", strerror(errno));
		return false;
	}
	/* Until the child itself has ended: its threads are reported too. */
	while ((thread = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		siginfo_t info = {0};
		int forward = 0;

		if (thread <= 0)
			continue;
		if (!WIFSTOPPED(status)) {
			if (thread == child)
				break;
			continue;
		}
		if (!options_set) {
			ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
			options_set = true;
		} else if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0) {
			if (ptrace(PTRACE_GETSIGINFO, thread, NULL, &info) == 0 && info.si_code == SI_KERNEL && ok &&
			    section < BENCH_SECTIONS)
				ok = step_section(thread, steps, (enum bench_section)section++);
		} else if (WSTOPSIG(status) != SIGSTOP && WSTOPSIG(status) != SIGTRAP) {
			forward = WSTOPSIG(status);
		}
		if (!ok) {
			kill(child, SIGKILL);
			ok = true;
			section = BENCH_SECTIONS + 1; /* never whole */
		}
		ptrace(PTRACE_CONT, thread, NULL, forward);
	}
	sched_setaffinity(0, sizeof before, &before);
	if (thread == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 && section == BENCH_SECTIONS)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
		snprintf(why, why_size, "tracing is not allowed here");
	else
		snprintf(why, why_size, "the process does not end well when it is traced");
	return false;
}

#else

bool bench_step(const struct bench_paths *paths, const struct bench_peer *peer, struct bench_steps *steps, char *why,
		size_t why_size)
{
	(void)paths, (void)peer, (void)steps;
	snprintf(why, why_size, "counted on x86-64 only");
	return false;
}

#endif
