/*
 * The central lists: the caches of finished threads, the memory that caches live in, and what happens to all of it when a process forks.
 */
#ifndef MEM_ALLOC_2_0_CENTRAL_H
#define MEM_ALLOC_2_0_CENTRAL_H

#include <stdbool.h>
#include <stddef.h>

#include "../block.h"
#include "thread_cache.h"

/* Takes a cache off the list of orphans: `orphan`, or any one if that is NULL. NULL: there is none, or that one is none any more. */
struct ThreadCache *ma2_central_take_orphan(struct ThreadCache *orphan);

/* Takes in a cache that no thread uses any more: to the orphans if its heap has chunks or its magazines blocks, else to the idle ones. */
void ma2_central_put(struct ThreadCache *cache);

/* The mappings that caches are made in, linked; size is that of the mapping. Read while nobody else is in the allocator. */
const struct Block *ma2_central_slabs(void);

#endif
