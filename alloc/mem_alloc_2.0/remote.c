#include "remote.h"

#include <stdatomic.h>

#include "thread_cache.h"

void ma2_remote_push(const struct batch *batch)
{
	/* Read first, as the chunk may be gone afterwards. A cache never is, and a wrong one is merely told to look for nothing. */
	struct ThreadCache *owner = atomic_load_explicit(&batch->chunk->owner, memory_order_relaxed);
	struct Block *head = atomic_load_explicit(&batch->chunk->remote, memory_order_relaxed);

	do {
		link_block(batch->tail, head);
	} while (!atomic_compare_exchange_weak_explicit(&batch->chunk->remote, &head, batch->head, memory_order_release,
							memory_order_relaxed));
	atomic_store_explicit(&owner->has_remote, true, memory_order_release);
}

struct Block *ma2_remote_take(struct chunk *chunk)
{
	if (atomic_load_explicit(&chunk->remote, memory_order_relaxed) == NULL)
		return NULL;
	return atomic_exchange_explicit(&chunk->remote, NULL, memory_order_acquire);
}

void ma2_remote_free(struct Block *block)
{
	struct batch batch = {chunk_of(block), block, block};

	ma2_remote_push(&batch);
}
