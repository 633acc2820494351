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

/* The order of a scheduled run, from its log; what came to no start there is put behind. The caller frees order->stretches. */
struct event_log;
void export_order_of_log(const struct program *program, const struct event_log *log, struct export_order *order);
void export_order_copy(const struct export_order *from, struct export_order *to);

struct export_allocator {
	char name[64];   /* for people */
	char prefix[64]; /* of the functions under test; "" where they are the C library's */
	char suffix[64];
	char words[4096];              /* of the compiler's command, quoted for the shell: sources, libraries, flags */
	const struct allocator *hooks; /* what it has and its contract; NULL: unknown */
};

enum export_form {
	EXPORT_TURNS,      /* threads take turns between operations */
	EXPORT_TURNS_ASAN, /* likewise, compiled with -fsanitize=address */
	EXPORT_POINTS,     /* they stop in the middle of calls */
	EXPORT_LOOP,       /* they run freely under -fsanitize=thread, again and again */
};

/* In its operation number `op` from 1, at its point number `point`, `thread` stops and `target` goes on. */
struct export_stop {
	unsigned thread, op, point, target;
};

#define EXPORT_STOPS_MAX 12

struct export_request {
	const struct program *program;
	const struct verdict *verdict;
	const struct export_allocator *allocator;
	const char *happens;              /* what the program printed when it was tried; NULL at first */
	const struct export_order *turns; /* in which operations run; NULL: export_order */
	enum export_form form;
	unsigned order; /* 0 to 3: in which the blocks left at the end are freed */
	struct export_stop stops[EXPORT_STOPS_MAX]; /* POINTS */
	size_t stop_count;
	unsigned tried, failed; /* times; 0: not yet */
};

/* Writes the C file: export_write_loop for EXPORT_LOOP, export_write_c for the others. False on a write error. */
bool export_write_c(const struct export_request *request, FILE *file);
bool export_write_loop(const struct export_request *request, FILE *file);

/* What a scheduled run tells: the order of the operations, and where threads were stopped. */
struct export_schedule {
	struct export_order turns;
	struct export_stop stops[EXPORT_STOPS_MAX];
	size_t stop_count;
};

/* Of the program that cli_run_once has run last, with its record. The caller frees schedule->turns.stretches. */
void export_schedule(const struct program *program, const char *allocator, const char *runner,
		     const struct run_record *record, struct export_schedule *schedule);

/*
 * Finds a way in which the C file fails by itself as the verdict says, compiling and running it in `folder` for at most about `seconds`, and writes it to
 * `path`. False with one line in `message` if none does: nothing is written. `schedule`: of a scheduled run, NULL for another one.
 */
bool export_verified(const struct program *program, const struct verdict *verdict, const struct export_schedule *schedule,
		     const struct export_allocator *allocator, const char *folder, double seconds, const char *path,
		     char *message, size_t message_size);

/* How the allocator of that name is compiled in; `words`, or else the environment variable HEAPSTORM_WITH, replaces what is known of it. False: nothing is known. */
bool export_find_allocator(const char *name, const char *words, struct export_allocator *allocator);

#endif
