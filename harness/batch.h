/* A file with many programs, each as its encoding (bytes.c) behind its length (32 bits): what runners take with --batch. */
#ifndef HEAPSTORM_HARNESS_BATCH_H
#define HEAPSTORM_HARNESS_BATCH_H

#include "program.h"

/* False with errno if the file cannot be written. */
bool batch_write(const char *path, const struct program *programs, size_t count);

enum batch_result { BATCH_PROGRAM, BATCH_END, BATCH_CUT_OFF };

/* Reads the next program into `program` (initialised). */
enum batch_result batch_read(FILE *file, struct program *program);

#endif
