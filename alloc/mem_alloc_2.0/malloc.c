#include "../mem_alloc_2.0.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "../os.h"
#include "chunk.h"
#include "damage.h"
#include "hardened.h"
#include "large.h"
#include "remote.h"
#include "span.h"
#include "thread_cache.h"

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define MAGAZINE_SIZE_MAX (MAGAZINE_GRANULES_MAX * GRANULE)
#define ALIGNED_SEARCH_MAX 8 /* blocks of a magazine that are looked at for an alignment */

/*
 * The stores to a magazine are in this order for a child process too, where a thread that is gone may have been between any two of them:
 * the list is in order at every moment, only the count may be off.
 */
static inline void set_head(struct magazine *magazine, struct Block *block)
{
	__atomic_store_n(&magazine->head, block, __ATOMIC_RELEASE);
}

static __attribute__((noinline, cold)) void *damaged_list(const struct Block *block)
{
	ma2_damaged(block, "was written to after it was freed");
}

static void *out_of_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* Takes a block out of the middle of a magazine; `previous` is NULL at its head. */
static void take_from(struct magazine *magazine, struct Block *previous, struct Block *block)
{
	struct Block *next = linked_next(block);

	if (previous == NULL)
		set_head(magazine, next);
	else
		link_block(previous, next);
	magazine->count--;
	unlink_block(block);
	if (HARDENED)
		ma2_check_wiped(block, tag_size(chunk_of(block), granule_of(block)) * GRANULE);
}

/* Looks for a block that happens to be aligned among the first few in the magazine. */
static struct Block *take_aligned(size_t alignment, size_t granules)
{
	struct magazine *magazine = &ma2_cache->magazines[class_ceil(granules)];
	struct Block *previous = NULL, *block = magazine->head;

	for (int left = ALIGNED_SEARCH_MAX; block != NULL && left > 0; left--) {
		if (unlikely(!is_linked(block)))
			return damaged_list(block);
		if (((uintptr_t)block & (alignment - 1)) == 0) {
			take_from(magazine, previous, block);
			return block;
		}
		previous = block;
		block = linked_next(block);
	}
	return NULL;
}

/* Hardened: some block of a magazine that is not empty. */
static struct Block *take_any(struct magazine *magazine)
{
	struct Block *previous = NULL, *block = magazine->head;

	for (unsigned int left = ma2_random() % HARDENED_CHOICE; left > 0; left--) {
		if (!is_linked(block))
			return damaged_list(block);
		if (linked_next(block) == NULL)
			break;
		previous = block;
		block = linked_next(block);
	}
	if (!is_linked(block))
		return damaged_list(block);
	take_from(magazine, previous, block);
	return block;
}

/* A block straight from the heap or the OS. `alignment` in bytes, a power of two. *dirty: bytes at its start that may be other than zero. */
static void *allocate_uncached(size_t size, size_t alignment, size_t *dirty)
{
	size_t granules = granules_of(size);
	size_t step = alignment <= GRANULE ? 1 : alignment / GRANULE;
	struct ThreadCache *cache;
	void *block;
	bool lent;

	/* What fits a magazine when it is freed should fit the class again. */
	if (granules <= MAGAZINE_GRANULES_MAX)
		granules = class_granules(class_ceil(granules));
	if (granules > HEAP_GRANULES_MAX || step > HEAP_GRANULES_MAX) {
		block = ma2_large_allocate(size, alignment, dirty);
		/* Without the OS, a chunk may still have the room. */
		if (block != NULL || granules + step - 1 > CHUNK_HEAP_GRANULES)
			return block;
	}
	cache = ma2_cache_enter(&lent);
	if (cache == NULL)
		return out_of_memory();
	ma2_lock(&cache->lock);
	block = ma2_cache_carve(cache, granules, step, dirty);
	if (block == NULL && granules > granules_of(size))
		block = ma2_cache_carve(cache, granules_of(size), step, dirty);
	ma2_unlock(&cache->lock);
	ma2_cache_leave(cache, lent);
	return block != NULL ? block : out_of_memory();
}

static __attribute__((noinline)) void *allocate_slow(size_t size)
{
	size_t granules, dirty;
	struct ThreadCache *cache;
	void *block;
	bool lent;

	if (size > PTRDIFF_MAX)
		return out_of_memory();
	granules = granules_of(size);
	if (granules > BATCH_GRANULES_MAX)
		return allocate_uncached(size, GRANULE, &dirty);
	cache = ma2_cache_enter(&lent);
	if (cache == NULL)
		return out_of_memory();
	ma2_lock(&cache->lock);
	block = ma2_cache_refill(cache, class_ceil(granules), granules);
	ma2_unlock(&cache->lock);
	ma2_cache_leave(cache, lent);
	return block != NULL ? block : out_of_memory();
}

void *my_malloc_2_0(size_t size)
{
	struct magazine *magazine;
	struct Block *block, *next;
	unsigned int cls;

	/* 0 has the class 0, whose magazine is always empty. */
	if (likely(size <= EXACT_GRANULES * GRANULE))
		cls = (unsigned int)((size + GRANULE - 1) / GRANULE);
	else if (likely(size <= MAGAZINE_SIZE_MAX))
		cls = class_floor((size - 1) / GRANULE) + 1;
	else
		return allocate_slow(size);
	magazine = &ma2_cache->magazines[cls];
	block = magazine->head;
	if (unlikely(block == NULL))
		return allocate_slow(size);
	if (HARDENED)
		return take_any(magazine);
	next = linked_next(block);
	if (unlikely(!is_link(next)))
		return damaged_list(block);
	set_head(magazine, next);
	magazine->count--;
	unlink_block(block);
	return block;
}

/* A pointer into a chunk where no live block starts. */
static inline bool is_bad(const void *pointer)
{
	const struct chunk *chunk = chunk_of(pointer);
	size_t granule = granule_of(pointer);

	return (uintptr_t)pointer % GRANULE != 0 || !tag_is_start(chunk, granule) || tag_is_free(chunk, granule);
}

/* A pointer into a chunk that is no block of the program's. */
static __attribute__((noinline, cold, noreturn)) void bad_pointer(void *pointer)
{
	if (map_may_have(pointer) && !is_large(pointer) && (uintptr_t)pointer % GRANULE == 0 &&
	    tag_is_start(chunk_of(pointer), granule_of(pointer)))
		ma2_damaged(pointer, "is freed twice");
	ma2_damaged(pointer, "is not a live block");
}

static void check_known(void *pointer)
{
	if (unlikely(!map_may_have(pointer)))
		bad_pointer(pointer);
}

static void free_under_lock(struct Block *block, size_t granules)
{
	int saved_errno = errno;
	bool lent;
	struct ThreadCache *cache = ma2_cache_enter(&lent);

	/* Without memory for a cache, the block still finds its owner. */
	if (cache == NULL) {
		ma2_remote_free(block);
		errno = saved_errno;
		return;
	}
	ma2_lock(&cache->lock);
	if (granules <= MAGAZINE_GRANULES_MAX)
		ma2_cache_overflow(cache, class_floor(granules), block);
	else
		ma2_cache_return(cache, block);
	ma2_unlock(&cache->lock);
	ma2_cache_leave(cache, lent);
	errno = saved_errno;
}

static inline void magazine_push(struct magazine *magazine, struct Block *block)
{
	link_block(block, magazine->head);
	set_head(magazine, block);
	magazine->count++;
}

/* All that the fast path of free does not know, bad pointers among it. */
static __attribute__((noinline)) void free_slow(void *pointer)
{
	struct magazine *magazine;
	size_t granules;

	if (pointer == NULL)
		return;
	check_known(pointer);
	if (is_large(pointer)) {
		ma2_large_free(pointer);
		return;
	}
	if (is_bad(pointer) || is_cached(pointer))
		bad_pointer(pointer);
	granules = tag_size(chunk_of(pointer), granule_of(pointer));
	if (HARDENED)
		ma2_wipe(pointer, granules * GRANULE);
	if (granules <= MAGAZINE_GRANULES_MAX) {
		magazine = &ma2_cache->magazines[class_floor(granules)];
		if (magazine->count < magazine->limit) {
			magazine_push(magazine, pointer);
			return;
		}
	}
	free_under_lock(pointer, granules);
}

/* Blocks of 64 granules and more, whose size is not in the start bits. */
static __attribute__((noinline)) void free_medium(void *pointer)
{
	size_t granules = tag_size(chunk_of(pointer), granule_of(pointer));
	struct magazine *magazine;

	if (unlikely(is_bad(pointer)) || unlikely(granules > MAGAZINE_GRANULES_MAX) || unlikely(is_linked(pointer))) {
		free_slow(pointer);
		return;
	}
	magazine = &ma2_cache->magazines[class_floor(granules)];
	if (unlikely(magazine->count >= magazine->limit)) {
		free_slow(pointer);
		return;
	}
	magazine_push(magazine, pointer);
}

void my_free_2_0(void *pointer)
{
	/* The granule, beyond all granules where the pointer is not at the start of one. */
	uint32_t offset = (uint32_t)(uintptr_t)pointer & (CHUNK_SIZE - 1);
	uint32_t granule = offset / GRANULE | offset << 28;
	const struct tag_word *word;
	struct magazine *magazine;
	uint64_t ends;

	/* NULL and large blocks too. */
	if (HARDENED || unlikely(granule - CHUNK_FIRST >= CHUNK_END - CHUNK_FIRST) || unlikely(!map_has(pointer))) {
		free_slow(pointer);
		return;
	}
	/*
	 * A bit where the next block starts. The lowest bit instead if no live block starts here: no size has a magazine then. The bits for what is free
	 * may have all others, as there are none inside a small live block.
	 */
	word = &chunk_of(pointer)->tags[granule / 64];
	ends = bits_from(tag_load(&word[0].start), tag_load(&word[1].start), granule % 64) ^ 1;
	if (unlikely(ends == 0)) {
		free_medium(pointer);
		return;
	}
	ends |= tag_load(&word[0].free) >> granule % 64;
	magazine = &ma2_cache->magazines[__builtin_ctzl(ends)];
	if (unlikely(magazine->count >= magazine->limit) || unlikely(is_linked(pointer))) {
		free_slow(pointer);
		return;
	}
	magazine_push(magazine, pointer);
}

/* Is there a block for `size` bytes, which are too many for a batch, in a magazine? Otherwise memory that was never touched may do. */
static bool has_cached(size_t size)
{
	return size <= MAGAZINE_SIZE_MAX && ma2_cache->magazines[class_ceil(granules_of(size))].head != NULL;
}

void *my_calloc_2_0(size_t count, size_t size)
{
	size_t total, dirty;
	void *block;

	if (unlikely(__builtin_mul_overflow(count, size, &total) || total > PTRDIFF_MAX))
		return out_of_memory();
	if (total <= BATCH_GRANULES_MAX * GRANULE || has_cached(total)) {
		block = my_malloc_2_0(total);
		dirty = total;
	} else {
		block = allocate_uncached(total, GRANULE, &dirty);
	}
	if (likely(block != NULL))
		memset(block, 0, dirty < total ? dirty : total);
	return block;
}

/* Tries to resize a block of a chunk where it is. */
static bool resize_in_place(void *pointer, size_t have, size_t granules)
{
	struct chunk *chunk = chunk_of(pointer);
	struct ThreadCache *cache = ma2_cache;
	bool done = true;

	if (granules == have)
		return true;
	/* Only the owner changes tags. Others keep a block that does not waste too much. */
	if (owner_of(chunk) != cache)
		return granules < have && granules >= have - have / 4;
	/* A small rest is not worth a free block of its own, but every byte of a page that is not used is. */
	if (granules < have && have - granules <= have / 8)
		return true;
	ma2_lock(&cache->lock);
	if (granules < have)
		ma2_heap_shrink(&cache->heap, pointer, granules);
	else
		done = ma2_heap_extend(&cache->heap, pointer, granules);
	ma2_unlock(&cache->lock);
	return done;
}

void *my_realloc_2_0(void *pointer, size_t size)
{
	size_t usable, granules;
	void *block;

	if (pointer == NULL)
		return my_malloc_2_0(size);
	if (size == 0) {
		my_free_2_0(pointer);
		return NULL;
	}
	if (size > PTRDIFF_MAX)
		return out_of_memory();
	granules = granules_of(size);
	check_known(pointer);
	if (is_large(pointer)) {
		if (granules > HEAP_GRANULES_MAX)
			return ma2_large_resize(pointer, size);
		usable = ma2_large_usable_size(pointer);
	} else {
		size_t have;

		if (is_bad(pointer) || is_cached(pointer))
			bad_pointer(pointer);
		have = tag_size(chunk_of(pointer), granule_of(pointer));
		if (granules <= MAGAZINE_GRANULES_MAX)
			granules = class_granules(class_ceil(granules));
		if (granules <= HEAP_GRANULES_MAX && resize_in_place(pointer, have, granules))
			return pointer;
		usable = have * GRANULE;
	}
	block = my_malloc_2_0(size);
	if (block == NULL) {
		/* A block that is large enough need not move. */
		return size <= usable ? pointer : NULL;
	}
	memcpy(block, pointer, size < usable ? size : usable);
	my_free_2_0(pointer);
	return block;
}

void *my_reallocarray_2_0(void *pointer, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return out_of_memory();
	return my_realloc_2_0(pointer, total);
}

static void *allocate_aligned(size_t alignment, size_t size)
{
	struct Block *block;
	size_t dirty;

	if (alignment <= GRANULE)
		return my_malloc_2_0(size);
	if (size > PTRDIFF_MAX)
		return out_of_memory();
	if (granules_of(size) <= BATCH_GRANULES_MAX) {
		block = take_aligned(alignment, granules_of(size));
		if (block != NULL)
			return block;
	}
	return allocate_uncached(size, alignment, &dirty);
}

void *my_aligned_alloc_2_0(size_t alignment, size_t size)
{
	if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
		errno = EINVAL;
		return NULL;
	}
	return allocate_aligned(alignment, size);
}

void *my_memalign_2_0(size_t alignment, size_t size)
{
	return my_aligned_alloc_2_0(alignment, size);
}

int my_posix_memalign_2_0(void **result, size_t alignment, size_t size)
{
	int saved_errno = errno;
	void *block;

	if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
		return EINVAL;
	block = allocate_aligned(alignment, size);
	errno = saved_errno;
	if (block == NULL)
		return ENOMEM;
	*result = block;
	return 0;
}

size_t my_malloc_usable_size_2_0(void *pointer)
{
	if (pointer == NULL)
		return 0;
	check_known(pointer);
	if (is_large(pointer))
		return ma2_large_usable_size(pointer);
	if (is_bad(pointer))
		bad_pointer(pointer);
	return tag_size(chunk_of(pointer), granule_of(pointer)) * GRANULE;
}

int my_malloc_trim_2_0(size_t pad)
{
	int saved_errno = errno;
	bool any = false;
	struct ThreadCache *cache;
	bool lent;

	cache = ma2_cache_enter(&lent);
	if (cache == NULL) {
		any = ma2_span_release_all();
		errno = saved_errno;
		return any;
	}
	ma2_lock(&cache->lock);
	while (ma2_cache_adopt(cache, NULL))
		;
	while (ma2_cache_flush(cache))
		;
	ma2_cache_drain(cache);
	if (pad < CHUNK_SIZE)
		ma2_heap_release_empty(&cache->heap);
	if (ma2_heap_purge(&cache->heap, 0, &pad))
		any = true;
	if (pad < CHUNK_SIZE && ma2_span_release_all())
		any = true;
	ma2_unlock(&cache->lock);
	ma2_cache_leave(cache, lent);
	errno = saved_errno;
	return any;
}

void my_quiesce_2_0(void)
{
	struct ThreadCache *first = atomic_load_explicit(&ma2_all_caches, memory_order_acquire);
	bool any;

	/* A flush may send blocks to any heap, and one that takes in an orphan may get blocks to flush. */
	do {
		any = false;
		for (struct ThreadCache *cache = first; cache != NULL; cache = cache->all_next) {
			ma2_lock(&cache->lock);
			any |= ma2_cache_flush(cache);
			any |= ma2_cache_drain(cache);
			ma2_unlock(&cache->lock);
		}
	} while (any);
	ma2_span_release_all();
}

void my_stats_2_0(struct heap_stats *stats)
{
	os_stats(stats);
}
