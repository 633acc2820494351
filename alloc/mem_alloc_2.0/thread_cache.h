/*
 * Thread caches: what a thread has to itself.
 *
 * A ThreadCache holds magazines, which are lists of blocks of one class that this thread freed, whoever allocated them, and a heap, which the
 * magazines are filled from. malloc and free work on the magazines without a lock or an atomic instruction. Everything else is done under
 * the cache's own lock, which is free but while a fork is being prepared: a child then finds every heap in order.
 *
 * When a thread ends, its cache is emptied into the heap and put on a central list: of orphans where the heap still has chunks, of idle ones otherwise.
 * The next new thread takes it over as it is; a running thread in need of memory takes the chunks of orphans before it maps any.
 *
 * Locks, in the order in which they are taken: a cache's, the central one, that of the span cache.
 */
#ifndef MEM_ALLOC_2_0_THREAD_CACHE_H
#define MEM_ALLOC_2_0_THREAD_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../block.h"
#include "heap.h"
#include "size_class.h"

#define MAGAZINE_CLASSES 137                  /* up to 512 KiB */
#define MAGAZINE_GRANULES_MAX ((size_t)32768) /* granules of the highest class */
#define BATCH_GRANULES_MAX ((size_t)4096) /* above it a magazine has room for one block, and is only filled by free */
#define HEAP_GRANULES_MAX ((size_t)(512 << 10) / GRANULE) /* larger blocks are mapped directly */

/* Blocks of at least class_granules(cls) granules each, live as the tags of their chunks have it. */
struct magazine {
	struct Block *head; /* linked by link_block */
	uint32_t count;
	uint32_t limit; /* a free that finds this many goes the slow way. 0: never used so far */
};

/*
 * Blocks in magazines, and on their way home, are linked by links that no pointer and hardly any data looks like, and have their own address in place
 * of a size. So a block that is freed twice, or written to after it was freed, is known. A block that is handed out has no link any more.
 */
#define LINK_KEY ((uintptr_t)0x9d27 << 48)

static inline void link_block(struct Block *block, struct Block *next)
{
	block->next = (struct Block *)((uintptr_t)next ^ LINK_KEY);
	block->size = (uintptr_t)block;
}

/* What follows in the list. No pointer if the link is damaged. */
static inline struct Block *linked_next(const struct Block *block)
{
	return (struct Block *)((uintptr_t)block->next ^ LINK_KEY);
}

static inline bool is_link(const struct Block *next)
{
	return (uintptr_t)next >> 48 == 0;
}

/* Is a block that should be live in such a list? */
static inline bool is_linked(const struct Block *block)
{
	return is_link(linked_next(block));
}

static inline bool is_cached(const struct Block *block)
{
	return is_linked(block) && block->size == (uintptr_t)block;
}

static inline void unlink_block(struct Block *block)
{
	block->next = NULL;
}

enum cache_state {
	CACHE_ACTIVE, /* a thread's, or lent for one call */
	CACHE_ORPHAN, /* in the list of orphans */
	CACHE_IDLE,   /* in the list of idle ones; nothing in it */
};

struct ThreadCache {
	struct magazine magazines[MAGAZINE_CLASSES];
	struct heap heap;
	pthread_mutex_t lock;
	_Atomic bool has_remote; /* some chunk may have blocks that others freed; set by them */
	_Atomic uint32_t moves;  /* how often its chunks went to another cache */
	bool bound;              /* the thread's end will be noticed */
	bool count_stale;        /* the counts of the magazines may be wrong */
	bool bounding;           /* the magazines are being flushed to let go of chunks */
	size_t flush_at;         /* so many chunks in the heap make the magazines be flushed; 0: none did so far */
	size_t held_least;       /* the least that the OS's memory came to since the magazines were flushed for it */
	size_t limit_bytes;      /* that the magazines may hold by their limits, but for those of one block */
	size_t single_bytes;     /* that the magazines of one block may hold */
	_Atomic int state;       /* enum cache_state; changes under the central lock */
	struct ThreadCache *next, *previous; /* in the list of orphans or of idle ones */
	struct ThreadCache *all_next;        /* in the list of all: never removed */
};

_Static_assert(sizeof(struct ThreadCache) <= 4096, "a thread costs a page");
_Static_assert(EXACT_GRANULES + 8 * 9 + 1 == MAGAZINE_CLASSES, "512 KiB are 9 doublings above 1 KiB");

/* Has nothing and takes nothing: what a thread without a cache finds, so that the fast paths need not ask. Never written. */
extern const struct ThreadCache ma2_no_cache;

extern __thread struct ThreadCache *ma2_cache __attribute__((tls_model("initial-exec")));

/* All caches that there ever were, newest first. */
extern struct ThreadCache *_Atomic ma2_all_caches;

/*
 * Returns the cache of this thread, made, taken over or, once the thread has been through its end, lent for this call (*lent). NULL with errno ENOMEM.
 * Every use is ended by ma2_cache_leave.
 */
struct ThreadCache *ma2_cache_enter(bool *lent);
void ma2_cache_leave(struct ThreadCache *cache, bool lent);

/* As the locks of a mutex, but nothing at all between the fork handlers, where the thread holds every lock. */
void ma2_lock(pthread_mutex_t *lock);
void ma2_unlock(pthread_mutex_t *lock);

/* The rest under the lock of `cache`. */

/* Returns a block of `cls`, and fills the magazine. At least `size` granules, fewer than the class has only where nothing else is left. NULL: no memory. */
void *ma2_cache_refill(struct ThreadCache *cache, unsigned int cls, size_t size);

/*
 * Returns a block of `size` granules at a multiple of `alignment` granules, straight from the heap. NULL: no memory. *dirty: as ma2_heap_take.
 */
void *ma2_cache_carve(struct ThreadCache *cache, size_t size, size_t alignment, size_t *dirty);

/* Takes a block into the magazine of `cls`, which is full: the limit grows, or half of it goes back to the heaps. */
void ma2_cache_overflow(struct ThreadCache *cache, unsigned int cls, struct Block *block);

/* Gives a block back to its heap past the magazines. */
void ma2_cache_return(struct ThreadCache *cache, struct Block *block);

/* Gives all blocks of the magazines back to their heaps. True if there were any. */
bool ma2_cache_flush(struct ThreadCache *cache);

/* Takes home the blocks that other threads freed. True if there were any. */
bool ma2_cache_drain(struct ThreadCache *cache);

/* Takes all that an orphan has, of any one if `orphan` is NULL. False: there is none, or that one is none any more. */
bool ma2_cache_adopt(struct ThreadCache *cache, struct ThreadCache *orphan);

#endif
