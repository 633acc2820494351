/*
 * The span cache: mappings that were freed and are kept for the next request, since to unmap and map again costs a page fault for every page.
 *
 * It holds the mappings of large blocks and chunks without a live block. It is bounded: SPAN_BYTES_MIN, or an eighth of all else that is mapped,
 * where that is more; chunks may have half of that, and the oldest spans go first. What was freed lately may exceed this by SPAN_EXCESS_MAX, or half of all else, or the last one, as a program that frees big
 * blocks often asks for the like again: as much of it goes back as is newly mapped, so that it adds nothing to the peak of a program, and all of it
 * once thread caches have been refilled or emptied SPAN_PATIENCE times.
 *
 * A request takes the smallest span that is large enough; what is too much stays with it as long as the bound allows, or is cut off, and stays a span where it contains the start of a chunk.
 * Contiguous spans are merged. Where all are too small, the largest is resized, which keeps its pages.
 *
 * All of it is under the lock of the cache, which the large blocks share; system calls are made without it.
 */
#ifndef MEM_ALLOC_2_0_SPAN_H
#define MEM_ALLOC_2_0_SPAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../allocator.h"
#include "../block.h"
#include "chunk.h"

#define SPAN_BYTES_MIN ((size_t)4 << 20)
#define SPAN_EXCESS_MAX ((size_t)32 << 20)
#define SPAN_COUNT_MAX 64
#define SPAN_PATIENCE 32

/* At the start of a cached mapping, a multiple of the chunk size. */
struct span {
	struct Block block; /* size: bytes of the mapping; next: the struct span that was cached before */
	struct span *previous;
};

/* Slow operations of thread caches that remain until what exceeds the bound goes; 0: nothing does. */
extern _Atomic int ma2_span_patience;

void ma2_span_lock(void);
void ma2_span_unlock(void);

/*
 * Under the lock: takes the smallest span of at least `size` bytes, if what is too much may stay: it counts as cached then, and has to be given to
 * ma2_span_drop_slack when it is no more. NULL: there is none.
 */
struct span *ma2_span_take_fitting(size_t size, size_t *slack);

/* Under the lock. */
void ma2_span_drop_slack(size_t slack);

/*
 * Makes a mapping of `size` bytes of a span: cut or resized. Returns its start, with the bytes from there that may be other than zero in
 * *dirty. NULL: nothing suitable is cached.
 */
void *ma2_span_take(size_t size, size_t *dirty);

/* Under the lock: caches a mapping. Returns the mappings that have to go, for ma2_span_unmap. */
struct span *ma2_span_put(void *start, size_t size);

/* Unmaps a list of mappings. Those that the OS refuses are kept and tried again. True if any went. */
bool ma2_span_unmap(struct span *list);

/* A chunk that has no live block. Its tags and its count of touched granules are kept. */
void ma2_span_put_chunk(struct chunk *chunk);

/* NULL: there is none. The caller tags it anew. */
struct chunk *ma2_span_take_chunk(void);

/* Brings the cache down to what its bound allows, or by about `most` bytes. */
void ma2_span_settle(size_t most);

/* Counts a slow operation of a thread cache. */
static inline void ma2_span_tick(void)
{
	int left = atomic_load_explicit(&ma2_span_patience, memory_order_relaxed);

	if (__builtin_expect(left == 0, 1))
		return;
	/* Two threads may count as one. */
	atomic_store_explicit(&ma2_span_patience, left - 1, memory_order_relaxed);
	if (left == 1)
		ma2_span_settle(SIZE_MAX);
}

/* Unmaps all that is cached and what the OS refused to take so far. True if it took any. */
bool ma2_span_release_all(void);

/* As walk and check of `struct allocator`. */
bool ma2_span_walk(region_visitor *visit, void *context);
bool ma2_span_check(char *why, size_t size);

void ma2_span_fork_lock(void);
void ma2_span_fork_unlock(void);

#endif
