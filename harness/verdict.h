/*
 * Verdicts and oracles: the names that reports, JSON, corpus files and docs share, and the record of a run.
 *
 * A run writes into one `struct run_record` as it goes. The record usually lies in memory shared with a supervisor, so that whatever ends the
 * run (a signal, a sanitizer, kill -9) leaves behind which operation was at work and what was known by then.
 */
#ifndef HEAPSTORM_HARNESS_VERDICT_H
#define HEAPSTORM_HARNESS_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each verdict but CLEAN is also an oracle: what must hold is in docs/oracles.md. The order is that of reports. */
enum verdict_kind {
	VERDICT_CLEAN,
	VERDICT_OVERLAP,
	VERDICT_CORRUPTION,
	VERDICT_REALLOC_LOST,
	VERDICT_NOT_ZEROED,
	VERDICT_MISALIGNED,
	VERDICT_UNDERSIZED,
	VERDICT_CONTRACT,
	VERDICT_TOUCHED_LIVE,
	VERDICT_INVARIANT,
	VERDICT_LOST_MEMORY,
	VERDICT_UNCOALESCED,
	VERDICT_UNRECLAIMED,
	VERDICT_RACE,
	VERDICT_DEADLOCK,
	VERDICT_STUCK,
	VERDICT_FORK,
	VERDICT_CRASH,
	VERDICT_ABORT,
	VERDICT_KINDS
};

const char *verdict_name(enum verdict_kind kind); /* "clean", "overlap", "realloc-lost", ... */

/* False if no verdict has that name. */
bool verdict_from_name(const char *name, enum verdict_kind *kind);

/* One line: what must hold. */
const char *verdict_meaning(enum verdict_kind kind);

#define VERDICT_BLOCKS_MAX 4
#define NO_OP UINT64_MAX /* no operation of the program: the checks at its end */

/* A block that a verdict speaks of. */
struct verdict_block {
	uint64_t id; /* unique in the run, from 1 */
	uint64_t address;
	uint64_t size;   /* bytes requested */
	uint32_t label;  /* LABEL_NULL if nameless by then */
	uint32_t thread; /* who made it: thread ... */
	uint64_t op;     /* ... and operation, from 0 */
};

struct verdict {
	enum verdict_kind kind;
	uint32_t thread;  /* where it was seen */
	uint64_t op;      /* index in that thread, from 0; NO_OP: at the end of the program */
	uint64_t address; /* the offending byte or pointer, 0 if none */
	uint32_t block_count;
	struct verdict_block blocks[VERDICT_BLOCKS_MAX]; /* the first is the victim where there is one */
	char message[512];                               /* one sentence, no newline */
};

/*
 * At the `point`-th scheduling point of `thread` (from 1), `target` runs in its place. Between processes of heapstorm the point may also be counted
 * from the start of an operation: PREEMPTION_ANCHORED | operations begun so far << 32 | points since the last of them began.
 */
#define PREEMPTION_ANCHORED (UINT64_C(1) << 63)
struct preemption {
	uint32_t thread;
	uint32_t target;
	uint64_t point;
};

#define RUN_INPUT_MAX 65536
#define RUN_PREEMPTIONS_MAX 4096
#define RUN_STACK_MAX 24

/* A place in the code that a verdict speaks of, for a symbolizer. */
struct run_stack {
	uint32_t thread;
	uint32_t count;
	uint64_t calls[RUN_STACK_MAX]; /* addresses relative to the executable's start, the innermost first */
	char what[64];                 /* "writes 8 bytes" */
};

#define MAP_CELLS_MAX 24 /* regions of the neighbourhood that are kept for the report's map */

/* A stretch of memory beside the offending address, for the map in a report. */
struct map_cell {
	uint64_t start, size;
	uint8_t kind;   /* enum region_kind, or MAP_CELL_UNKNOWN */
	uint32_t label; /* of the live block there, LABEL_NULL if none */
	bool guilty;
};
#define MAP_CELL_UNKNOWN 255

enum run_state { RUN_NOT_STARTED, RUN_RUNNING, RUN_FINISHED };

struct run_record {
	uint32_t magic, size; /* RUN_RECORD_MAGIC, sizeof(struct run_record) */
	uint32_t state;       /* enum run_state */
	char allocator[64];   /* under test at the moment */
	uint64_t steps;       /* grows with every operation: no growth is no progress */
	uint32_t thread;      /* at work now or last */
	uint64_t op;
	uint64_t candidate;              /* runner --batch: the program at work, from 0 */
	uint64_t programs;               /* finished programs (fuzzing: inputs) */
	uint64_t round;                  /* stress: the one at work */
	uint64_t operations;             /* operations executed, all programs */
	uint64_t operations_by_kind[32]; /* indexed by enum op_kind */
	uint64_t checks[VERDICT_KINDS];  /* how often each oracle ran; index VERDICT_CLEAN unused */
	uint64_t faults_injected;
	struct verdict verdict; /* CLEAN until something is found; the first finding stays */
	uint32_t map_count;
	struct map_cell map[MAP_CELLS_MAX];
	uint64_t points;     /* scheduling points of the run */
	uint64_t trace_hash; /* of all of them */
	uint32_t preemption_count;
	struct preemption preemptions[RUN_PREEMPTIONS_MAX]; /* the schedule as it came to be */
	uint64_t anchors[RUN_PREEMPTIONS_MAX];              /* its points, PREEMPTION_ANCHORED */
	uint32_t bound_level;                               /* strategy bounded: preemptions of the schedules at work */
	uint32_t bound_done;                                /* all up to the bound were run */
	uint64_t bound_pending, bound_pending_later;        /* known and not yet run: with so many, with one more */
	uint32_t stack_count;
	struct run_stack stacks[2]; /* race: both accesses, the later one first */
	uint32_t input_size;        /* fuzzing: the input at work, so that whatever kills the process cannot lose it */
	uint8_t input[RUN_INPUT_MAX];
};
#define RUN_RECORD_MAGIC 0x48535231u /* "HSR1" */

#endif
