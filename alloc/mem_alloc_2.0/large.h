/*
 * Large blocks: a mapping each, from the span cache or the OS.
 *
 * The mapping starts at a multiple of the chunk size and has its header right before the payload, which begins below the offset at which blocks
 * of a chunk begin, so that the address alone tells a large block. Where the alignment asked for is too big for that, the payload itself is at
 * a multiple of the chunk size, and the header in the page before it.
 */
#ifndef MEM_ALLOC_2_0_LARGE_H
#define MEM_ALLOC_2_0_LARGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../allocator.h"
#include "chunk.h"

static inline bool is_large(const void *pointer)
{
	return ((uintptr_t)pointer & (CHUNK_SIZE - 1)) < sizeof(struct chunk);
}

/*
 * `alignment` is a power of two; *dirty: so many bytes at the start of the block, or fewer, may be other than zero. NULL with errno ENOMEM.
 */
void *ma2_large_allocate(size_t size, size_t alignment, size_t *dirty);

/* Keeps errno. */
void ma2_large_free(void *pointer);

/* Resizes, in place or by moving pages. NULL with errno ENOMEM: the block is as it was. Where it shrinks it never fails. */
void *ma2_large_resize(void *pointer, size_t size);

size_t ma2_large_usable_size(void *pointer);

/* As walk and check of `struct allocator`, for the large blocks. */
bool ma2_large_walk(region_visitor *visit, void *context);
bool ma2_large_check(char *why, size_t size);

#endif
