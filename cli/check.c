/*
 * heapstorm check: the whole examination of one allocator in a minute. The budget is shared by phases, each of which looks in another way; each
 * failure is made smaller and kept once, and the search goes on behind it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch.h"
#include "cli.h"
#include "failure.h"
#include "generator.h"
#include "known.h"
#include "output.h"
#include "probe.h"
#include "process.h"
#include "report.h"
#include "shrink.h"
#include "target.h"

#define FINDINGS_MAX 32
#define REPEATS_MAX 8        /* of failures that are known, in a phase: what comes after them is more of the same */
#define PHASE_FINDINGS_MAX 8 /* of new ones */
#define SHRINK_SECONDS_MAX 10
#define SLICE_SECONDS 1.5     /* the least that a process with threads is run for */
#define SCHEDULES_TRIED "400" /* to see what threads at full speed have shown under a schedule */
#define STRESS_THREADS 4
#define CASES_MAX 1024       /* programs of a corpus */
#define CASE_SCHEDULES "200" /* that each program of the corpus runs under */

struct arguments {
	struct shared_options shared;
	const char *seed;
	char *spec; /* options of sources, as they are spelt in a program */
	double budget;
	bool first; /* it ends with the first bug, which is kept as it was found */
};

/* One failure, kept once. */
#define SIGNATURES_MAX 16

struct finding {
	enum verdict_kind kind;
	char sentence[200], folder[512];
	char *signatures[SIGNATURES_MAX]; /* as it was found: the small program may have another one */
	unsigned signature_count;
	const char *phase;
	unsigned seen;
	cJSON *json;
};

struct examination;

struct phase {
	const char *name, *what; /* the second says what was counted */
	unsigned share;          /* of the budget, relative to the others */
	void (*run)(struct examination *exam);
	bool threads; /* only for an allocator that threads may share */
};

struct examination {
	const struct arguments *arguments;
	struct cli_target *target;
	const char *variant; /* for programs without a race: asan, or plain where it is not compiled for that */
	char runner[PATH_MAX], output[PATH_MAX], corpus[PATH_MAX];
	double start, kept; /* seconds; the second is what failures took to be made smaller */
	/* The phase at work. */
	const struct phase *phase;
	double end;
	struct run_record total; /* of it */
	unsigned new_findings, repeats;
	char skipped[600];
	/* All. */
	struct run_record all;
	double found_at; /* seconds of search before the failure at work */
	struct finding findings[FINDINGS_MAX];
	unsigned finding_count;
	char *known; /* signatures for KNOWN_ENVIRONMENT */
	cJSON *results;
};

enum {
	OPTION_BUDGET = 256,
	OPTION_CFLAGS,
	OPTION_FIRST,
	OPTION_FUNCTION,
	OPTION_PREFIX,
	OPTION_SEED,
	OPTION_SINGLE,
};

static void add_word(struct arguments *arguments, const char *word)
{
	if (strlen(arguments->spec) + strlen(word) + 8 > 4 * PATH_MAX)
		cli_die(STATUS_USAGE, "the options are too long");
	cli_target_add_word(arguments->spec, 4 * PATH_MAX, word);
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		output_give_options(state, &arguments->shared);
		return 0;
	case 'l':
	case 'L': {
		char word[PATH_MAX];

		snprintf(word, sizeof word, "-%c%s", key, value);
		add_word(arguments, word);
		return 0;
	}
	case OPTION_BUDGET:
		arguments->budget = cli_seconds(value, "--budget");
		return 0;
	case OPTION_CFLAGS:
		add_word(arguments, "--cflags");
		add_word(arguments, value);
		return 0;
	case OPTION_FIRST:
		arguments->first = true;
		return 0;
	case OPTION_FUNCTION:
		add_word(arguments, "--function");
		add_word(arguments, value);
		return 0;
	case OPTION_PREFIX:
		add_word(arguments, "--prefix");
		add_word(arguments, value);
		return 0;
	case OPTION_SEED:
		cli_number(value, "--seed", 1, UINT32_MAX);
		arguments->seed = value;
		return 0;
	case OPTION_SINGLE:
		add_word(arguments, "--single-thread");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- Processes ---- */

static double now(const struct examination *exam)
{
	return cli_now() - exam->start - exam->kept;
}

static double time_left(const struct examination *exam)
{
	return cli_interrupted ? 0 : exam->end - now(exam);
}

/* What was asked for is there: the first bug. */
static bool is_done(const struct examination *exam)
{
	return exam->arguments->first && exam->finding_count > 0;
}

static bool goes_on(const struct examination *exam)
{
	return !is_done(exam) && time_left(exam) > 0.2 && exam->new_findings < PHASE_FINDINGS_MAX &&
	       exam->repeats < REPEATS_MAX && exam->finding_count < FINDINGS_MAX;
}

static void clear_line(void)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

static void show_progress(const struct run_record *record, void *context)
{
	const struct examination *const exam = context;

	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%4.0f s of %.0f  %s: %" PRIu64 " programs, %" PRIu64 " operations; %u found\033[K",
		now(exam), exam->arguments->budget, exam->phase->name, exam->total.programs + record->programs,
		exam->total.operations + record->operations, exam->finding_count);
}

/* The path of a process, or the phase is skipped with the reason. */
static bool find_process(struct examination *exam, const char *process, char *path)
{
	const double start = cli_now();
	char why[500];
	const bool good = cli_target_process(exam->target, process, path, PATH_MAX, why, sizeof why);

	/* Compiling is not examining. */
	exam->kept += cli_now() - start;
	if (good)
		return true;
	snprintf(exam->skipped, sizeof exam->skipped, "%s", why);
	return false;
}

/* Says why a process did not run anything. */
static void did_not_start(const struct examination *exam, const char *process)
{
	FILE *const output = fopen(exam->output, "r");
	char line[400] = "";

	if (output != NULL && fgets(line, sizeof line, output) == NULL)
		line[0] = '\0';
	if (output != NULL)
		fclose(output);
	line[strcspn(line, "\n")] = '\0';
	cli_die(STATUS_ENVIRONMENT, "%s did not start: %s", process, line[0] != '\0' ? line : "it says nothing");
}

/*
 * Runs a process until the phase's time is over or for `seconds`, and counts what it did. True if it has a verdict, which is in `result`; to
 * be released in any case.
 */
static bool run_for(struct examination *exam, double seconds, char *const *argv, struct supervised *result)
{
	const double left = time_left(exam);
	const struct supervision supervision = {
		.argv = argv,
		.output = exam->output,
		.timeout_seconds = exam->arguments->shared.timeout,
		.budget_seconds = seconds < left ? seconds : left,
		.interrupted = &cli_interrupted,
		.progress = show_progress,
		.context = exam,
	};

	/* What the search has found by now is passed over; whoever looks at one failure does not have this. */
	setenv(KNOWN_ENVIRONMENT, exam->known, 1);
	if (!supervise(&supervision, result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", argv[0], strerror(errno));
	unsetenv(KNOWN_ENVIRONMENT);
	clear_line();
	if (result->record->state == RUN_NOT_STARTED && !result->stopped &&
	    (result->record->verdict.kind == VERDICT_CLEAN || result->record->magic != RUN_RECORD_MAGIC))
		did_not_start(exam, argv[0]);
	report_add(&exam->total, result->record);
	return result->record->verdict.kind != VERDICT_CLEAN;
}

#define RUN(exam, seconds, result, ...) run_for(exam, seconds, (char *const[]){__VA_ARGS__, NULL}, result)

/* ---- Findings ---- */

static void pass_over(struct examination *exam, const struct verdict *verdict)
{
	char signature[512], *longer = NULL;

	if (!known_can_be_passed_over(verdict->kind, verdict->message) ||
	    (verdict->kind == VERDICT_CRASH && exam->target->kind != TARGET_CUSTOM))
		return;
	verdict_signature(verdict, signature, sizeof signature);
	if (asprintf(&longer, "%s%s\n", exam->known, signature) < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	free(exam->known);
	exam->known = longer;
}

/* What makes a failure the same as another one. Undefined behaviour is known by its place. */
static void find_signature(const struct examination *exam, const struct program *program,
			   const struct run_record *record, const char *executable, char *signature)
{
	cJSON *stacks;

	if (record->verdict.kind == VERDICT_CRASH &&
	    known_can_be_passed_over(record->verdict.kind, record->verdict.message)) {
		verdict_signature(&record->verdict, signature, REPORT_SIGNATURE_MAX);
		return;
	}
	stacks = cli_stacks_json(executable, record, exam->output);
	report_failure_signature(program, &record->verdict, stacks, signature, REPORT_SIGNATURE_MAX);
	cJSON_Delete(stacks);
}

static bool has_signature(const struct finding *finding, const char *signature)
{
	for (unsigned i = 0; i < finding->signature_count; i++)
		if (strcmp(finding->signatures[i], signature) == 0)
			return true;
	return false;
}

/* One failure may be found with several signatures: a sanitizer says the same in more than one way. */
static void add_signature(struct finding *finding, const char *signature)
{
	if (finding->signature_count < SIGNATURES_MAX)
		finding->signatures[finding->signature_count++] = strdup(signature);
}

static struct finding *find_finding(struct examination *exam, const char *signature, const char *folder)
{
	for (unsigned i = 0; i < exam->finding_count; i++)
		if (has_signature(&exam->findings[i], signature) || strcmp(exam->findings[i].folder, folder) == 0)
			return &exam->findings[i];
	return NULL;
}

static void take_finding(struct examination *exam, const struct failure *failure, const char *signature)
{
	struct finding *const finding = &exam->findings[exam->finding_count++];
	const struct verdict *const verdict = &failure->record->verdict;

	exam->new_findings++;
	finding->kind = verdict->kind;
	finding->phase = exam->phase->name;
	finding->seen = 1;
	add_signature(finding, signature);
	snprintf(finding->sentence, sizeof finding->sentence, "%.*s", (int)sizeof finding->sentence - 1,
		 verdict->message);
	snprintf(finding->folder, sizeof finding->folder, "%s", failure->folder);
	finding->json = report_json(failure->path, failure->variant, failure->program, failure->record);
	cJSON_AddStringToObject(finding->json, "phase", exam->phase->name);
	cJSON_AddNumberToObject(finding->json, "seconds", cli_now() - exam->start);
	cJSON_AddNumberToObject(finding->json, "search_seconds", exam->found_at);
	failure_add_json(failure, finding->json);
}

/* Keeps a failure. True if it is a new one. */
static bool keep(struct examination *exam, struct program *program, struct run_record *record, const char *executable,
		 const char *variant, const char *runner, const cJSON *details)
{
	const double start = cli_now();
	const double shrink = exam->arguments->budget / 6;
	struct failure failure = {
		.program = program,
		.record = record,
		.allocator = exam->target->spec,
		.out = exam->arguments->shared.out,
		.executable = executable,
		.sanitizer_output = exam->output,
		.variant = variant,
		.runner = runner,
		.details = details,
		.as_found = exam->arguments->first,
		.shrink_seconds = shrink < SHRINK_SECONDS_MAX ? shrink : SHRINK_SECONDS_MAX,
	};
	char signature[REPORT_SIGNATURE_MAX];
	struct finding *finding;

	exam->found_at = now(exam);
	find_signature(exam, program, record, executable, signature);
	finding = find_finding(exam, signature, "");
	if (finding == NULL) {
		printf("%s: %s\n", verdict_name(record->verdict.kind), record->verdict.message);
		pass_over(exam, &record->verdict);
		failure_keep(&failure);
		fflush(stdout);
		/* The small program may say it in other words. */
		pass_over(exam, &record->verdict);
		finding = find_finding(exam, signature, failure.folder);
		if (finding == NULL)
			take_finding(exam, &failure, signature);
		else
			add_signature(finding, signature);
		failure_release(&failure);
	}
	if (finding != NULL) {
		finding->seen++;
		exam->repeats++;
	}
	exam->kept += cli_now() - start;
	return finding == NULL;
}

/* Keeps a failure whose program is in the record. */
static bool keep_input(struct examination *exam, struct run_record *record, const char *executable, const char *variant)
{
	struct program program;
	bool is_new;

	program_init(&program);
	program_decode(record->input, record->input_size, &program);
	if (strcmp(variant, "sched") == 0)
		program_take_schedule(&program, record);
	is_new = keep(exam, &program, record, executable, variant, variant, NULL);
	program_destroy(&program);
	return is_new;
}

/* ---- Phases of one thread ---- */

/* The programs of a folder, as far as this allocator can run them. */
static void read_corpus(const struct examination *exam, const char *folder, struct program *programs, size_t *count,
			size_t most)
{
	char path[PATH_MAX + NAME_MAX];
	struct dirent **entries = NULL;
	enum program_format format;
	int found;

	snprintf(path, sizeof path, "%s/%s", exam->corpus, folder);
	found = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < found; i++) {
		if (entries[i]->d_name[0] != '.' && *count < most) {
			struct program *const program = &programs[*count];

			snprintf(path, sizeof path, "%s/%s/%s", exam->corpus, folder, entries[i]->d_name);
			program_init(program);
			cli_load(path, program, &format);
			if (program->thread_count > 1 && exam->target->single_thread)
				program_destroy(program);
			else
				(*count)++;
		}
		free(entries[i]);
	}
	free(entries);
}

/* Reads the folders of the corpus, and runs all of their programs: command[0] with its words; the file of the programs comes last. */
static void run_corpus(struct examination *exam, const char *const *folders, char *const *command, const char *variant)
{
	struct program *const programs = calloc(CASES_MAX, sizeof *programs);
	const bool scheduled = strcmp(variant, "sched") == 0;
	char path[PATH_MAX], *argv[16];
	size_t count = 0, at = 0, words = 0;

	if (programs == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	for (; *folders != NULL; folders++)
		read_corpus(exam, *folders, programs, &count, CASES_MAX);
	snprintf(path, sizeof path, "%s/cases", cli_temporary_folder());
	for (; command[words] != NULL; words++)
		argv[words] = command[words];
	argv[words++] = path;
	argv[words] = NULL;
	while (at < count && goes_on(exam)) {
		struct supervised result;

		if (!scheduled)
			exam->repeats = 0; /* there are not so many */
		if (!batch_write(path, programs + at, count - at))
			cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s", path, strerror(errno));
		if (run_for(exam, time_left(exam), argv, &result) && at + result.record->candidate < count) {
			at += result.record->candidate;
			if (scheduled)
				program_take_schedule(&programs[at], result.record);
			keep(exam, &programs[at], result.record, command[0], variant, variant, NULL);
			at++;
		} else {
			at = count;
		}
		supervised_release(&result);
	}
	for (size_t i = 0; i < count; i++)
		program_destroy(&programs[i]);
	free(programs);
}

/* Programs that were written by hand, each for a place where allocators break, run again and again. */
static void run_cases(struct examination *exam)
{
	static const char *const folders[] = {"sequence", "regress", "threads", NULL};

	run_corpus(exam, folders,
		   (char *const[]){exam->runner, "--deep", "--fork-timeout", "2000", "--batch", exam->target->argument,
				   NULL},
		   exam->variant);
}

static void search(struct examination *exam, const char *mode)
{
	char process[PATH_MAX], name[32], first[24] = "0";
	uint64_t skip = 1;

	snprintf(name, sizeof name, "search-%s", exam->variant);
	if (!find_process(exam, name, process))
		return;
	while (goes_on(exam)) {
		struct supervised result;

		if (!RUN(exam, time_left(exam), &result, process, "--mode", (char *)mode, "--seed",
			 (char *)exam->arguments->seed, "--first", first, exam->target->argument)) {
			supervised_release(&result);
			return;
		}
		/* Where the same failure is in all programs, farther and farther ones are looked at. */
		const uint64_t at = result.record->round;

		skip = keep_input(exam, result.record, process, exam->variant) ? 1 : 8 * skip;
		snprintf(first, sizeof first, "%" PRIu64, at + skip);
		supervised_release(&result);
	}
}

static void run_small(struct examination *exam)
{
	search(exam, "small");
}

static void run_faults(struct examination *exam)
{
	search(exam, "faults");
}

static void run_reclaim(struct examination *exam)
{
	search(exam, "reclaim");
}

/* Guided by coverage where the allocator is compiled for that; where a known failure is in the way, random programs behind it. */
static void run_sequences(struct examination *exam)
{
	char target[PATH_MAX], log[PATH_MAX], corpus[PATH_MAX], seeds[PATH_MAX], seed[24], folder[PATH_MAX + 16];
	struct supervised result;

	if (!cli_target_has_variant(exam->target, "fuzz")) {
		search(exam, "random");
		return;
	}
	if (!find_process(exam, "fuzz_sequence", target))
		return;
	snprintf(log, sizeof log, "%s/log", cli_temporary_folder());
	snprintf(corpus, sizeof corpus, "%s/fuzz", cli_temporary_folder());
	snprintf(seeds, sizeof seeds, "%s/seeds", cli_temporary_folder());
	snprintf(folder, sizeof folder, "%s/sequence", exam->corpus);
	cli_make_folder(seeds);
	if (!exam->target->single_thread)
		cli_encode_seeds(folder, seeds);
	for (unsigned i = 0; goes_on(exam) && exam->repeats < 2; i++) {
		snprintf(seed, sizeof seed, "%u", (unsigned)strtoul(exam->arguments->seed, NULL, 0) + i);
		const struct cli_fuzz fuzz = {
			.target = target,
			.allocators = exam->target->argument,
			.corpus = corpus,
			.seeds = seeds,
			.log = log,
			.random_seed = seed,
			.budget = time_left(exam),
			.timeout = exam->arguments->shared.timeout,
			.progress = show_progress,
			.context = exam,
		};

		setenv(KNOWN_ENVIRONMENT, exam->known, 1);
		cli_fuzz_process(&fuzz, &result);
		unsetenv(KNOWN_ENVIRONMENT);
		clear_line();
		report_add(&exam->total, result.record);
		if (result.record->verdict.kind != VERDICT_CLEAN) {
			snprintf(exam->output, sizeof exam->output, "%s", log);
			keep_input(exam, result.record, target, exam->variant);
			snprintf(exam->output, sizeof exam->output, "%s/output", cli_temporary_folder());
		}
		supervised_release(&result);
	}
	exam->repeats = 0;
	if (goes_on(exam) && time_left(exam) > 1)
		search(exam, "random");
}

/* ---- Phases with threads ---- */

/* Looks for a way in which the program of a round fails each time: one thread after the other, or under a schedule. */
static const char *pin_down(struct examination *exam, struct program *program, struct run_record *record,
			    char *executable)
{
	static struct run_record again;
	char runner[PATH_MAX], path[PATH_MAX], why[500];
	struct supervised result;
	const char *variant = NULL;

	cli_run_once(exam->runner, false, exam->target->spec, program, 2, exam->output, &again);
	if (again.verdict.kind == record->verdict.kind) {
		*record = again;
		snprintf(executable, PATH_MAX, "%s", exam->runner);
		return exam->variant;
	}
	if (!cli_target_has_variant(exam->target, "sched") || program->thread_count > 100 ||
	    !cli_target_process(exam->target, "runner-sched", runner, sizeof runner, why, sizeof why))
		return NULL;
	snprintf(path, sizeof path, "%s/round.heap", cli_temporary_folder());
	if (!report_write_program(path, program, record, exam->target->spec))
		return NULL;
	char *const argv[] = {runner,          "--strategy",           "mix", "--runs",
			      SCHEDULES_TRIED, exam->target->argument, path,  NULL};
	char output[PATH_MAX];
	const struct supervision supervision = {.argv = argv,
						.output = output,
						.timeout_seconds = exam->arguments->shared.timeout,
						.budget_seconds = 5,
						.interrupted = &cli_interrupted};

	snprintf(output, sizeof output, "%s/schedules", cli_temporary_folder());
	if (!supervise(&supervision, &result))
		return NULL;
	if (result.record->verdict.kind == record->verdict.kind) {
		*record = *result.record;
		program_take_schedule(program, record);
		snprintf(executable, PATH_MAX, "%s", runner);
		variant = "sched";
	}
	supervised_release(&result);
	return variant;
}

static void keep_round(struct examination *exam, const struct scenario *scenario, const char *variant,
		       struct run_record *record, const char *process)
{
	const double start = cli_now();
	struct program program;
	char executable[PATH_MAX], number[24];
	cJSON *const details = cJSON_CreateObject();
	const char *runner;

	program_init(&program);
	generate_round(scenario, strtoull(exam->arguments->seed, NULL, 0), record->round, STRESS_THREADS, &program);
	snprintf(executable, sizeof executable, "%s", process);
	cJSON_AddStringToObject(details, "scenario", scenario->name);
	cJSON_AddStringToObject(details, "seed", exam->arguments->seed);
	snprintf(number, sizeof number, "%" PRIu64, record->round);
	cJSON_AddStringToObject(details, "round", number);
	cJSON_AddNumberToObject(details, "threads", STRESS_THREADS);
	runner = exam->arguments->first ? NULL : pin_down(exam, &program, record, executable);
	exam->kept += cli_now() - start;
	if (keep(exam, &program, record, executable, runner != NULL ? runner : variant, runner, details) &&
	    runner == NULL)
		printf("  again:     heapstorm stress \"%s\" --variant %s --scenario %s --threads %d --seed %s --round "
		       "%s\n",
		       exam->target->spec, variant, scenario->name, STRESS_THREADS, exam->arguments->seed, number);
	cJSON_Delete(details);
	program_destroy(&program);
}

struct slice {
	const char *variant, *scenario;
};

/* Each slice is a process of its own; the first ones are what finds most. */
static void stress(struct examination *exam, const struct slice *slices, size_t count)
{
	for (size_t i = 0; goes_on(exam); i++) {
		const struct slice *const slice = &slices[i % count];
		const char *const variant =
			cli_target_has_variant(exam->target, slice->variant) ? slice->variant : "plain";
		const struct scenario *const scenario = scenario_find(slice->scenario);
		char process[PATH_MAX], name[32], first[24], threads[16];
		double seconds = time_left(exam) / (double)(count - i % count);
		struct supervised result;

		snprintf(name, sizeof name, "stress-%s", variant);
		if (!find_process(exam, name, process))
			return;
		snprintf(threads, sizeof threads, "%d", STRESS_THREADS);
		snprintf(first, sizeof first, "%zu", 1 + i * 100000);
		if (seconds < SLICE_SECONDS)
			seconds = SLICE_SECONDS;
		if (RUN(exam, seconds, &result, process, "--threads", threads, "--seed", (char *)exam->arguments->seed,
			"--first", first, "--step", "1", "--scenario", (char *)scenario->name, exam->target->argument))
			keep_round(exam, scenario, variant, result.record, process);
		supervised_release(&result);
	}
}

static void run_threads(struct examination *exam)
{
	static const struct slice slices[] = {
		{"tsan", "mixed"},
		{"asan", "all-to-all"},
		{"plain", "mixed"},
		{"tsan", "producer-consumer"},
		{"plain", "foreign-realloc"},
		{"asan", "faults"},
		{"tsan", "boundaries"},
	};

	stress(exam, slices, sizeof slices / sizeof slices[0]);
}

static void run_ends(struct examination *exam)
{
	static const struct slice slices[] = {
		{"plain", "fork"},
		{"asan", "churn"},
		{"plain", "destructors"},
		{"tsan", "first-call"},
	};

	stress(exam, slices, sizeof slices / sizeof slices[0]);
}

/* The programs with threads that were written by hand, each under many schedules. */
static void schedule_cases(struct examination *exam, char *process)
{
	static const char *const folders[] = {"threads", NULL};

	run_corpus(exam, folders,
		   (char *const[]){process, "--fork-timeout", "2000", "--random", CASE_SCHEDULES, "--batch",
				   exam->target->argument, NULL},
		   "sched");
}

static void run_schedules(struct examination *exam)
{
	static const char *const names[] = {"mixed",      "all-to-all", "producer-consumer", "churn",
					    "first-call", "fork",       "destructors"};
	const size_t count = sizeof names / sizeof names[0];
	char process[PATH_MAX];

	if (!cli_target_has_variant(exam->target, "sched")) {
		snprintf(exam->skipped, sizeof exam->skipped, "%s",
			 "only what is compiled here runs under a chosen schedule");
		return;
	}
	if (!find_process(exam, "runner-sched", process))
		return;
	const double end = exam->end;

	exam->end = now(exam) + time_left(exam) / 2;
	schedule_cases(exam, process);
	exam->end = end;
	for (size_t i = 0; goes_on(exam); i++) {
		double seconds = time_left(exam) / (double)(count - i % count);
		struct supervised result;
		char seed[24];

		snprintf(seed, sizeof seed, "%llu", strtoull(exam->arguments->seed, NULL, 0) + i * 1000000);
		if (seconds < SLICE_SECONDS)
			seconds = SLICE_SECONDS;
		if (RUN(exam, seconds, &result, process, "--strategy", "mix", "--seed", seed, "--runs", "1000000000",
			"--scenario", (char *)names[i % count], exam->target->argument))
			keep_input(exam, result.record, process, "sched");
		supervised_release(&result);
	}
}

/* ---- The whole ---- */

static const struct phase phases[] = {
	{"contract cases", "programs", 10, run_cases, false},
	{"small programs", "all programs of a few operations", 14, run_small, false},
	{"sequences", "programs", 24, run_sequences, false},
	{"OS faults", "programs", 10, run_faults, false},
	{"threads", "rounds", 16, run_threads, true},
	{"schedules", "schedules", 16, run_schedules, true},
	{"reclaim", "programs", 6, run_reclaim, false},
	{"fork, thread exit", "rounds", 10, run_ends, true},
};

#define PHASES (sizeof phases / sizeof phases[0])

static void run_phase(struct examination *exam, size_t number)
{
	const struct phase *const phase = exam->phase = &phases[number];
	const double start = now(exam);
	unsigned shares = 0, findings = exam->finding_count;
	cJSON *json;

	for (size_t i = number; i < PHASES; i++)
		shares += phases[i].share;
	exam->end = start + (exam->arguments->budget - start) * phase->share / shares;
	exam->total = (struct run_record){0};
	exam->new_findings = exam->repeats = 0;
	exam->skipped[0] = '\0';
	if (phase->threads && exam->target->single_thread)
		snprintf(exam->skipped, sizeof exam->skipped, "it is for one thread");
	else if (is_done(exam))
		snprintf(exam->skipped, sizeof exam->skipped, "a bug was found");
	else if (!cli_interrupted)
		phase->run(exam);
	report_add(&exam->all, &exam->total);
	clear_line();
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "phase", phase->name);
	if (exam->total.programs == 0 && exam->total.operations == 0 && exam->finding_count == findings) {
		if (exam->skipped[0] == '\0')
			snprintf(exam->skipped, sizeof exam->skipped, "%s",
				 cli_interrupted ? "interrupted" : "no time was left");
		printf("%-18s skipped: %s\n", phase->name, exam->skipped);
		cJSON_AddStringToObject(json, "skipped", exam->skipped);
	} else {
		printf("%-18s %9" PRIu64 " %-9s %12" PRIu64 " operations %6.1f s  %s", phase->name,
		       exam->total.programs, strchr(phase->what, ' ') != NULL ? "programs" : phase->what,
		       exam->total.operations, now(exam) - start, exam->finding_count == findings ? "clean" : "");
		if (exam->finding_count != findings)
			printf("%u found", exam->finding_count - findings);
		printf("\n");
	}
	cJSON_AddNumberToObject(json, "programs", (double)exam->total.programs);
	cJSON_AddNumberToObject(json, "operations", (double)exam->total.operations);
	cJSON_AddNumberToObject(json, "faults", (double)exam->total.faults_injected);
	cJSON_AddNumberToObject(json, "seconds", now(exam) - start);
	cJSON_AddNumberToObject(json, "found", exam->finding_count - findings);
	cJSON_AddItemToArray(cJSON_GetObjectItem(exam->results, "phases"), json);
	fflush(stdout);
}

static void show_contract(const struct cli_target *target)
{
	struct contract contract = {0};
	bool counted = false;

	contract_parse(target->contract, &contract, &counted);
	printf("  functions  %s\n  contract   malloc(0) is %s", target->functions,
	       contract.malloc_zero_is_block == CONTRACT_YES  ? "a block"
	       : contract.malloc_zero_is_block == CONTRACT_NO ? "not always a block"
							      : "left open");
	if (contract.realloc_zero != REALLOC_ZERO_OPEN)
		printf("; realloc(p, 0) %s", contract.realloc_zero == REALLOC_ZERO_FREES ? "frees" : "is a block");
	if (strstr(target->functions, "align") != NULL)
		printf("; alignments that are no power of two are %s",
		       contract.bad_alignment_fails == CONTRACT_YES ? "refused" : "not looked at, and not tried");
	printf("\n             ");
	printf("%s", contract.null_sets_errno == CONTRACT_YES ? "NULL comes with ENOMEM"
							      : "NULL comes without ENOMEM, which is not asked for");
	if (contract.bounded == CONTRACT_YES)
		printf("; so much memory and no more: NULL at any time is no failure");
	if (contract.thread_safe == CONTRACT_NO)
		printf("; for one thread");
	printf("\n             %s\n", counted ? "its OS calls are seen: faults, footprint"
					      : "its OS calls are not seen: no faults, no footprint");
}

static void find_corpus(char *path, size_t size)
{
	static const char *const places[] = {"share/heapstorm/corpus", "../corpus"};

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		cli_install_path(places[i], path, size);
		if (access(path, R_OK) == 0)
			return;
	}
	cli_die(STATUS_ENVIRONMENT, "%s: is not there", path);
}

static void print_findings(const struct examination *exam)
{
	for (unsigned i = 0; i < exam->finding_count; i++) {
		const struct finding *const finding = &exam->findings[i];

		printf("%s%-12s %.100s%s\n             %s (%s", i == 0 ? "\n" : "", verdict_name(finding->kind),
		       finding->sentence, strlen(finding->sentence) > 100 ? "..." : "", finding->folder,
		       finding->phase);
		if (finding->seen > 1)
			printf(", seen %u times", finding->seen);
		printf(")\n");
	}
}

static enum verdict_kind examine(const struct arguments *arguments, struct cli_target *target)
{
	static struct examination exam;
	enum verdict_kind verdict;
	cJSON *findings;

	exam = (struct examination){.arguments = arguments, .target = target, .known = strdup("")};
	exam.results = cJSON_CreateObject();
	find_corpus(exam.corpus, sizeof exam.corpus);
	snprintf(exam.output, sizeof exam.output, "%s/output", cli_temporary_folder());
	printf("%s\n", target->spec);
	fflush(stdout);
	cli_target_use(target);
	show_contract(target);
	fflush(stdout);
	/* libc is compiled for no sanitizer. */
	exam.variant = target->kind == TARGET_LIBC ? "plain" : cli_default_variant(target->spec, NULL);
	cli_runner_path(target->spec, exam.variant, exam.runner, sizeof exam.runner);
	cJSON_AddStringToObject(exam.results, "allocator", target->spec);
	cJSON_AddStringToObject(exam.results, "name", target->name);
	cJSON_AddStringToObject(exam.results, "functions", target->functions);
	cJSON_AddStringToObject(exam.results, "contract", target->contract);
	cJSON_AddArrayToObject(exam.results, "phases");
	/* Compiling is not examining. */
	exam.start = cli_now();
	for (size_t i = 0; i < PHASES; i++)
		run_phase(&exam, i);
	printf("\n%" PRIu64 " programs, %" PRIu64 " operations, %" PRIu64 " faults in %.0f s\n", exam.all.programs,
	       exam.all.operations, exam.all.faults_injected, cli_now() - exam.start);
	report_checks(stdout, &exam.all);
	print_findings(&exam);
	verdict = exam.finding_count > 0 ? exam.findings[0].kind : VERDICT_CLEAN;
	report_add_counts(exam.results, &exam.all);
	cJSON_AddStringToObject(exam.results, "verdict", verdict_name(verdict));
	findings = cJSON_AddArrayToObject(exam.results, "findings");
	for (unsigned i = 0; i < exam.finding_count; i++)
		cJSON_AddItemToArray(findings, exam.findings[i].json);
	cli_write_json(arguments->shared.json, exam.results);
	if (exam.finding_count == 0) {
		cJSON *const clean = cJSON_CreateObject();

		cJSON_AddStringToObject(clean, "allocator", target->name);
		cJSON_AddStringToObject(clean, "verdict", "clean");
		cJSON_AddStringToObject(clean, "file", "all phases");
		cJSON_AddItemToArray(findings, clean);
	}
	output_write_junit(arguments->shared.junit, "check", findings);
	output_write_sarif(arguments->shared.sarif, "check", findings);
	cJSON_Delete(exam.results);
	free(exam.known);
	return verdict;
}

int cmd_check(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"budget", OPTION_BUDGET, "TIME", 0,
		 "Search for TIME (default 60s); compiling and making failures smaller come on top", 0},
		{"prefix", OPTION_PREFIX, "P", 0, "The functions are Pmalloc, Pfree, ... (default: found out)", 0},
		{"function", OPTION_FUNCTION, "F=NAME", 0,
		 "Its F (malloc, free, ...) is called NAME; may be given often", 0},
		{"first", OPTION_FIRST, NULL, 0,
		 "End with the first bug, and keep it as it was found: nothing is made smaller", 0},
		{"cflags", OPTION_CFLAGS, "WORDS", 0, "Options for the compiler", 0},
		{NULL, 'l', "LIB", 0, "Link with a library", 0},
		{NULL, 'L', "DIR", 0, "Where libraries are", 0},
		{"single-thread", OPTION_SINGLE, NULL, 0, "It is for one thread at a time: nothing with threads is run",
		 0},
		{"seed", OPTION_SEED, "N", 0, "Seed of the random programs (default 1)", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.children = keeping_children,
		.args_doc = "NAME | LIBRARY.so | SOURCE... | FOLDER",
		.doc = "Examines any allocator: one that is built in or installed (heapstorm list), a shared object, "
		       "or "
		       "sources in C or C++, "
		       "objects, static libraries or a build folder with compile_commands.json, which are compiled "
		       "here. "
		       "Goes on after a bug to find the others, and makes each as small as it gets."
		       "\vThe last line is `verdict: NAME' of the first bug, clean if nothing was found.",
	};
	struct arguments arguments = {.seed = "1", .budget = 60, .shared.timeout = 10};
	char *spec = calloc(1, 4 * PATH_MAX);
	enum verdict_kind verdict;
	struct cli_target *target;
	int first;

	arguments.spec = calloc(1, 4 * PATH_MAX);
	if (spec == NULL || arguments.spec == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	first = cli_parse(&argp, argc, argv, &arguments);
	if (first == argc)
		cli_die(STATUS_USAGE, "check takes an allocator: see heapstorm check --help");
	/* One word that is no file may have options in it, as in a program. */
	if (argc - first == 1 && !cli_target_is_file(argv[first]))
		snprintf(spec, 4 * PATH_MAX, "%s", argv[first]);
	else
		for (int i = first; i < argc; i++)
			cli_target_add_word(spec, 4 * PATH_MAX, argv[i]);
	if (arguments.spec[0] != '\0')
		snprintf(spec + strlen(spec), 4 * PATH_MAX - strlen(spec), " %s", arguments.spec);
	output_check(&arguments.shared);
	cli_check_folder(arguments.shared.out);
	target = cli_target(spec, "check");
	cli_catch_interrupts();
	verdict = examine(&arguments, target);
	free(spec);
	free(arguments.spec);
	printf("verdict: %s\n", verdict_name(verdict));
	return verdict == VERDICT_CLEAN ? STATUS_CLEAN : STATUS_FOUND;
}
