#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "batch.h"
#include "shrink.h"
#include "supervisor.h"

#define CONFIRMATIONS 2
#define STUCK_SECONDS 0.5 /* while candidates are tried: each one that hangs costs it; confirmed with more */
#define FORK_MILLISECONDS "300"
#define CONFIRMED_STUCK_SECONDS 1.5
#define CONFIRMED_FORK_MILLISECONDS "1500"
#define SCHEDULED_BATCH 32    /* each candidate is many runs */
#define TRIED_POINTS "200000" /* while candidates are tried, more of them are no progress */
#define PREEMPTIONS_TRIED 2   /* most bugs of threads need no more */
#define FEWER_SCHEDULES 50000
#define FEWER_SECONDS 4

void verdict_signature(const struct verdict *verdict, char *text, size_t size)
{
	const char *const name = verdict_name(verdict->kind), *message = verdict->message;
	size_t at = (size_t)snprintf(text, size, "%s", name);

	if (verdict->kind != VERDICT_CONTRACT && verdict->kind != VERDICT_CRASH && verdict->kind != VERDICT_ABORT &&
	    verdict->kind != VERDICT_FORK)
		return;
	if (at < size - 1)
		text[at++] = ':';
	for (; *message != '\0' && at < size - 1; message++) {
		/* Registers and addresses are noise from here on; a place in the sources is not. */
		if (strncmp(message, " (pc ", 5) == 0 || strncmp(message, " at pc ", 7) == 0)
			break;
		if (*message == '0' && message[1] == 'x') {
			message += 1 + strspn(message + 2, "0123456789abcdef");
			continue;
		}
		if (*message >= '0' && *message <= '9' && strstr(verdict->message, "undefined behaviour at") == NULL)
			continue;
		text[at++] = *message;
	}
	text[at] = '\0';
}

/* How candidates are run. */
struct trial {
	double timeout;
	const char *fork_milliseconds; /* NULL: the runner's own */
	bool deep;
	/* Scheduled: what is run after the schedule of a candidate, until one fails. */
	unsigned bound, bounded; /* all schedules with up to `bound` preemptions, but at most `bounded` */
	unsigned random;
	double budget; /* seconds; 0: no limit */
};

/*
 * Runs the candidates in one process until one has a verdict. Returns its index, or `count`; the verdict is in `verdict`. In a scheduled
 * run the candidate has the schedule of that run.
 */
static size_t run_batch(struct shrink_runner *runner, struct program *programs, size_t count, const struct trial *trial,
			struct verdict *verdict)
{
	char path[PATH_MAX], bound[16], bounded[16], random[16];
	const char *argv[20];
	int argc = 0;
	struct supervised result;
	size_t index;

	*verdict = (struct verdict){0};
	snprintf(path, sizeof path, "%s/candidates", runner->folder);
	argv[argc++] = runner->runner;
	if (trial->deep && !runner->scheduled)
		argv[argc++] = "--deep";
	if (trial->fork_milliseconds != NULL) {
		argv[argc++] = "--fork-timeout";
		argv[argc++] = trial->fork_milliseconds;
	}
	if (runner->scheduled && trial->bounded + trial->random > 0) {
		snprintf(bound, sizeof bound, "%u", trial->bound);
		snprintf(bounded, sizeof bounded, "%u", trial->bounded);
		snprintf(random, sizeof random, "%u", trial->random);
		argv[argc++] = "--bound";
		argv[argc++] = bound;
		argv[argc++] = "--bounded";
		argv[argc++] = bounded;
		argv[argc++] = "--random";
		argv[argc++] = random;
		argv[argc++] = "--points";
		argv[argc++] = TRIED_POINTS;
	}
	argv[argc++] = "--batch";
	argv[argc++] = runner->allocator;
	argv[argc++] = path;
	argv[argc] = NULL;
	const struct supervision supervision = {
		.argv = (char *const *)argv,
		.timeout_seconds = trial->timeout,
		.budget_seconds = trial->budget,
		.interrupted = runner->interrupted,
	};

	if (!batch_write(path, programs, count)) {
		snprintf(runner->environment, sizeof runner->environment, "%.200s: %s", path, strerror(errno));
		return count;
	}
	if (!supervise(&supervision, &result)) {
		snprintf(runner->environment, sizeof runner->environment, "%.180s: cannot be started: %s",
			 runner->runner, strerror(errno));
		return count;
	}
	runner->processes++;
	if (result.record->state == RUN_NOT_STARTED && !result.stopped)
		snprintf(runner->environment, sizeof runner->environment,
			 "%.180s ended with status %d before it ran anything", runner->runner,
			 WIFEXITED(result.status) ? WEXITSTATUS(result.status) : -1);
	*verdict = result.record->verdict;
	index = verdict->kind != VERDICT_CLEAN && result.record->candidate < count ? result.record->candidate : count;
	if (index < count && runner->scheduled)
		program_take_schedule(&programs[index], result.record);
	runner->runs += index < count ? index + 1 : count;
	supervised_release(&result);
	return index;
}

static bool is_same(const struct shrink_runner *runner, const struct verdict *verdict)
{
	char signature[sizeof runner->signature];

	verdict_signature(verdict, signature, sizeof signature);
	return strcmp(signature, runner->signature) == 0;
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

static size_t first_failing(void *context, struct program *candidates, size_t count, unsigned orders)
{
	struct shrink_runner *const runner = context;
	const struct trial trial = {
		.timeout = least(runner->timeout_seconds, STUCK_SECONDS),
		.fork_milliseconds = FORK_MILLISECONDS,
		.deep = runner->deep,
		.bound = PREEMPTIONS_TRIED,
		.bounded = orders,
		.random = orders,
	};
	struct verdict verdict;

	for (size_t at = 0; at < count;) {
		const size_t size = runner->single ? 1 : count - at;
		const size_t found = run_batch(runner, candidates + at, size, &trial, &verdict);

		if (runner->environment[0] != '\0' || (runner->interrupted != NULL && *runner->interrupted))
			return count;
		if (found < size && is_same(runner, &verdict))
			return at + found;
		at += found < size ? found + 1 : size;
	}
	return count;
}

static bool confirm(void *context, const struct program *program)
{
	struct shrink_runner *const runner = context;
	const volatile bool *const interrupted = runner->interrupted;
	const struct trial trial = {
		.timeout = least(runner->timeout_seconds, CONFIRMED_STUCK_SECONDS),
		.fork_milliseconds = CONFIRMED_FORK_MILLISECONDS,
		.deep = runner->deep,
	};
	struct program copy;
	struct verdict verdict;
	bool same = true;

	/* The last word is spoken after an interruption too. */
	runner->interrupted = NULL;
	program_init(&copy);
	for (int i = 0; same && i < CONFIRMATIONS; i++) {
		program_copy(&copy, program);
		run_batch(runner, &copy, 1, &trial, &verdict);
		same = verdict.kind != VERDICT_CLEAN && is_same(runner, &verdict);
	}
	program_destroy(&copy);
	runner->interrupted = interrupted;
	if (!same)
		runner->single = true;
	return same;
}

/* All schedules with fewer preemptions, as long as they are few. */
static bool fewer_preemptions(void *context, struct program *program)
{
	struct shrink_runner *const runner = context;
	const size_t before = program->preemption_count;
	const struct trial trial = {
		.timeout = least(runner->timeout_seconds, STUCK_SECONDS),
		.fork_milliseconds = FORK_MILLISECONDS,
		.bound = before > PREEMPTIONS_TRIED ? PREEMPTIONS_TRIED : (unsigned)before - 1,
		.bounded = FEWER_SCHEDULES,
		.budget = FEWER_SECONDS,
	};
	struct verdict verdict;

	program->preemption_count = 0;
	return run_batch(runner, program, 1, &trial, &verdict) == 0 && is_same(runner, &verdict) &&
	       program->preemption_count < before;
}

static void show_progress(void *context, const struct program *smallest)
{
	const struct shrink_runner *const runner = context;

	if (runner->progress != NULL)
		runner->progress(runner, smallest);
}

enum verdict_kind shrink_runner_begin(struct shrink_runner *runner, struct program *program)
{
	struct verdict verdict = {0};

	/* What shows without the checks that run it again is found many times faster. */
	for (int deep = 0; deep < 2 && verdict.kind == VERDICT_CLEAN && runner->environment[0] == '\0'; deep++) {
		const struct trial trial = {.timeout = runner->timeout_seconds, .deep = deep};

		runner->deep = deep;
		run_batch(runner, program, 1, &trial, &verdict);
		if (runner->scheduled)
			break;
	}
	verdict_signature(&verdict, runner->signature, sizeof runner->signature);
	return verdict.kind;
}

void shrink_runner_oracle(struct shrink_runner *runner, struct shrink_oracle *oracle)
{
	oracle->first_failing = first_failing;
	oracle->confirm = confirm;
	oracle->fewer_preemptions = runner->scheduled ? fewer_preemptions : NULL;
	oracle->candidates_max = runner->scheduled ? SCHEDULED_BATCH : 0;
	oracle->progress = show_progress;
	oracle->context = runner;
	oracle->interrupted = runner->interrupted;
}
