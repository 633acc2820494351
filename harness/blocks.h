/*
 * The live blocks of a run and the oracles that look at single blocks: overlap, corruption, realloc-lost, not-zeroed, misaligned,
 * undersized. Internal to the executor.
 */
#ifndef HEAPSTORM_HARNESS_BLOCKS_H
#define HEAPSTORM_HARNESS_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "executor.h"
#include "shadow.h"

struct block {
	struct shadow_span span; /* the bytes that belong to the program; size 0: none, not in the shadow */
	void *address;           /* NULL: this record is unused */
	uint64_t id;             /* unique in the run, from 1 */
	uint64_t pattern;        /* what the contents follow from */
	uint64_t op;
	size_t requested; /* bytes; what realloc has to keep */
	size_t size;      /* bytes that are filled: the request, or all usable ones once they were asked for */
	uint32_t thread;
	uint32_t label; /* LABEL_NULL once nameless */
	uint32_t next_unused;
	uint32_t walk; /* the last heap walk that met it */
};

struct blocks {
	struct block *records; /* index 0 is never used */
	uint32_t limit;        /* records below it were in use at some time */
	uint32_t unused;       /* list of unused records below the limit, 0 ends it */
	uint32_t live;
	uint32_t walks;   /* heap walks so far */
	uint32_t *labels; /* record by label, 0 for none */
	uint64_t next_id, next_pattern;
	size_t live_bytes;
	bool poison;    /* AddressSanitizer watches live blocks */
	bool sparse;    /* as in struct run_options */
	bool untracked; /* not in the shadow: to see what it costs */
	/*
	 * Several threads share records and labels, each with a struct of its own (blocks_share): new records come from here in batches, below
	 * `batch_end`; `limit` is the next one of the batch. NULL: there is one thread.
	 */
	uint32_t *shared_limit;
	uint32_t batch_end;
};

/*
 * Makes `mine`, what one thread uses of the records and labels of `blocks`, empty. Its ids are those from `first_id` on. It shares no counter that is written
 * often. Only blocks at multiples of 16 go into the shadow then: others share granules, which needs a lock. While threads are at work
 * nothing may use `blocks`; afterwards blocks_join brings back what each has counted.
 */
void blocks_share(struct blocks *mine, struct blocks *blocks, uint64_t first_id);
void blocks_join(struct blocks *blocks, const struct blocks *mine);

bool blocks_open(struct blocks *blocks);

/* Forgets everything; the labels below `label_limit` may have been used. Costs what was in use. */
void blocks_reset(struct blocks *blocks, uint32_t label_limit);

/* Where a check failed. */
struct finding {
	enum verdict_kind kind;
	uint64_t address;       /* the offending byte */
	uint32_t victim, other; /* records, 0 if none */
	char message[512];
};

/*
 * Takes in a block that the allocator returned for `size` requested bytes: checks alignment, overlap and, if `zeroed`, contents, then fills
 * it. Returns the record's index, or 0 with a finding.
 */
uint32_t blocks_add(struct blocks *blocks, void *address, size_t size, size_t alignment, bool zeroed, bool claim_empty,
		    uint32_t oracles, struct run_record *record, struct finding *finding);

/* Checks that the first `size` bytes hold what was written. */
bool blocks_verify(struct blocks *blocks, uint32_t index, size_t size, enum verdict_kind kind, uint32_t oracles,
		   struct run_record *record, struct finding *finding);

/* Opens the block for the allocator (before free and realloc) and gives its bytes back. */
bool blocks_release(struct blocks *blocks, uint32_t index, uint32_t oracles, struct finding *finding);

/* Takes a released block back as it was: realloc has failed. */
bool blocks_restore(struct blocks *blocks, uint32_t index, uint32_t oracles, struct finding *finding);

/* Drops the record of a released block. */
void blocks_forget(struct blocks *blocks, uint32_t index);

/* Extends the block to `usable` bytes that belong to the program too. */
bool blocks_extend(struct blocks *blocks, uint32_t index, size_t usable, uint32_t oracles, struct run_record *record,
		   struct finding *finding);

/* Writes the block anew with another pattern. */
void blocks_rewrite(struct blocks *blocks, uint32_t index);

/* "b (malloc 24 by main, operation 3)" */
void block_describe(const struct block *block, char *text, size_t size);

#endif
