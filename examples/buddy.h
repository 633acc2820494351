/*
 * A binary buddy allocator in memory that is given: blocks are powers of two, each aligned to its size within the pool. A lock makes it safe for
 * threads.
 */
#ifndef BUDDY_H
#define BUDDY_H

#include <stddef.h>

#define BUDDY_SMALLEST 32 /* bytes */

/* Makes the pool in the largest power of two of the `size` bytes at `memory`, at most 2^31. */
void buddy_init(void *memory, size_t size);

/* A block is aligned to its size, up to a page. NULL with ENOMEM if none is free. */
void *buddy_malloc(size_t size);
void *buddy_aligned_alloc(size_t alignment, size_t size);

void buddy_free(void *block);

#endif
