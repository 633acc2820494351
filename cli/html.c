/* The picture of a heap: a program is run with its history logged, and the history is put into the page. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "event_log.h"
#include "report.h"
#include "supervisor.h"

#define WALKS 40
#define DATA_MARK "/*DATA*/"

/* page.html, with the mark where its data goes. */
__asm__(".pushsection .rodata\n"
	"report_page:\n"
	".incbin \"" REPORT_PAGE "\"\n"
	".byte 0\n"
	".popsection\n");
extern const char report_page[];

bool cli_run_logged(const char *runner, const char *allocator, bool walks, struct event_log *log,
		    struct run_record *record)
{
	const char *const folder = cli_temporary_folder();
	char program[PATH_MAX], path[PATH_MAX];
	const char *const argv[] = {runner, "--log", path, "--walks", walks ? "40" : "0", cli_process_argument(allocator), program, NULL};
	const struct supervision supervision = {
		.argv = (char *const *)argv, .timeout_seconds = 10, .interrupted = &cli_interrupted};
	struct supervised result;

	_Static_assert(WALKS == 40, "the number in argv");
	snprintf(program, sizeof program, "%s/once.heap", folder);
	snprintf(path, sizeof path, "%s/log", folder);
	if (!supervise(&supervision, &result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", runner, strerror(errno));
	*record = *result.record;
	supervised_release(&result);
	if (!event_log_read(path, log))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be read: %s", path, strerror(errno));
	for (size_t i = log->count; i > 0 && log->events[i - 1].kind != EVENT_WALKED; i--)
		if (log->events[i - 1].kind == EVENT_WALK)
			return false;
	return true;
}

/* A string of JavaScript that is safe inside a script element. */
static void put_string(FILE *file, const char *text, size_t length)
{
	fputc('"', file);
	for (size_t i = 0; i < length; i++) {
		const unsigned char c = (unsigned char)text[i];

		if (c == '"' || c == '\\')
			fprintf(file, "\\%c", c);
		else if (c < ' ' || c == '<' || c == '>' || c == '&')
			fprintf(file, "\\u%04x", c);
		else
			fputc(c, file);
	}
	fputc('"', file);
}

static void put_text(FILE *file, const char *key, const char *text)
{
	fprintf(file, "\"%s\":", key);
	put_string(file, text, strlen(text));
	fprintf(file, ",\n");
}

static void put_program(FILE *file, const struct program *program)
{
	char *text = NULL;
	size_t length;
	FILE *const memory = open_memstream(&text, &length);

	if (memory == NULL || !program_print(program, memory) || fclose(memory) != 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	fprintf(file, "\"program\":");
	put_string(file, text, length);
	fprintf(file, ",\n");
	free(text);
}

/* Blocks as birth, death, address, size, thread, op, id; death -1 where it lives on. */
static void put_history(FILE *file, const struct event_log *log)
{
	size_t steps = 0, blocks = 0;
	uint64_t last_id = 0;
	int64_t *deaths;
	bool first = true, in_walk = false;

	fprintf(file, "\"steps\":[");
	for (size_t i = 0; i < log->count; i++) {
		const struct event *const event = &log->events[i];

		if (event->kind == EVENT_STEP)
			fprintf(file, "%s%" PRIu32 ",%" PRIu64, steps++ > 0 ? "," : "", event->thread, event->op);
		if (event->kind == EVENT_BIRTH && event->id > last_id)
			last_id = event->id;
	}
	fprintf(file, "],\n\"blocks\":[");
	deaths = malloc((last_id + 1) * sizeof *deaths);
	if (deaths == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	memset(deaths, -1, (last_id + 1) * sizeof *deaths);
	steps = 0;
	for (size_t i = 0; i < log->count; i++) {
		const struct event *const event = &log->events[i];

		steps += event->kind == EVENT_STEP;
		if (event->kind == EVENT_DEATH && event->id <= last_id)
			deaths[event->id] = (int64_t)steps - 1;
	}
	steps = 0;
	for (size_t i = 0; i < log->count; i++) {
		const struct event *const event = &log->events[i];

		steps += event->kind == EVENT_STEP;
		if (event->kind != EVENT_BIRTH || event->id > last_id)
			continue;
		fprintf(file, "%s%zu,%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu32 ",%" PRIu64 ",%" PRIu64,
			blocks++ > 0 ? "," : "", steps - 1, deaths[event->id], event->address, event->size,
			event->thread, event->op, event->id);
	}
	free(deaths);
	fprintf(file, "],\n\"walks\":[");
	steps = 0;
	for (size_t i = 0; i < log->count; i++) {
		const struct event *const event = &log->events[i];

		steps += event->kind == EVENT_STEP;
		if (event->kind == EVENT_WALK) {
			fprintf(file, "%s[%zu", first ? "" : ",", steps);
			first = false;
			in_walk = true;
		} else if (event->kind == EVENT_REGION && in_walk) {
			fprintf(file, ",%u,%" PRIu64 ",%" PRIu64, event->region, event->address, event->size);
		} else if (event->kind == EVENT_WALKED && in_walk) {
			fprintf(file, "]");
			in_walk = false;
		}
	}
	fprintf(file, "%s],\n", in_walk ? "]" : "");
}

static void put_verdict(FILE *file, const struct program *program, const struct run_record *record)
{
	const struct verdict *const verdict = &record->verdict;
	char place[256];

	put_text(file, "allocator", record->allocator);
	put_text(file, "verdict", verdict_name(verdict->kind));
	if (verdict->kind == VERDICT_CLEAN)
		return;
	report_place(program, verdict->thread, verdict->op, place, sizeof place);
	put_text(file, "message", verdict->message);
	put_text(file, "meaning", verdict_meaning(verdict->kind));
	put_text(file, "place", place);
	fprintf(file, "\"address\":%" PRIu64 ",\n\"at\":[%" PRIu32 ",%" PRId64 "],\n\"guilty\":[", verdict->address,
		verdict->thread, verdict->op == NO_OP ? -1 : (int64_t)verdict->op);
	for (uint32_t i = 0; i < verdict->block_count; i++)
		fprintf(file, "%s%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, i > 0 ? "," : "",
			verdict->blocks[i].thread, verdict->blocks[i].op, verdict->blocks[i].address,
			verdict->blocks[i].size, verdict->blocks[i].id);
	fprintf(file, "],\n");
}

void cli_write_html(const char *file_name, const struct program *program, const char *allocator, const char *runner,
		    bool scheduled, const char *path)
{
	static struct run_record record, logged;
	struct event_log log;
	char temporary[PATH_MAX];
	const char *const mark = strstr(report_page, DATA_MARK);
	const char *const base = strrchr(file_name, '/');
	FILE *file;

	cli_run_once(runner, !scheduled, allocator, program, 10, NULL, &record);
	if (!cli_run_logged(runner, allocator, true, &log, &logged)) {
		event_log_close(&log);
		cli_run_logged(runner, allocator, false, &log, &logged);
	}
	snprintf(temporary, sizeof temporary, "%s.tmp", path);
	file = fopen(temporary, "w");
	if (file == NULL)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", path, strerror(errno));
	fwrite(report_page, 1, (size_t)(mark - report_page), file);
	fprintf(file, "{");
	put_text(file, "file", base != NULL ? base + 1 : file_name);
	put_verdict(file, program, &record);
	put_program(file, program);
	put_history(file, &log);
	fprintf(file, "\"schedule\":[");
	for (size_t i = 0; i < program->preemption_count; i++)
		fprintf(file, "%s[%" PRIu32 ",%" PRIu64 ",%" PRIu32 "]", i > 0 ? "," : "", program->schedule[i].thread,
			program->schedule[i].point, program->schedule[i].target);
	fprintf(file, "]}");
	fputs(mark + strlen(DATA_MARK), file);
	event_log_close(&log);
	if (ferror(file) != 0 || fclose(file) != 0 || rename(temporary, path) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s", path, strerror(errno));
}
