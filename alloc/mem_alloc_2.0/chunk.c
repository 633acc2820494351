#include "chunk.h"

#include "../os.h"
#include "span.h"

_Atomic uintptr_t ma2_map[MAP_SLOTS];
_Atomic size_t ma2_map_missed;

void ma2_map_add(const void *start)
{
	_Atomic uintptr_t *slot = &ma2_map[(uintptr_t)start / CHUNK_SIZE % MAP_SLOTS];
	uintptr_t none = 0;

	/* Whoever frees a block got it from whoever called this, which orders the two. */
	if (!atomic_compare_exchange_strong_explicit(slot, &none, (uintptr_t)start, memory_order_relaxed,
						     memory_order_relaxed))
		atomic_fetch_add_explicit(&ma2_map_missed, 1, memory_order_relaxed);
}

void ma2_map_remove(const void *start)
{
	_Atomic uintptr_t *slot = &ma2_map[(uintptr_t)start / CHUNK_SIZE % MAP_SLOTS];

	if (atomic_load_explicit(slot, memory_order_relaxed) == (uintptr_t)start)
		atomic_store_explicit(slot, 0, memory_order_relaxed);
	else
		atomic_fetch_sub_explicit(&ma2_map_missed, 1, memory_order_relaxed);
}

static void set(_Atomic uint64_t *word, size_t bit)
{
	tag_store(word, tag_load(word) | (uint64_t)1 << bit);
}

static void clear(_Atomic uint64_t *word, size_t bit)
{
	tag_store(word, tag_load(word) & ~((uint64_t)1 << bit));
}

/* Writes a size, or 0, into the SIZE_BITS `free` bits from `granule` on. */
static void put_size(struct chunk *chunk, size_t granule, uint64_t size)
{
	struct tag_word *word = &chunk->tags[granule / 64];
	size_t bit = granule % 64;

	tag_store(&word[0].free, (tag_load(&word[0].free) & ~(SIZE_MASK << bit)) | size << bit);
	if (bit > 64 - SIZE_BITS)
		tag_store(&word[1].free, (tag_load(&word[1].free) & ~(SIZE_MASK >> (64 - bit))) | size >> (64 - bit));
}

void ma2_tag_live(struct chunk *chunk, size_t granule, size_t size)
{
	set(&chunk->tags[granule / 64].start, granule % 64);
	if (size > EXACT_GRANULES)
		put_size(chunk, granule + 1, size);
	if (granule + size == CHUNK_END)
		set(&chunk->tags[CHUNK_END / 64].start, CHUNK_END % 64);
}

void ma2_untag_live(struct chunk *chunk, size_t granule, size_t size)
{
	if (size > EXACT_GRANULES)
		put_size(chunk, granule + 1, 0);
}

void ma2_tag_free(struct chunk *chunk, size_t granule, size_t size)
{
	size_t last = granule + size - 1;

	set(&chunk->tags[granule / 64].start, granule % 64);
	set(&chunk->tags[granule / 64].free, granule % 64);
	if (size > EXACT_GRANULES)
		put_size(chunk, granule + 1, size);
	if (last + 1 == CHUNK_END) {
		/* A small one is measured by the start bit behind it. */
		if (size <= EXACT_GRANULES)
			set(&chunk->tags[CHUNK_END / 64].start, CHUNK_END % 64);
		return;
	}
	set(&chunk->tags[last / 64].free, last % 64);
	if (size > EXACT_GRANULES)
		put_size(chunk, last - SIZE_BITS, size);
}

void ma2_untag_free(struct chunk *chunk, size_t granule, size_t size)
{
	size_t last = granule + size - 1;

	clear(&chunk->tags[granule / 64].free, granule % 64);
	if (size > EXACT_GRANULES)
		put_size(chunk, granule + 1, 0);
	if (last + 1 == CHUNK_END)
		return;
	clear(&chunk->tags[last / 64].free, last % 64);
	if (size > EXACT_GRANULES)
		put_size(chunk, last - SIZE_BITS, 0);
}

void ma2_untag_start(struct chunk *chunk, size_t granule)
{
	clear(&chunk->tags[granule / 64].start, granule % 64);
}

struct chunk *ma2_chunk_map(struct ThreadCache *owner)
{
	struct chunk *chunk = ma2_span_take_chunk();

	if (chunk == NULL) {
		ma2_span_settle(CHUNK_SIZE);
		chunk = os_map(CHUNK_SIZE, CHUNK_SIZE);
		if (chunk == NULL && ma2_span_release_all())
			chunk = os_map(CHUNK_SIZE, CHUNK_SIZE);
		if (chunk == NULL)
			return NULL;
		chunk->magic = CHUNK_MAGIC;
		chunk->touched = CHUNK_FIRST;
		ma2_map_add(chunk);
	}
	atomic_store_explicit(&chunk->owner, owner, memory_order_relaxed);
	ma2_tag_free(chunk, CHUNK_FIRST, CHUNK_HEAP_GRANULES);
	return chunk;
}
