/* heapstorm minimize: the smallest program that fails in the same way. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"
#include "report.h"
#include "shrink.h"
#include "supervisor.h"

struct arguments {
	struct shared_options shared;
	const char *allocator, *output, *variant, *json;
	double time;
};

enum { OPTION_JSON = 256, OPTION_TIME, OPTION_VARIANT };

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &arguments->shared;
		return 0;
	case 'a':
		arguments->allocator = value;
		return 0;
	case 'o':
		arguments->output = value;
		return 0;
	case OPTION_JSON:
		arguments->json = value;
		return 0;
	case OPTION_TIME:
		arguments->time = cli_seconds(value, "--time");
		return 0;
	case OPTION_VARIANT:
		arguments->variant = cli_check_variant(value);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void show_progress(const struct shrink_runner *runner, const struct program *smallest)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%zu operations, %zu threads, %zu programs tried\033[K", program_op_count(smallest),
			smallest->thread_count, runner->runs);
}

void cli_run_once(const char *runner, bool deep, const char *allocator, const struct program *program, double timeout,
		  const char *output, struct run_record *record)
{
	char path[PATH_MAX];
	const char *argv[6];
	int argc = 0;
	struct supervised result;
	FILE *file;

	snprintf(path, sizeof path, "%s/once.heap", cli_temporary_folder());
	file = fopen(path, "w");
	if (file == NULL || !program_print(program, file) || fclose(file) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s", path, strerror(errno));
	argv[argc++] = runner;
	if (deep)
		argv[argc++] = "--deep";
	argv[argc++] = cli_process_argument(allocator);
	argv[argc++] = path;
	argv[argc] = NULL;
	const struct supervision supervision = {
		.argv = (char *const *)argv, .output = output, .timeout_seconds = timeout};

	if (!supervise(&supervision, &result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", runner, strerror(errno));
	cli_check_process(runner, &result);
	*record = *result.record;
	supervised_release(&result);
}

int cmd_minimize(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"allocator", 'a', "NAME", 0, "Run on NAME, whatever the file says", 0},
		{"output", 'o', "FILE", 0, "Write the small program to FILE (needed)", 0},
		{"time", OPTION_TIME, "TIME", 0, "Try nothing new after TIME (default 25s)", 0},
		{"variant", OPTION_VARIANT, "NAME", 0,
		 "asan (the default): allocators under AddressSanitizer; plain: as shipped; sched (the default of "
		 "files with "
		 "a schedule): one thread at a time; the order of threads is made simpler too",
		 0},
		{"json", OPTION_JSON, "FILE", 0, "Write the result as JSON", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.children = timeout_children,
		.args_doc = "FILE",
		.doc = "Makes a failing program as small and simple as it gets while it fails in the same way, and "
		       "confirms the "
		       "result in two fresh processes. Interrupted, it keeps the smallest so far."
		       "\vExit status 0: written. 1: FILE does not fail the same way each time, nothing was written.",
	};
	struct arguments arguments = {.time = 25, .shared.timeout = 10};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	static struct run_record record;
	struct program program;
	enum program_format format;
	enum verdict_kind verdict;
	struct shrink_figures figures;
	char runner_path[PATH_MAX], output[PATH_MAX], allocator[PROGRAM_SPEC_MAX];
	size_t before_ops, before_threads, before_preemptions;

	if (argc - first != 1)
		cli_die(STATUS_USAGE, "minimize takes one file: see heapstorm minimize --help");
	if (arguments.output == NULL)
		cli_die(STATUS_USAGE, "minimize needs -o FILE for the small program");
	cli_check_writable(arguments.output);
	cli_check_writable(arguments.json);
	argv[first] = (char *)cli_program_path(argv[first]);
	program_init(&program);
	cli_load(argv[first], &program, &format);
	cli_allocator_of(&program, argv[first], arguments.allocator, allocator, sizeof allocator);
	if (arguments.variant == NULL)
		arguments.variant = cli_default_variant(allocator, &program);
	cli_runner_path(allocator, arguments.variant, runner_path, sizeof runner_path);
	cli_catch_interrupts();
	/* Crashes are told apart by what they are; their stacks are not looked at, and naming them takes most of the time. */
	setenv("ASAN_OPTIONS", "symbolize=0", 1);
	setenv("UBSAN_OPTIONS", "symbolize=0", 1);
	before_ops = program_op_count(&program);
	before_threads = program.thread_count;
	before_preemptions = program.preemption_count;

	struct shrink_runner runner = {.runner = runner_path,
				       .allocator = cli_process_argument(allocator),
				       .folder = cli_temporary_folder(),
				       .timeout_seconds = arguments.shared.timeout,
				       .scheduled = strcmp(arguments.variant, "sched") == 0,
				       .interrupted = &cli_interrupted,
				       .progress = show_progress};
	struct shrink_oracle oracle = {.seconds = arguments.time};

	shrink_runner_oracle(&runner, &oracle);
	verdict = shrink_runner_begin(&runner, &program);
	if (runner.environment[0] != '\0')
		cli_die(STATUS_ENVIRONMENT, "%s", runner.environment);
	if (cli_interrupted)
		cli_die(130, "interrupted");
	if (verdict == VERDICT_CLEAN)
		cli_die(STATUS_FOUND, "%s does not fail on %s: nothing to minimize", argv[first], allocator);
	const bool good = shrink(&program, &oracle, &figures);

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (runner.environment[0] != '\0')
		cli_die(STATUS_ENVIRONMENT, "%s", runner.environment);
	if (!good)
		cli_die(STATUS_FOUND, "%s fails (%s), but not the same way each time: nothing to minimize", argv[first],
			verdict_name(verdict));
	shrink_runner_end(&runner);
	unsetenv("ASAN_OPTIONS");
	unsetenv("UBSAN_OPTIONS");
	snprintf(output, sizeof output, "%s/output", cli_temporary_folder());
	cli_run_once(runner_path, runner.deep && !runner.scheduled, allocator, &program, arguments.shared.timeout,
		     output, &record);
	if (record.verdict.kind != verdict)
		cli_die(STATUS_FOUND, "the small program ends as %s, not as %s: nothing was written",
			verdict_name(record.verdict.kind), verdict_name(verdict));
	if (!report_write_program(arguments.output, &program, &record, allocator))
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", arguments.output, strerror(errno));
	report_print(stdout, &program, &record, output);
	printf("%zu operations of %zu, threads %zu of %zu, %zu faults, preemptions %zu of %zu; %zu programs in %zu "
	       "processes, "
	       "%.1f s%s\n",
	       program_op_count(&program), before_ops, program.thread_count, before_threads, program.fault_count,
	       program.preemption_count, before_preemptions, runner.runs, runner.processes, figures.seconds,
	       figures.complete ? "" : ", not to the end");
	if (arguments.json != NULL) {
		cJSON *const json = report_json(arguments.output, arguments.variant, &program, &record);

		cli_add_stacks(json, &program, &record, runner_path, output);
		cJSON_AddNumberToObject(json, "operations_before", (double)before_ops);
		cJSON_AddNumberToObject(json, "operations_after", (double)program_op_count(&program));
		cJSON_AddNumberToObject(json, "threads_after", (double)program.thread_count);
		cJSON_AddNumberToObject(json, "faults_after", (double)program.fault_count);
		cJSON_AddNumberToObject(json, "preemptions_before", (double)before_preemptions);
		cJSON_AddNumberToObject(json, "preemptions_after", (double)program.preemption_count);
		cJSON_AddNumberToObject(json, "seconds", figures.seconds);
		cJSON_AddBoolToObject(json, "complete", figures.complete);
		cli_write_json(arguments.json, json);
		cJSON_Delete(json);
	}
	printf("written:   %s\n", arguments.output);
	program.expect = verdict;
	program.has_expect = true;
	if (strcmp(arguments.variant, cli_default_variant(allocator, &program)) != 0)
		printf("again:     heapstorm replay %s --variant %s\n", arguments.output, arguments.variant);
	program_destroy(&program);
	return STATUS_CLEAN;
}
