/*
 * Frees into chunks of other threads. Blocks are gathered by chunk and go there a batch at a time, with one atomic instruction; the owner takes the
 * whole list with another. Nobody ever takes a part, so a head that came back to an earlier value is no hazard (no ABA problem).
 */
#ifndef MEM_ALLOC_2_0_REMOTE_H
#define MEM_ALLOC_2_0_REMOTE_H

#include "../block.h"
#include "chunk.h"

/* Blocks of one chunk, linked from `head` to `tail`. */
struct batch {
	struct chunk *chunk;
	struct Block *head, *tail;
};

/*
 * Pushes a batch on its chunk's list of remote frees and tells the owner. The chunk may be gone the moment this is done: it
 * lived by these blocks.
 */
void ma2_remote_push(const struct batch *batch);

/* Takes all blocks off the list. Only by the owner. */
struct Block *ma2_remote_take(struct chunk *chunk);

/* As ma2_remote_push of a single block. Needs no cache and cannot fail. */
void ma2_remote_free(struct Block *block);

#endif
