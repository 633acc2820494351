/* heapstorm stress: threads at full speed, in a process of its own. */
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
#include "supervisor.h"

struct arguments {
	char *threads, *seed;
	const char *variant, *json, *junit;
	double time, timeout;
};

enum { OPTION_JSON = 256, OPTION_JUNIT, OPTION_SEED, OPTION_THREADS, OPTION_TIME, OPTION_TIMEOUT, OPTION_VARIANT };

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case OPTION_JSON:
		arguments->json = value;
		return 0;
	case OPTION_JUNIT:
		arguments->junit = value;
		return 0;
	case OPTION_SEED:
		cli_number(value, "--seed", 0, UINT64_MAX);
		arguments->seed = value;
		return 0;
	case OPTION_THREADS:
		cli_number(value, "--threads", 1, 64);
		arguments->threads = value;
		return 0;
	case OPTION_TIME:
		arguments->time = cli_seconds(value, "--time");
		return 0;
	case OPTION_TIMEOUT:
		arguments->timeout = cli_seconds(value, "--timeout");
		return 0;
	case OPTION_VARIANT:
		if (strcmp(value, "tsan") != 0 && strcmp(value, "asan") != 0 && strcmp(value, "plain") != 0)
			cli_die(STATUS_USAGE, "--variant %s: expected tsan, asan or plain", value);
		arguments->variant = value;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void show_progress(const struct run_record *record, void *context)
{
	double *const seconds = context;

	++*seconds;
	if (isatty(STDOUT_FILENO))
		printf("\r%4.0f s  %" PRIu64 " rounds  %" PRIu64 " operations\033[K", *seconds, record->programs,
		       record->operations);
	else if ((int)*seconds % 10 == 0)
		printf("%4.0f s  %" PRIu64 " rounds  %" PRIu64 " operations\n", *seconds, record->programs,
		       record->operations);
	fflush(stdout);
}

static void copy_output(const char *path)
{
	FILE *const output = fopen(path, "r");
	char line[1024];

	/* ThreadSanitizer's report has both stacks. */
	for (int lines = 0; output != NULL && lines < 60 && fgets(line, sizeof line, output) != NULL; lines++)
		fputs(line, stdout);
	if (output != NULL)
		fclose(output);
}

int cmd_stress(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"time", OPTION_TIME, "TIME", 0, "Stop after TIME (default 60s)", 0},
		{"threads", OPTION_THREADS, "N", 0, "Threads of a round (default 4)", 0},
		{"seed", OPTION_SEED, "S", 0, "A round is a function of the seed and its number (default 1)", 0},
		{"variant", OPTION_VARIANT, "NAME", 0, "tsan (the default), asan or plain", 0},
		{"timeout", OPTION_TIMEOUT, "TIME", 0, "Without progress for TIME it is stuck (default 20s)", 0},
		{"json", OPTION_JSON, "FILE", 0, "Write the result as JSON", 0},
		{"junit", OPTION_JUNIT, "FILE", 0, "Write the result as JUnit XML", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[ALLOCATOR]",
		.doc = "Runs random threads that allocate, free and hand blocks to each other, and walks the heap "
		       "between rounds (default: "
		       "mem_alloc_2.0)."
		       "\vThe last line is `verdict: NAME', clean if nothing was found.",
	};
	struct arguments arguments = {.threads = "4", .seed = "1", .variant = "tsan", .time = 60, .timeout = 20};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	const char *const allocator = first < argc ? argv[first] : "mem_alloc_2.0";
	char relative[64], process[PATH_MAX], output[PATH_MAX];
	char *child[] = {process, "--threads", arguments.threads, "--seed", arguments.seed, (char *)allocator, NULL};
	double seconds = 0;
	const struct supervision supervision = {
		.argv = child,
		.output = output,
		.timeout_seconds = arguments.timeout,
		.budget_seconds = arguments.time,
		.interrupted = &cli_interrupted,
		.progress = show_progress,
		.context = &seconds,
	};
	struct supervised result;
	struct program none;
	enum verdict_kind verdict;
	cJSON *const results = cJSON_CreateArray();

	if (argc - first > 1)
		cli_die(STATUS_USAGE, "stress takes one allocator: see heapstorm stress --help");
	cli_check_allocator(allocator, "stress");
	cli_check_writable(arguments.json);
	cli_check_writable(arguments.junit);
	cli_catch_interrupts();
	snprintf(relative, sizeof relative, "libexec/heapstorm/stress-%s", arguments.variant);
	cli_install_path(relative, process, sizeof process);
	snprintf(output, sizeof output, "%s/output", cli_temporary_folder());
	printf("%s threads on %s (%s), seed %s\n", arguments.threads, allocator, arguments.variant, arguments.seed);
	fflush(stdout);
	if (!supervise(&supervision, &result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", process, strerror(errno));
	if (isatty(STDOUT_FILENO))
		printf("\r\033[K");
	verdict = result.record->verdict.kind;
	if (result.record->magic != RUN_RECORD_MAGIC) {
		copy_output(output);
		cli_die(STATUS_ENVIRONMENT, "%s did not start", process);
	}
	printf("%" PRIu64 " rounds, %" PRIu64 " operations, contents verified %" PRIu64 " times, heap walked %" PRIu64
	       " times\n",
	       result.record->programs, result.record->operations, result.record->checks[VERDICT_CORRUPTION],
	       result.record->checks[VERDICT_LOST_MEMORY]);
	program_init(&none);
	if (verdict != VERDICT_CLEAN) {
		printf("%s on %s in round %" PRIu64 " of seed %s: %s\n", verdict_name(verdict), allocator,
		       result.record->programs + 1, arguments.seed, result.record->verdict.message);
		copy_output(output);
	}
	cJSON_AddItemToArray(results, report_json(NULL, arguments.variant, &none, result.record));
	cli_write_json(arguments.json, results);
	cli_write_junit(arguments.junit, "stress", results);
	cJSON_Delete(results);
	program_destroy(&none);
	supervised_release(&result);
	printf("verdict: %s\n", verdict_name(verdict));
	return verdict == VERDICT_CLEAN ? STATUS_CLEAN : STATUS_FOUND;
}
