#include "span.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

#include "../os.h"
#include "thread_cache.h"

_Atomic int ma2_span_patience;

static struct {
	pthread_mutex_t lock;
	struct span *newest, *oldest;
	size_t count, bytes;  /* of the spans in the list */
	size_t slack;         /* bytes that live blocks have beyond what they need */
	struct chunk *chunks; /* without a live block, linked by `next` */
	size_t chunk_count;
	/* Mappings that the OS refused to take, which it may where that splits one of its areas in two: tried again. */
	struct span *_Atomic refused;
} spans = {.lock = PTHREAD_MUTEX_INITIALIZER};

void ma2_span_lock(void)
{
	ma2_lock(&spans.lock);
}

void ma2_span_unlock(void)
{
	ma2_unlock(&spans.lock);
}

static struct span *next_of(const struct span *span)
{
	return (struct span *)span->block.next;
}

static char *end_of(struct span *span)
{
	return (char *)span + span->block.size;
}

static size_t cached_bytes(void)
{
	return spans.bytes + spans.slack + spans.chunk_count * CHUNK_SIZE;
}

/* Bytes that are in use. */
static size_t used_bytes(void)
{
	size_t cached = cached_bytes(), held = os_held();

	return held > cached ? held - cached : 0;
}

static size_t bound(void)
{
	size_t eighth = used_bytes() / 8;

	return eighth > SPAN_BYTES_MIN ? eighth : SPAN_BYTES_MIN;
}

/* What may exceed the bound for a while: at least what was freed last, which is often wanted again. */
static size_t excess_max(size_t last)
{
	size_t half = used_bytes() / 2;
	size_t most = half > last ? half : last;

	return most < SPAN_EXCESS_MAX ? most : SPAN_EXCESS_MAX;
}

static void insert(struct span *span, size_t size)
{
	span->block.size = size;
	span->block.next = (struct Block *)spans.newest;
	span->previous = NULL;
	if (spans.newest != NULL)
		spans.newest->previous = span;
	else
		spans.oldest = span;
	spans.newest = span;
	spans.count++;
	spans.bytes += size;
}

static void remove_span(struct span *span)
{
	struct span *next = next_of(span);

	if (next != NULL)
		next->previous = span->previous;
	else
		spans.oldest = span->previous;
	if (span->previous != NULL)
		span->previous->block.next = span->block.next;
	else
		spans.newest = next;
	spans.count--;
	spans.bytes -= span->block.size;
}

static void insert_merged(struct span *span, size_t size)
{
	struct span *next;

	for (struct span *other = spans.newest; other != NULL; other = next) {
		next = next_of(other);
		if (end_of(other) == (char *)span) {
			remove_span(other);
			size += other->block.size;
			span = other;
		} else if ((char *)span + size == (char *)other) {
			remove_span(other);
			size += other->block.size;
		}
	}
	insert(span, size);
}

static struct span *push(struct span *list, struct span *span)
{
	span->block.next = (struct Block *)list;
	return span;
}

/* The first of the chunks, which is none any more. */
static struct span *take_chunk_out(void)
{
	struct chunk *chunk = spans.chunks;
	struct span *span = (struct span *)chunk;

	spans.chunks = chunk->next;
	spans.chunk_count--;
	ma2_map_remove(chunk);
	span->block.size = CHUNK_SIZE;
	return span;
}

/* Takes out of the cache what exceeds `allowed` bytes, but not much more than `most` bytes. Chunks may have half of the bound. */
static struct span *evict(size_t allowed, size_t most)
{
	size_t cached = cached_bytes();
	size_t enough = most < cached ? cached - most : 0;
	struct span *list = NULL;

	if (enough > allowed)
		allowed = enough;
	while (spans.chunk_count != 0 && (cached_bytes() > allowed || spans.chunk_count * CHUNK_SIZE > bound() / 2)) {
		list = push(list, take_chunk_out());
	}
	while (spans.oldest != NULL && (cached_bytes() > allowed || spans.count > SPAN_COUNT_MAX)) {
		struct span *span = spans.oldest;

		remove_span(span);
		list = push(list, span);
	}
	return list;
}

/* The smallest of at least `size` bytes; with none, the largest. */
static struct span *best_fit(size_t size)
{
	struct span *best = NULL, *largest = NULL;

	for (struct span *span = spans.newest; span != NULL; span = next_of(span)) {
		if (span->block.size >= size && (best == NULL || span->block.size < best->block.size))
			best = span;
		if (largest == NULL || span->block.size > largest->block.size)
			largest = span;
	}
	return best != NULL ? best : largest;
}

struct span *ma2_span_take_fitting(size_t size, size_t *slack)
{
	struct span *span = best_fit(size);

	size_t excess;

	if (span == NULL || span->block.size < size)
		return NULL;
	excess = span->block.size - size;
	if (excess > size / 8 && (excess > size || spans.slack + excess > bound() / 2))
		return NULL;
	remove_span(span);
	spans.slack += excess;
	*slack = excess;
	return span;
}

void ma2_span_drop_slack(size_t slack)
{
	spans.slack -= slack;
}

/* Cuts a mapping that is in no list to `size` bytes, or to a few more where the OS refuses. */
static void cut(struct span *span, size_t size)
{
	char *end = end_of(span);
	char *from = (char *)span + size;
	char *tail = (char *)(((uintptr_t)from + CHUNK_SIZE - 1) & -CHUNK_SIZE);
	struct span *list = NULL;

	if (tail > end)
		tail = end;
	if (from < tail && !os_unmap(from, (size_t)(tail - from)))
		from = tail;
	span->block.size = (size_t)(from - (char *)span);
	if (tail == end)
		return;
	ma2_span_lock();
	insert_merged((struct span *)tail, (size_t)(end - tail));
	list = evict(bound(), SIZE_MAX);
	ma2_span_unlock();
	ma2_span_unmap(list);
}

/* Moves the pages of a mapping that is in no list to the start of one of `size` bytes. NULL: it is as it was. */
static void *move(struct span *span, size_t size)
{
	size_t had = span->block.size;
	char *to = os_map(size, CHUNK_SIZE);

	if (to == NULL)
		return NULL;
	if (os_move(span, had, to, size))
		return to;
	((struct span *)to)->block = (struct Block){size, NULL};
	ma2_span_unmap((struct span *)to);
	return NULL;
}

void *ma2_span_take(size_t size, size_t *dirty)
{
	struct span *span, *list = NULL;
	void *result;

	ma2_span_lock();
	span = best_fit(size);
	/* Little is won by resizing what is much too small. */
	if (span != NULL && span->block.size < size / 4)
		span = NULL;
	if (span != NULL)
		remove_span(span);
	ma2_span_unlock();
	if (span == NULL)
		return NULL;
	*dirty = span->block.size < size ? span->block.size : size;
	if (span->block.size >= size) {
		if (span->block.size - size > size / 8)
			cut(span, size);
		*dirty = span->block.size;
		return span;
	}
	result = os_remap(span, span->block.size, size, false);
	if (result == NULL)
		result = move(span, size);
	if (result != NULL) {
		((struct span *)result)->block.size = size;
		return result;
	}
	ma2_span_lock();
	insert_merged(span, span->block.size);
	list = evict(bound(), SIZE_MAX);
	ma2_span_unlock();
	ma2_span_unmap(list);
	return NULL;
}

struct span *ma2_span_put(void *start, size_t size)
{
	struct span *list;

	insert_merged(start, size);
	list = evict(bound() + excess_max(size), SIZE_MAX);
	if (cached_bytes() > bound())
		atomic_store_explicit(&ma2_span_patience, SPAN_PATIENCE, memory_order_relaxed);
	return list;
}

void ma2_span_put_chunk(struct chunk *chunk)
{
	struct span *list;

	ma2_span_lock();
	chunk->next = spans.chunks;
	spans.chunks = chunk;
	spans.chunk_count++;
	list = evict(bound(), SIZE_MAX);
	ma2_span_unlock();
	ma2_span_unmap(list);
}

struct chunk *ma2_span_take_chunk(void)
{
	struct chunk *chunk;

	ma2_span_lock();
	chunk = spans.chunks;
	if (chunk != NULL) {
		spans.chunks = chunk->next;
		spans.chunk_count--;
	}
	ma2_span_unlock();
	return chunk;
}

void ma2_span_settle(size_t most)
{
	struct span *list;

	ma2_span_lock();
	list = evict(bound(), most);
	ma2_span_unlock();
	ma2_span_unmap(list);
}

/* Unmaps one. Where the OS refuses it waits. */
static bool unmap(struct span *span)
{
	if (os_unmap(span, span->block.size))
		return true;
	ma2_span_lock();
	span->block.next = (struct Block *)atomic_load_explicit(&spans.refused, memory_order_relaxed);
	atomic_store_explicit(&spans.refused, span, memory_order_relaxed);
	ma2_span_unlock();
	return false;
}

static bool retry_first(void)
{
	struct span *span;

	if (atomic_load_explicit(&spans.refused, memory_order_relaxed) == NULL)
		return false;
	ma2_span_lock();
	span = atomic_load_explicit(&spans.refused, memory_order_relaxed);
	if (span != NULL)
		atomic_store_explicit(&spans.refused, next_of(span), memory_order_relaxed);
	ma2_span_unlock();
	return span != NULL && unmap(span);
}

bool ma2_span_unmap(struct span *list)
{
	bool any = false;

	while (list != NULL) {
		struct span *next = next_of(list);

		if (unmap(list)) {
			any = true;
			retry_first();
		}
		list = next;
	}
	return any;
}

bool ma2_span_release_all(void)
{
	struct span *list = NULL;
	bool any = false;

	while (retry_first())
		any = true;
	ma2_span_lock();
	while (spans.oldest != NULL) {
		struct span *span = spans.oldest;

		remove_span(span);
		list = push(list, span);
	}
	while (spans.chunks != NULL) {
		list = push(list, take_chunk_out());
	}
	atomic_store_explicit(&ma2_span_patience, 0, memory_order_relaxed);
	ma2_span_unlock();
	return ma2_span_unmap(list) || any;
}

static bool visit_whole(const void *start, size_t size, enum region_kind kind, region_visitor *visit, void *context)
{
	struct region region = {start, size, kind, NULL, start, size};

	return visit(&region, context);
}

bool ma2_span_walk(region_visitor *visit, void *context)
{
	for (const struct span *span = spans.newest; span != NULL; span = next_of(span))
		if (!visit_whole(span, span->block.size, REGION_CACHED, visit, context))
			return false;
	for (const struct chunk *chunk = spans.chunks; chunk != NULL; chunk = chunk->next)
		if (!visit_whole(chunk, CHUNK_SIZE, REGION_CACHED, visit, context))
			return false;
	for (const struct span *span = spans.refused; span != NULL; span = next_of(span))
		if (!visit_whole(span, span->block.size, REGION_FREE, visit, context))
			return false;
	return true;
}

bool ma2_span_check(char *why, size_t size)
{
	const struct span *previous = NULL;
	size_t count = 0, bytes = 0, chunks = 0;
	const char *fault = NULL;

	for (const struct span *span = spans.newest; span != NULL && fault == NULL; span = next_of(span)) {
		if (span->previous != previous)
			fault = "a cached span has a wrong back link";
		else if ((uintptr_t)span % CHUNK_SIZE != 0 || span->block.size == 0 ||
			 span->block.size % os_page_size() != 0)
			fault = "a cached span is not one of whole pages";
		else if (++count > spans.count)
			fault = "the span cache has more spans than it counts";
		bytes += span->block.size;
		previous = span;
	}
	for (const struct chunk *chunk = spans.chunks; chunk != NULL && fault == NULL; chunk = chunk->next) {
		if (chunk->magic != CHUNK_MAGIC)
			fault = "a cached chunk has lost its magic number";
		else if (++chunks > spans.chunk_count)
			fault = "the span cache has more chunks than it counts";
	}
	if (fault == NULL &&
	    (count != spans.count || bytes != spans.bytes || chunks != spans.chunk_count || spans.oldest != previous))
		fault = "the span cache and its counts differ";
	if (fault == NULL)
		return true;
	snprintf(why, size, "%s", fault);
	return false;
}

void ma2_span_fork_lock(void)
{
	pthread_mutex_lock(&spans.lock);
}

void ma2_span_fork_unlock(void)
{
	pthread_mutex_unlock(&spans.lock);
}
