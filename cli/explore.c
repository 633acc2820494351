/* heapstorm explore: searches the schedules of programs with threads. */
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
#include "supervisor.h"

#define BOUND_DEFAULT "2"

struct arguments {
	struct shared_options shared;
	const char *allocator, *strategy, *bound, *runs, *seed, *runner, *scenario, *threads;
	double budget;
};

enum {
	OPTION_BOUND = 256,
	OPTION_BUDGET,
	OPTION_RUNNER,
	OPTION_RUNS,
	OPTION_SCENARIO,
	OPTION_SEED,
	OPTION_STRATEGY,
	OPTION_THREADS,
};

const struct strategy cli_strategies[] = {
	{"mix", "random, pct, surw and pos in turn (the default of explore)"},
	{"none", "no preemption"},
	{"random", "switches once in 2 to 128 points"},
	{"pct", "random priorities that change a few times"},
	{"surw", "uniform over the orders of the accesses to one shared object"},
	{"pos", "a random priority for each access"},
	{"bounded", "every schedule with at most --bound preemptions"},
	{NULL, NULL},
};

static bool is_bounded(const struct arguments *arguments)
{
	return strcmp(arguments->strategy, "bounded") == 0;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		output_give_options(state, &arguments->shared);
		return 0;
	case 'a':
		arguments->allocator = value;
		return 0;
	case OPTION_BOUND:
		cli_number(value, "--bound", 0, 1000);
		arguments->bound = value;
		return 0;
	case OPTION_BUDGET:
		arguments->budget = cli_seconds(value, "--budget");
		return 0;
	case OPTION_RUNNER:
		arguments->runner = value;
		return 0;
	case OPTION_RUNS:
		cli_number(value, "--runs", 1, UINT64_MAX);
		arguments->runs = value;
		return 0;
	case OPTION_SCENARIO:
		if (scenario_find(value) == NULL)
			cli_die(STATUS_USAGE, "--scenario %s: no scenario has that name: see heapstorm list", value);
		arguments->scenario = value;
		return 0;
	case OPTION_THREADS:
		cli_number(value, "--threads", 1, STRESS_THREADS_MAX);
		arguments->threads = value;
		return 0;
	case OPTION_SEED:
		cli_number(value, "--seed", 0, UINT64_MAX);
		arguments->seed = value;
		return 0;
	case OPTION_STRATEGY:
		for (const struct strategy *strategy = cli_strategies; strategy->name != NULL; strategy++)
			if (strcmp(value, strategy->name) == 0) {
				arguments->strategy = value;
				return 0;
			}
		cli_die(STATUS_USAGE, "--strategy %s: expected mix, none, random, pct, surw, pos or bounded", value);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void find_runner(const struct arguments *arguments, const char *allocator, char *path, size_t size)
{
	if (arguments->runner != NULL)
		snprintf(path, size, "%s", arguments->runner);
	else
		cli_runner_path(allocator, "sched", path, size);
}

static void keep_failure(const struct arguments *arguments, const struct scheduled *scheduled, struct program *program,
			 struct run_record *record, const cJSON *figures, struct failure *failure)
{
	program_take_schedule(program, record);
	printf("  schedule:  %u preemption%s, %" PRIu64 " scheduling points\n", record->preemption_count,
	       record->preemption_count == 1 ? "" : "s", record->points);
	scheduled_confirm(scheduled, program, record, arguments->shared.out);
	*failure = (struct failure){.program = program,
				    .record = record,
				    .allocator = scheduled->allocator,
				    .out = arguments->shared.out,
				    .executable = scheduled->runner,
				    .variant = "sched",
				    .runner = "sched",
				    .details = figures};
	failure_keep(failure);
	printf("  again:     heapstorm replay %s%s\n", failure->folder, failure_replay_options(failure));
}

/* How much of what there is was run. */
static void print_bounded(const char *bound, const struct run_record *record, cJSON *json)
{
	const unsigned level = record->bound_level;

	cJSON_AddBoolToObject(json, "exhausted", record->bound_done);
	if (record->verdict.kind != VERDICT_CLEAN)
		return;
	if (record->bound_done) {
		printf("  bounded:   all %" PRIu64 " schedules with at most %s preemption%s were run: clean\n",
		       record->programs, bound, strcmp(bound, "1") == 0 ? "" : "s");
		return;
	}
	printf("  bounded:   not exhausted: ");
	if (level > 0)
		printf("all schedules with at most %u preemption%s were run, ", level - 1, level == 2 ? "" : "s");
	printf("of those with %u at least %" PRIu64 " were not", level, record->bound_pending);
	if (record->bound_pending_later > 0)
		printf(", of those with %u at least %" PRIu64, level + 1, record->bound_pending_later);
	printf("\n");
}

static enum verdict_kind explore_file(const struct arguments *arguments, const char *file, struct program *program,
				      double budget, struct run_record *total, cJSON *results)
{
	char allocator[PROGRAM_SPEC_MAX], runner[PATH_MAX];
	const struct scheduled scheduled = {
		.runner = runner,
		.allocator = allocator,
		.seed = arguments->seed,
		.runs = arguments->runs,
		.bound = arguments->bound,
		.scenario = arguments->scenario,
		.threads = arguments->threads,
		.timeout = arguments->shared.timeout,
	};
	struct supervised result;
	const double start = cli_now();
	enum verdict_kind verdict;
	struct failure failure;
	cJSON *const figures = cJSON_CreateObject(), *json;

	cli_allocator_of(program, file, arguments->allocator, allocator, sizeof allocator);
	find_runner(arguments, allocator, runner, sizeof runner);
	scheduled_run(&scheduled, file, arguments->strategy, budget, &result);
	verdict = result.record->verdict.kind;
	report_add(total, result.record);
	if (file == NULL)
		program_decode(result.record->input, result.record->input_size, program);
	printf("%-25.25s %-14s %9" PRIu64 " schedules %6.0f/s  %s\n",
	       file != NULL ? cli_base_name(file) : arguments->scenario, cli_base_name(allocator),
	       result.record->programs, (double)result.record->programs / (cli_now() - start), verdict_name(verdict));
	cJSON_AddNumberToObject(figures, "schedules", (double)result.record->programs);
	cJSON_AddNumberToObject(figures, "seconds", cli_now() - start);
	if (is_bounded(arguments))
		print_bounded(arguments->bound, result.record, figures);
	if (verdict != VERDICT_CLEAN) {
		report_print(stdout, program, result.record, NULL);
		cli_print_stacks(stdout, runner, result.record);
		fflush(stdout);
		keep_failure(arguments, &scheduled, program, result.record, figures, &failure);
	}
	json = report_json(file, "sched", program, result.record);
	cli_move_fields(json, figures);
	if (verdict != VERDICT_CLEAN) {
		failure_add_json(&failure, json);
		failure_release(&failure);
	}
	cJSON_AddItemToArray(results, json);
	supervised_release(&result);
	fflush(stdout);
	return verdict;
}

int cmd_explore(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"allocator", 'a', "NAME", 0, "Run on NAME, whatever the files say (default: mem_alloc_2.0)", 0},
		{"strategy", OPTION_STRATEGY, "NAME", 0, "mix (the default), or another of heapstorm list", 0},
		{"bound", OPTION_BOUND, "N", 0, "Strategy bounded: at most N preemptions (default " BOUND_DEFAULT ")",
		 0},
		{"scenario", OPTION_SCENARIO, "NAME", 0, "Without a file: kind of the programs (default mixed)", 0},
		{"threads", OPTION_THREADS, "N", 0, "Without a file: threads of the programs (default 3)", 0},
		{"runs", OPTION_RUNS, "N", 0,
		 "Schedules of each file, or of all programs (default 10000; bounded: all)", 0},
		{"budget", OPTION_BUDGET, "TIME", 0, "Stop after TIME, shared by the programs", 0},
		{"seed", OPTION_SEED, "N", 0, "Seed of the first schedule (default 1)", 0},
		{"runner", OPTION_RUNNER, "FILE", 0, "Another scheduled runner than the installed one", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.children = keeping_children,
		.args_doc = "[ALLOCATOR | FILE...]",
		.doc = "Runs programs with threads (those of the files, or random ones) under many schedules, one "
		       "thread at a time, and keeps the schedule "
		       "of what "
		       "fails in a file that replays."
		       "\vThe last line is `verdict: NAME', clean if nothing was found.",
	};
	struct arguments arguments = {
		.strategy = "mix", .scenario = scenarios[0].name, .threads = "3", .seed = "1", .shared.timeout = 10};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	int files = argc - first;
	static struct run_record total;
	enum verdict_kind worst = VERDICT_CLEAN;
	cJSON *const results = cJSON_CreateArray();
	struct program program;
	enum program_format format;

	if (arguments.bound != NULL && !is_bounded(&arguments))
		cli_die(STATUS_USAGE, "--bound is for --strategy bounded");
	if (arguments.bound == NULL)
		arguments.bound = BOUND_DEFAULT;
	if (arguments.runs == NULL)
		arguments.runs = is_bounded(&arguments) ? "18446744073709551615" : "10000";
	/* One word that is no file names an allocator. */
	if (files == 1 && arguments.allocator == NULL && (access(argv[first], F_OK) != 0 || !cli_is_program(argv[first]))) {
		arguments.allocator = argv[first];
		files = 0;
	}
	if (arguments.allocator != NULL)
		arguments.allocator = cli_check_allocator(arguments.allocator, "explore");
	if (files == 0 && is_bounded(&arguments))
		cli_die(STATUS_USAGE, "--strategy bounded needs a file: it runs all schedules of one program");
	output_check(&arguments.shared);
	cli_check_folder(arguments.shared.out);
	cli_catch_interrupts();
	for (int i = 0; i < files; i++)
		argv[first + i] = (char *)cli_program_path(argv[first + i]);
	program_init(&program);
	/* All files are read before any is run: bad input leaves nothing half done. */
	for (int i = 0; i < files; i++)
		cli_load(argv[first + i], &program, &format);
	for (int i = 0; i < files && !cli_interrupted; i++) {
		cli_load(argv[first + i], &program, &format);
		const enum verdict_kind verdict =
			explore_file(&arguments, argv[first + i], &program, arguments.budget / files, &total, results);

		if (worst == VERDICT_CLEAN)
			worst = verdict;
	}
	if (files == 0) {
		program_clear(&program);
		worst = explore_file(&arguments, NULL, &program, arguments.budget, &total, results);
	}
	program_destroy(&program);
	output_write(&arguments.shared, "explore", results);
	cJSON_Delete(results);
	printf("\n%" PRIu64 " schedules, %" PRIu64 " operations, %" PRIu64 " accesses looked at for races\n",
	       total.programs, total.operations, total.checks[VERDICT_RACE]);
	printf("verdict: %s\n", verdict_name(worst));
	return worst == VERDICT_CLEAN ? STATUS_CLEAN : STATUS_FOUND;
}
