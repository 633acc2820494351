/* heapstorm replay: runs programs and recordings, each in a process of its own, with every oracle. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"
#include "report.h"
#include "supervisor.h"

#define ALLOCATORS_MAX 16

struct arguments {
	char *allocators; /* as given, names separated by commas; NULL: what the file says */
	struct shared_options shared;
	const char *variant, *repeat;
	bool expect, gdb, quick, verbose;
};

/* One run: a file on an allocator. */
struct job {
	const char *file, *allocator, *variant;
	const struct program *program;
	const struct arguments *arguments;
	size_t operations;
	struct run_record *total;
};

enum { OPTION_EXPECT = 256, OPTION_GDB, OPTION_QUICK, OPTION_REPEAT, OPTION_VARIANT };

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	static char repeat[16]; /* in decimal, whatever was typed */
	struct arguments *const arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		output_give_options(state, &arguments->shared);
		return 0;
	case 'a':
		arguments->allocators = value;
		return 0;
	case 'v':
		arguments->verbose = true;
		return 0;
	case OPTION_EXPECT:
		arguments->expect = true;
		return 0;
	case OPTION_GDB:
		arguments->gdb = true;
		return 0;
	case OPTION_QUICK:
		arguments->quick = true;
		return 0;
	case OPTION_REPEAT:
		snprintf(repeat, sizeof repeat, "%llu", cli_number(value, "--repeat", 1, UINT32_MAX));
		arguments->repeat = repeat;
		return 0;
	case OPTION_VARIANT:
		arguments->variant = cli_check_variant(value);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void show_progress(const struct run_record *record, void *context)
{
	const struct job *const job = context;

	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%s on %s: %" PRIu64 " operations, program has %zu\033[K", cli_base_name(job->file),
		job->allocator, record->operations, job->operations);
}

/* Takes the names of a list one by one, as strtok_r. What has a blank or begins with a path is one, whatever else is in it. */
static char *next_allocator(char *list, char **state)
{
	if (list != NULL && (list[0] == '/' || strchr(list, ' ') != NULL)) {
		*state = list + strlen(list);
		return list;
	}
	return strtok_r(list, ",", state);
}

static enum verdict_kind run_job(const struct job *job, cJSON *results)
{
	const struct arguments *const arguments = job->arguments;
	char runner[PATH_MAX], output[PATH_MAX];
	char *argv[8];
	int argc = 0;
	const bool scheduled = strcmp(job->variant, "sched") == 0;
	struct supervision supervision = {
		.argv = argv,
		.output = output,
		.timeout_seconds = arguments->shared.timeout,
		.interrupted = &cli_interrupted,
		.progress = show_progress,
		.context = (void *)job,
	};
	struct supervised result;
	const double start = cli_now();
	enum verdict_kind verdict;
	cJSON *json;

	cli_runner_path(job->allocator, job->variant, runner, sizeof runner);
	snprintf(output, sizeof output, "%s/output", cli_temporary_folder());
	argv[argc++] = runner;
	if (!arguments->quick && !scheduled)
		argv[argc++] = "--deep";
	if (arguments->repeat != NULL) {
		argv[argc++] = scheduled ? "--runs" : "--repeat";
		argv[argc++] = (char *)arguments->repeat;
	}
	argv[argc++] = (char *)cli_process_argument(job->allocator);
	argv[argc++] = (char *)job->file;
	argv[argc] = NULL;
	if (!supervise(&supervision, &result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", runner, strerror(errno));
	cli_check_process(runner, &result);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (cli_interrupted)
		cli_die(130, "interrupted");
	if (WIFEXITED(result.status) && (WEXITSTATUS(result.status) == 2 || WEXITSTATUS(result.status) == 3) &&
	    result.record->state == RUN_NOT_STARTED)
		cli_die(WEXITSTATUS(result.status), "%s cannot run %s on %s", runner, job->file, job->allocator);
	if (result.record->state == RUN_NOT_STARTED && result.record->verdict.kind == VERDICT_CLEAN)
		cli_die(STATUS_ENVIRONMENT, "%s ended with status %d before it ran %s", runner,
			WIFEXITED(result.status) ? WEXITSTATUS(result.status) : -1, job->file);
	verdict = result.record->verdict.kind;
	report_add(job->total, result.record);
	printf("%-25.25s %-14s %9" PRIu64 " operations %6.2f s  %s\n", cli_base_name(job->file),
	       cli_base_name(job->allocator), result.record->operations, cli_now() - start, verdict_name(verdict));
	report_print(stdout, job->program, result.record, strcmp(job->variant, "asan") == 0 ? output : NULL);
	cli_print_stacks(stdout, runner, result.record);
	if (scheduled)
		printf("  schedule:  %" PRIu64 " scheduling points, hash %016" PRIx64 "\n", result.record->points,
		       result.record->trace_hash);
	if (verdict != VERDICT_CLEAN)
		printf("  again:     heapstorm replay %s --allocator %s --variant %s%s\n", job->file,
		       cli_quoted(job->allocator), job->variant, arguments->quick ? " --quick" : "");
	if (arguments->verbose && verdict != VERDICT_CLEAN) {
		FILE *const text = fopen(output, "r");
		char line[1024];

		while (text != NULL && fgets(line, sizeof line, text) != NULL)
			fputs(line, stdout);
		if (text != NULL)
			fclose(text);
	}
	fflush(stdout);
	if (arguments->gdb && verdict != VERDICT_CLEAN)
		cli_debug(runner, !arguments->quick && !scheduled, job->allocator, job->program,
			  &result.record->verdict);
	json = report_json(job->file, job->variant, job->program, result.record);
	cJSON_AddNumberToObject(json, "seconds", cli_now() - start);
	if (verdict != VERDICT_CLEAN)
		cli_add_stacks(json, job->program, result.record, runner, output);
	cJSON_AddItemToArray(results, json);
	supervised_release(&result);
	return verdict;
}

/* Runs one file on all of its allocators. False if what was expected did not happen. */
static bool replay_file(const char *file, const struct program *program, struct arguments *arguments, cJSON *results,
			struct run_record *total, enum verdict_kind *worst)
{
	char list[PROGRAM_SPEC_MAX], *state = NULL;
	bool good = true;

	if (arguments->allocators != NULL)
		snprintf(list, sizeof list, "%s", arguments->allocators);
	else if (program->allocator[0] != '\0')
		snprintf(list, sizeof list, "%s", program->allocator);
	else
		cli_allocator_of(program, file, NULL, list, sizeof list);
	for (char *name = next_allocator(list, &state); name != NULL; name = next_allocator(NULL, &state)) {
		const struct job job = {
			.file = file,
			.allocator = name,
			.variant = arguments->variant != NULL ? arguments->variant : cli_default_variant(name, program),
			.program = program,
			.arguments = arguments,
			.operations = program_op_count(program),
			.total = total,
		};
		const enum verdict_kind expected = program->has_expect ? program->expect : VERDICT_CLEAN;
		const enum verdict_kind verdict = run_job(&job, results);

		if (*worst == VERDICT_CLEAN)
			*worst = verdict;
		if (verdict != (arguments->expect ? expected : VERDICT_CLEAN)) {
			good = false;
			if (arguments->expect)
				printf("  expected:  %s\n", verdict_name(expected));
		}
	}
	return good;
}

int cmd_replay(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"allocator", 'a', "NAME", 0, "Run on NAME, or on several (A,B), whatever the file says", 0},
		{"expect", OPTION_EXPECT, NULL, 0,
		 "Succeed if the verdict is the one that the file expects (clean if it says none)", 0},
		{"gdb", OPTION_GDB, NULL, 0,
		 "Stop at the failing operation in gdb, with the commands heap, block and ops", 0},
		{"quick", OPTION_QUICK, NULL, 0, "Leave out the checks that run the program again", 0},
		{"repeat", OPTION_REPEAT, "N", 0, "Run each program N times", 0},
		{"variant", OPTION_VARIANT, "NAME", 0,
		 "asan (the default): under AddressSanitizer; plain: as shipped; sched (the default of files with a "
		 "schedule): "
		 "one thread at a time, in the order of the file",
		 0},
		{"verbose", 'v', NULL, 0, "Show all that a sanitizer wrote", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.children = shared_children,
		.args_doc = "FILE...",
		.doc = "Runs programs (text or bytes), .rep traces and recordings with every oracle."
		       "\vThe last line is `verdict: NAME', clean if nothing was found.",
	};
	struct arguments arguments = {.shared.timeout = 10};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	const int files = argc - first;
	static struct run_record total;
	struct program *programs;
	enum program_format format;
	enum verdict_kind worst = VERDICT_CLEAN;
	cJSON *const results = cJSON_CreateArray();
	bool good = true;

	if (files < 1)
		cli_die(STATUS_USAGE, "replay takes at least one file: see heapstorm replay --help");
	if (arguments.allocators != NULL) {
		char list[PROGRAM_SPEC_MAX], *state = NULL;

		if (arguments.allocators[strspn(arguments.allocators, ",")] == '\0' ||
		    strlen(arguments.allocators) >= sizeof list)
			cli_die(STATUS_USAGE, "--allocator %s: expected names separated by commas: see heapstorm list",
				arguments.allocators);
		snprintf(list, sizeof list, "%s", arguments.allocators);
		for (char *name = next_allocator(list, &state); name != NULL; name = next_allocator(NULL, &state))
			cli_check_allocator(name, "--allocator");
	}
	if (arguments.gdb &&
	    (files != 1 || (arguments.allocators != NULL && strchr(arguments.allocators, ',') != NULL)))
		cli_die(STATUS_USAGE, "--gdb takes one file and one allocator");
	if (arguments.gdb)
		cli_check_debugger();
	output_check(&arguments.shared);
	cli_catch_interrupts();
	/* All files are read before any is run: bad input leaves nothing half done. */
	programs = calloc((size_t)files, sizeof *programs);
	if (programs == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	for (int i = 0; i < files; i++) {
		program_init(&programs[i]);
		argv[first + i] = (char *)cli_program_path(argv[first + i]);
		cli_load(argv[first + i], &programs[i], &format);
		if (arguments.allocators == NULL && programs[i].allocator[0] != '\0')
			cli_check_allocator(programs[i].allocator, argv[first + i]);
	}
	for (int i = 0; i < files; i++) {
		good = replay_file(argv[first + i], &programs[i], &arguments, results, &total, &worst) && good;
		program_destroy(&programs[i]);
	}
	free(programs);
	output_write(&arguments.shared, "replay", results);
	cJSON_Delete(results);
	printf("\n%" PRIu64 " runs under %s, %" PRIu64 " operations, %" PRIu64 " faults\n", total.programs,
	       arguments.variant == NULL                ? "the variant that each file asks for"
	       : strcmp(arguments.variant, "asan") == 0 ? "AddressSanitizer and UndefinedBehaviorSanitizer"
							: "no sanitizer",
	       total.operations, total.faults_injected);
	report_checks(stdout, &total);
	printf("verdict: %s\n", verdict_name(worst));
	return good ? STATUS_CLEAN : STATUS_FOUND;
}
