#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "shrink.h"
#include "supervisor.h"

#define CONFIRMATIONS 2
#define STUCK_SECONDS 0.5 /* while candidates are tried: each one that hangs costs it; confirmed with more */
#define FORK_MILLISECONDS "300"
#define CONFIRMED_STUCK_SECONDS 1.5
#define CONFIRMED_FORK_MILLISECONDS "1500"

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

static bool write_batch(const char *path, const struct program *programs, size_t count)
{
	FILE *const file = fopen(path, "we");
	uint8_t *bytes = NULL;
	bool good = file != NULL;

	for (size_t i = 0; good && i < count; i++) {
		const uint32_t size = (uint32_t)program_encoded_size(&programs[i]);
		uint8_t *const grown = realloc(bytes, size + 1);

		good = grown != NULL;
		if (!good)
			break;
		bytes = grown;
		good = program_encode(&programs[i], bytes, size) == size && fwrite(&size, sizeof size, 1, file) == 1 &&
		       fwrite(bytes, 1, size, file) == size;
	}
	free(bytes);
	if (file != NULL && fclose(file) != 0)
		good = false;
	return good;
}

/* Runs the candidates in one process until one has a verdict. Returns its index, or `count`; the verdict is in `record`. */
static size_t run_batch(struct shrink_runner *runner, const struct program *programs, size_t count, double timeout,
			const char *fork_milliseconds, struct verdict *verdict)
{
	char path[PATH_MAX];
	const char *argv[10];
	int argc = 0;
	struct supervised result;
	size_t index;

	*verdict = (struct verdict){0};
	snprintf(path, sizeof path, "%s/candidates", runner->folder);
	argv[argc++] = runner->runner;
	if (runner->deep)
		argv[argc++] = "--deep";
	if (fork_milliseconds != NULL) {
		argv[argc++] = "--fork-timeout";
		argv[argc++] = fork_milliseconds;
	}
	argv[argc++] = "--batch";
	argv[argc++] = runner->allocator;
	argv[argc++] = path;
	argv[argc] = NULL;
	const struct supervision supervision = {
		.argv = (char *const *)argv,
		.timeout_seconds = timeout,
		.interrupted = runner->interrupted,
	};

	if (!write_batch(path, programs, count)) {
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

static size_t first_failing(void *context, struct program *candidates, size_t count)
{
	struct shrink_runner *const runner = context;
	struct verdict verdict;

	for (size_t at = 0; at < count;) {
		const size_t size = runner->single ? 1 : count - at;
		const size_t found =
			run_batch(runner, candidates + at, size,
				  runner->timeout_seconds < STUCK_SECONDS ? runner->timeout_seconds : STUCK_SECONDS,
				  FORK_MILLISECONDS, &verdict);

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
	struct verdict verdict;
	bool same = true;

	/* The last word is spoken after an interruption too. */
	runner->interrupted = NULL;
	for (int i = 0; same && i < CONFIRMATIONS; i++) {
		run_batch(runner, program, 1,
			  runner->timeout_seconds < CONFIRMED_STUCK_SECONDS ? runner->timeout_seconds
									    : CONFIRMED_STUCK_SECONDS,
			  CONFIRMED_FORK_MILLISECONDS, &verdict);
		same = verdict.kind != VERDICT_CLEAN && is_same(runner, &verdict);
	}
	runner->interrupted = interrupted;
	if (!same)
		runner->single = true;
	return same;
}

static void show_progress(void *context, const struct program *smallest)
{
	const struct shrink_runner *const runner = context;

	if (runner->progress != NULL)
		runner->progress(runner, smallest);
}

enum verdict_kind shrink_runner_begin(struct shrink_runner *runner, const struct program *program)
{
	struct verdict verdict = {0};

	/* What shows without the checks that run it again is found many times faster. */
	for (int deep = 0; deep < 2 && verdict.kind == VERDICT_CLEAN && runner->environment[0] == '\0'; deep++) {
		runner->deep = deep;
		run_batch(runner, program, 1, runner->timeout_seconds, NULL, &verdict);
	}
	verdict_signature(&verdict, runner->signature, sizeof runner->signature);
	return verdict.kind;
}

void shrink_runner_oracle(struct shrink_runner *runner, struct shrink_oracle *oracle)
{
	oracle->first_failing = first_failing;
	oracle->confirm = confirm;
	oracle->progress = show_progress;
	oracle->context = runner;
	oracle->interrupted = runner->interrupted;
}
