#include "thread_cache.h"

#include "../os.h"
#include "central.h"
#include "damage.h"
#include "hardened.h"
#include "remote.h"
#include "span.h"

/*
 * A magazine starts with LIMIT_FIRST blocks and doubles at each miss and each overflow, up to what MAGAZINE_BYTES holds of its class, and as long as
 * all limits together stay within CACHE_BYTES, and half of what is live in the heap, up to CACHE_BYTES_MAX. A flush of the whole cache starts anew.
 */
#define LIMIT_FIRST 2
#define LIMIT_MAX 1024
#define MAGAZINE_BYTES ((size_t)128 << 10)
#define CACHE_BYTES ((size_t)64 << 10)
#define CACHE_BYTES_FOREIGN ((size_t)256 << 10)
#define CACHE_BYTES_MAX ((size_t)4 << 20)

/* The magazines of one block, for the sizes above BATCH_GRANULES_MAX, may hold as much; when a further one is used, all start anew. */
#define SINGLE_BYTES ((size_t)1 << 20)
#define SINGLE_CLASS_FIRST (EXACT_GRANULES + 8 * 6 + 1)

/*
 * A block in a magazine keeps its chunk from becoming empty. A thread that takes in the chunks of others, which end with live blocks in them, would
 * collect chunks that hold nothing else; so each time their number has doubled, the magazines are flushed.
 */
#define FLUSH_CHUNKS_MIN 4

/*
 * The chunks may also be those of others: a thread that frees one block of each collects them without an end of its own magazines in sight. What is mapped
 * in all tells: when it has doubled since its lowest, the magazines are flushed. So they pin no more than everything else holds, but for FLUSH_BYTES_MIN.
 */
#define FLUSH_BYTES_MIN (FLUSH_CHUNKS_MIN * CHUNK_SIZE)

#define BATCHES 8 /* chunks that a flush gathers blocks for at a time */

static size_t cache_bytes_max(const struct ThreadCache *cache)
{
	size_t bytes = CACHE_BYTES + cache->heap.live * GRANULE / 2;

	/* A thread that only frees what others allocate needs batches of some size. */
	if (cache->heap.chunk_count == 0)
		bytes = CACHE_BYTES_FOREIGN;
	return bytes < CACHE_BYTES_MAX ? bytes : CACHE_BYTES_MAX;
}

static bool grow_limit(struct ThreadCache *cache, unsigned int cls)
{
	struct magazine *magazine = &cache->magazines[cls];
	size_t bytes = class_granules(cls) * GRANULE;
	size_t most = MAGAZINE_BYTES / bytes;
	size_t limit = magazine->limit * (size_t)2;

	if (cls >= SINGLE_CLASS_FIRST)
		return false;
	if (most > LIMIT_MAX)
		most = LIMIT_MAX;
	if (most < LIMIT_FIRST)
		most = LIMIT_FIRST;
	if (magazine->limit == 0)
		limit = LIMIT_FIRST;
	else if (cache->limit_bytes + magazine->limit * bytes > cache_bytes_max(cache))
		return false;
	if (limit > most)
		limit = most;
	if (limit == magazine->limit)
		return false;
	cache->limit_bytes += (limit - magazine->limit) * bytes;
	magazine->limit = (uint32_t)limit;
	return true;
}

static struct Block *next_in_list(const struct Block *block)
{
	struct Block *next = linked_next(block);

	if (!is_link(next))
		ma2_damaged(block, "was written to after it was freed");
	return next;
}

static struct Block *pop(struct magazine *magazine)
{
	struct Block *block = magazine->head;

	magazine->head = next_in_list(block);
	magazine->count--;
	unlink_block(block);
	return block;
}

static void push(struct magazine *magazine, struct Block *block)
{
	link_block(block, magazine->head);
	magazine->head = block;
	magazine->count++;
}

/* The blocks of a batch go home. */
static void deliver(struct ThreadCache *cache, const struct batch *batch)
{
	struct ThreadCache *owner = owner_of(batch->chunk);
	struct Block *block = batch->head;

	/* An orphan would not notice before somebody needs memory: it is taken in at once, so that its chunks can be given back. */
	if (owner != cache && atomic_load_explicit(&owner->state, memory_order_relaxed) == CACHE_ORPHAN)
		ma2_cache_adopt(cache, owner);
	if (owner_of(batch->chunk) != cache) {
		ma2_remote_push(batch);
		return;
	}
	link_block(batch->tail, NULL);
	while (block != NULL) {
		struct Block *next = next_in_list(block);

		ma2_heap_free(&cache->heap, block);
		block = next;
	}
}

/* The blocks of a list go home, those of other threads' chunks gathered by chunk. */
static void give_back(struct ThreadCache *cache, struct Block *list)
{
	struct batch batches[BATCHES];
	size_t used = 0, oldest = 0;

	while (list != NULL) {
		struct Block *block = list;
		struct chunk *chunk = chunk_of(block);
		size_t i;

		list = next_in_list(block);
		if (owner_of(chunk) == cache) {
			ma2_heap_free(&cache->heap, block);
			continue;
		}
		for (i = 0; i < used && batches[i].chunk != chunk; i++)
			;
		if (i < used) {
			link_block(block, batches[i].head);
			batches[i].head = block;
			continue;
		}
		if (used < BATCHES) {
			used++;
		} else {
			i = oldest;
			oldest = (oldest + 1) % BATCHES;
			deliver(cache, &batches[i]);
		}
		batches[i] = (struct batch){chunk, block, block};
	}
	for (size_t i = 0; i < used; i++)
		deliver(cache, &batches[i]);
}

static bool flush_from(struct ThreadCache *cache, unsigned int first)
{
	bool any = false;

	for (unsigned int cls = first; cls < MAGAZINE_CLASSES; cls++) {
		struct magazine *magazine = &cache->magazines[cls];
		struct Block *list = magazine->head;

		if (magazine->limit == 0 && list == NULL)
			continue;
		*magazine = (struct magazine){NULL, 0, 0};
		any = any || list != NULL;
		give_back(cache, list);
	}
	cache->single_bytes = 0;
	return any;
}

bool ma2_cache_flush(struct ThreadCache *cache)
{
	cache->limit_bytes = 0;
	return flush_from(cache, 1);
}

/* A block that another thread freed: the next of its size may be wanted soon. */
static void come_home(struct ThreadCache *cache, struct Block *block)
{
	size_t granules = tag_size(chunk_of(block), granule_of(block));
	struct magazine *magazine;

	if (granules <= BATCH_GRANULES_MAX) {
		magazine = &cache->magazines[class_floor(granules)];
		if (magazine->count < magazine->limit) {
			push(magazine, block);
			return;
		}
	}
	ma2_heap_free(&cache->heap, block);
}

static bool drain_all(struct ThreadCache *cache)
{
	struct chunk *chunk = cache->heap.chunks;
	bool any = false;

	while (chunk != NULL) {
		struct chunk *next = chunk->next; /* the chunk may go with its last block */
		struct Block *block = ma2_remote_take(chunk);

		any = any || block != NULL;
		while (block != NULL) {
			struct Block *rest = next_in_list(block);

			come_home(cache, block);
			block = rest;
		}
		chunk = next;
	}
	return any;
}

bool ma2_cache_drain(struct ThreadCache *cache)
{
	if (!atomic_load_explicit(&cache->has_remote, memory_order_relaxed))
		return false;
	/* Acquire: the blocks were pushed before the flag was set. */
	atomic_exchange_explicit(&cache->has_remote, false, memory_order_acquire);
	return drain_all(cache);
}

static void bound_chunks(struct ThreadCache *cache)
{
	const size_t flush_at = cache->flush_at > FLUSH_CHUNKS_MIN ? cache->flush_at : FLUSH_CHUNKS_MIN;

	/* A flush may take in further orphans. */
	if (cache->bounding || cache->heap.chunk_count < flush_at)
		return;
	cache->bounding = true;
	ma2_cache_flush(cache);
	cache->bounding = false;
	cache->flush_at = 2 * cache->heap.chunk_count;
}

static void bound_foreign(struct ThreadCache *cache)
{
	const size_t held = os_held();

	if (held < cache->held_least)
		cache->held_least = held;
	if (held < 2 * cache->held_least + FLUSH_BYTES_MIN)
		return;
	ma2_cache_flush(cache);
	cache->held_least = os_held();
}

bool ma2_cache_adopt(struct ThreadCache *cache, struct ThreadCache *orphan)
{
	orphan = ma2_central_take_orphan(orphan);
	if (orphan == NULL)
		return false;
	for (unsigned int cls = 1; cls < MAGAZINE_CLASSES; cls++) {
		struct magazine *from = &orphan->magazines[cls];
		struct magazine *to = &cache->magazines[cls];
		struct Block *last = from->head;

		if (last != NULL) {
			while (linked_next(last) != NULL)
				last = next_in_list(last);
			link_block(last, to->head);
			to->head = from->head;
			to->count += from->count;
		}
		*from = (struct magazine){NULL, 0, 0};
	}
	orphan->limit_bytes = 0;
	orphan->single_bytes = 0;
	ma2_heap_move(&orphan->heap, &cache->heap, cache);
	/* After the owners changed, before the drain: see ma2_remote_push. */
	atomic_fetch_add_explicit(&orphan->moves, 1, memory_order_seq_cst);
	ma2_central_put(orphan);
	drain_all(cache);
	bound_chunks(cache);
	return true;
}

/*
 * A peak that is over goes back to the OS while the program goes on. Blocks in magazines, which are anywhere in it, keep chunks from becoming free: they
 * go home first.
 */
static void settle(struct ThreadCache *cache)
{
	if (__builtin_expect(!ma2_heap_is_idle(&cache->heap), 1))
		return;
	ma2_cache_flush(cache);
	ma2_heap_give_back(&cache->heap);
}

/* When the heap has nothing that fits: looks wherever memory may come from, the OS last. */
static struct free_block *find_more(struct ThreadCache *cache, size_t size)
{
	struct free_block *found = NULL;
	struct chunk *chunk;

	if (ma2_cache_drain(cache))
		found = ma2_heap_find(&cache->heap, size, EFFORT_BOUNDED);
	while (found == NULL && ma2_cache_adopt(cache, NULL))
		found = ma2_heap_find(&cache->heap, size, EFFORT_BOUNDED);
	if (found == NULL && ma2_cache_flush(cache))
		found = ma2_heap_find(&cache->heap, size, EFFORT_BOUNDED);
	if (found != NULL)
		return found;
	chunk = ma2_chunk_map(cache);
	if (chunk == NULL)
		return ma2_heap_find(&cache->heap, size, EFFORT_FULL);
	ma2_heap_add_chunk(&cache->heap, chunk);
	return ma2_heap_find(&cache->heap, size, EFFORT_BOUNDED);
}

void *ma2_cache_refill(struct ThreadCache *cache, unsigned int cls, size_t size)
{
	struct magazine *magazine = &cache->magazines[cls];
	size_t each = class_granules(cls);
	size_t wanted, got = 0;
	struct Block *result = NULL;
	size_t dirty;

	ma2_span_tick();
	ma2_cache_drain(cache);
	settle(cache);
	if (magazine->head != NULL)
		return pop(magazine);
	grow_limit(cache, cls);
	wanted = magazine->limit / 2;
	if (HARDENED && wanted < HARDENED_CHOICE)
		wanted = HARDENED_CHOICE; /* of which malloc chooses */
	while (got < wanted) {
		struct free_block *found = ma2_heap_find(&cache->heap, each, EFFORT_BOUNDED);
		size_t count;
		char *block;

		if (found == NULL && got == 0)
			found = find_more(cache, each);
		if (found == NULL)
			break;
		count = found->block.size / GRANULE / each;
		if (count > wanted - got)
			count = wanted - got;
		block = ma2_heap_take(&cache->heap, found, 0, each, count, &dirty);
		got += count;
		/* The lowest address is handed out first. */
		for (size_t i = count; i-- > 0;) {
			if (HARDENED)
				ma2_wipe(block + i * each * GRANULE, each * GRANULE);
			push(magazine, (struct Block *)(block + i * each * GRANULE));
		}
	}
	if (got != 0)
		return pop(magazine);
	if (size < each) {
		struct free_block *found = ma2_heap_find(&cache->heap, size, EFFORT_FULL);

		if (found != NULL)
			result = ma2_heap_take(&cache->heap, found, 0, found->block.size / GRANULE, 1, &dirty);
		if (result != NULL)
			unlink_block(result);
	}
	return result;
}

void *ma2_cache_carve(struct ThreadCache *cache, size_t size, size_t alignment, size_t *dirty)
{
	size_t room = size + alignment - 1;
	struct free_block *found;
	struct Block *block;
	size_t skip = 0;

	ma2_cache_drain(cache);
	settle(cache);
	found = ma2_heap_find(&cache->heap, size, EFFORT_BOUNDED);
	if (found != NULL)
		skip = -granule_of(found) & (alignment - 1);
	/* The first that is large enough may happen to lie well. Otherwise one is needed where the worst case fits. */
	if (found == NULL || found->block.size / GRANULE < skip + size) {
		found = ma2_heap_find(&cache->heap, room, EFFORT_BOUNDED);
		if (found == NULL)
			found = find_more(cache, room);
		if (found == NULL)
			return NULL;
		skip = -granule_of(found) & (alignment - 1);
	}
	block = ma2_heap_take(&cache->heap, found, skip, size, 1, dirty);
	unlink_block(block); /* an old link may be there */
	return block;
}

/* As ma2_cache_overflow, for a magazine of one block: the new one takes the place of the old one. */
static void replace_single(struct ThreadCache *cache, unsigned int cls, struct Block *block)
{
	struct magazine *magazine = &cache->magazines[cls];
	size_t bytes = class_granules(cls) * GRANULE;
	struct Block *old;

	if (magazine->limit == 0) {
		if (cache->single_bytes + bytes > SINGLE_BYTES)
			flush_from(cache, SINGLE_CLASS_FIRST);
		cache->single_bytes += bytes;
	}
	old = magazine->head;
	*magazine = (struct magazine){NULL, 0, 1};
	give_back(cache, old);
	push(magazine, block);
}

void ma2_cache_overflow(struct ThreadCache *cache, unsigned int cls, struct Block *block)
{
	struct magazine *magazine = &cache->magazines[cls];

	ma2_span_tick();
	settle(cache);
	bound_foreign(cache);
	if (cls >= SINGLE_CLASS_FIRST) {
		replace_single(cache, cls, block);
		return;
	}
	if (magazine->count >= magazine->limit && !grow_limit(cache, cls)) {
		/* The part that was used longest ago goes. */
		struct Block *last = magazine->head;
		struct Block *rest;

		for (uint32_t i = 1; i < magazine->limit / 2; i++)
			last = next_in_list(last);
		rest = next_in_list(last);
		link_block(last, NULL);
		magazine->count = magazine->limit / 2;
		give_back(cache, rest);
	}
	push(magazine, block);
}

void ma2_cache_return(struct ThreadCache *cache, struct Block *block)
{
	struct batch batch = {chunk_of(block), block, block};

	deliver(cache, &batch);
	settle(cache);
}
