/* Reports: what a run found, for people, for machines, and as a program to keep. */
#ifndef HEAPSTORM_HARNESS_REPORT_H
#define HEAPSTORM_HARNESS_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "program.h"
#include "verdict.h"

#define REPORT_SIGNATURE_MAX 1024

/*
 * Prints the verdict of a record for a person: what must hold, where it broke, the blocks, a map of the neighbourhood. Nothing for a
 * clean one. `sanitizer_output` is a file with what the sanitizer wrote, of which the first stack is shown; may be NULL.
 */
void report_print(FILE *file, const struct program *program, const struct run_record *record,
		  const char *sanitizer_output);

/* "main, operation 7: b = malloc 24", or "at the end of the program" */
void report_place(const struct program *program, uint32_t thread, uint64_t op, char *text, size_t size);

/* Tables of what ran: operations by kind, and checks by oracle; what never ran is marked. At most 80 columns. */
void report_operations(FILE *file, const struct run_record *record);
void report_checks(FILE *file, const struct run_record *record);

/* The checks by oracle in lines of at most 79 columns, counts shortened ("1.2M"). Returns the number of lines. */
int report_checks_brief(FILE *file, const struct run_record *record, const char *line_end);

/* Adds the figures of a run to a total. */
void report_add(struct run_record *total, const struct run_record *record);

/* Adds `operations_by_kind` and `checks`: how often each oracle had something to check. */
void report_add_counts(cJSON *object, const struct run_record *record);

/*
 * The record as JSON (docs/json.md): verdict, place, message, blocks, checks. `file_name` and `variant` may be NULL. The caller
 * deletes it.
 */
cJSON *report_json(const char *file_name, const char *variant, const struct program *program,
		   const struct run_record *record);

/*
 * Writes the program as text with `allocator` and `expect` lines for the verdict, and a comment at the operation that shows it. Written to a
 * file beside it first, then renamed: nothing half written is left. False with errno.
 */
bool report_write_program(const char *path, const struct program *program, const struct run_record *record,
			  const char *allocator);

/* Writes JSON to a file in the same manner. "-" is standard output. False with errno. */
bool report_write_json(const char *path, const cJSON *json);

/*
 * What two failures have in common if they are kept as one: the verdict and the innermost functions of the allocator in `stacks` (docs/json.md; may be
 * NULL). Where there are none, and where a stack is but a sample of a loop (stuck), the kind of operation and the words of the message.
 */
void report_failure_signature(const struct program *program, const struct verdict *verdict, const cJSON *stacks,
			      char *text, size_t size);

/* A name for a folder, made of the signature: "overlap-malloc-1f3a", "crash-unlink_block-03c4". */
void report_failure_name(const struct program *program, const struct verdict *verdict, const cJSON *stacks, char *name,
			 size_t size);

#endif
