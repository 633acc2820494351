#include "central.h"

#include <errno.h>
#include <pthread.h>

#include "../os.h"
#include "span.h"

#define SLAB_SIZE ((size_t)64 << 10) /* a multiple of any page size */
#define CACHE_ALIGNMENT 128          /* pairs of cache lines are fetched together */
#define CACHE_SPACING ((sizeof(struct ThreadCache) + CACHE_ALIGNMENT - 1) / CACHE_ALIGNMENT * CACHE_ALIGNMENT)

const struct ThreadCache ma2_no_cache = {.lock = PTHREAD_MUTEX_INITIALIZER};
__thread struct ThreadCache *ma2_cache = (struct ThreadCache *)&ma2_no_cache;
struct ThreadCache *_Atomic ma2_all_caches;

/* The destructors of this thread have run: a cache of its own would never come back. */
static __thread bool finished __attribute__((tls_model("initial-exec")));
/* This thread is between the fork handlers, and holds every lock. */
static __thread bool forking __attribute__((tls_model("initial-exec")));

static struct {
	pthread_mutex_t lock;
	struct ThreadCache *orphans, *idle;
	struct Block *slabs; /* the newest first; size of each is that of its mapping */
	size_t slab_used;    /* bytes of the newest slab */
	bool first_used;
} central = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The first thread needs no mapping for its cache. */
static struct ThreadCache first_cache __attribute__((aligned(CACHE_ALIGNMENT)));

static pthread_key_t key;
static bool key_ready;

void ma2_lock(pthread_mutex_t *lock)
{
	if (!forking)
		pthread_mutex_lock(lock);
}

void ma2_unlock(pthread_mutex_t *lock)
{
	if (!forking)
		pthread_mutex_unlock(lock);
}

static void list_push(struct ThreadCache **list, struct ThreadCache *cache, enum cache_state state)
{
	cache->previous = NULL;
	cache->next = *list;
	if (*list != NULL)
		(*list)->previous = cache;
	*list = cache;
	atomic_store_explicit(&cache->state, state, memory_order_relaxed);
}

static void list_remove(struct ThreadCache **list, struct ThreadCache *cache)
{
	if (cache->next != NULL)
		cache->next->previous = cache->previous;
	if (cache->previous != NULL)
		cache->previous->next = cache->next;
	else
		*list = cache->next;
	atomic_store_explicit(&cache->state, CACHE_ACTIVE, memory_order_relaxed);
}

static struct ThreadCache *new_cache(void)
{
	struct ThreadCache *cache;

	if (!central.first_used) {
		central.first_used = true;
		cache = &first_cache;
	} else {
		if (central.slabs == NULL || SLAB_SIZE - central.slab_used < CACHE_SPACING) {
			struct Block *slab = os_map(SLAB_SIZE, CACHE_ALIGNMENT);

			if (slab == NULL)
				return NULL;
			slab->size = SLAB_SIZE;
			slab->next = central.slabs;
			central.slabs = slab;
			central.slab_used = CACHE_ALIGNMENT;
		}
		cache = (struct ThreadCache *)((char *)central.slabs + central.slab_used);
		central.slab_used += CACHE_SPACING;
	}
	cache->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	cache->all_next = atomic_load_explicit(&ma2_all_caches, memory_order_relaxed);
	atomic_store_explicit(&ma2_all_caches, cache, memory_order_release);
	return cache;
}

/* The caches of threads that a fork left behind may have been caught between a list and its count. */
static void recount(struct ThreadCache *cache)
{
	for (unsigned int cls = 0; cls < MAGAZINE_CLASSES; cls++) {
		struct magazine *magazine = &cache->magazines[cls];

		magazine->count = 0;
		for (const struct Block *block = magazine->head; block != NULL; block = linked_next(block))
			magazine->count++;
	}
	cache->count_stale = false;
}

struct ThreadCache *ma2_central_take_orphan(struct ThreadCache *orphan)
{
	ma2_lock(&central.lock);
	if (orphan == NULL)
		orphan = central.orphans;
	else if (atomic_load_explicit(&orphan->state, memory_order_relaxed) != CACHE_ORPHAN)
		orphan = NULL;
	if (orphan != NULL)
		list_remove(&central.orphans, orphan);
	ma2_unlock(&central.lock);
	if (orphan != NULL && orphan->count_stale)
		recount(orphan);
	return orphan;
}

static struct ThreadCache *take_any(void)
{
	struct ThreadCache *cache = ma2_central_take_orphan(NULL);

	if (cache != NULL)
		return cache;
	ma2_lock(&central.lock);
	cache = central.idle;
	if (cache != NULL)
		list_remove(&central.idle, cache);
	else
		cache = new_cache();
	ma2_unlock(&central.lock);
	return cache;
}

static bool has_memory(const struct ThreadCache *cache)
{
	if (cache->heap.chunks != NULL)
		return true;
	for (unsigned int cls = 0; cls < MAGAZINE_CLASSES; cls++)
		if (cache->magazines[cls].head != NULL)
			return true;
	return false;
}

void ma2_central_put(struct ThreadCache *cache)
{
	cache->bound = false;
	ma2_lock(&central.lock);
	if (has_memory(cache))
		list_push(&central.orphans, cache, CACHE_ORPHAN);
	else
		list_push(&central.idle, cache, CACHE_IDLE);
	ma2_unlock(&central.lock);
}

const struct Block *ma2_central_slabs(void)
{
	return central.slabs;
}

static void retire(struct ThreadCache *cache)
{
	ma2_lock(&cache->lock);
	/* Blocks of an orphan make it ours, with what it has in its magazines. */
	while (ma2_cache_flush(cache))
		;
	ma2_cache_drain(cache);
	ma2_heap_release_empty(&cache->heap);
	ma2_unlock(&cache->lock);
	ma2_central_put(cache);
}

static void thread_finished(void *cache)
{
	finished = true;
	if (cache != ma2_cache)
		return;
	ma2_cache = (struct ThreadCache *)&ma2_no_cache;
	retire(cache);
}

struct ThreadCache *ma2_cache_enter(bool *lent)
{
	struct ThreadCache *cache = ma2_cache;

	*lent = false;
	if (cache == &ma2_no_cache) {
		cache = take_any();
		if (cache == NULL) {
			errno = ENOMEM;
			return NULL;
		}
		*lent = finished;
		if (finished)
			return cache;
		ma2_cache = cache;
	}
	if (!cache->bound && key_ready) {
		/* The C library may allocate in here; the cache is in use already, and this is not tried twice at a time. */
		cache->bound = true;
		cache->bound = pthread_setspecific(key, cache) == 0;
	}
	return cache;
}

void ma2_cache_leave(struct ThreadCache *cache, bool lent)
{
	if (lent)
		retire(cache);
}

static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER; /* one fork at a time takes the locks */

static void fork_prepare(void)
{
	struct ThreadCache *locked = NULL;

	pthread_mutex_lock(&fork_lock);
	/* New caches come in at the head of the list, under the central lock, which is taken after those of the caches. */
	for (;;) {
		struct ThreadCache *head = atomic_load_explicit(&ma2_all_caches, memory_order_acquire);

		for (struct ThreadCache *cache = head; cache != locked; cache = cache->all_next)
			pthread_mutex_lock(&cache->lock);
		locked = head;
		pthread_mutex_lock(&central.lock);
		if (atomic_load_explicit(&ma2_all_caches, memory_order_relaxed) == locked)
			break;
		pthread_mutex_unlock(&central.lock);
	}
	ma2_span_fork_lock();
	forking = true;
}

static void fork_release(void)
{
	struct ThreadCache *cache = atomic_load_explicit(&ma2_all_caches, memory_order_relaxed);

	forking = false;
	ma2_span_fork_unlock();
	pthread_mutex_unlock(&central.lock);
	for (; cache != NULL; cache = cache->all_next)
		pthread_mutex_unlock(&cache->lock);
	pthread_mutex_unlock(&fork_lock);
}

static void fork_child(void)
{
	struct ThreadCache *cache = atomic_load_explicit(&ma2_all_caches, memory_order_relaxed);

	/* The other threads are gone, and what they had is left to whoever needs it. */
	for (; cache != NULL; cache = cache->all_next)
		if (cache != ma2_cache && atomic_load_explicit(&cache->state, memory_order_relaxed) == CACHE_ACTIVE) {
			cache->count_stale = true;
			ma2_central_put(cache);
		}
	fork_release();
}

/* Once for the process, before main and before this allocator can have a thread to forget; not from the first malloc, which comes from these calls. */
static __attribute__((constructor(101))) void set_up(void)
{
	key_ready = pthread_key_create(&key, thread_finished) == 0;
	pthread_atfork(fork_prepare, fork_release, fork_child);
}
