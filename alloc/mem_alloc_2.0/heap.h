/*
 * A heap: the chunks of one thread and the bins of their free blocks.
 *
 * Free blocks are split where they are larger than needed and merged with free neighbours the moment they come back, so two free blocks are
 * never side by side. A bin holds the free blocks of one class, newest first; a bitmap finds the first bin that is not empty.
 * A free block of one granule is too small for its node: it is in no bin and comes back when a neighbour is freed.
 *
 * The caller holds the lock of the heap's thread cache.
 */
#ifndef MEM_ALLOC_2_0_HEAP_H
#define MEM_ALLOC_2_0_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../block.h"
#include "chunk.h"
#include "size_class.h"

#define HEAP_CLASSES 152 /* up to class_floor(CHUNK_HEAP_GRANULES) */

/* At the start of a free block of at least two granules. */
struct free_block {
	struct Block block; /* size: bytes of the free block; next: the struct free_block that follows in its bin */
	struct free_block *previous;
	size_t purged; /* bytes of it that were given back to the OS */
};
#define FREE_BLOCK_GRANULES (sizeof(struct free_block) / GRANULE)

struct heap {
	struct free_block *bins[HEAP_CLASSES];
	uint64_t occupied[(HEAP_CLASSES + 63) / 64]; /* a bit a bin */
	struct chunk *chunks;
	size_t chunk_count;
	size_t live;             /* granules of live blocks */
	size_t idle;             /* granules freed and not taken again since pages were last given back */
	size_t purged;           /* bytes of its free blocks that were given back */
	size_t live_then, given; /* granules that were live, and that went, when pages were last given back */
	unsigned int patience;   /* with the next time */
	struct chunk *empty;     /* the one chunk without a live block that is kept; binned as any other free block */
};

/* How hard heap_find looks. */
enum effort {
	EFFORT_BOUNDED, /* constant time; may miss a block of the very class that the size falls into */
	EFFORT_FULL,    /* finds whatever fits */
};

/* Returns a small free block of at least `size` granules, or NULL. */
struct free_block *ma2_heap_find(const struct heap *heap, size_t size, enum effort effort);

/*
 * Makes `count` live blocks of `size` granules each, side by side, of the free block; the first is `skip` granules after its start. What remains on
 * either side stays free. Returns the first one. *dirty is how many bytes at its start may be other than zero (at most all).
 */
void *ma2_heap_take(struct heap *heap, struct free_block *free_block, size_t skip, size_t size, size_t count,
		    size_t *dirty);

/* Frees a live block of the heap: merges it, and caches the chunk as a span when it was its last and another chunk is empty already. */
void ma2_heap_free(struct heap *heap, void *block);

/* Grows a live block in place to `size` granules out of the free block behind it. False: that is not free or too small. */
bool ma2_heap_extend(struct heap *heap, void *block, size_t size);

/* Shrinks a live block in place to `size` granules, fewer than it has. */
void ma2_heap_shrink(struct heap *heap, void *block, size_t size);

/* Adds a chunk from ma2_chunk_map. */
void ma2_heap_add_chunk(struct heap *heap, struct chunk *chunk);

/* Moves all chunks and free blocks of `from`, which is empty then, to `to`, whose thread cache is `owner`. */
void ma2_heap_move(struct heap *from, struct heap *to, struct ThreadCache *owner);

/* Gives the empty chunk that is kept to the span cache. True if there was one. */
bool ma2_heap_release_empty(struct heap *heap);

/*
 * Gives the pages inside free blocks of at least `least` bytes back to the OS, but for those of the first *keep bytes, which are taken off *keep.
 * True if any went back.
 */
bool ma2_heap_purge(struct heap *heap, size_t least, size_t *keep);

/* Was so much more freed than taken since pages were last given back that it is time for it? */
bool ma2_heap_is_idle(const struct heap *heap);

/* Gives back the pages of a heap that is idle. */
void ma2_heap_give_back(struct heap *heap);

static inline struct free_block *free_block_next(const struct free_block *free_block)
{
	return (struct free_block *)free_block->block.next;
}

#endif
