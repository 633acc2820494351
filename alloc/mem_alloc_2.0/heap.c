#include "heap.h"

#include "../os.h"
#include "damage.h"
#include "span.h"

_Static_assert(sizeof(struct free_block) == 2 * GRANULE, "two granules hold the node of a free block");

/*
 * A heap is idle once more was freed, and not taken again, than IDLE_BYTES_MIN and than what is live. After that, survivors may still hold pages
 * between them: as long as it holds IDLE_BYTES_MIN more than twice what is live, it is idle again after each IDLE_PART of what it holds. A program that
 * takes again what was given back, as one does whose use goes up and down, is given more patience: each time IDLE_BYTES_MIN counts twice as much.
 *
 * Of free blocks smaller than IDLE_BLOCK_MIN the pages stay: a call for less costs more than it is worth.
 */
#define IDLE_BYTES_MIN ((size_t)6 << 20)
#define IDLE_PART 64
#define IDLE_BLOCK_MIN ((size_t)12 << 10)
#define IDLE_PATIENCE_MAX 3

/* Blocks that a bounded search looks at in the bin whose blocks may or may not be large enough. */
#define SEARCH_MAX 8

static void bin_insert(struct heap *heap, struct chunk *chunk, size_t granule, size_t size)
{
	struct free_block *free_block = granule_address(chunk, granule);
	unsigned int cls = class_floor(size);
	struct free_block *first = heap->bins[cls];

	if (size < FREE_BLOCK_GRANULES)
		return;
	free_block->block.size = size * GRANULE;
	free_block->block.next = (struct Block *)first;
	free_block->previous = NULL;
	free_block->purged = 0;
	if (first != NULL)
		first->previous = free_block;
	heap->bins[cls] = free_block;
	heap->occupied[cls / 64] |= (uint64_t)1 << cls % 64;
	if (chunk->touched < granule + FREE_BLOCK_GRANULES)
		chunk->touched = granule + FREE_BLOCK_GRANULES;
}

static void bin_remove(struct heap *heap, struct free_block *free_block)
{
	struct free_block *next = free_block_next(free_block);
	unsigned int cls = class_floor(free_block->block.size / GRANULE);

	if ((free_block->previous != NULL ? free_block_next(free_block->previous) : heap->bins[cls]) != free_block ||
	    (next != NULL && next->previous != free_block))
		ma2_damaged(free_block, "was written to after it was freed");
	if (next != NULL)
		next->previous = free_block->previous;
	if (free_block->previous != NULL) {
		free_block->previous->block.next = free_block->block.next;
	} else {
		heap->bins[cls] = next;
		if (next == NULL)
			heap->occupied[cls / 64] &= ~((uint64_t)1 << cls % 64);
	}
	if (free_block->purged != 0) {
		os_reuse(free_block->purged);
		heap->purged -= free_block->purged;
	}
}

/* Makes a stretch without tags of its own a free block. */
static void make_free(struct heap *heap, struct chunk *chunk, size_t granule, size_t size)
{
	ma2_tag_free(chunk, granule, size);
	bin_insert(heap, chunk, granule, size);
}

/* The opposite: of a free block only its start bit is left. */
static void unmake_free(struct heap *heap, struct chunk *chunk, size_t granule, size_t size)
{
	struct free_block *free_block = granule_address(chunk, granule);

	ma2_untag_free(chunk, granule, size);
	if (size < FREE_BLOCK_GRANULES)
		return;
	/* Its tags are out of a program's reach, its node is not. */
	if (free_block->block.size != size * GRANULE)
		ma2_damaged(free_block, "was written to after it was freed");
	bin_remove(heap, free_block);
}

static struct free_block *first_at_least(const struct heap *heap, unsigned int cls)
{
	size_t word = cls / 64;
	uint64_t bits;

	if (cls >= HEAP_CLASSES)
		return NULL;
	bits = heap->occupied[word] & (~(uint64_t)0 << cls % 64);
	while (bits == 0) {
		if (++word == sizeof(heap->occupied) / sizeof(heap->occupied[0]))
			return NULL;
		bits = heap->occupied[word];
	}
	return heap->bins[word * 64 + (size_t)__builtin_ctzl(bits)];
}

struct free_block *ma2_heap_find(const struct heap *heap, size_t size, enum effort effort)
{
	unsigned int cls = class_ceil(size < FREE_BLOCK_GRANULES ? FREE_BLOCK_GRANULES : size);
	struct free_block *candidate;
	int left = SEARCH_MAX;

	if (size > CHUNK_HEAP_GRANULES)
		return NULL;
	/* Between two classes: blocks of the lower one may do. */
	if (size > EXACT_GRANULES && class_granules(cls) != size)
		for (candidate = heap->bins[cls - 1]; candidate != NULL; candidate = free_block_next(candidate)) {
			if (candidate->block.size >= size * GRANULE)
				return candidate;
			if (effort == EFFORT_BOUNDED && --left == 0)
				break;
		}
	return first_at_least(heap, cls);
}

static void count_taken(struct heap *heap, size_t granules)
{
	heap->live += granules;
	heap->idle -= granules < heap->idle ? granules : heap->idle;
}

static void count_freed(struct heap *heap, size_t granules)
{
	heap->live -= granules;
	heap->idle += granules;
}

bool ma2_heap_is_idle(const struct heap *heap)
{
	const size_t least = (IDLE_BYTES_MIN / GRANULE) << heap->patience;
	const size_t held = (heap->chunk_count * CHUNK_SIZE - heap->purged) / GRANULE;

	if (heap->idle < heap->live)
		return held > 2 * heap->live + least && heap->idle > held / IDLE_PART;
	return heap->idle > least;
}

void ma2_heap_give_back(struct heap *heap)
{
	size_t keep = 0;

	/* What is idle was live since the last time. */
	if (heap->live + heap->idle > heap->live_then + heap->given / 2) {
		if (heap->patience < IDLE_PATIENCE_MAX)
			heap->patience++;
	} else if (heap->patience > 0) {
		heap->patience--;
	}
	heap->given = heap->purged;
	ma2_heap_purge(heap, IDLE_BLOCK_MIN, &keep);
	heap->given = (heap->purged - heap->given) / GRANULE;
	heap->live_then = heap->live;
	heap->idle = 0;
}

void *ma2_heap_take(struct heap *heap, struct free_block *free_block, size_t skip, size_t size, size_t count,
		    size_t *dirty)
{
	struct chunk *chunk = chunk_of(free_block);
	size_t first = granule_of(free_block);
	size_t have = tag_size(chunk, first);
	size_t start = first + skip;
	size_t end = start + size * count;
	size_t virgin = chunk->touched > first + FREE_BLOCK_GRANULES ? chunk->touched : first + FREE_BLOCK_GRANULES;

	if (chunk == heap->empty)
		heap->empty = NULL;
	unmake_free(heap, chunk, first, have);
	count_taken(heap, size * count);
	*dirty = virgin > start ? (virgin - start) * GRANULE : 0;
	if (end < first + have)
		make_free(heap, chunk, end, first + have - end);
	if (skip != 0)
		make_free(heap, chunk, first, skip);
	for (size_t granule = start; granule < end; granule += size)
		ma2_tag_live(chunk, granule, size);
	if (chunk->touched < end)
		chunk->touched = end;
	return granule_address(chunk, start);
}

/* A chunk whose free block is in no bin leaves the heap. */
static void release_chunk(struct heap *heap, struct chunk *chunk)
{
	struct chunk *next = chunk->next;
	struct chunk *previous = chunk->previous;

	if (next != NULL)
		next->previous = previous;
	if (previous != NULL)
		previous->next = next;
	else
		heap->chunks = next;
	heap->chunk_count--;
	ma2_span_put_chunk(chunk);
}

/* As release_chunk, for one whose free block is in its bin. */
static void release_listed(struct heap *heap, struct chunk *chunk)
{
	bin_remove(heap, granule_address(chunk, CHUNK_FIRST));
	release_chunk(heap, chunk);
}

static void free_range(struct heap *heap, struct chunk *chunk, size_t first, size_t size)
{
	size_t next = first + size;

	count_freed(heap, size);
	if (next < CHUNK_END && tag_is_free(chunk, next)) {
		size_t more = tag_size(chunk, next);

		unmake_free(heap, chunk, next, more);
		ma2_untag_start(chunk, next);
		size += more;
	}
	if (tag_is_free(chunk, first - 1)) {
		size_t more = tag_size_before(chunk, first - 1);

		unmake_free(heap, chunk, first - more, more);
		ma2_untag_start(chunk, first);
		first -= more;
		size += more;
	}
	if (size == CHUNK_HEAP_GRANULES) {
		if (heap->empty != NULL) {
			release_chunk(heap, chunk);
			return;
		}
		heap->empty = chunk;
	}
	make_free(heap, chunk, first, size);
}

void ma2_heap_free(struct heap *heap, void *block)
{
	struct chunk *chunk = chunk_of(block);
	size_t granule = granule_of(block);
	size_t size = tag_size(chunk, granule);

	ma2_untag_live(chunk, granule, size);
	free_range(heap, chunk, granule, size);
}

bool ma2_heap_extend(struct heap *heap, void *block, size_t size)
{
	struct chunk *chunk = chunk_of(block);
	size_t granule = granule_of(block);
	size_t have = tag_size(chunk, granule);
	size_t next = granule + have;
	size_t more;

	if (next >= CHUNK_END || !tag_is_free(chunk, next))
		return false;
	more = tag_size(chunk, next);
	if (have + more < size)
		return false;
	unmake_free(heap, chunk, next, more);
	count_taken(heap, size - have);
	if (have + more > size)
		make_free(heap, chunk, granule + size, have + more - size);
	/* Another thread may read this block's size only if it was handed over, which orders it after all of this. */
	ma2_untag_live(chunk, granule, have);
	ma2_tag_live(chunk, granule, size);
	ma2_untag_start(chunk, next);
	if (chunk->touched < granule + size)
		chunk->touched = granule + size;
	return true;
}

void ma2_heap_shrink(struct heap *heap, void *block, size_t size)
{
	struct chunk *chunk = chunk_of(block);
	size_t granule = granule_of(block);
	size_t have = tag_size(chunk, granule);

	ma2_untag_live(chunk, granule, have);
	/* The rest is a live block of its own for the moment it takes to free it. */
	ma2_tag_live(chunk, granule + size, have - size);
	ma2_tag_live(chunk, granule, size);
	ma2_untag_live(chunk, granule + size, have - size);
	free_range(heap, chunk, granule + size, have - size);
}

void ma2_heap_add_chunk(struct heap *heap, struct chunk *chunk)
{
	chunk->previous = NULL;
	chunk->next = heap->chunks;
	if (heap->chunks != NULL)
		heap->chunks->previous = chunk;
	heap->chunks = chunk;
	heap->chunk_count++;
	bin_insert(heap, chunk, CHUNK_FIRST, CHUNK_HEAP_GRANULES);
	if (heap->empty == NULL)
		heap->empty = chunk;
}

void ma2_heap_move(struct heap *from, struct heap *to, struct ThreadCache *owner)
{
	struct chunk *last = NULL;

	for (struct chunk *chunk = from->chunks; chunk != NULL; chunk = chunk->next) {
		atomic_store_explicit(&chunk->owner, owner, memory_order_relaxed);
		last = chunk;
	}
	if (last == NULL)
		return;
	last->next = to->chunks;
	if (to->chunks != NULL)
		to->chunks->previous = last;
	to->chunks = from->chunks;
	to->chunk_count += from->chunk_count;
	to->live += from->live;
	to->idle += from->idle;
	to->purged += from->purged;
	if (to->patience < from->patience)
		to->patience = from->patience;
	to->live_then += from->live_then;
	to->given += from->given;
	from->live = 0;
	from->purged = 0;
	from->live_then = 0;
	from->given = 0;
	from->idle = 0;
	from->chunks = NULL;
	from->chunk_count = 0;

	for (unsigned int cls = 0; cls < HEAP_CLASSES; cls++) {
		struct free_block *first = from->bins[cls];
		struct free_block *end = first;

		if (first == NULL)
			continue;
		while (free_block_next(end) != NULL)
			end = free_block_next(end);
		end->block.next = (struct Block *)to->bins[cls];
		if (to->bins[cls] != NULL)
			to->bins[cls]->previous = end;
		to->bins[cls] = first;
		from->bins[cls] = NULL;
	}
	for (size_t i = 0; i < sizeof(to->occupied) / sizeof(to->occupied[0]); i++) {
		to->occupied[i] |= from->occupied[i];
		from->occupied[i] = 0;
	}
	if (to->empty == NULL)
		to->empty = from->empty;
	else if (from->empty != NULL)
		release_listed(to, from->empty);
	from->empty = NULL;
}

bool ma2_heap_release_empty(struct heap *heap)
{
	if (heap->empty == NULL)
		return false;
	release_listed(heap, heap->empty);
	heap->empty = NULL;
	return true;
}

bool ma2_heap_purge(struct heap *heap, size_t least, size_t *keep)
{
	uintptr_t page = os_page_size();
	bool purged = false;

	for (unsigned int cls = class_floor((least > page ? least : page) / GRANULE); cls < HEAP_CLASSES; cls++) {
		struct free_block *free_block = heap->bins[cls];

		for (; free_block != NULL; free_block = free_block_next(free_block)) {
			struct chunk *chunk = chunk_of(free_block);
			uintptr_t start = ((uintptr_t)(free_block + 1) + page - 1) & -page;
			uintptr_t end = (uintptr_t)free_block + free_block->block.size;
			uintptr_t touched = (uintptr_t)granule_address(chunk, chunk->touched);
			bool last = granule_of((void *)end) == CHUNK_END;

			/* What was never touched has no pages. */
			end = last ? (touched + page - 1) & -page : end & -page;
			if (start >= end || free_block->purged == end - start)
				continue;
			if (*keep >= end - start) {
				*keep -= end - start;
				continue;
			}
			if (!os_purge((void *)start, end - start))
				continue;
			if (last) {
				chunk->touched = granule_of((void *)start);
				free_block->purged += end - start;
				heap->purged += end - start;
			} else {
				os_reuse(free_block->purged);
				heap->purged += end - start - free_block->purged;
				free_block->purged = end - start;
			}
			purged = true;
		}
	}
	return purged;
}
