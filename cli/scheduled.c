#include "scheduled.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "report.h"

#define CONFIRMATIONS 2 /* fresh processes in which a failure has to come again */

static void show_progress(const struct run_record *record, void *context)
{
	const double *const start = context;

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%4.0f s  %" PRIu64 " schedules  %" PRIu64 " operations\033[K", cli_now() - *start,
			record->programs, record->operations);
}

void scheduled_run(const struct scheduled *scheduled, const char *file, const char *strategy, double budget,
		   struct supervised *result)
{
	char output[PATH_MAX];
	const bool file_alone = strcmp(strategy, "file") == 0;
	char *argv[] = {(char *)scheduled->runner,
			"--strategy",
			(char *)strategy,
			"--seed",
			(char *)scheduled->seed,
			"--runs",
			(char *)(file_alone ? "1" : scheduled->runs),
			"--bound",
			(char *)scheduled->bound,
			"--scenario",
			(char *)scheduled->scenario,
			"--threads",
			(char *)scheduled->threads,
			"--points",
			(char *)(scheduled->points != NULL ? scheduled->points : "0"),
			(char *)cli_process_argument(scheduled->allocator),
			(char *)file,
			NULL};
	double start = cli_now();
	const struct supervision supervision = {
		.argv = argv,
		.output = output,
		.timeout_seconds = scheduled->timeout,
		.budget_seconds = budget,
		.interrupted = &cli_interrupted,
		.progress = show_progress,
		.context = &start,
	};

	snprintf(output, sizeof output, "%s/output", cli_temporary_folder());
	if (!supervise(&supervision, result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", scheduled->runner, strerror(errno));
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	cli_check_process(scheduled->runner, result);
	if (result->record->verdict.kind == VERDICT_CLEAN && WIFEXITED(result->status) &&
	    WEXITSTATUS(result->status) != 0) {
		FILE *const text = fopen(output, "r");
		char line[1024];

		fflush(stdout);
		while (text != NULL && fgets(line, sizeof line, text) != NULL)
			fputs(line, stderr);
		exit(WEXITSTATUS(result->status) == STATUS_USAGE ? STATUS_USAGE : STATUS_ENVIRONMENT);
	}
}

void scheduled_confirm(const struct scheduled *scheduled, const struct program *program,
		       const struct run_record *record, const char *out)
{
	char path[PATH_MAX], kept[PATH_MAX];

	snprintf(path, sizeof path, "%s/program.heap", cli_temporary_folder());
	if (!report_write_program(path, program, record, scheduled->allocator))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s", path, strerror(errno));
	for (int i = 0; i < CONFIRMATIONS && !cli_interrupted; i++) {
		struct supervised again;

		scheduled_run(scheduled, path, "file", 0, &again);
		if (again.record->verdict.kind != record->verdict.kind || again.record->points != record->points ||
		    again.record->trace_hash != record->trace_hash) {
			cli_make_folder(out);
			snprintf(kept, sizeof kept, "%s/not-the-same.heap", out);
			report_write_program(kept, program, record, scheduled->allocator);
			cli_die(STATUS_ENVIRONMENT,
				"%s is not the same run in another process (%s after %" PRIu64
				" points, not %s after %" PRIu64
				"): this is a defect of heapstorm, please report it with the file",
				kept, verdict_name(again.record->verdict.kind), again.record->points,
				verdict_name(record->verdict.kind), record->points);
		}
		supervised_release(&again);
	}
	printf("  replayed:  %d times, the same to the last point\n", CONFIRMATIONS);
}
