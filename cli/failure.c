/* Failures as they are kept. */
#define _GNU_SOURCE
#include "failure.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "export.h"
#include "report.h"
#include "shrink.h"

#define SHRINK_SECONDS 10
#define RUN_SECONDS 10    /* without progress for so long it is stuck */
#define EXPORT_SECONDS 25 /* to find a way in which the C program fails by itself */
#define NAMES_MAX 100     /* folders whose names begin in the same way */

/* What became of the steps that not every failure allows: an empty text where the step was done. */
struct outcome {
	char not_minimized[640], no_repro[640], no_report[640];
	size_t operations_before;
	bool complete; /* minimized to the end */
};

/* How often a failure was seen, and when. */
struct sightings {
	unsigned long seen;
	char first[32], last[32];
};

static void now_text(char *text, size_t size)
{
	const time_t now = time(NULL);
	struct tm parts;

	strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
}

/* ---- Files ---- */

static bool write_bytes(const char *path, const void *bytes, size_t size)
{
	FILE *const file = fopen(path, "w");
	const bool good = file != NULL && fwrite(bytes, 1, size, file) == size;

	return file != NULL && fclose(file) == 0 && good;
}

/* The folder in which the next one is made; beside what it is renamed to, and removed if the process ends before. */
static char unfinished[PATH_MAX];

static void remove_unfinished(void)
{
	if (unfinished[0] != '\0')
		cli_remove_folder(unfinished);
	unfinished[0] = '\0';
}

static void begin_folder(const struct failure *failure)
{
	static bool registered;

	if (!registered)
		atexit(remove_unfinished);
	registered = true;
	if ((size_t)snprintf(unfinished, sizeof unfinished, "%s/.new.XXXXXX", failure->out) >= sizeof unfinished ||
	    mkdtemp(unfinished) == NULL || chmod(unfinished, 0755) != 0) {
		unfinished[0] = '\0';
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", failure->out, strerror(errno));
	}
}

static void path_in(const char *folder, const char *name, char *path, size_t size)
{
	if ((size_t)snprintf(path, size, "%s/%s", folder, name) >= size)
		cli_die(STATUS_USAGE, "%s/%s: the name is too long", folder, name);
}

static void check_written(bool good, const char *path)
{
	if (!good)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", path, strerror(errno));
}

/* ---- failure.json ---- */

static void add_reason(cJSON *json, const char *name, const char *reason)
{
	if (reason[0] != '\0')
		cJSON_AddStringToObject(json, name, reason);
}

static cJSON *failure_json(const struct failure *failure, const char *signature, const struct sightings *sightings,
			   const struct outcome *outcome)
{
	cJSON *const json = report_json(NULL, failure->variant, failure->program, failure->record);

	for (const cJSON *field = failure->details != NULL ? failure->details->child : NULL; field != NULL;
	     field = field->next)
		if (cJSON_GetObjectItem(json, field->string) == NULL)
			cJSON_AddItemToObject(json, field->string, cJSON_Duplicate(field, true));
	cJSON_AddItemToObject(json, "stacks", cJSON_Duplicate(failure->stacks, true));
	cJSON_AddStringToObject(json, "signature", signature);
	cJSON_AddNumberToObject(json, "seen", (double)sightings->seen);
	cJSON_AddStringToObject(json, "first_seen", sightings->first);
	cJSON_AddStringToObject(json, "last_seen", sightings->last);
	cJSON_AddNumberToObject(json, "operations_after", (double)program_op_count(failure->program));
	if (outcome != NULL) {
		cJSON_AddNumberToObject(json, "operations_before", (double)outcome->operations_before);
		if (outcome->not_minimized[0] == '\0')
			cJSON_AddBoolToObject(json, "complete", outcome->complete);
		add_reason(json, "not_minimized", outcome->not_minimized);
		add_reason(json, "no_repro", outcome->no_repro);
		add_reason(json, "no_report", outcome->no_report);
	} else {
		cJSON_AddStringToObject(json, "unfinished", "the folder was being filled");
	}
	return json;
}

static cJSON *read_json(const char *path)
{
	FILE *const file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;
	cJSON *json = NULL;

	if (file != NULL && getdelim(&text, &size, '\0', file) > 0)
		json = cJSON_Parse(text);
	free(text);
	if (file != NULL)
		fclose(file);
	return json;
}

/* Reads what was counted. False if the file is not there or is of another failure. */
static bool read_sightings(const char *path, const char *signature, cJSON **json, struct sightings *sightings)
{
	const cJSON *seen;
	const char *text;

	*json = read_json(path);
	text = cJSON_GetStringValue(cJSON_GetObjectItem(*json, "signature"));
	if (text == NULL || strcmp(text, signature) != 0)
		return false;
	seen = cJSON_GetObjectItem(*json, "seen");
	sightings->seen = cJSON_IsNumber(seen) && seen->valuedouble >= 1 ? (unsigned long)seen->valuedouble : 1;
	text = cJSON_GetStringValue(cJSON_GetObjectItem(*json, "first_seen"));
	snprintf(sightings->first, sizeof sightings->first, "%s", text != NULL ? text : "");
	text = cJSON_GetStringValue(cJSON_GetObjectItem(*json, "last_seen"));
	snprintf(sightings->last, sizeof sightings->last, "%s", text != NULL ? text : "");
	return true;
}

/* Counts one more in the folder of the same failure. */
static void count_again(const char *path, cJSON *json, struct sightings *sightings)
{
	sightings->seen++;
	now_text(sightings->last, sizeof sightings->last);
	cJSON_ReplaceItemInObject(json, "seen", cJSON_CreateNumber((double)sightings->seen));
	cJSON_ReplaceItemInObject(json, "last_seen", cJSON_CreateString(sightings->last));
	cli_write_json(path, json);
}

/* ---- The steps ---- */

static bool is_scheduled(const struct failure *failure)
{
	return failure->runner != NULL && strcmp(failure->runner, "sched") == 0;
}

/* Makes the program smaller as long as it fails in the same way. */
static void shrink_program(struct failure *failure, const char *runner_path, struct outcome *outcome)
{
	struct program small;
	struct shrink_runner runner = {.runner = runner_path,
				       .allocator = cli_process_argument(failure->allocator),
				       .folder = cli_temporary_folder(),
				       .timeout_seconds = RUN_SECONDS,
				       .scheduled = is_scheduled(failure),
				       .interrupted = &cli_interrupted};
	struct shrink_oracle oracle = {.seconds =
					       failure->shrink_seconds > 0 ? failure->shrink_seconds : SHRINK_SECONDS};
	struct shrink_figures figures = {0};
	enum verdict_kind kind;

	program_init(&small);
	program_copy(&small, failure->program);
	/* Crashes are told apart by what they are; naming their stacks takes most of the time. */
	setenv("ASAN_OPTIONS", "symbolize=0", 1);
	setenv("UBSAN_OPTIONS", "symbolize=0", 1);
	shrink_runner_oracle(&runner, &oracle);
	kind = shrink_runner_begin(&runner, &small);
	if (runner.environment[0] != '\0')
		snprintf(outcome->not_minimized, sizeof outcome->not_minimized, "%s", runner.environment);
	else if (cli_interrupted)
		snprintf(outcome->not_minimized, sizeof outcome->not_minimized, "interrupted");
	else if (kind != failure->record->verdict.kind)
		snprintf(outcome->not_minimized, sizeof outcome->not_minimized, "in a process of its own it is %s",
			 verdict_name(kind));
	else if (!shrink(&small, &oracle, &figures))
		snprintf(outcome->not_minimized, sizeof outcome->not_minimized,
			 "it does not fail the same way each time");
	else
		program_copy(failure->program, &small);
	outcome->complete = figures.complete;
	shrink_runner_end(&runner);
	unsetenv("ASAN_OPTIONS");
	unsetenv("UBSAN_OPTIONS");
	program_destroy(&small);
}

static void export_program(const struct failure *failure, const char *runner, const char *folder,
			   struct outcome *outcome)
{
	static struct run_record record;
	struct export_allocator allocator;
	struct export_schedule schedule = {0};
	char path[PATH_MAX], message[2048];

	path_in(folder, "repro.c", path, sizeof path);
	if (cli_interrupted)
		snprintf(outcome->no_repro, sizeof outcome->no_repro, "interrupted");
	else if (getenv("HEAPSTORM_RUNNER") != NULL && getenv("HEAPSTORM_WITH") == NULL)
		snprintf(outcome->no_repro, sizeof outcome->no_repro,
			 "HEAPSTORM_RUNNER names another build of %s, but no HEAPSTORM_WITH what it is made of",
			 failure->allocator);
	else if (!export_find_allocator(failure->allocator, NULL, &allocator))
		snprintf(outcome->no_repro, sizeof outcome->no_repro,
			 "neither the sources of %s nor its library are there", failure->allocator);
	if (outcome->no_repro[0] != '\0')
		return;
	if (is_scheduled(failure)) {
		cli_run_once(runner, false, failure->allocator, failure->program, RUN_SECONDS, NULL, &record);
		export_schedule(failure->program, failure->allocator, runner, &record, &schedule);
	}
	if (!export_verified(failure->program, &failure->record->verdict, is_scheduled(failure) ? &schedule : NULL,
			     &allocator, cli_temporary_folder(), EXPORT_SECONDS, path, message, sizeof message))
		snprintf(outcome->no_repro, sizeof outcome->no_repro, "%.600s", message);
	free(schedule.turns.stretches);
}

/* The steps for a failure that a process of its own shows again. False: it does not. */
static bool run_again(struct failure *failure, const char *runner, struct outcome *outcome)
{
	static struct run_record record;
	char output[PATH_MAX];

	path_in(cli_temporary_folder(), "again", output, sizeof output);
	cli_run_once(runner, !is_scheduled(failure), failure->allocator, failure->program, RUN_SECONDS, output,
		     &record);
	if (record.verdict.kind != failure->record->verdict.kind) {
		snprintf(outcome->not_minimized, sizeof outcome->not_minimized, "in a process of its own it is %s",
			 verdict_name(record.verdict.kind));
		return false;
	}
	failure->record->verdict = record.verdict;
	failure->record->map_count = record.map_count;
	memcpy(failure->record->map, record.map, sizeof record.map);
	cJSON_Delete(failure->stacks);
	failure->stacks = cli_stacks_json(runner, &record, output);
	return true;
}

/* What keeps it from being minimized keeps it from the other steps too. */
static void leave_out_rest(struct outcome *outcome)
{
	memcpy(outcome->no_repro, outcome->not_minimized, sizeof outcome->no_repro);
	memcpy(outcome->no_report, outcome->not_minimized, sizeof outcome->no_report);
}

static void complete_folder(struct failure *failure, const char *folder, struct outcome *outcome)
{
	char path[PATH_MAX], runner[PATH_MAX];
	struct program found;

	outcome->operations_before = program_op_count(failure->program);
	if (failure->runner == NULL) {
		snprintf(outcome->not_minimized, sizeof outcome->not_minimized,
			 "the order of its threads is not known");
		leave_out_rest(outcome);
		return;
	}
	/* A schedule is for the executable that made it. */
	if (is_scheduled(failure))
		snprintf(runner, sizeof runner, "%s", failure->executable);
	else
		cli_runner_path(failure->allocator, failure->runner, runner, sizeof runner);
	program_init(&found);
	program_copy(&found, failure->program);
	shrink_program(failure, runner, outcome);
	if (!program_equal(&found, failure->program)) {
		path_in(folder, "program-full.heap", path, sizeof path);
		check_written(report_write_program(path, &found, failure->record, failure->allocator), path);
	}
	program_destroy(&found);
	if (!run_again(failure, runner, outcome)) {
		leave_out_rest(outcome);
		return;
	}
	export_program(failure, runner, folder, outcome);
	/* The page has the program's text: the same as program.heap. */
	program_set_allocator(failure->program, failure->allocator, strlen(failure->allocator));
	failure->program->expect = failure->record->verdict.kind;
	failure->program->has_expect = true;
	path_in(folder, "report.html", path, sizeof path);
	cli_write_html("program.heap", failure->program, failure->allocator, runner, is_scheduled(failure), path);
}

/* Writes what is certain into a new folder. */
static void write_basic(const struct failure *failure, const char *folder, const char *signature,
			const struct sightings *sightings, const struct outcome *outcome)
{
	char path[PATH_MAX];
	cJSON *const json = failure_json(failure, signature, sightings, outcome);

	path_in(folder, "program.heap", path, sizeof path);
	check_written(report_write_program(path, failure->program, failure->record, failure->allocator), path);
	if (failure->input_size > 0) {
		path_in(folder, "input", path, sizeof path);
		check_written(write_bytes(path, failure->input, failure->input_size), path);
	}
	path_in(folder, "failure.json", path, sizeof path);
	cli_write_json(path, json);
	cJSON_Delete(json);
}

/* Gives the new folder its name. False if the name is taken. */
static bool publish(const char *folder)
{
	if (rename(unfinished, folder) == 0) {
		unfinished[0] = '\0';
		return true;
	}
	if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", folder, strerror(errno));
	return false;
}

/* The new folder takes the place of the one that has the name. */
static void replace(const char *folder)
{
	if (renameat2(AT_FDCWD, unfinished, AT_FDCWD, folder, RENAME_EXCHANGE) == 0)
		return; /* what is left is the old one: remove_unfinished */
	/* Not every file system can exchange two. */
	char old[PATH_MAX];

	snprintf(old, sizeof old, "%.*s.old", (int)sizeof old - 5, unfinished);
	if (rename(folder, old) != 0 || rename(unfinished, folder) != 0)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", folder, strerror(errno));
	snprintf(unfinished, sizeof unfinished, "%s", old);
}

/* Finds the folder of the failure and counts it there, or makes one. True if it is new. */
static bool place(struct failure *failure, const char *name, const char *signature, struct sightings *sightings)
{
	char path[PATH_MAX];

	for (int i = 1; i < NAMES_MAX; i++) {
		cJSON *json;
		bool same;

		if ((size_t)snprintf(failure->folder, sizeof failure->folder, i == 1 ? "%s/%s" : "%s/%s-%d",
				     failure->out, name, i) >= sizeof failure->folder)
			cli_die(STATUS_USAGE, "%s/%s: the name is too long", failure->out, name);
		if (publish(failure->folder))
			return true;
		path_in(failure->folder, "failure.json", path, sizeof path);
		same = read_sightings(path, signature, &json, sightings);
		if (same)
			count_again(path, json, sightings);
		cJSON_Delete(json);
		if (same)
			return false;
	}
	cli_die(STATUS_USAGE, "%s: has %d folders called %s: remove some", failure->out, NAMES_MAX, name);
}

void failure_keep(struct failure *failure)
{
	char name[96], path[PATH_MAX];
	char *const signature = failure->signature;
	struct sightings sightings = {.seen = 1};
	struct outcome outcome = {0};
	cJSON *json;
	bool is_new;
	int lock;

	failure->stacks = cli_stacks_json(failure->executable, failure->record, failure->sanitizer_output);
	report_failure_signature(failure->program, &failure->record->verdict, failure->stacks, signature,
				 sizeof failure->signature);
	report_failure_name(failure->program, &failure->record->verdict, failure->stacks, name, sizeof name);
	now_text(sightings.first, sizeof sightings.first);
	memcpy(sightings.last, sightings.first, sizeof sightings.last);
	cli_make_folder(failure->out);
	begin_folder(failure);
	write_basic(failure, unfinished, signature, &sightings, NULL);
	/* Several processes may keep failures in one place. */
	lock = open(failure->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	flock(lock, LOCK_EX);
	is_new = place(failure, name, signature, &sightings);
	flock(lock, LOCK_UN);
	remove_unfinished();
	path_in(failure->folder, "program.heap", failure->path, sizeof failure->path);
	if (is_new && failure->as_found) {
		printf("  kept in:   %s\n", failure->folder);
	} else if (is_new) {
		fflush(stdout);
		begin_folder(failure);
		complete_folder(failure, unfinished, &outcome);
		flock(lock, LOCK_EX);
		path_in(failure->folder, "failure.json", path, sizeof path);
		read_sightings(path, signature, &json, &sightings); /* others may have seen it meanwhile */
		cJSON_Delete(json);
		write_basic(failure, unfinished, signature, &sightings, &outcome);
		replace(failure->folder);
		remove_unfinished();
		if (outcome.not_minimized[0] == '\0')
			printf("  minimized: %zu operations of %zu%s\n", program_op_count(failure->program),
			       outcome.operations_before, outcome.complete ? "" : ", not to the end");
		printf("  kept in:   %s\n", failure->folder);
	} else {
		printf("  known:     %s, seen %lu times\n", failure->folder, sightings.seen);
	}
	close(lock);
	failure->seen = sightings.seen;
}

void failure_add_json(const struct failure *failure, cJSON *result)
{
	cJSON_AddStringToObject(result, "folder", failure->folder);
	cJSON_AddStringToObject(result, "program", failure->path);
	cJSON_AddNumberToObject(result, "seen", (double)failure->seen);
	cJSON_AddItemToObject(result, "stacks", cJSON_Duplicate(failure->stacks, true));
	cJSON_AddStringToObject(result, "signature", failure->signature);
}

const char *failure_replay_options(const struct failure *failure)
{
	struct program kept = *failure->program;

	kept.expect = failure->record->verdict.kind;
	kept.has_expect = true;
	return is_scheduled(failure) && strcmp(cli_default_variant(failure->allocator, &kept), "sched") != 0
		       ? " --variant sched"
		       : "";
}

void failure_release(struct failure *failure)
{
	cJSON_Delete(failure->stacks);
	failure->stacks = NULL;
}
