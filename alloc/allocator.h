/*
 * The allocator interface: all that the harness knows of an allocator.
 *
 * An allocator fills one `struct allocator`. A function that is NULL does not exist and is not exercised. The functions
 * under libc's names follow C17 and POSIX; where these leave something open, `struct contract` says what the allocator
 * does, and a contract is never called a bug.
 */
#ifndef HEAPSTORM_ALLOC_ALLOCATOR_H
#define HEAPSTORM_ALLOC_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>

/* What a heap walk reports. */
enum region_kind {
	REGION_LIVE,   /* handed out, not yet freed */
	REGION_CACHED, /* freed, kept unmerged in a cache of a thread or on its way back from another one */
	REGION_FREE,   /* free in the heap: two neighbours of this kind are a missed coalescing */
	REGION_META,   /* bookkeeping of the allocator */
};

/*
 * One region of the heap. The regions of an arena (a contiguous range the allocator got from the OS) are reported in
 * ascending order, without a gap and without overlap, from the arena's first byte to its last.
 */
struct region {
	const void *start;
	size_t size; /* bytes, headers and padding included */
	enum region_kind kind;
	const void *payload; /* REGION_LIVE: the address the user has; else NULL */
	const void *arena;   /* first byte of the arena */
	size_t arena_size;   /* bytes */
};

/* Called for each region; false ends the walk. */
typedef bool region_visitor(const struct region *region, void *context);

/* Counted by the allocator itself, in bytes unless said otherwise. */
struct heap_stats {
	size_t mapped;      /* got from the OS and not given back */
	size_t mapped_peak; /* highest `mapped` so far */
	size_t purged;      /* part of `mapped` whose pages were given back and not reused since */
	size_t map_calls;   /* successful mappings, a count */
	size_t unmap_calls; /* a count */
};

/* What the standards leave open. OPEN: not known; the harness then does not exercise the case or accepts either. */
enum contract_choice {
	CONTRACT_OPEN,
	CONTRACT_YES,
	CONTRACT_NO,
};

enum realloc_zero {
	REALLOC_ZERO_OPEN,  /* not exercised */
	REALLOC_ZERO_FREES, /* realloc(p, 0) frees p and returns NULL */
	REALLOC_ZERO_BLOCK, /* returns a block of its own */
};

struct contract {
	enum contract_choice malloc_zero_is_block; /* malloc(0) returns a unique pointer rather than NULL */
	enum realloc_zero realloc_zero;            /* what realloc(p, 0) does for a live p */
	enum contract_choice bad_alignment_fails;  /* aligned_alloc and memalign return NULL for no power of two */
	enum contract_choice usable_is_writable;   /* all malloc_usable_size bytes belong to the user */
	enum contract_choice free_keeps_errno;     /* free leaves errno as it was (POSIX.1-2024) */
	enum contract_choice thread_safe;          /* NO: only ever called from one thread at a time */
	enum contract_choice fork_safe;            /* NO: the child of a fork does not call it; fork is not exercised */
	enum contract_choice null_sets_errno;      /* a request that cannot be met sets errno to ENOMEM */
	enum contract_choice bounded; /* YES: has so much memory and no more; any request may be refused at any time */
	enum contract_choice
		whole_when_free; /* fixed arena: with all freed, as large a block can be had as at the start */
	size_t alignment;        /* what malloc promises at most; 0: alignof(max_align_t), as C17 demands */
	size_t small_alignment;  /* alignment of blocks smaller than alignof(max_align_t); 0: open */
	size_t coalesced_request_max; /* requests up to it are served from free regions of the heap, with at most 1/8 lost to rounding; 0: open */
};

struct allocator {
	const char *name;
	void *(*malloc)(size_t size);
	void (*free)(void *pointer);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *pointer, size_t size);
	void *(*reallocarray)(void *pointer, size_t count, size_t size);
	void *(*aligned_alloc)(size_t alignment, size_t size);
	int (*posix_memalign)(void **result, size_t alignment, size_t size);
	void *(*memalign)(size_t alignment, size_t size);
	size_t (*malloc_usable_size)(void *pointer);
	int (*malloc_trim)(size_t pad); /* gives free memory back to the OS; 1 if any was given back, else 0 */

	/* White box, each optional. The caller sees to it that no other thread is inside the allocator. */
	bool (*walk)(region_visitor *visit,
		     void *context);           /* reports every region, changes nothing; false: visitor stopped it */
	bool (*check)(char *why, size_t size); /* the allocator's own invariants; false: `why` says which broke */
	void (*quiesce)(void);                 /* brings every cached block home: no REGION_CACHED remains */
	void (*stats)(struct heap_stats *stats);

	struct contract contract;

	/*
	 * One that works in a fixed arena: the harness calls `start` before each program, with `arena_size` bytes that begin at a page and hold
	 * arbitrary values. That the arena is full is then an ordinary NULL. 0 and NULL: it gets memory from the OS itself.
	 */
	size_t arena_size;
	void (*start)(void *arena, size_t size);
};

#endif
