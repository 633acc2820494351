/*
 * The oracles that look at the whole heap while no thread is inside the allocator: invariant, lost-memory, uncoalesced. Internal to the
 * executor.
 */
#ifndef HEAPSTORM_HARNESS_HEAP_CHECK_H
#define HEAPSTORM_HARNESS_HEAP_CHECK_H

#include "blocks.h"

/* What a walk came across. */
struct heap_summary {
	size_t live, cached, free; /* bytes */
	size_t largest_free;       /* bytes of one region */
	size_t arenas;             /* a count */
};

/*
 * Runs the allocator's check, walks its heap and compares the walk with the live blocks. With `quiesced` no cached region may be left, and
 * neighbouring free ones are a missed coalescing. `summary` may be NULL. True if all holds or the allocator has no such hooks.
 */
bool heap_check(const struct allocator *allocator, struct blocks *blocks, bool quiesced, uint32_t oracles,
		struct run_record *record, struct heap_summary *summary, struct finding *finding);

/* Draws the neighbourhood of the finding's address into the record, from a walk if there is one, else from the live blocks. */
void heap_map(const struct allocator *allocator, const struct blocks *blocks, const struct finding *finding,
	      struct run_record *record);

#endif
