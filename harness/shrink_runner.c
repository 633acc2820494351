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
#define FEWER_OPS_MAX 64 /* of larger programs not even one preemption can be tried everywhere */
#define ORDERS_OPS 24    /* programs up to so many operations are tried in as many orders as the shrinker asks for */

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

static bool is_same(const struct shrink_runner *runner, const struct verdict *verdict)
{
	char signature[sizeof runner->signature];

	verdict_signature(verdict, signature, sizeof signature);
	return strcmp(signature, runner->signature) == 0;
}

static void keep_base(struct shrink_runner *runner, const struct program *program, const struct run_record *record)
{
	if (runner->anchors == NULL) {
		runner->anchors = malloc(sizeof record->anchors);
		program_init(&runner->base);
	}
	if (runner->anchors == NULL)
		return;
	program_copy(&runner->base, program);
	memcpy(runner->anchors, record->anchors, record->preemption_count * sizeof record->anchors[0]);
}

static bool same_op(const struct op *a, const struct op *b)
{
	return a->kind == b->kind && a->result == b->result && a->block == b->block;
}

/* The anchor in a thread that has other operations: at the same one, or at the start of the next that is left. */
static uint64_t moved_anchor(uint64_t anchor, const struct thread_program *before, const struct thread_program *after)
{
	const uint64_t operation = anchor >> 32 & 0x7fffffff; /* from 1, 0 before the first */
	uint64_t place = 0;

	if (operation == 0 || before->count == after->count)
		return anchor;
	for (uint64_t i = 0; i < operation - 1 && i < before->count && place < after->count; i++)
		place += same_op(&before->ops[i], &after->ops[place]);
	if (operation <= before->count && place < after->count &&
	    same_op(&before->ops[operation - 1], &after->ops[place]))
		return PREEMPTION_ANCHORED | (place + 1) << 32 | (anchor & UINT32_MAX);
	return PREEMPTION_ANCHORED | (place + 1) << 32 | 1;
}

/*
 * The points of a candidate are those of the program that it was made from, whose operations it has not all: they are put where the same
 * operations are. What is not found there stays as it is.
 */
static void move_anchors(const struct shrink_runner *runner, struct program *candidate)
{
	const struct program *const base = &runner->base;
	size_t from = 0;

	if (runner->anchors == NULL)
		return;
	for (size_t i = 0; i < candidate->preemption_count; i++) {
		struct preemption *const entry = &candidate->schedule[i];

		while (from < base->preemption_count && base->schedule[from].point != entry->point)
			from++;
		if (from == base->preemption_count)
			return;
		if (entry->thread < candidate->thread_count)
			entry->point = moved_anchor(runner->anchors[from], &base->threads[base->schedule[from].thread],
						    &candidate->threads[entry->thread]);
		from++;
	}
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
	if (index < count && runner->scheduled) {
		program_take_schedule(&programs[index], result.record);
		if (runner->signature[0] == '\0' || is_same(runner, verdict))
			keep_base(runner, &programs[index], result.record);
	}
	runner->runs += index < count ? index + 1 : count;
	supervised_release(&result);
	return index;
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

static size_t first_failing(void *context, struct program *candidates, size_t count, unsigned orders)
{
	struct shrink_runner *const runner = context;
	const size_t ops = program_op_count(&candidates[0]);
	struct verdict verdict;

	/* A large program runs long, and has more orders than can be tried. */
	if (ops > ORDERS_OPS)
		orders = (unsigned)(orders * ORDERS_OPS / ops);

	const struct trial trial = {
		.timeout = least(runner->timeout_seconds, STUCK_SECONDS),
		.fork_milliseconds = FORK_MILLISECONDS,
		.deep = runner->deep,
		.bound = PREEMPTIONS_TRIED,
		.bounded = orders,
		.random = orders,
	};

	for (size_t i = 0; runner->scheduled && i < count; i++)
		move_anchors(runner, &candidates[i]);
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

	if (program_op_count(program) > FEWER_OPS_MAX)
		return false;
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

void shrink_runner_end(struct shrink_runner *runner)
{
	if (runner->anchors != NULL)
		program_destroy(&runner->base);
	free(runner->anchors);
	runner->anchors = NULL;
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
