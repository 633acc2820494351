/*
 * The history of a heap: what a run did to which block when, for a picture of it. The records lie in a file that is mapped, so that they are there
 * whatever ends the process; the first one of kind EVENT_NONE ends them.
 */
#ifndef HEAPSTORM_HARNESS_EVENT_LOG_H
#define HEAPSTORM_HARNESS_EVENT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "verdict.h"

enum event_kind {
	EVENT_NONE,
	EVENT_STEP,   /* operation `op` of `thread` begins */
	EVENT_BIRTH,  /* block `id` of `size` bytes at `address` */
	EVENT_DEATH,  /* block `id` */
	EVENT_WALK,   /* a walk begins; its regions follow */
	EVENT_REGION, /* `region` (enum region_kind) of `size` bytes at `address` */
	EVENT_WALKED, /* it has ended */
};

struct event {
	uint8_t kind, region;
	uint32_t thread;
	uint64_t op, id, address, size;
};

struct event_log {
	struct event *events;
	size_t count, capacity;
	size_t steps, walk_every; /* a walk before each so many steps; 0: none */
	bool stops;               /* event_log_stop is called before this operation */
	uint32_t stop_thread;
	uint64_t stop_op; /* NO_OP: at the end of the program */
};

/*
 * Creates the file with room for a program of `ops` operations, with `walks` walks of the heap evenly spread over it. False with errno.
 */
bool event_log_open(const char *path, size_t ops, size_t walks, struct event_log *log);

/* Reads a file that was written. False with errno. The caller unmaps `events` by event_log_close. */
bool event_log_read(const char *path, struct event_log *log);

void event_log_close(struct event_log *log);

void event_log_add(struct event_log *log, struct event event);

/* An operation begins; walks the heap if it is time. No thread may be inside the allocator then; NULL: some may be. */
void event_log_step(struct event_log *log, const struct allocator *allocator, uint32_t thread, uint64_t op);

/* The program is at its end. */
void event_log_end(struct event_log *log, const struct allocator *allocator);

/* Sets where event_log_stop is called: "THREAD:OPERATION", numbers from 0, or "end". False: it is neither. */
bool event_log_stop_at(struct event_log *log, const char *text);

/* Does nothing: a debugger's breakpoint. */
void event_log_stop(void);

#endif
