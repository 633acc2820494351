/*
 * A chunk: 2 MiB of heap, mapped at a multiple of 2 MiB, so that a mask takes any block to it.
 *
 * Blocks have no header. What is known of them is in two bitmaps at the chunk's start, one bit of each a granule, interleaved so that both bits
 * of a granule, and those of its neighbours, share a cache line:
 *
 *	start	a block, live or free, begins at this granule
 *	free	on the first and on the last granule of a free block: its boundary tags
 *
 * Blocks tile [CHUNK_FIRST, CHUNK_END), so a block ends where the next start bit is. To look for it is cheap within 64 granules; larger blocks
 * have their size written into the `free` bits of the SIZE_BITS granules that follow the first, where no boundary tag can
 * be, and larger free blocks into those before the last one too. Sizes forward and backward therefore take constant time.
 *
 * Only the thread whose heap owns the chunk changes tags, under its lock. Other threads read those of live blocks that they free: what
 * they read does not change meanwhile, but other bits of the word do, hence relaxed atomics.
 *
 * The last page of tags stays untouched for long: a free block that reaches the end of the chunk has no tags on its last granule.
 */
#ifndef MEM_ALLOC_2_0_CHUNK_H
#define MEM_ALLOC_2_0_CHUNK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../block.h"
#include "size_class.h"

struct ThreadCache;

#define CHUNK_SIZE ((size_t)2 << 20)
#define CHUNK_GRANULES (CHUNK_SIZE / GRANULE)
#define CHUNK_WORDS (CHUNK_GRANULES / 64)
#define CHUNK_MAGIC 0x32306b6e756863u

struct tag_word {
	_Atomic uint64_t start, free;
};

struct chunk {
	/* The tags of the granules that the tags themselves occupy are of no use: the header lies there. */
	union {
		struct {
			uint64_t magic;
			struct ThreadCache *_Atomic owner; /* changes under the lock of the central lists */
			/* Its blocks that other threads freed, newest first, linked by link_block. The owner takes all at once. */
			_Alignas(64) struct Block *_Atomic remote;
			/* The owner's own. */
			_Alignas(64) struct chunk *next;
			struct chunk *previous;
			size_t touched; /* granules from here on were never written: zero */
		};
		struct tag_word tags[CHUNK_WORDS];
	};
	uint64_t marks[CHUNK_WORDS]; /* a bit a granule, for walk and check; zero otherwise */
};

#define CHUNK_FIRST (sizeof(struct chunk) / GRANULE) /* the first granule of the heap */
#define CHUNK_END (CHUNK_GRANULES - 1) /* the granule after the last; has a start bit once a live block ends there */
#define CHUNK_HEAP_GRANULES (CHUNK_END - CHUNK_FIRST)

_Static_assert(offsetof(struct chunk, touched) + sizeof(size_t) <= (CHUNK_FIRST / 64 - 1) * sizeof(struct tag_word),
	       "the header must end before the tags that are in use and the word before them");
_Static_assert(CHUNK_FIRST % 64 == 0, "the heap begins with a tag word of its own");

#define SIZE_BITS 17
_Static_assert(CHUNK_HEAP_GRANULES < 1u << SIZE_BITS, "any size fits");
#define SIZE_MASK (((uint64_t)1 << SIZE_BITS) - 1)

static inline struct chunk *chunk_of(const void *pointer)
{
	return (struct chunk *)((uintptr_t)pointer & -CHUNK_SIZE);
}

/* The cache in whose heap the chunk is. */
static inline struct ThreadCache *owner_of(const struct chunk *chunk)
{
	return atomic_load_explicit(&chunk->owner, memory_order_relaxed);
}

static inline size_t granule_of(const void *pointer)
{
	return ((uintptr_t)pointer & (CHUNK_SIZE - 1)) / GRANULE;
}

static inline void *granule_address(struct chunk *chunk, size_t granule)
{
	return (char *)chunk + granule * GRANULE;
}

static inline uint64_t tag_load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void tag_store(_Atomic uint64_t *word, uint64_t bits)
{
	atomic_store_explicit(word, bits, memory_order_relaxed);
}

static inline bool tag_is_start(const struct chunk *chunk, size_t granule)
{
	return tag_load(&chunk->tags[granule / 64].start) >> granule % 64 & 1;
}

/* For the first and the last granule of a block. */
static inline bool tag_is_free(const struct chunk *chunk, size_t granule)
{
	return tag_load(&chunk->tags[granule / 64].free) >> granule % 64 & 1;
}

/* Bits of the 64 granules after bit `bit` of `word`, the next one lowest. */
static inline uint64_t bits_after(uint64_t word, uint64_t next_word, size_t bit)
{
	return word >> bit >> 1 | next_word << (63 - bit);
}

/* The same, bit `bit` lowest. */
static inline uint64_t bits_from(uint64_t word, uint64_t next_word, size_t bit)
{
	return (uint64_t)(((unsigned __int128)next_word << 64 | word) >> bit);
}

/* Bits of the 64 granules up to bit `bit` of `word`, that one highest. */
static inline uint64_t bits_until(uint64_t word, uint64_t previous_word, size_t bit)
{
	return word << (63 - bit) | previous_word >> bit >> 1;
}

/* Granules of the block, live or free, that begins at `granule`. */
static inline size_t tag_size(const struct chunk *chunk, size_t granule)
{
	const struct tag_word *word = &chunk->tags[granule / 64];
	size_t bit = granule % 64;
	uint64_t starts = bits_after(tag_load(&word[0].start), tag_load(&word[1].start), bit);

	if (__builtin_expect(starts != 0, 1))
		return (size_t)__builtin_ctzl(starts) + 1;
	return bits_after(tag_load(&word[0].free), tag_load(&word[1].free), bit) & SIZE_MASK;
}

/* Granules of the free block that ends with `last`. */
static inline size_t tag_size_before(const struct chunk *chunk, size_t last)
{
	const struct tag_word *word = &chunk->tags[last / 64];
	size_t bit = last % 64;
	uint64_t starts = bits_until(tag_load(&word[0].start), tag_load(&word[-1].start), bit);

	if (starts != 0)
		return (size_t)__builtin_clzl(starts) + 1;
	return bits_until(tag_load(&word[0].free), tag_load(&word[-1].free), bit) >> (63 - SIZE_BITS) & SIZE_MASK;
}

/*
 * Where chunks and large blocks are: the start of each, or of the multiple of the chunk size that the block lies in, in a slot of a small table. So free
 * knows a pointer to anywhere else before it looks there. Only one of two starts with the same slot is in it; while there are such, it answers for
 * neither. Read on each free, written when chunks and large blocks come and go.
 */
#define MAP_SLOTS 2048

extern _Atomic uintptr_t ma2_map[MAP_SLOTS];
extern _Atomic size_t ma2_map_missed; /* starts that found their slot taken */

static inline bool map_has(const void *pointer)
{
	uintptr_t slot = (uintptr_t)pointer / CHUNK_SIZE % MAP_SLOTS;

	return atomic_load_explicit(&ma2_map[slot], memory_order_relaxed) == (uintptr_t)chunk_of(pointer);
}

/* May the pointer be in a chunk or a large block? False: it is in none. */
static inline bool map_may_have(const void *pointer)
{
	return map_has(pointer) || atomic_load_explicit(&ma2_map_missed, memory_order_relaxed) != 0;
}

void ma2_map_add(const void *start);
void ma2_map_remove(const void *start);

/* Makes [granule, granule + size) one live block. The granule after it must begin a block already, or be CHUNK_END. */
void ma2_tag_live(struct chunk *chunk, size_t granule, size_t size);

/* Takes the tags of a live block away, but its start bit. */
void ma2_untag_live(struct chunk *chunk, size_t granule, size_t size);

/* Makes [granule, granule + size) one free block. */
void ma2_tag_free(struct chunk *chunk, size_t granule, size_t size);

/* Takes the tags of a free block away, but its start bit. */
void ma2_untag_free(struct chunk *chunk, size_t granule, size_t size);

/* A block no longer begins at `granule`: it has become part of the one before. */
void ma2_untag_start(struct chunk *chunk, size_t granule);

/* A chunk that is one free block, not yet in any list, from the span cache or the OS. NULL with errno ENOMEM. */
struct chunk *ma2_chunk_map(struct ThreadCache *owner);

#endif
