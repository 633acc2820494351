/*
 * The operations of a program that call the allocator, with the oracles that look at single calls and blocks. Internal to the executor and
 * the free runner, which differ in when a thread runs and in who may use a label.
 */
#ifndef HEAPSTORM_HARNESS_CALLS_H
#define HEAPSTORM_HARNESS_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocks.h"
#include "executor.h"
#include "program.h"

/* What the OS had refused when an operation began. */
struct os_mark {
	uint64_t faults, refusals;
};

/* Who calls: everything of the executor, one thread of the free runner. */
struct caller {
	struct run_record *record; /* thread and op say what a new block belongs to; counts its checks */
	struct blocks blocks;
	const struct allocator *allocator;
	uint32_t oracles;
	/* By label: several threads use it at the same time, so that taking a block out of it is an exchange. NULL: none is. */
	const uint8_t *shared;
	bool arena; /* OS calls are counted */
	bool failed;
	uint64_t *steps;                   /* of the record that a supervisor looks at */
	struct os_mark *mark;              /* of the thread at work */
	const struct scheduler *scheduler; /* NULL: none */
	struct finding finding;
	struct event_log *log; /* gets the births and deaths of blocks; NULL: none */
	void (*fail)(struct caller *caller); /* reports `finding`; may end the process */
};

/* Runs an operation that calls the allocator; others do nothing. False: caller->failed, and the finding was reported. */
bool caller_run(struct caller *caller, const struct op *op, enum outcome *outcome);

/* Verifies and frees a live block. */
bool caller_free(struct caller *caller, uint32_t index);

/* Frees all live blocks, in one of four orders that coalescing must not care about. */
bool caller_free_all(struct caller *caller, size_t order);

/*
 * Of the bytes that were mapped after each of `rounds` rounds: do those after the first two thirds of a window of rounds all need more than any
 * before? `before` is the most of the first two thirds, `after` the least of the rest; without a rest they grow.
 */
bool footprint_grows(const size_t *mapped, size_t window, size_t rounds, size_t *before, size_t *after);

/*
 * Forks: the child allocates, frees and exits; the parent waits `timeout_milliseconds` for it. `in_child` runs first in the child, where nothing
 * may be written to what is shared with the parent.
 */
bool caller_fork(struct caller *caller, unsigned timeout_milliseconds, void (*in_child)(void));

/* Reports a finding of that kind, if its oracle is on: false, or true if it is not. `victim`: a record, or 0. */
__attribute__((format(printf, 5, 6))) bool caller_fail(struct caller *caller, enum verdict_kind kind,
						       const void *address, uint32_t victim, const char *format, ...);

/* Puts the finding of `caller` into a record, if it is the first there. False if there was one before. */
bool caller_report(struct caller *caller, struct run_record *record);

#endif
