#define _GNU_SOURCE
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocator.h"

#define STACK_LINES 12
#define SIGNATURE_FRAMES 3

static const struct op *op_at(const struct program *program, uint32_t thread, uint64_t op)
{
	if (thread >= program->thread_count || op >= program->threads[thread].count)
		return NULL;
	return &program->threads[thread].ops[op];
}

void report_place(const struct program *program, uint32_t thread, uint64_t op, char *text, size_t size)
{
	const struct op *const operation = op_at(program, thread, op);
	char name[16], line[160];

	thread_name(thread, name);
	if (operation == NULL) {
		snprintf(text, size, "at the end of the program");
		return;
	}
	op_print(operation, line, sizeof line);
	snprintf(text, size, "%s, operation %" PRIu64 ": %s", name, op + 1, line);
}

static const char *cell_name(uint8_t kind)
{
	switch (kind) {
	case REGION_LIVE:
		return "live";
	case REGION_CACHED:
		return "cached";
	case REGION_FREE:
		return "free";
	case REGION_META:
		return "bookkeeping";
	default:
		return "?";
	}
}

static void print_map(FILE *file, const struct run_record *record)
{
	if (record->map_count == 0)
		return;
	fprintf(file, "  neighbourhood:\n");
	for (uint32_t i = 0; i < record->map_count; i++) {
		const struct map_cell *const cell = &record->map[i];
		char label[8] = "";

		if (cell->label != LABEL_NULL)
			label_name(cell->label, label);
		fprintf(file, "  %s 0x%012" PRIx64 " %10" PRIu64 "  %s %s\n", cell->guilty ? ">" : " ", cell->start,
			cell->size, cell_name(cell->kind), label);
	}
}

static void print_blocks(FILE *file, const struct program *program, const struct verdict *verdict)
{
	for (uint32_t i = 0; i < verdict->block_count && i < VERDICT_BLOCKS_MAX; i++) {
		const struct verdict_block *const block = &verdict->blocks[i];
		char place[256], label[8];

		if (i == 0)
			fprintf(file, "  blocks:\n");
		label_name(block->label, label);
		report_place(program, block->thread, block->op, place, sizeof place);
		fprintf(file, "    %-6s %10" PRIu64 " bytes at 0x%012" PRIx64 "  %s\n",
			block->label == LABEL_NULL ? "-" : label, block->size, block->address, place);
	}
}

/* The first stack of a sanitizer's report: where in the allocator it happened. */
static void print_stack(FILE *file, const char *path)
{
	FILE *const report = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;
	int lines = 0;

	if (report == NULL)
		return;
	while (lines < STACK_LINES && getline(&line, &size, report) > 0) {
		const char *text = line + strspn(line, " ");

		if (text[0] != '#' || strstr(text, " 0x") == NULL) {
			if (lines > 0)
				break;
			continue;
		}
		if (lines++ == 0)
			fprintf(file, "  stack:\n");
		fprintf(file, "    %s", text);
	}
	free(line);
	fclose(report);
}

void report_print(FILE *file, const struct program *program, const struct run_record *record,
		  const char *sanitizer_output)
{
	const struct verdict *const verdict = &record->verdict;
	char place[256];

	if (verdict->kind == VERDICT_CLEAN)
		return;
	report_place(program, verdict->thread, verdict->op, place, sizeof place);
	fprintf(file, "%s on %s: %s\n", verdict_name(verdict->kind), record->allocator, verdict->message);
	fprintf(file, "  must hold: %s\n", verdict_meaning(verdict->kind));
	fprintf(file, "  seen:      %s\n", place);
	print_blocks(file, program, verdict);
	print_map(file, record);
	/* What an oracle found has no stack: the damage was done before. */
	if (sanitizer_output != NULL && (verdict->kind == VERDICT_TOUCHED_LIVE || verdict->kind == VERDICT_STUCK ||
					 verdict->kind == VERDICT_CRASH || verdict->kind == VERDICT_ABORT))
		print_stack(file, sanitizer_output);
}

/* Oracles that count what they check; the others watch all the time. */
static bool has_count(int oracle)
{
	return (oracle >= VERDICT_OVERLAP && oracle <= VERDICT_UNRECLAIMED) || oracle == VERDICT_FORK;
}

void report_operations(FILE *file, const struct run_record *record)
{
	fprintf(file, "operations\n");
	for (int i = 0; i < OP_KINDS; i++)
		fprintf(file, "  %-16s %12" PRIu64 "%s", op_kind_name((enum op_kind)i), record->operations_by_kind[i],
			i % 2 == 1 || i == OP_KINDS - 1 ? "\n" : "      ");
}

void report_checks(FILE *file, const struct run_record *record)
{
	int column = 0;

	fprintf(file, "checks by oracle\n");
	for (int i = VERDICT_CLEAN + 1; i < VERDICT_KINDS; i++) {
		if (!has_count(i))
			continue;
		if (record->checks[i] > 0)
			fprintf(file, "  %-16s %12" PRIu64, verdict_name((enum verdict_kind)i), record->checks[i]);
		else
			fprintf(file, "  %-16s %12s", verdict_name((enum verdict_kind)i), "never ran");
		fprintf(file, "%s", column++ % 2 == 1 ? "\n" : "      ");
	}
	if (column % 2 == 1)
		fprintf(file, "\n");
}

/* "123", "12.3k", "4.5M" */
static void shorten(uint64_t number, char *text, size_t size)
{
	static const char units[] = {'k', 'M', 'G', 'T'};
	double value = (double)number;
	int unit = -1;

	while (value >= 1000 && unit < 3) {
		value /= 1000;
		unit++;
	}
	if (unit < 0)
		snprintf(text, size, "%" PRIu64, number);
	else
		snprintf(text, size, value < 10 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

int report_checks_brief(FILE *file, const struct run_record *record, const char *line_end)
{
	int lines = 1, width = 0;

	for (int i = VERDICT_CLEAN + 1; i < VERDICT_KINDS; i++) {
		char count[16], text[48];

		if (!has_count(i))
			continue;
		shorten(record->checks[i], count, sizeof count);
		snprintf(text, sizeof text, " %s %s", verdict_name((enum verdict_kind)i), count);
		if (width + (int)strlen(text) + 1 > 79) {
			fputs(line_end, file);
			width = 0;
			lines++;
		}
		width += fprintf(file, "%s%s", width == 0 ? "   " : "", text);
	}
	fputs(line_end, file);
	return lines;
}

void report_add(struct run_record *total, const struct run_record *record)
{
	total->programs += record->programs;
	total->operations += record->operations;
	total->faults_injected += record->faults_injected;
	for (int i = 0; i < OP_KINDS; i++)
		total->operations_by_kind[i] += record->operations_by_kind[i];
	for (int i = 0; i < VERDICT_KINDS; i++)
		total->checks[i] += record->checks[i];
}

/* ---- JSON ---- */

static void add_address(cJSON *object, const char *name, uint64_t address)
{
	char text[32];

	snprintf(text, sizeof text, "0x%" PRIx64, address);
	cJSON_AddStringToObject(object, name, text);
}

static void add_place(cJSON *object, const struct program *program, uint32_t thread, uint64_t op)
{
	const struct op *const operation = op_at(program, thread, op);
	char text[160];

	thread_name(thread, text);
	cJSON_AddStringToObject(object, "thread", text);
	if (operation == NULL)
		return;
	cJSON_AddNumberToObject(object, "operation", (double)(op + 1));
	op_print(operation, text, sizeof text);
	cJSON_AddStringToObject(object, "text", text);
}

static cJSON *blocks_json(const struct program *program, const struct verdict *verdict)
{
	cJSON *const array = cJSON_CreateArray();

	for (uint32_t i = 0; i < verdict->block_count && i < VERDICT_BLOCKS_MAX; i++) {
		const struct verdict_block *const block = &verdict->blocks[i];
		cJSON *const object = cJSON_CreateObject();
		char label[8];

		label_name(block->label, label);
		if (block->label != LABEL_NULL)
			cJSON_AddStringToObject(object, "name", label);
		cJSON_AddNumberToObject(object, "size", (double)block->size);
		add_address(object, "address", block->address);
		add_place(object, program, block->thread, block->op);
		cJSON_AddItemToArray(array, object);
	}
	return array;
}

void report_add_counts(cJSON *object, const struct run_record *record)
{
	cJSON *kinds, *checks;

	kinds = cJSON_AddObjectToObject(object, "operations_by_kind");
	for (int i = 0; i < OP_KINDS; i++)
		cJSON_AddNumberToObject(kinds, op_kind_name((enum op_kind)i), (double)record->operations_by_kind[i]);
	checks = cJSON_AddObjectToObject(object, "checks");
	for (int i = VERDICT_CLEAN + 1; i < VERDICT_KINDS; i++)
		cJSON_AddNumberToObject(checks, verdict_name((enum verdict_kind)i), (double)record->checks[i]);
}

cJSON *report_json(const char *file_name, const char *variant, const struct program *program,
		   const struct run_record *record)
{
	const struct verdict *const verdict = &record->verdict;
	cJSON *const object = cJSON_CreateObject();

	if (file_name != NULL)
		cJSON_AddStringToObject(object, "file", file_name);
	cJSON_AddStringToObject(object, "allocator", record->allocator);
	if (variant != NULL)
		cJSON_AddStringToObject(object, "variant", variant);
	cJSON_AddStringToObject(object, "verdict", verdict_name(verdict->kind));
	if (verdict->kind != VERDICT_CLEAN) {
		cJSON_AddStringToObject(object, "message", verdict->message);
		add_place(object, program, verdict->thread, verdict->op);
		if (verdict->address != 0)
			add_address(object, "address", verdict->address);
		cJSON_AddItemToObject(object, "blocks", blocks_json(program, verdict));
	}
	cJSON_AddNumberToObject(object, "operations", (double)record->operations);
	cJSON_AddNumberToObject(object, "faults", (double)record->faults_injected);
	report_add_counts(object, record);
	return object;
}

/* ---- Files ---- */

/* Opens PATH.PID.tmp, to be renamed to PATH when all is written. */
static FILE *open_beside(const char *path, char **temporary)
{
	struct stat status;
	FILE *file;

	/* A device, a pipe or what a link leads to is written where it is: to rename onto it would replace it. */
	*temporary = NULL;
	if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return fopen(path, "w");
	if (asprintf(temporary, "%s.%d.tmp", path, (int)getpid()) < 0)
		return NULL;
	file = fopen(*temporary, "w");
	if (file == NULL) {
		free(*temporary);
		*temporary = NULL;
	}
	return file;
}

static bool close_and_rename(FILE *file, char *temporary, const char *path)
{
	bool good = ferror(file) == 0 && fflush(file) == 0 && (temporary == NULL || fsync(fileno(file)) == 0);
	int error = errno;

	if (fclose(file) != 0 && good) {
		good = false;
		error = errno;
	}
	if (good && temporary != NULL && rename(temporary, path) != 0) {
		good = false;
		error = errno;
	}
	if (!good && temporary != NULL)
		unlink(temporary);
	free(temporary);
	errno = error;
	return good;
}

bool report_write_json(const char *path, const cJSON *json)
{
	char *const text = cJSON_Print(json);
	char *temporary;
	FILE *file;

	if (strcmp(path, "-") == 0) {
		puts(text);
		free(text);
		return true;
	}
	file = open_beside(path, &temporary);
	if (file == NULL) {
		free(text);
		return false;
	}
	fprintf(file, "%s\n", text);
	free(text);
	return close_and_rename(file, temporary, path);
}

/* Copies the text of a program line by line and marks the operation. */
static bool copy_with_mark(FILE *to, FILE *from, const struct verdict *verdict)
{
	char *line = NULL, section[16] = "", guilty[16];
	size_t size = 0;
	uint64_t op = 0;
	ssize_t length;

	thread_name(verdict->thread, guilty);
	while ((length = getline(&line, &size, from)) > 0) {
		char name[16];

		line[length - (line[length - 1] == '\n')] = '\0';
		if (line[0] != ' ' && line[0] != '\t') {
			/* A new section; other sections than a thread's have no operations. */
			if (sscanf(line, "thread %15s", name) != 1)
				name[0] = '\0';
			memcpy(section, name, sizeof section);
			op = 0;
		} else if (strcmp(section, guilty) == 0 && op++ == verdict->op) {
			fprintf(to, "%s  # <-- %s: %s\n", line, verdict_name(verdict->kind), verdict->message);
			continue;
		}
		fprintf(to, "%s\n", line);
	}
	free(line);
	if (verdict->op == NO_OP)
		fprintf(to, "# <-- at the end of the program: %s: %s\n", verdict_name(verdict->kind), verdict->message);
	return ferror(from) == 0;
}

bool report_write_program(const char *path, const struct program *program, const struct run_record *record,
			  const char *allocator)
{
	struct program copy;
	char *temporary, *text = NULL;
	size_t length = 0;
	FILE *memory, *file;
	bool good;

	program_init(&copy);
	program_copy(&copy, program);
	snprintf(copy.allocator, sizeof copy.allocator, "%s", allocator);
	copy.expect = record->verdict.kind;
	copy.has_expect = true;
	memory = open_memstream(&text, &length);
	good = memory != NULL && program_print(&copy, memory);
	if (memory != NULL)
		fclose(memory);
	program_destroy(&copy);
	file = good ? open_beside(path, &temporary) : NULL;
	memory = file != NULL ? fmemopen(text, length, "r") : NULL;
	good = memory != NULL && copy_with_mark(file, memory, &record->verdict);
	if (memory != NULL)
		fclose(memory);
	if (file != NULL)
		good = close_and_rename(file, temporary, path) && good;
	free(text);
	return good;
}

/* The function of a frame, NULL where there is none. */
static const char *function_of(const cJSON *stacks, int stack, int frame)
{
	const cJSON *const frames = cJSON_GetObjectItem(cJSON_GetArrayItem(stacks, stack), "frames");

	return cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(frames, frame), "function"));
}

static bool is_known_by_stack(const struct verdict *verdict, const cJSON *stacks)
{
	return verdict->kind != VERDICT_STUCK && function_of(stacks, 0, 0) != NULL;
}

void report_failure_signature(const struct program *program, const struct verdict *verdict, const cJSON *stacks,
			      char *text, size_t size)
{
	const struct op *const op = op_at(program, verdict->thread, verdict->op);
	FILE *const out = fmemopen(text, size, "w");

	if (out == NULL) {
		snprintf(text, size, "%s", verdict_name(verdict->kind));
		return;
	}
	fputs(verdict_name(verdict->kind), out);
	if (is_known_by_stack(verdict, stacks)) {
		for (int stack = 0; function_of(stacks, stack, 0) != NULL; stack++)
			for (int i = 0; i < SIGNATURE_FRAMES && function_of(stacks, stack, i) != NULL; i++)
				fprintf(out, "%s%s",
					i > 0       ? " < "
					: stack > 0 ? " | "
						    : ": ",
					function_of(stacks, stack, i));
	} else {
		char word[sizeof verdict->message];
		const char *separator = ": ";

		/* Messages differ in addresses, sizes and names of blocks: words of more than three letters count. */
		fprintf(out, ": %s", op != NULL ? op_kind_name(op->kind) : "end");
		for (const char *p = verdict->message; *p != '\0';) {
			const size_t length = strcspn(p, " ");

			snprintf(word, sizeof word, "%.*s", (int)length, p);
			if (length > 3 && word[strspn(word, "abcdefghijklmnopqrstuvwxyz_-,.:;()")] == '\0') {
				fprintf(out, "%s%s", separator, word);
				separator = " ";
			}
			p += length + (p[length] == ' ');
		}
	}
	fclose(out);
	text[size - 1] = '\0';
}

void report_failure_name(const struct program *program, const struct verdict *verdict, const cJSON *stacks, char *name,
			 size_t size)
{
	const struct op *const op = op_at(program, verdict->thread, verdict->op);
	char signature[REPORT_SIGNATURE_MAX], place[40];
	uint32_t hash = 2166136261u;

	report_failure_signature(program, verdict, stacks, signature, sizeof signature);
	for (const char *p = signature; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	snprintf(place, sizeof place, "%s",
		 is_known_by_stack(verdict, stacks) ? function_of(stacks, 0, 0)
		 : op != NULL                       ? op_kind_name(op->kind)
						    : "end");
	/* Functions of other languages have more than a name of a file should. */
	for (char *p = place; *p != '\0'; p++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *p) == NULL)
			*p = '_';
	snprintf(name, size, "%s-%s-%04x", verdict_name(verdict->kind), place, (hash ^ hash >> 16) & 0xffff);
}
