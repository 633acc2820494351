/* heapstorm stress: threads at full speed, in a process of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "failure.h"
#include "generator.h"
#include "output.h"
#include "report.h"
#include "scheduled.h"
#include "target.h"
#include "supervisor.h"

struct arguments {
	struct shared_options shared;
	uint64_t threads, seed, rounds; /* rounds 0: no limit */
	uint64_t round;                 /* the only one; 0: all */
	uint64_t shard, shards;
	const struct scenario *scenario;
	const char *variant, *process, *runner;
	double time, schedule;
};

#define SCHEDULED_THREADS_MAX 128 /* of a scheduled run */

enum {
	OPTION_PROCESS = 256,
	OPTION_ROUND,
	OPTION_ROUNDS,
	OPTION_RUNNER,
	OPTION_SCENARIO,
	OPTION_SCHEDULE,
	OPTION_SEED,
	OPTION_SHARD,
	OPTION_THREADS,
	OPTION_TIME,
	OPTION_VARIANT,
};

/* "I/N": rounds that leave the remainder I when divided by N. */
static void parse_shard(const char *value, struct arguments *arguments)
{
	char first[32];
	const char *const slash = strchr(value, '/');

	if (slash == NULL || (size_t)(slash - value) >= sizeof first)
		cli_die(STATUS_USAGE, "--shard %s: expected I/N, such as 0/4", value);
	snprintf(first, sizeof first, "%.*s", (int)(slash - value), value);
	arguments->shards = cli_number(slash + 1, "--shard", 1, UINT32_MAX);
	arguments->shard = cli_number(first, "--shard", 0, arguments->shards - 1);
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		output_give_options(state, &arguments->shared);
		return 0;
	case OPTION_PROCESS:
		arguments->process = value;
		return 0;
	case OPTION_ROUND:
		arguments->round = cli_number(value, "--round", 1, UINT64_MAX);
		return 0;
	case OPTION_ROUNDS:
		arguments->rounds = cli_number(value, "--rounds", 1, UINT64_MAX);
		return 0;
	case OPTION_RUNNER:
		arguments->runner = value;
		return 0;
	case OPTION_SCHEDULE:
		arguments->schedule = cli_seconds(value, "--schedule");
		return 0;
	case OPTION_SCENARIO:
		arguments->scenario = scenario_find(value);
		if (arguments->scenario == NULL)
			cli_die(STATUS_USAGE, "--scenario: none is called '%s': see heapstorm list", value);
		return 0;
	case OPTION_SEED:
		arguments->seed = cli_number(value, "--seed", 0, UINT64_MAX);
		return 0;
	case OPTION_SHARD:
		parse_shard(value, arguments);
		return 0;
	case OPTION_THREADS:
		arguments->threads = cli_number(value, "--threads", 1, STRESS_THREADS_MAX);
		return 0;
	case OPTION_TIME:
		arguments->time = cli_seconds(value, "--time");
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

struct progress {
	double start, last;
	uint64_t operations; /* at the last line */
};

static void show_progress(const struct run_record *record, void *context)
{
	struct progress *const progress = context;
	const double now = cli_now(), seconds = now - progress->start;
	const bool terminal = isatty(STDOUT_FILENO);

	if (!terminal && now - progress->last < 10)
		return;
	printf("%s%4.0f s  %" PRIu64 " rounds  %" PRIu64 " operations  %.2f M/s%s", terminal ? "\r" : "", seconds,
	       record->programs, record->operations,
	       (double)(record->operations - progress->operations) / (now - progress->last) / 1e6,
	       terminal ? "\033[K" : "\n");
	progress->last = now;
	progress->operations = record->operations;
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

/* Where it is, for a machine. */
static cJSON *figures_json(const struct arguments *arguments, const struct run_record *record, double seconds)
{
	cJSON *const json = cJSON_CreateObject();
	char number[24];

	cJSON_AddStringToObject(json, "scenario", arguments->scenario->name);
	/* Numbers of 64 bits are strings: JSON's own have 53. */
	snprintf(number, sizeof number, "%" PRIu64, arguments->seed);
	cJSON_AddStringToObject(json, "seed", number);
	if (record->verdict.kind != VERDICT_CLEAN) {
		snprintf(number, sizeof number, "%" PRIu64, record->round);
		cJSON_AddStringToObject(json, "round", number);
	}
	cJSON_AddNumberToObject(json, "threads", (double)arguments->threads);
	cJSON_AddNumberToObject(json, "rounds", (double)record->programs);
	cJSON_AddNumberToObject(json, "seconds", seconds);
	return json;
}

/* The same program in the scheduled runner. False: it does not fail there, or cannot run; says why. */
static bool hand_over(const struct arguments *arguments, const char *allocator, char *runner,
		      const struct run_record *record, struct program *program, struct supervised *result)
{
	char path[PATH_MAX], why[500];
	const struct scheduled scheduled = {
		.runner = runner,
		.allocator = allocator,
		.seed = "1",
		.runs = "1000000000",
		.bound = "0",
		.scenario = arguments->scenario->name,
		.threads = "1",
		.timeout = arguments->shared.timeout,
	};
	const double start = cli_now();

	if (arguments->process != NULL && arguments->runner == NULL && getenv("HEAPSTORM_RUNNER") == NULL) {
		printf("  scheduled: not tried: --process is another build of the allocator, --runner names its "
		       "scheduled "
		       "runner\n");
		return false;
	}
	if (arguments->runner != NULL) {
		snprintf(runner, PATH_MAX, "%s", arguments->runner);
	} else if (!cli_target_process(cli_target(allocator, "allocator"), "runner-sched", runner, PATH_MAX, why,
				       sizeof why)) {
		printf("  scheduled: not tried: %s\n", why);
		return false;
	}
	if (program->thread_count > SCHEDULED_THREADS_MAX) {
		printf("  scheduled: not tried: the program has %zu threads\n", program->thread_count);
		return false;
	}
	snprintf(path, sizeof path, "%s/round.heap", cli_temporary_folder());
	if (!report_write_program(path, program, record, allocator))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s", path, strerror(errno));
	printf("  scheduled: the same program, one thread at a time, for up to %g s\n", arguments->schedule);
	fflush(stdout);
	scheduled_run(&scheduled, path, "mix", arguments->schedule, result);
	if (result->record->verdict.kind == VERDICT_CLEAN) {
		printf("             does not fail in %" PRIu64
		       " schedules: it is kept without one, and fails only now and "
		       "then\n",
		       result->record->programs);
		supervised_release(result);
		return false;
	}
	printf("             %s in schedule %" PRIu64 ", after %.1f s\n", verdict_name(result->record->verdict.kind),
	       result->record->programs + 1, cli_now() - start);
	program_take_schedule(program, result->record);
	scheduled_confirm(&scheduled, program, result->record, arguments->shared.out);
	return true;
}

/*
 * Keeps the program of a failing round: with a schedule under which it fails each time, if one is found, else as it is, random in its
 * order.
 */
static void keep_failure(const struct arguments *arguments, const char *allocator, const char *process,
			 struct run_record *record, const char *output, struct program *program, const cJSON *figures,
			 struct failure *failure)
{
	char runner[PATH_MAX];
	struct supervised scheduled = {0};

	generate_round(arguments->scenario, arguments->seed, record->round, (unsigned)arguments->threads, program);
	printf("%s: seed %" PRIu64 ", round %" PRIu64 " of scenario %s, %" PRIu64 " threads\n",
	       verdict_name(record->verdict.kind), arguments->seed, record->round, arguments->scenario->name,
	       arguments->threads);
	report_print(stdout, program, record, NULL);
	copy_output(output);
	*failure = (struct failure){.program = program,
				    .record = record,
				    .allocator = allocator,
				    .out = arguments->shared.out,
				    .executable = process,
				    .sanitizer_output = output,
				    .variant = arguments->variant,
				    .details = figures};
	if (hand_over(arguments, allocator, runner, record, program, &scheduled)) {
		report_print(stdout, program, scheduled.record, NULL);
		cli_print_stacks(stdout, runner, scheduled.record);
		failure->record = scheduled.record;
		failure->executable = runner;
		failure->sanitizer_output = NULL;
		failure->variant = failure->runner = "sched";
	}
	failure_keep(failure);
	if (scheduled.record != NULL)
		printf("  again:     heapstorm replay %s%s\n", failure->folder, failure_replay_options(failure));
	supervised_release(&scheduled);
	printf("  freely:    heapstorm stress %s --variant %s --scenario %s --threads %" PRIu64 " --seed %" PRIu64
	       " --round %" PRIu64 "\n",
	       cli_quoted(allocator), arguments->variant, arguments->scenario->name, arguments->threads,
	       arguments->seed, record->round);
}

static void find_process(const struct arguments *arguments, const char *allocator, char *process, size_t size)
{
	char name[32];

	if (arguments->process != NULL) {
		snprintf(process, size, "%s", arguments->process);
		return;
	}
	snprintf(name, sizeof name, "stress-%s", arguments->variant);
	cli_process_path(allocator, name, process, size);
}

/* Runs the process to its end, or ends this one with status 3. */
static void run_process(const struct arguments *arguments, const char *allocator, const char *process,
			const char *output, struct supervised *result)
{
	char numbers[5][24];
	char *child[] = {(char *)process,
			 "--threads",
			 numbers[0],
			 "--seed",
			 numbers[1],
			 "--first",
			 numbers[2],
			 "--step",
			 numbers[3],
			 "--rounds",
			 numbers[4],
			 "--scenario",
			 (char *)arguments->scenario->name,
			 (char *)cli_process_argument(allocator),
			 NULL};
	struct progress progress = {.start = cli_now()};
	const struct supervision supervision = {
		.argv = child,
		.output = output,
		.timeout_seconds = arguments->shared.timeout,
		.budget_seconds = arguments->time,
		.interrupted = &cli_interrupted,
		.progress = show_progress,
		.context = &progress,
	};
	const uint64_t first = arguments->round != 0   ? arguments->round
			       : arguments->shard != 0 ? arguments->shard
						       : arguments->shards;

	progress.last = progress.start;
	snprintf(numbers[0], sizeof numbers[0], "%" PRIu64, arguments->threads);
	snprintf(numbers[1], sizeof numbers[1], "%" PRIu64, arguments->seed);
	snprintf(numbers[2], sizeof numbers[2], "%" PRIu64, first);
	snprintf(numbers[3], sizeof numbers[3], "%" PRIu64, arguments->round != 0 ? 0 : arguments->shards);
	snprintf(numbers[4], sizeof numbers[4], "%" PRIu64, arguments->rounds != 0 ? arguments->rounds : UINT64_MAX);
	if (!supervise(&supervision, result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", process, strerror(errno));
	cli_check_process(process, result);
	if (isatty(STDOUT_FILENO))
		printf("\r\033[K");
	if (result->record->state == RUN_NOT_STARTED && !result->stopped) {
		copy_output(output);
		fflush(stdout);
		if (WIFEXITED(result->status) && WEXITSTATUS(result->status) == STATUS_USAGE)
			exit(STATUS_USAGE);
		cli_die(STATUS_ENVIRONMENT, "%s did not start", process);
	}
}

int cmd_stress(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"time", OPTION_TIME, "TIME", 0, "Stop after TIME (default 60s)", 0},
		{"rounds", OPTION_ROUNDS, "N", 0, "Stop after N rounds", 0},
		{"threads", OPTION_THREADS, "N", 0, "Threads at a time (default 4)", 0},
		{"scenario", OPTION_SCENARIO, "NAME", 0, "What they do: see heapstorm list (default mixed)", 0},
		{"seed", OPTION_SEED, "S", 0, "A round is a function of the seed and its number (default 1)", 0},
		{"shard", OPTION_SHARD, "I/N", 0, "Only the rounds that leave I when divided by N", 0},
		{"round", OPTION_ROUND, "R", 0, "Only round R, again and again", 0},
		{"variant", OPTION_VARIANT, "NAME", 0, "tsan (the default), asan or plain", 0},
		{"schedule", OPTION_SCHEDULE, "TIME", 0,
		 "Look for TIME for a schedule under which a failure comes each time (default 20s)", 0},
		{"runner", OPTION_RUNNER, "FILE", 0, "Another scheduled runner than the installed one", 0},
		{"process", OPTION_PROCESS, "FILE", 0, "Start FILE, built like stress-VARIANT, in its place", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.children = keeping_children,
		.args_doc = "[ALLOCATOR]",
		.doc = "Runs threads at full speed that allocate, free and hand blocks to each other, with every "
		       "oracle, "
		       "and walks the heap in between (default: mem_alloc_2.0)."
		       "\vThe last line is `verdict: NAME', clean if nothing was found.",
	};
	struct arguments arguments = {
		.threads = 4,
		.seed = 1,
		.shards = 1,
		.scenario = &scenarios[0],
		.variant = "tsan",
		.time = 60,
		.schedule = 20,
		.shared.timeout = 20,
	};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	const char *allocator = first < argc ? argv[first] : "mem_alloc_2.0";
	char process[PATH_MAX], output[PATH_MAX];
	struct failure failure;
	struct supervised result;
	struct program program;
	enum verdict_kind verdict;
	double start;
	cJSON *const results = cJSON_CreateArray(), *json, *figures;

	if (argc - first > 1)
		cli_die(STATUS_USAGE, "stress takes one allocator: see heapstorm stress --help");
	if (arguments.round != 0 && arguments.shards != 1)
		cli_die(STATUS_USAGE, "--round and --shard exclude each other");
	allocator = cli_check_allocator(allocator, "stress");
	cli_check_folder(arguments.shared.out);
	output_check(&arguments.shared);
	cli_catch_interrupts();
	snprintf(output, sizeof output, "%s/output", cli_temporary_folder());
	printf("%" PRIu64 " threads on %s (%s), scenario %s, seed %" PRIu64 "\n", arguments.threads,
	       cli_base_name(allocator), arguments.variant, arguments.scenario->name, arguments.seed);
	fflush(stdout);
	start = cli_now();
	find_process(&arguments, allocator, process, sizeof process);
	run_process(&arguments, allocator, process, output, &result);
	verdict = result.record->verdict.kind;
	printf("%" PRIu64 " rounds, %" PRIu64 " operations, %" PRIu64 " faults; checks that ran:\n",
	       result.record->programs, result.record->operations, result.record->faults_injected);
	report_checks_brief(stdout, result.record, "\n");
	program_init(&program);
	figures = figures_json(&arguments, result.record, cli_now() - start);
	if (verdict != VERDICT_CLEAN)
		keep_failure(&arguments, allocator, process, result.record, output, &program, figures, &failure);
	json = report_json(NULL, arguments.variant, &program, result.record);
	cli_move_fields(json, figures);
	if (verdict != VERDICT_CLEAN) {
		failure_add_json(&failure, json);
		failure_release(&failure);
	}
	cJSON_AddItemToArray(results, json);
	output_write(&arguments.shared, "stress", results);
	cJSON_Delete(results);
	program_destroy(&program);
	supervised_release(&result);
	printf("verdict: %s\n", verdict_name(verdict));
	return verdict == VERDICT_CLEAN ? STATUS_CLEAN : STATUS_FOUND;
}
