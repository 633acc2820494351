/* What the C files of export_c.c and export_loop.c have in common. */
#ifndef HEAPSTORM_CLI_EXPORT_PARTS_H
#define HEAPSTORM_CLI_EXPORT_PARTS_H

#include "export.h"

#define REPRO_SECONDS 20 /* after which a repro gives up */

const char *export_flags(const struct export_request *request); /* of the compiler: "" or " -fsanitize=..." */

/* The comment at the top; the includes and the functions under test. */
void export_write_head(const struct export_request *request, FILE *file);
void export_write_includes(const struct export_request *request, FILE *file);

/* The name of a block in C; `name` has room for 16 bytes. */
const char *export_name_of(uint32_t label, char *name);

/* 1 for each label that the program has. The caller frees it; NULL: no memory. */
uint8_t *export_used_labels(const struct program *program);

/* Does the operation name a thread that main can start? */
bool export_names_thread(const struct program *program, const struct op *op);

/* The head of the function of a thread, and its end. */
void export_begin_thread(FILE *file, size_t thread);
void export_end_thread(FILE *file, size_t thread);

#endif
