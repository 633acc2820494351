/* Stacks with functions and lines: those that a run left in its record, and those in what a sanitizer wrote. */
#define _GNU_SOURCE
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config.h"
#include "report.h"

#define FRAMES_MAX 32

/* What a symbolizer prints for the addresses of a stack, NULL where there is none. For pclose. */
static FILE *symbolize(const char *executable, const struct run_stack *stack)
{
	char command[PATH_MAX + 64 + RUN_STACK_MAX * 20];
	size_t used;

	if (HEAPSTORM_SYMBOLIZER[0] == '\0')
		return NULL;
	used = (size_t)snprintf(command, sizeof command, "'%s' --pretty-print --obj='%s'", HEAPSTORM_SYMBOLIZER,
				executable);
	/* Return addresses: the call is before them. */
	for (uint32_t i = 0; i < stack->count && used < sizeof command; i++)
		used += (size_t)snprintf(command + used, sizeof command - used, " 0x%" PRIx64, stack->calls[i] - 1);
	return popen(command, "r");
}

static void print_stack(FILE *file, const char *executable, const struct run_stack *stack)
{
	char name[16], line[1024];
	FILE *symbolizer;

	thread_name(stack->thread, name);
	fprintf(file, "  %s %s:\n", name, stack->what);
	symbolizer = symbolize(executable, stack);
	if (symbolizer == NULL) {
		for (uint32_t i = 0; i < stack->count; i++)
			fprintf(file, "    %s+0x%" PRIx64 "\n", executable, stack->calls[i]);
		return;
	}
	while (fgets(line, sizeof line, symbolizer) != NULL)
		if (line[0] != '\n')
			fprintf(file, "    %s", line);
	pclose(symbolizer);
}

void cli_print_stacks(FILE *file, const char *executable, const struct run_record *record)
{
	for (uint32_t i = 0; i < record->stack_count; i++)
		print_stack(file, executable, &record->stacks[i]);
}

/*
 * Adds "FUNCTION" with its place "FILE:LINE:COLUMN" unless it is of the harness or of a runtime library: those have relative paths (libc) or
 * none, or lie in a folder of the compiler's runtime.
 */
static void add_frame(cJSON *frames, const char *function, size_t function_length, char *place)
{
	static const char *const own[] = {"harness/", "stress/", "fuzz/"};
	const size_t root = strlen(HEAPSTORM_SOURCE);
	unsigned numbers[2] = {0, 0};
	size_t count = 0;
	cJSON *frame;
	char *name, *colon;

	if (place[0] != '/' || strstr(place, "/compiler-rt/") != NULL || cJSON_GetArraySize(frames) >= FRAMES_MAX)
		return;
	if (strncmp(place, HEAPSTORM_SOURCE "/", root + 1) == 0)
		for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
			if (strncmp(place + root + 1, own[i], strlen(own[i])) == 0)
				return;
	while (count < 2 && (colon = strrchr(place, ':')) != NULL && isdigit((unsigned char)colon[1])) {
		numbers[count++] = (unsigned)strtoul(colon + 1, NULL, 10);
		*colon = '\0';
	}
	name = strndup(function, function_length);
	frame = cJSON_CreateObject();
	cJSON_AddStringToObject(frame, "function", name != NULL ? name : "?");
	free(name);
	cJSON_AddStringToObject(frame, "file", place);
	if (count > 0)
		cJSON_AddNumberToObject(frame, "line", numbers[count - 1]);
	if (count > 1)
		cJSON_AddNumberToObject(frame, "column", numbers[0]);
	cJSON_AddItemToArray(frames, frame);
}

/* A line of a symbolizer: "FUNCTION at PLACE", also behind "(inlined by)". */
static void add_symbolized(cJSON *frames, char *line)
{
	const char inlined[] = " (inlined by) ";
	char *const at = strstr(line, " at ");

	if (at == NULL)
		return;
	if (strncmp(line, inlined, sizeof inlined - 1) == 0)
		line += sizeof inlined - 1;
	at[4 + strcspn(at + 4, "\n")] = '\0';
	add_frame(frames, line, (size_t)(at - line), at + 4);
}

/* A line of a sanitizer: "#0 0x1234 in FUNCTION PLACE (MODULE)", without the address and the word `in` from ThreadSanitizer. False: none. */
static bool add_reported(cJSON *frames, char *line)
{
	char *text = line + strspn(line, " "), *end;

	if (text[0] != '#' || !isdigit((unsigned char)text[1]))
		return false;
	text += 1 + strspn(text + 1, "0123456789");
	text += strspn(text, " ");
	if (strncmp(text, "0x", 2) == 0) {
		text += 2 + strspn(text + 2, "0123456789abcdef");
		if (strncmp(text, " in ", 4) != 0)
			return true;
		text += 4;
	}
	end = text + strcspn(text, " \n");
	if (*end != ' ')
		return true;
	end[1 + strcspn(end + 1, "\n")] = '\0';
	if (strstr(end + 1, " (") != NULL)
		*strstr(end + 1, " (") = '\0';
	add_frame(frames, text, (size_t)(end - text), end + 1);
	return true;
}

static cJSON *new_stack(const char *thread, const char *what)
{
	cJSON *const stack = cJSON_CreateObject();

	if (thread != NULL)
		cJSON_AddStringToObject(stack, "thread", thread);
	if (what != NULL)
		cJSON_AddStringToObject(stack, "what", what);
	cJSON_AddArrayToObject(stack, "frames");
	return stack;
}

/* The first stacks of a report; where there are two, each with the line above it. */
static void read_report(const char *path, int most, cJSON *stacks)
{
	FILE *const report = fopen(path, "r");
	char *line = NULL, above[160] = "";
	size_t size = 0;
	cJSON *stack = NULL;

	while (report != NULL && getline(&line, &size, report) > 0) {
		const char *const text = line + strspn(line, " ");
		/* Indented: libFuzzer has lines that begin with a number sign too. */
		const bool is_frame = text > line && text[0] == '#' && isdigit((unsigned char)text[1]);

		if (is_frame && stack == NULL) {
			if (cJSON_GetArraySize(stacks) == most)
				break;
			above[strcspn(above, ":\n")] = '\0';
			if (strstr(above, " at 0x") != NULL)
				*strstr(above, " at 0x") = '\0';
			stack = new_stack(NULL, most > 1 ? above : NULL);
			cJSON_AddItemToArray(stacks, stack);
		}
		if (is_frame) {
			add_reported(cJSON_GetObjectItem(stack, "frames"), line);
		} else {
			stack = NULL;
			snprintf(above, sizeof above, "%s", text);
		}
	}
	free(line);
	if (report != NULL)
		fclose(report);
}

cJSON *cli_stacks_json(const char *executable, const struct run_record *record, const char *sanitizer_output)
{
	const enum verdict_kind kind = record->verdict.kind;
	cJSON *const stacks = cJSON_CreateArray();
	char name[16], line[1024];

	for (uint32_t i = 0; i < record->stack_count; i++) {
		FILE *const symbolizer = symbolize(executable, &record->stacks[i]);
		cJSON *stack;

		thread_name(record->stacks[i].thread, name);
		stack = new_stack(name, record->stacks[i].what);
		while (symbolizer != NULL && fgets(line, sizeof line, symbolizer) != NULL)
			add_symbolized(cJSON_GetObjectItem(stack, "frames"), line);
		if (symbolizer != NULL)
			pclose(symbolizer);
		cJSON_AddItemToArray(stacks, stack);
	}
	/* What an oracle found has no stack: the damage was done before. */
	if (record->stack_count == 0 && sanitizer_output != NULL &&
	    (kind == VERDICT_TOUCHED_LIVE || kind == VERDICT_RACE || kind == VERDICT_STUCK || kind == VERDICT_CRASH ||
	     kind == VERDICT_ABORT))
		read_report(sanitizer_output, kind == VERDICT_RACE ? 2 : 1, stacks);
	for (int i = cJSON_GetArraySize(stacks); i-- > 0;)
		if (cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(stacks, i), "frames")) == 0)
			cJSON_DeleteItemFromArray(stacks, i);
	return stacks;
}

void cli_add_stacks(cJSON *result, const struct program *program, const struct run_record *record,
		    const char *executable, const char *sanitizer_output)
{
	cJSON *const stacks = cli_stacks_json(executable, record, sanitizer_output);
	char signature[REPORT_SIGNATURE_MAX];

	report_failure_signature(program, &record->verdict, stacks, signature, sizeof signature);
	cJSON_AddItemToObject(result, "stacks", stacks);
	cJSON_AddStringToObject(result, "signature", signature);
}
