/*
 * Results as SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), with what code scanning services ask for: a rule for each oracle,
 * a place in a file, a fingerprint.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "output.h"

#define SCHEMA "https://json.schemastore.org/sarif-2.1.0.json"
#define MARK "# <-- " /* in a program that was kept: report_write_program */

static void add_message(cJSON *object, const char *name, const char *text)
{
	cJSON_AddStringToObject(cJSON_AddObjectToObject(object, name), "text", text);
}

static cJSON *rules_json(void)
{
	cJSON *const rules = cJSON_CreateArray();

	for (int i = VERDICT_CLEAN + 1; i < VERDICT_KINDS; i++) {
		cJSON *const rule = cJSON_CreateObject();
		char text[256];

		cJSON_AddStringToObject(rule, "id", verdict_name((enum verdict_kind)i));
		snprintf(text, sizeof text, "What must hold: %s.", verdict_meaning((enum verdict_kind)i));
		add_message(rule, "shortDescription", text);
		add_message(rule, "fullDescription", text);
		add_message(rule, "help", text);
		cJSON_AddStringToObject(cJSON_AddObjectToObject(rule, "defaultConfiguration"), "level", "error");
		cJSON_AddItemToArray(rules, rule);
	}
	return rules;
}

/* A path as a reference: relative where it is below the working folder, as repositories are scanned there. */
static void add_uri(cJSON *location, const char *path)
{
	char folder[PATH_MAX] = "", uri[3 * PATH_MAX + 8];
	size_t used, length;

	if (path[0] == '/' && getcwd(folder, sizeof folder) != NULL) {
		length = strlen(folder);
		if (strncmp(path, folder, length) == 0 && path[length] == '/')
			path += length + 1;
	}
	while (strncmp(path, "./", 2) == 0)
		path += 2;
	used = (size_t)snprintf(uri, sizeof uri, "%s", path[0] == '/' ? "file://" : "");
	for (; *path != '\0' && used + 4 < sizeof uri; path++) {
		if (isalnum((unsigned char)*path) || strchr("/._~-", *path) != NULL)
			uri[used++] = *path;
		else
			used += (size_t)snprintf(uri + used, sizeof uri - used, "%%%02X", (unsigned char)*path);
	}
	uri[used] = '\0';
	cJSON_AddStringToObject(location, "uri", uri);
}

/* Lines and columns that are not known (0) are left out but for the line, which readers insist on. */
static cJSON *location_json(const char *path, double line, double column, const char *message)
{
	cJSON *const location = cJSON_CreateObject();
	cJSON *const physical = cJSON_AddObjectToObject(location, "physicalLocation");
	cJSON *region;

	add_uri(cJSON_AddObjectToObject(physical, "artifactLocation"), path);
	region = cJSON_AddObjectToObject(physical, "region");
	cJSON_AddNumberToObject(region, "startLine", line >= 1 ? line : 1);
	if (column >= 1)
		cJSON_AddNumberToObject(region, "startColumn", column);
	if (message != NULL)
		add_message(location, "message", message);
	return location;
}

static double number_of(const cJSON *object, const char *name)
{
	const cJSON *const item = cJSON_GetObjectItem(object, name);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static cJSON *frame_location(const cJSON *frame, const char *message)
{
	return location_json(output_text(frame, "file"), number_of(frame, "line"), number_of(frame, "column"), message);
}

/* The marked line of a program, or the first. */
static double marked_line(const char *path)
{
	FILE *const file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;
	double line = 0;
	bool found = false;

	while (!found && file != NULL && getline(&text, &size, file) > 0) {
		line++;
		found = strstr(text, MARK) != NULL;
	}
	free(text);
	if (file != NULL)
		fclose(file);
	return found ? line : 1;
}

/* Where it is seen: the innermost function of the allocator, else the operation of the program. */
static void add_places(cJSON *result, const cJSON *from, const char *program)
{
	const cJSON *stack;
	cJSON *const locations = cJSON_AddArrayToObject(result, "locations"), *related = cJSON_CreateArray(), *stacks;

	cJSON_ArrayForEach(stack, cJSON_GetObjectItem(from, "stacks"))
	{
		const cJSON *const frame = cJSON_GetArrayItem(cJSON_GetObjectItem(stack, "frames"), 0);

		if (cJSON_GetArraySize(locations) == 0)
			cJSON_AddItemToArray(locations, frame_location(frame, NULL));
		else
			cJSON_AddItemToArray(related, frame_location(frame, output_text(stack, "what")));
	}
	if (program[0] != '\0')
		cJSON_AddItemToArray(cJSON_GetArraySize(locations) == 0 ? locations : related,
				     location_json(program, marked_line(program), 0, "the program that shows it"));
	/* A number of its own makes each of them a target for links. */
	for (int i = 0; i < cJSON_GetArraySize(related); i++)
		cJSON_AddNumberToObject(cJSON_GetArrayItem(related, i), "id", i + 1);
	cJSON_AddItemToObject(result, "relatedLocations", related);
	stacks = cJSON_AddArrayToObject(result, "stacks");
	cJSON_ArrayForEach(stack, cJSON_GetObjectItem(from, "stacks"))
	{
		cJSON *const copy = cJSON_CreateObject(), *frames;
		const cJSON *frame;

		add_message(copy, "message", output_text(stack, "what"));
		frames = cJSON_AddArrayToObject(copy, "frames");
		cJSON_ArrayForEach(frame, cJSON_GetObjectItem(stack, "frames"))
		{
			cJSON *const item = cJSON_CreateObject();

			cJSON_AddItemToObject(item, "location", frame_location(frame, output_text(frame, "function")));
			cJSON_AddItemToArray(frames, item);
		}
		cJSON_AddItemToArray(stacks, copy);
	}
}

static cJSON *result_json(const cJSON *from, enum verdict_kind kind)
{
	cJSON *const result = cJSON_CreateObject();
	const char *const kept = output_text(from, "program"), *const folder = output_text(from, "folder");
	const char *const program = kept[0] != '\0' ? kept : output_text(from, "file");
	const char *const operation = output_text(from, "text");
	char text[2048];

	cJSON_AddStringToObject(result, "ruleId", verdict_name(kind));
	cJSON_AddNumberToObject(result, "ruleIndex", kind - 1);
	cJSON_AddStringToObject(result, "level", "error");
	snprintf(text, sizeof text, "%s on %s: %s. Seen %s%s%s.%s%.600s", verdict_name(kind),
		 output_text(from, "allocator"), output_text(from, "message"),
		 operation[0] != '\0' ? output_text(from, "thread") : "at the end of the program",
		 operation[0] != '\0' ? ", " : "", operation, program[0] != '\0' ? " Again: heapstorm replay " : "",
		 folder[0] != '\0' ? folder : program);
	add_message(result, "message", text);
	add_places(result, from, program);
	/* What a service knows it by from one run to the next. */
	cJSON_AddStringToObject(cJSON_AddObjectToObject(result, "partialFingerprints"), "failureSignature/v1",
				output_text(from, "signature"));
	if (folder[0] != '\0') {
		cJSON *const properties = cJSON_AddObjectToObject(result, "properties");

		cJSON_AddStringToObject(properties, "folder", folder);
		cJSON_AddNumberToObject(properties, "seen", number_of(from, "seen"));
	}
	return result;
}

void output_write_sarif(const char *path, const char *verb, const cJSON *results)
{
	char category[64];
	cJSON *log, *run, *driver, *list;
	const cJSON *from;

	if (path == NULL)
		return;
	log = cJSON_CreateObject();
	cJSON_AddStringToObject(log, "$schema", SCHEMA);
	cJSON_AddStringToObject(log, "version", "2.1.0");
	run = cJSON_CreateObject();
	cJSON_AddItemToArray(cJSON_AddArrayToObject(log, "runs"), run);
	driver = cJSON_AddObjectToObject(cJSON_AddObjectToObject(run, "tool"), "driver");
	cJSON_AddStringToObject(driver, "name", "heapstorm");
	cJSON_AddStringToObject(driver, "semanticVersion", HEAPSTORM_VERSION);
	cJSON_AddItemToObject(driver, "rules", rules_json());
	/* Two verbs of one commit do not replace each other's results. */
	snprintf(category, sizeof category, "heapstorm/%s/", verb);
	cJSON_AddStringToObject(cJSON_AddObjectToObject(run, "automationDetails"), "id", category);
	cJSON_AddStringToObject(run, "columnKind", "unicodeCodePoints");
	list = cJSON_AddArrayToObject(run, "results");
	cJSON_ArrayForEach(from, results)
	{
		enum verdict_kind kind;

		if (verdict_from_name(output_text(from, "verdict"), &kind) && kind != VERDICT_CLEAN)
			cJSON_AddItemToArray(list, result_json(from, kind));
	}
	cli_write_json(path, log);
	cJSON_Delete(log);
}
