/* heapstorm fuzz: starts the fuzz target, watches over it and keeps what it finds. */
#define _GNU_SOURCE
#include <dirent.h>
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
#include "output.h"
#include "process.h"
#include "report.h"
#include "supervisor.h"

struct arguments {
	struct shared_options shared;
	const char *corpus, *seeds, *target, *max_runs;
	char *random_seed;
	double budget;
	bool threads;
};

enum { OPTION_BUDGET = 256, OPTION_CORPUS, OPTION_RUNS, OPTION_SEED, OPTION_SEEDS, OPTION_TARGET, OPTION_THREADS };

/* What libFuzzer last said of itself. */
struct engine_status {
	const char *log;
	double start, next_line;
	int lines; /* of the last progress report */
	char coverage[32], features[32], corpus[64];
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	static char runs[16], seed[16]; /* in decimal, whatever was typed */
	struct arguments *const arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		output_give_options(state, &arguments->shared);
		return 0;
	case OPTION_BUDGET:
		arguments->budget = cli_seconds(value, "--budget");
		return 0;
	case OPTION_CORPUS:
		arguments->corpus = value;
		return 0;
	case OPTION_RUNS:
		snprintf(runs, sizeof runs, "%llu", cli_number(value, "--runs", 1, INT32_MAX));
		arguments->max_runs = runs;
		return 0;
	case OPTION_SEED:
		snprintf(seed, sizeof seed, "%llu", cli_number(value, "--seed", 1, UINT32_MAX));
		arguments->random_seed = seed;
		return 0;
	case OPTION_SEEDS:
		arguments->seeds = value;
		return 0;
	case OPTION_THREADS:
		arguments->threads = true;
		return 0;
	case OPTION_TARGET:
		arguments->target = value;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Takes the word after `key` of libFuzzer's status line. */
static void take_figure(const char *line, const char *key, char *figure, size_t size)
{
	const char *at = strstr(line, key);

	if (at == NULL)
		return;
	at += strlen(key);
	snprintf(figure, size, "%.*s", (int)strcspn(at, " \n"), at);
}

/* Reads the last status line of libFuzzer's log: "#1234 NEW cov: 56 ft: 78 corp: 9/10b ...". */
static void read_status(struct engine_status *status)
{
	char tail[4096];
	FILE *const log = fopen(status->log, "r");
	size_t length;

	if (log == NULL)
		return;
	if (fseek(log, -(long)sizeof tail + 1, SEEK_END) != 0)
		rewind(log);
	length = fread(tail, 1, sizeof tail - 1, log);
	fclose(log);
	tail[length] = '\0';
	for (char *line = strrchr(tail, '#'); line != NULL; line = memrchr(tail, '#', (size_t)(line - tail))) {
		if (strstr(line, " cov: ") != NULL && strchr(line, '\n') != NULL) {
			take_figure(line, " cov: ", status->coverage, sizeof status->coverage);
			take_figure(line, " ft: ", status->features, sizeof status->features);
			take_figure(line, " corp: ", status->corpus, sizeof status->corpus);
			return;
		}
	}
}

static void print_progress(const struct run_record *record, void *context)
{
	struct engine_status *const status = context;
	const double seconds = cli_now() - status->start;
	const bool terminal = isatty(STDOUT_FILENO);
	const char *const line_end = terminal ? "\033[K\n" : "\n";

	/* Elsewhere than on a terminal ten seconds apart is enough. */
	if (!terminal && seconds < status->next_line)
		return;
	status->next_line = seconds + 9.5;
	read_status(status);
	/* On a terminal each one is written over the one before. */
	if (terminal && status->lines > 0)
		printf("\033[%dA", status->lines);
	printf("%4.0f s %" PRIu64 " programs (%.0f/s), %" PRIu64 " operations, coverage %s%s", seconds,
	       record->programs, (double)record->programs / seconds, record->operations, status->coverage, line_end);
	status->lines = 1 + report_checks_brief(stdout, record, line_end);
	fflush(stdout);
}

size_t cli_encode_seeds(const char *from, const char *to)
{
	struct program program;
	struct dirent *entry;
	DIR *const folder = opendir(from);
	size_t count = 0;

	if (folder == NULL)
		cli_die(STATUS_USAGE, "%s: cannot be read: %s", from, strerror(errno));
	program_init(&program);
	while ((entry = readdir(folder)) != NULL) {
		enum program_format format;
		char path[PATH_MAX + NAME_MAX + 2];
		uint8_t *bytes;
		size_t size;
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", from, entry->d_name);
		cli_load(path, &program, &format);
		size = program_encoded_size(&program);
		bytes = malloc(size + 1);
		snprintf(path, sizeof path, "%s/%s", to, entry->d_name);
		file = fopen(path, "w");
		if (bytes == NULL || file == NULL ||
		    fwrite(bytes, 1, program_encode(&program, bytes, size), file) != size || fclose(file) != 0)
			cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s", path, strerror(errno));
		free(bytes);
		count++;
	}
	closedir(folder);
	program_destroy(&program);
	return count;
}

static void print_table(const struct run_record *record, const struct engine_status *status, double seconds)
{
	printf("\n%-16s %14" PRIu64 "    %-16s %14" PRIu64 "\n", "programs", record->programs, "operations",
	       record->operations);
	printf("%-16s %14.0f    %-16s %14" PRIu64 "\n", "programs/s", (double)record->programs / seconds, "faults",
	       record->faults_injected);
	printf("%-16s %14s    %-16s %14s\n", "coverage (edges)", status->coverage, "corpus", status->corpus);
	report_operations(stdout, record);
	report_checks(stdout, record);
}

void cli_fuzz_process(const struct cli_fuzz *fuzz, struct supervised *result)
{
	char artifacts[PATH_MAX], budget[48], timeout[48], seed[48], runs[48];
	char *argv[16];
	int argc = 0;
	const struct supervision supervision = {
		.argv = argv,
		.output = fuzz->log,
		.timeout_seconds = fuzz->timeout,
		.budget_seconds = fuzz->budget > 0 ? fuzz->budget + 10 : 0, /* libFuzzer ends by itself before */
		.interrupted = &cli_interrupted,
		.progress = fuzz->progress,
		.context = fuzz->context,
	};

	snprintf(artifacts, sizeof artifacts, "-artifact_prefix=%s/", cli_temporary_folder());
	snprintf(budget, sizeof budget, "-max_total_time=%.0f", fuzz->budget < 1 ? 1 : fuzz->budget);
	snprintf(timeout, sizeof timeout, "-timeout=%.0f", fuzz->timeout * 10); /* the supervisor is quicker */
	argv[argc++] = (char *)fuzz->target;
	argv[argc++] = "-print_final_stats=1";
	argv[argc++] = "-max_len=4096";
	argv[argc++] = "-len_control=20";
	argv[argc++] = "-rss_limit_mb=8192";
	argv[argc++] = artifacts;
	argv[argc++] = timeout;
	if (fuzz->budget > 0)
		argv[argc++] = budget;
	if (fuzz->random_seed != NULL) {
		snprintf(seed, sizeof seed, "-seed=%s", fuzz->random_seed);
		argv[argc++] = seed;
	}
	if (fuzz->max_runs != NULL) {
		snprintf(runs, sizeof runs, "-runs=%s", fuzz->max_runs);
		argv[argc++] = runs;
	}
	cli_make_folder(fuzz->corpus);
	argv[argc++] = (char *)fuzz->corpus;
	if (fuzz->seeds != NULL)
		argv[argc++] = (char *)fuzz->seeds;
	argv[argc] = NULL;
	if (fuzz->allocators != NULL)
		setenv("HEAPSTORM_ALLOCATORS", fuzz->allocators, 1);
	fflush(stdout);
	if (!supervise(&supervision, result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", fuzz->target, strerror(errno));
	if (result->record->magic != RUN_RECORD_MAGIC) {
		fprintf(stderr, "heapstorm: %s did not start:\n", fuzz->target);
		FILE *const text = fopen(fuzz->log, "r");

		for (int c; text != NULL && (c = fgetc(text)) != EOF;)
			fputc(c, stderr);
		exit(STATUS_ENVIRONMENT);
	}
}

/* Whether it is no list of names; those with a comma in a path are found by their blank or slash. */
static bool is_one(const char *allocator)
{
	return allocator != NULL && (strchr(allocator, ',') == NULL || strpbrk(allocator, " /") != NULL);
}

static enum verdict_kind run(const struct arguments *arguments, const char *allocator)
{
	char target[PATH_MAX], log[PATH_MAX], corpus[PATH_MAX], seeds[PATH_MAX];
	struct engine_status status = {.log = log, .start = cli_now(), .coverage = "-", .corpus = "-"};
	struct cli_fuzz fuzz = {
		.target = target,
		.corpus = arguments->corpus != NULL ? arguments->corpus : corpus,
		.log = log,
		.random_seed = arguments->random_seed,
		.max_runs = arguments->max_runs,
		.budget = arguments->budget,
		.timeout = arguments->shared.timeout,
		.progress = print_progress,
		.context = &status,
	};
	struct supervised result;
	struct program program;
	enum verdict_kind verdict;
	cJSON *const figures = cJSON_CreateObject(), *json;
	struct failure failure;
	double seconds;

	/* Several names are those of the executable; what is compiled on the spot has one of its own. */
	if (arguments->target != NULL)
		snprintf(target, sizeof target, "%s", arguments->target);
	else
		cli_process_path(is_one(allocator) ? allocator : "mem_alloc_2.0",
				 arguments->threads ? "fuzz_threads" : "fuzz_sequence", target, sizeof target);
	fuzz.allocators = is_one(allocator) ? cli_process_argument(allocator) : allocator;
	snprintf(log, sizeof log, "%s/log", cli_temporary_folder());
	snprintf(corpus, sizeof corpus, "%s/corpus", cli_temporary_folder());
	if (arguments->seeds != NULL) {
		snprintf(seeds, sizeof seeds, "%s/seeds", cli_temporary_folder());
		cli_make_folder(seeds);
		printf("%zu seeds from %s\n", cli_encode_seeds(arguments->seeds, seeds), arguments->seeds);
		fuzz.seeds = seeds;
	}
	cli_fuzz_process(&fuzz, &result);
	cli_check_version(target, result.record);
	seconds = cli_now() - status.start;
	read_status(&status);
	verdict = result.record->verdict.kind;
	if (verdict == VERDICT_CLEAN && WIFEXITED(result.status) && WEXITSTATUS(result.status) != 0 && !result.stopped)
		cli_die(STATUS_ENVIRONMENT,
			"%s ended with status %d without a verdict; see its output with --target %s", target,
			WEXITSTATUS(result.status), target);
	program_init(&program);
	program_decode(result.record->input, result.record->input_size, &program);
	print_table(result.record, &status, seconds);
	report_print(stdout, &program, result.record, log);
	cli_print_stacks(stdout, target, result.record);
	cJSON_AddNumberToObject(figures, "seconds", seconds);
	cJSON_AddNumberToObject(figures, "programs", (double)result.record->programs);
	cJSON_AddNumberToObject(figures, "coverage", strtod(status.coverage, NULL));
	if (verdict != VERDICT_CLEAN) {
		failure = (struct failure){.program = &program,
					   .record = result.record,
					   .allocator = is_one(allocator) ? allocator : result.record->allocator,
					   .out = arguments->shared.out,
					   .input = result.record->input,
					   .input_size = result.record->input_size,
					   .executable = target,
					   .sanitizer_output = log,
					   .variant = "fuzz",
					   .runner = arguments->threads ? "sched" : "asan",
					   .details = figures};
		failure_keep(&failure);
		if (arguments->target == NULL)
			printf("  again:     heapstorm replay %s\n", failure.folder);
	}
	json = report_json(NULL, "fuzz", &program, result.record);
	cli_move_fields(json, figures);
	if (verdict != VERDICT_CLEAN) {
		failure_add_json(&failure, json);
		failure_release(&failure);
	}
	output_write(&arguments->shared, "fuzz", json);
	cJSON_Delete(json);
	program_destroy(&program);
	supervised_release(&result);
	return verdict;
}

/* One allocator of any kind, or several built-in ones separated by commas where there may be more than one. */
static const char *check_allocators(const char *names, bool one)
{
	char list[PROGRAM_SPEC_MAX], *state = NULL;

	if (names[strspn(names, ",")] == '\0' || strlen(names) >= sizeof list)
		cli_die(STATUS_USAGE, "'%s': expected names of allocators separated by commas: see heapstorm list",
			names);
	if (is_one(names))
		return cli_check_allocator(names, "fuzz");
	if (one)
		cli_die(STATUS_USAGE, "fuzz --threads takes one allocator, not '%s'", names);
	snprintf(list, sizeof list, "%s", names);
	for (char *name = strtok_r(list, ",", &state); name != NULL; name = strtok_r(NULL, ",", &state))
		cli_check_built_in(name, "fuzz");
	return names;
}

int cmd_fuzz(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"budget", OPTION_BUDGET, "TIME", 0, "Stop after TIME, such as 60s or 10m (default: when interrupted)",
		 0},
		{"corpus", OPTION_CORPUS, "DIR", 0, "Begin with the inputs in DIR and keep new ones there", 0},
		{"seeds", OPTION_SEEDS, "DIR", 0, "Begin also with the programs (text) in DIR", 0},
		{"runs", OPTION_RUNS, "N", 0, "Stop after N programs", 0},
		{"seed", OPTION_SEED, "N", 0, "Seed of the random numbers", 0},
		{"threads", OPTION_THREADS, NULL, 0,
		 "Programs with threads, and the order in which they run: one allocator (default: mem_alloc_2.0)", 0},
		{"target", OPTION_TARGET, "FILE", 0, "Another fuzz target than fuzz_sequence", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.children = keeping_children,
		.args_doc = "[ALLOCATOR[,ALLOCATOR...]]",
		.doc = "Searches for bugs with libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer: random "
		       "programs, guided by "
		       "coverage, on the allocators side by side (default: all)."
		       "\vThe last line is `verdict: NAME', clean if nothing was found.",
	};
	struct arguments arguments = {.shared.timeout = 10};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	const char *allocator = NULL;
	enum verdict_kind verdict;

	if (argc - first > 1)
		cli_die(STATUS_USAGE, "fuzz takes one word, names of allocators: see heapstorm fuzz --help");
	if (argc - first == 1)
		allocator = check_allocators(argv[first], arguments.threads);
	output_check(&arguments.shared);
	cli_check_folder(arguments.shared.out);
	cli_catch_interrupts();
	verdict = run(&arguments, allocator);
	printf("verdict: %s\n", verdict_name(verdict));
	return verdict == VERDICT_CLEAN ? STATUS_CLEAN : STATUS_FOUND;
}
