/* A program as standalone C. */
#ifndef HEAPSTORM_CLI_EXPORT_H
#define HEAPSTORM_CLI_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "allocator.h"
#include "program.h"
#include "verdict.h"

/* Operations first to last - 1 of a thread, which nothing interrupts. */
struct stretch {
	uint32_t thread;
	size_t first, last;
	bool ends; /* the thread */
};

struct export_order {
	struct stretch *stretches;
	size_t count, capacity;
};

/* The default schedule of the executor (program.h). The caller frees order->stretches. */
void export_order(const struct program *program, struct export_order *order);

struct export_allocator {
	char name[64];   /* for people */
	char prefix[64]; /* of the functions under test; "" where they are the C library's */
	char suffix[64];
	char words[4096];              /* of the compiler's command, quoted for the shell: sources, libraries, flags */
	const struct allocator *hooks; /* what it has and its contract; NULL: unknown */
};

struct export_request {
	const struct program *program;
	const struct verdict *verdict;
	const struct export_allocator *allocator;
	const char *happens; /* what the program printed when it was tried; NULL at first */
	unsigned order;      /* 0 to 3: in which the blocks left at the end are freed */
	bool sanitized;      /* the command has -fsanitize=address */
};

/* Writes the C file. False on a write error. */
bool export_write_c(const struct export_request *request, FILE *file);

/*
 * Finds a way in which the C file fails by itself as the verdict says, compiling and running it in `folder`, and writes it to `path`. False with one
 * line in `message` if none does: nothing is written.
 */
bool export_verified(const struct program *program, const struct verdict *verdict,
		     const struct export_allocator *allocator, const char *folder, const char *path, char *message,
		     size_t message_size);

/* How the allocator of that name is compiled in; `words`, or else the environment variable HEAPSTORM_WITH, replaces what is known of it. False: nothing is known. */
bool export_find_allocator(const char *name, const char *words, struct export_allocator *allocator);

#endif
