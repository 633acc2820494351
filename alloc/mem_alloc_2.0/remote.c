#include "remote.h"

#include <stdatomic.h>

#include "thread_cache.h"

/* The chunk has changed hands meanwhile, and may be gone: whoever has it looks. */
static void tell_all(void)
{
	struct ThreadCache *cache = atomic_load_explicit(&ma2_all_caches, memory_order_acquire);

	for (; cache != NULL; cache = cache->all_next)
		atomic_store_explicit(&cache->has_remote, true, memory_order_release);
}

/*
 * Whoever takes chunks over changes their owner, then counts a move, then drains them. Here the owner is read before and after the count, so that the count is
 * of the time when the owner was that one. If the push comes too late for the drain, the count has changed: of the four accesses, two to
 * the list and two to the count, all are in one order.
 */
void ma2_remote_push(const struct batch *batch)
{
	/* Read first, as the chunk may be gone afterwards. A cache never is. */
	struct ThreadCache *owner;
	struct Block *head;
	uint32_t moves;

	do {
		owner = owner_of(batch->chunk);
		moves = atomic_load_explicit(&owner->moves, memory_order_acquire);
	} while (owner_of(batch->chunk) != owner);
	head = atomic_load_explicit(&batch->chunk->remote, memory_order_relaxed);
	do {
		link_block(batch->tail, head);
	} while (!atomic_compare_exchange_weak_explicit(&batch->chunk->remote, &head, batch->head, memory_order_seq_cst,
							memory_order_relaxed));
	atomic_store_explicit(&owner->has_remote, true, memory_order_release);
	if (atomic_load_explicit(&owner->moves, memory_order_seq_cst) != moves)
		tell_all();
}

struct Block *ma2_remote_take(struct chunk *chunk)
{
	if (atomic_load_explicit(&chunk->remote, memory_order_seq_cst) == NULL)
		return NULL;
	return atomic_exchange_explicit(&chunk->remote, NULL, memory_order_acquire);
}

void ma2_remote_free(struct Block *block)
{
	struct batch batch = {chunk_of(block), block, block};

	ma2_remote_push(&batch);
}
