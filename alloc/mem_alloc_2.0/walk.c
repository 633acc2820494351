#include <stdio.h>

#include "../mem_alloc_2.0.h"
#include "central.h"
#include "chunk.h"
#include "large.h"
#include "span.h"
#include "thread_cache.h"

/* While this runs nobody else is in the allocator, so nothing is locked. */

/* No coverage: a fuzzer that counts what looks the heap over, for every program, spends more on that than it learns. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

static struct ThreadCache *all_caches(void)
{
	return atomic_load_explicit(&ma2_all_caches, memory_order_acquire);
}

static bool is_marked(const struct chunk *chunk, size_t granule)
{
	return chunk->marks[granule / 64] >> granule % 64 & 1;
}

/* Tags alone cannot tell a cached block from a live one: a mark on its first granule does. True if it had none. */
static bool mark(const void *block)
{
	struct chunk *chunk = chunk_of(block);
	size_t granule = granule_of(block);

	if (is_marked(chunk, granule))
		return false;
	chunk->marks[granule / 64] |= (uint64_t)1 << granule % 64;
	return true;
}

static void unmark(const void *block)
{
	chunk_of(block)->marks[granule_of(block) / 64] &= ~((uint64_t)1 << granule_of(block) % 64);
}

/*
 * Walk and check look through a few hundred words of each cache, mostly zero, for every program of a fuzzer. What only reads these words is not
 * instrumented: they lie in a structure of known size, so that there is nothing to find, and the instrumented loops cost more than all else.
 */
#define READS_TABLES __attribute__((no_sanitize("address", "undefined")))

/* The first class from `cls` on whose magazine has a block or a count, MAGAZINE_CLASSES if there is none. */
READS_TABLES static unsigned int next_used(const struct ThreadCache *cache, unsigned int cls)
{
	const struct magazine *const all = cache->magazines;

	for (; cls + 8 <= MAGAZINE_CLASSES; cls += 8) {
		uintptr_t any = 0;

		for (unsigned int i = 0; i < 8; i++)
			any |= (uintptr_t)all[cls + i].head | all[cls + i].count;
		if (any != 0)
			break;
	}
	while (cls < MAGAZINE_CLASSES && all[cls].head == NULL && all[cls].count == 0)
		cls++;
	return cls;
}

/* Calls `each` for every block in a magazine or on its way home, until it returns false. */
static bool for_cached(bool (*each)(const struct Block *block, size_t granules_min, void *context), void *context)
{
	for (struct ThreadCache *cache = all_caches(); cache != NULL; cache = cache->all_next) {
		for (unsigned int cls = next_used(cache, 0); cls < MAGAZINE_CLASSES;
		     cls = next_used(cache, cls + 1))
			for (const struct Block *block = cache->magazines[cls].head; block != NULL;
			     block = linked_next(block))
				if (!each(block, class_granules(cls), context))
					return false;
		for (struct chunk *chunk = cache->heap.chunks; chunk != NULL; chunk = chunk->next) {
			const struct Block *block = atomic_load_explicit(&chunk->remote, memory_order_acquire);

			for (; block != NULL; block = linked_next(block))
				if (!each(block, 1, context))
					return false;
		}
	}
	return true;
}

static bool mark_each(const struct Block *block, size_t granules_min, void *context)
{
	(void)granules_min;
	(void)context;
	mark(block);
	return true;
}

static bool unmark_each(const struct Block *block, size_t granules_min, void *context)
{
	(void)granules_min;
	(void)context;
	unmark(block);
	return true;
}

static bool visit_chunk(struct chunk *chunk, region_visitor *visit, void *context)
{
	struct region region = {
		.start = chunk,
		.size = sizeof(*chunk),
		.kind = REGION_META,
		.arena = chunk,
		.arena_size = CHUNK_SIZE,
	};
	size_t granule = CHUNK_FIRST;

	while (granule < CHUNK_END) {
		size_t size = tag_size(chunk, granule);

		if (!visit(&region, context))
			return false;
		region.start = granule_address(chunk, granule);
		region.size = size * GRANULE;
		region.kind = tag_is_free(chunk, granule) ? REGION_FREE
			      : is_marked(chunk, granule) ? REGION_CACHED
							  : REGION_LIVE;
		region.payload = region.kind == REGION_LIVE ? region.start : NULL;
		granule += size;
	}
	if (!visit(&region, context))
		return false;
	region.start = granule_address(chunk, CHUNK_END);
	region.size = GRANULE;
	region.kind = REGION_META;
	region.payload = NULL;
	return visit(&region, context);
}

static bool visit_all(region_visitor *visit, void *context)
{
	for (const struct Block *slab = ma2_central_slabs(); slab != NULL; slab = slab->next) {
		struct region region = {slab, slab->size, REGION_META, NULL, slab, slab->size};

		if (!visit(&region, context))
			return false;
	}
	for (struct ThreadCache *cache = all_caches(); cache != NULL; cache = cache->all_next)
		for (struct chunk *chunk = cache->heap.chunks; chunk != NULL; chunk = chunk->next)
			if (!visit_chunk(chunk, visit, context))
				return false;
	return ma2_large_walk(visit, context) && ma2_span_walk(visit, context);
}

bool my_walk_2_0(region_visitor *visit, void *context)
{
	bool finished;

	for_cached(mark_each, NULL);
	finished = visit_all(visit, context);
	for_cached(unmark_each, NULL);
	return finished;
}

/* Where a check writes what it found. */
struct report {
	char *why;
	size_t size;
};

static bool fault(const struct report *report, const void *where, const char *what)
{
	snprintf(report->why, report->size, "%p: %s", where, what);
	return false;
}

/* Does a block start in [from, to)? A word at a time: most of a chunk may be one block. */
READS_TABLES static bool has_start_between(const struct chunk *chunk, size_t from, size_t to)
{
	const struct tag_word *first = &chunk->tags[from / 64], *last = &chunk->tags[(to - 1) / 64];
	const uint64_t in_first = ~(uint64_t)0 << from % 64, in_last = ~(uint64_t)0 >> (63 - (to - 1) % 64);

	if (from >= to)
		return false;
	uint64_t found = atomic_load_explicit(&last->start, memory_order_relaxed) & in_last;

	if (first == last)
		return (found & in_first) != 0;
	found |= atomic_load_explicit(&first->start, memory_order_relaxed) & in_first;
	for (const struct tag_word *word = first + 1; word < last; word++)
		found |= atomic_load_explicit(&word->start, memory_order_relaxed);
	return found != 0;
}

/* Tags are written where memory was touched: to read those of the rest would cost more than all other checks together. */
static size_t end_of_tags(const struct chunk *chunk, size_t end)
{
	const size_t touched = chunk->touched + 2 * EXACT_GRANULES;

	return touched < end ? touched : end;
}

/* The tags of one chunk; counts its free blocks that must be in a bin. */
static bool check_chunk(struct chunk *chunk, const struct report *report, size_t *listed)
{
	bool previous_free = false;
	size_t granule = CHUNK_FIRST;

	if (chunk->magic != CHUNK_MAGIC)
		return fault(report, chunk, "the chunk has lost its magic number");
	if (tag_load(&chunk->tags[CHUNK_FIRST / 64 - 1].start) != 0 ||
	    tag_load(&chunk->tags[CHUNK_FIRST / 64 - 1].free) != 0)
		return fault(report, chunk, "there are tags before the first block");
	if (!tag_is_start(chunk, granule))
		return fault(report, chunk, "the first block has no start tag");
	if (tag_is_free(chunk, CHUNK_END))
		return fault(report, chunk, "the end of the chunk is tagged free");
	while (granule < CHUNK_END) {
		const void *block = granule_address(chunk, granule);
		size_t size = tag_size(chunk, granule);
		bool is_free = tag_is_free(chunk, granule);

		if (size == 0 || size > CHUNK_END - granule)
			return fault(report, block, "the block reaches beyond its chunk");
		if (granule + size < CHUNK_END && !tag_is_start(chunk, granule + size))
			return fault(report, block, "no block starts behind the block");
		/* Up to 64 granules the size is where the next start is; beyond that, none may be inside. */
		if (size > EXACT_GRANULES && has_start_between(chunk, granule + 1, end_of_tags(chunk, granule + size)))
			return fault(report, block, "a block starts inside the block");
		if (is_free && previous_free)
			return fault(report, block, "two free blocks are side by side");
		if (granule + size < CHUNK_END && size > 1 && tag_is_free(chunk, granule + size - 1) != is_free)
			return fault(report, block, "the boundary tags differ");
		if (is_free && granule + size < CHUNK_END && tag_size_before(chunk, granule + size - 1) != size)
			return fault(report, block, "the free block's sizes differ");
		if (is_free && size >= FREE_BLOCK_GRANULES)
			++*listed;
		if (!is_free && granule + size > chunk->touched)
			return fault(report, block, "the block is in a part of the chunk that counts as untouched");
		previous_free = is_free;
		granule += size;
	}
	return true;
}

/* Is there a block in one of the 8 bins from `cls` on, or a bit of theirs? */
READS_TABLES static bool any_bin(const struct heap *heap, unsigned int cls)
{
	uint64_t any = heap->occupied[cls / 64] >> cls % 64 & 0xff;

	for (unsigned int i = 0; i < 8; i++)
		any |= (uintptr_t)heap->bins[cls + i];
	return any != 0;
}

/* The first class from `cls` on that needs a look: its bin is not empty or its bit is set. */
READS_TABLES static unsigned int next_bin(const struct heap *heap, unsigned int cls)
{
	_Static_assert(HEAP_CLASSES % 8 == 0, "bins are looked at by eights");
	while (cls < HEAP_CLASSES && heap->bins[cls] == NULL && (heap->occupied[cls / 64] >> cls % 64 & 1) == 0)
		for (cls++; cls % 8 == 0 && cls < HEAP_CLASSES && !any_bin(heap, cls);)
			cls += 8;
	return cls;
}

static bool check_bins(const struct ThreadCache *cache, const struct report *report, size_t listed)
{
	const struct heap *heap = &cache->heap;

	for (unsigned int cls = next_bin(heap, 0); cls < HEAP_CLASSES; cls = next_bin(heap, cls + 1)) {
		const struct free_block *previous = NULL;
		const struct free_block *block = heap->bins[cls];

		if ((block != NULL) != (heap->occupied[cls / 64] >> cls % 64 & 1))
			return fault(report, cache, "a bin and its bit differ");
		for (; block != NULL; previous = block, block = free_block_next(block)) {
			struct chunk *chunk = chunk_of(block);
			size_t granule = granule_of(block);

			if (is_large(block) || owner_of(chunk) != cache)
				return fault(report, block, "a bin has a block of another heap");
			if (!tag_is_start(chunk, granule) || !tag_is_free(chunk, granule))
				return fault(report, block, "a bin has a block that is not free");
			if (tag_size(chunk, granule) * GRANULE != block->block.size ||
			    class_floor(tag_size(chunk, granule)) != cls)
				return fault(report, block, "a free block has the wrong size or bin");
			if (block->previous != previous)
				return fault(report, block, "a free block has a wrong back link");
			if (listed-- == 0)
				return fault(report, block, "the bins have more blocks than are free");
		}
	}
	if (listed != 0)
		return fault(report, cache, "a free block is in no bin");
	return true;
}

static bool check_heap(const struct ThreadCache *cache, const struct report *report)
{
	const struct chunk *previous = NULL;
	bool found_empty = cache->heap.empty == NULL;
	size_t listed = 0;

	for (struct chunk *chunk = cache->heap.chunks; chunk != NULL; previous = chunk, chunk = chunk->next) {
		if (chunk->previous != previous)
			return fault(report, chunk, "the chunk has a wrong back link");
		if (owner_of(chunk) != cache)
			return fault(report, chunk, "the chunk is in the list of another owner");
		if (!check_chunk(chunk, report, &listed))
			return false;
		if (chunk == cache->heap.empty) {
			found_empty = true;
			if (!tag_is_free(chunk, CHUNK_FIRST) || tag_size(chunk, CHUNK_FIRST) != CHUNK_HEAP_GRANULES)
				return fault(report, chunk, "the chunk kept as empty has live blocks");
		}
	}
	if (!found_empty)
		return fault(report, cache, "the chunk kept as empty is not in the list");
	return check_bins(cache, report, listed);
}

static bool check_magazines(const struct ThreadCache *cache, const struct report *report)
{
	for (unsigned int cls = next_used(cache, 0); cls < MAGAZINE_CLASSES && !cache->count_stale;
	     cls = next_used(cache, cls + 1)) {
		const struct magazine *magazine = &cache->magazines[cls];
		const struct Block *block = magazine->head;
		uint32_t left = magazine->count;

		for (; block != NULL && left != 0; block = linked_next(block))
			left--;
		if (block != NULL || left != 0)
			return fault(report, magazine, "a magazine and its count differ");
		if (cls == 0 && magazine->head != NULL)
			return fault(report, magazine, "the magazine for no size has a block");
	}
	return true;
}

/* How far the cached blocks were marked, so that exactly these are unmarked again. */
struct marking {
	const struct report *report;
	size_t marked;
};

static bool check_cached(const struct Block *block, size_t granules_min, void *context)
{
	struct marking *marking = context;
	struct chunk *chunk = chunk_of(block);
	size_t granule = granule_of(block);

	if (is_large(block) || chunk->magic != CHUNK_MAGIC)
		return fault(marking->report, block, "a cached block is in no chunk");
	if (!tag_is_start(chunk, granule) || tag_is_free(chunk, granule))
		return fault(marking->report, block, "a cached block is free or no block");
	if (tag_size(chunk, granule) < granules_min)
		return fault(marking->report, block, "a cached block is too small for its magazine");
	if (!mark(block))
		return fault(marking->report, block, "a block is cached twice");
	marking->marked++;
	return true;
}

static bool unmark_counted(const struct Block *block, size_t granules_min, void *context)
{
	size_t *left = context;

	(void)granules_min;
	if (*left == 0)
		return false;
	unmark(block);
	--*left;
	return true;
}

bool my_check_2_0(char *why, size_t size)
{
	struct report report = {why, size};
	struct marking marking = {&report, 0};
	bool right;

	for (struct ThreadCache *cache = all_caches(); cache != NULL; cache = cache->all_next)
		if (!check_heap(cache, &report) || !check_magazines(cache, &report))
			return false;
	right = for_cached(check_cached, &marking);
	for_cached(unmark_counted, &marking.marked);
	return right && ma2_large_check(why, size) && ma2_span_check(why, size);
}

#ifdef __clang__
#pragma clang attribute pop
#endif
