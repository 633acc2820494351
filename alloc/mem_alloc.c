#include "mem_alloc.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block.h"
#include "os.h"

/*
 * A mapping, of whole pages:
 *
 *	| padding | struct mapping | payload ............ |
 *	^ page boundary            ^ at the alignment asked for
 *
 * The padding is less than a page, so the header alone tells where the mapping begins. `block.size` is the size of the mapping.
 */
struct mapping {
	struct Block block; /* block.next is the next struct mapping of the list, by its first member */
	struct mapping *previous;
	uintptr_t seal; /* seal_of(): tells a header from arbitrary memory */
};

#define ALIGNMENT_MIN 16
_Static_assert(sizeof(struct mapping) % ALIGNMENT_MIN == 0, "the payload follows the header at once");
_Static_assert(sizeof(struct mapping) == 32, "headers stay small");

/* Live mappings, listed for walk and check, in several lists so that threads seldom meet at a lock. */
#define STRIPES 16
struct stripe {
	_Alignas(64) pthread_mutex_t lock;
	struct mapping *first;
};
static struct stripe stripes[STRIPES] = {[0 ... STRIPES - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

/*
 * Freed mappings that the OS refused to unmap, size as in struct mapping: it merges neighbours into one area, and to unmap one in the
 * middle splits it, which fails at vm.max_map_count. Tried again at each free.
 */
static struct {
	pthread_mutex_t lock;
	struct Block *_Atomic first; /* changed under the lock; read without it to see whether there is work */
} refused = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* This thread is between the fork handlers, and holds every lock. */
static __thread bool forking __attribute__((tls_model("initial-exec")));

static uintptr_t seal_of(const struct mapping *mapping)
{
	return (uintptr_t)mapping ^ (uintptr_t)0x6d656d5f616c6c6fu;
}

static _Noreturn void damaged(const void *pointer)
{
	char line[80];
	int length = snprintf(line, sizeof(line), "mem_alloc: %p is not a live block\n", pointer);

	/* Nothing can be done about a write that fails on the way to abort. */
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		abort();
	abort();
}

static char *mapping_start(const struct mapping *mapping)
{
	return (char *)((uintptr_t)mapping & -os_page_size());
}

static struct mapping *mapping_of(void *pointer)
{
	struct mapping *mapping = (struct mapping *)pointer - 1;

	if ((uintptr_t)pointer % ALIGNMENT_MIN != 0 || mapping->seal != seal_of(mapping))
		damaged(pointer);
	return mapping;
}

static size_t payload_size(const struct mapping *mapping)
{
	return mapping->block.size - (size_t)((const char *)(mapping + 1) - mapping_start(mapping));
}

static struct mapping *next_of(const struct mapping *mapping)
{
	return (struct mapping *)mapping->block.next;
}

static struct stripe *stripe_of(const struct mapping *mapping)
{
	return &stripes[(uintptr_t)mapping / os_page_size() % STRIPES];
}

static void lock(pthread_mutex_t *mutex)
{
	if (!forking)
		pthread_mutex_lock(mutex);
}

static void unlock(pthread_mutex_t *mutex)
{
	if (!forking)
		pthread_mutex_unlock(mutex);
}

static void list(struct mapping *mapping)
{
	struct stripe *stripe = stripe_of(mapping);

	lock(&stripe->lock);
	mapping->seal = seal_of(mapping);
	mapping->previous = NULL;
	mapping->block.next = (struct Block *)stripe->first;
	if (stripe->first != NULL)
		stripe->first->previous = mapping;
	stripe->first = mapping;
	unlock(&stripe->lock);
}

static void unlist(struct mapping *mapping)
{
	struct stripe *stripe = stripe_of(mapping);
	struct mapping *next;

	lock(&stripe->lock);
	next = next_of(mapping);
	if (next != NULL)
		next->previous = mapping->previous;
	if (mapping->previous != NULL)
		mapping->previous->block.next = mapping->block.next;
	else
		stripe->first = next;
	mapping->seal = 0;
	unlock(&stripe->lock);
}

/* The size of a mapping whose payload of `size` bytes begins at `offset`. 0: too big for any address space. */
static size_t mapping_size(size_t offset, size_t size)
{
	size_t page = os_page_size();

	if (size > PTRDIFF_MAX - offset - page)
		return 0;
	/* Also malloc(0) has a byte of its own: its address would be the next mapping's otherwise. */
	return (offset + size + (size == 0) + page - 1) & -page;
}

static void *allocate(size_t alignment, size_t size)
{
	size_t page = os_page_size();
	size_t offset = alignment < sizeof(struct mapping) ? sizeof(struct mapping)
			: alignment < page                 ? alignment
							   : page;
	size_t length = mapping_size(offset, size);
	struct mapping *mapping;
	char *start = NULL;

	if (length != 0 && alignment <= page) {
		start = os_map(length, page);
	} else if (length != 0 && length - page <= PTRDIFF_MAX - alignment) {
		/* The payload is at the second multiple of the alignment, the header in the page before, and what precedes that goes back. */
		start = os_map(alignment + length - page, alignment);
		if (start != NULL && !os_unmap(start, alignment - page)) {
			os_unmap(start, alignment + length - page);
			start = NULL;
		}
		if (start != NULL)
			start += alignment - page;
	}
	if (start == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	mapping = (struct mapping *)(start + offset) - 1;
	mapping->block.size = length;
	list(mapping);
	return mapping + 1;
}

void *my_malloc(size_t size)
{
	return allocate(ALIGNMENT_MIN, size);
}

static bool unmap(struct mapping *mapping)
{
	struct Block *block = &mapping->block;

	if (os_unmap(mapping_start(mapping), block->size))
		return true;
	lock(&refused.lock);
	block->next = atomic_load_explicit(&refused.first, memory_order_relaxed);
	atomic_store_explicit(&refused.first, block, memory_order_relaxed);
	unlock(&refused.lock);
	return false;
}

/* Tries the refused mapping that is first now. False: there is none, or it was refused again. */
static bool retry_refused(void)
{
	struct Block *block;

	if (atomic_load_explicit(&refused.first, memory_order_relaxed) == NULL)
		return false;
	lock(&refused.lock);
	block = atomic_load_explicit(&refused.first, memory_order_relaxed);
	if (block != NULL)
		atomic_store_explicit(&refused.first, block->next, memory_order_relaxed);
	unlock(&refused.lock);
	return block != NULL && unmap((struct mapping *)block);
}

void my_free(void *pointer)
{
	struct mapping *mapping;

	if (pointer == NULL)
		return;
	mapping = mapping_of(pointer);
	unlist(mapping);
	if (unmap(mapping))
		retry_refused();
}

void *my_calloc(size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	/* Mappings are zero from the start. */
	return my_malloc(total);
}

void *my_realloc(void *pointer, size_t size)
{
	struct mapping *mapping;
	size_t offset, length;
	char *start;

	if (pointer == NULL)
		return my_malloc(size);
	if (size == 0) {
		my_free(pointer);
		return NULL;
	}
	mapping = mapping_of(pointer);
	start = mapping_start(mapping);
	offset = (size_t)((char *)pointer - start);
	length = mapping_size(offset, size);
	if (length == mapping->block.size)
		return pointer;
	if (length == 0) {
		errno = ENOMEM;
		return NULL;
	}
	/* Others must not follow a link to the header while it moves. */
	unlist(mapping);
	start = os_remap(start, mapping->block.size, length, true);
	if (start == NULL) {
		list(mapping);
		/* What shrinks fits where it is. */
		return length < mapping->block.size ? pointer : NULL;
	}
	mapping = (struct mapping *)(start + offset) - 1;
	mapping->block.size = length;
	list(mapping);
	return mapping + 1;
}

void *my_reallocarray(void *pointer, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return my_realloc(pointer, total);
}

void *my_aligned_alloc(size_t alignment, size_t size)
{
	if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
		errno = EINVAL;
		return NULL;
	}
	return allocate(alignment, size);
}

int my_posix_memalign(void **result, size_t alignment, size_t size)
{
	int saved_errno = errno;
	void *pointer;

	if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
		return EINVAL;
	pointer = allocate(alignment, size);
	errno = saved_errno;
	if (pointer == NULL)
		return ENOMEM;
	*result = pointer;
	return 0;
}

void *my_memalign(size_t alignment, size_t size)
{
	return my_aligned_alloc(alignment, size);
}

size_t my_malloc_usable_size(void *pointer)
{
	return pointer == NULL ? 0 : payload_size(mapping_of(pointer));
}

int my_malloc_trim(size_t pad)
{
	int released = 0;

	(void)pad;
	while (retry_refused())
		released = 1;
	return released;
}

static bool visit_mapping(const struct mapping *mapping, region_visitor *visit, void *context)
{
	const char *start = mapping_start(mapping);
	size_t live = payload_size(mapping);
	struct region header = {start, mapping->block.size - live, REGION_META, NULL, start, mapping->block.size};
	struct region block = {mapping + 1, live, REGION_LIVE, mapping + 1, start, mapping->block.size};

	return visit(&header, context) && visit(&block, context);
}

bool my_walk(region_visitor *visit, void *context)
{
	for (size_t i = 0; i < STRIPES; i++)
		for (const struct mapping *mapping = stripes[i].first; mapping != NULL; mapping = next_of(mapping))
			if (!visit_mapping(mapping, visit, context))
				return false;
	for (const struct Block *block = refused.first; block != NULL; block = block->next) {
		const char *start = mapping_start((const struct mapping *)block);
		struct region region = {start, block->size, REGION_FREE, NULL, start, block->size};

		if (!visit(&region, context))
			return false;
	}
	return true;
}

static const char *mapping_fault(const struct mapping *mapping, const struct mapping *previous,
				 const struct stripe *stripe)
{
	if (mapping->seal != seal_of(mapping))
		return "the seal is broken";
	if (mapping->previous != previous)
		return "the back link is wrong";
	if (stripe_of(mapping) != stripe)
		return "the list is not its own";
	if (mapping->block.size == 0 || mapping->block.size % os_page_size() != 0)
		return "the size is not one of whole pages";
	return NULL;
}

bool my_check(char *why, size_t size)
{
	size_t mapped = 0;
	struct heap_stats stats;

	for (size_t i = 0; i < STRIPES; i++) {
		const struct mapping *previous = NULL;

		for (const struct mapping *mapping = stripes[i].first; mapping != NULL; mapping = next_of(mapping)) {
			const char *fault = mapping_fault(mapping, previous, &stripes[i]);

			if (fault != NULL) {
				snprintf(why, size, "block %p: %s", (const void *)(mapping + 1), fault);
				return false;
			}
			mapped += mapping->block.size;
			previous = mapping;
		}
	}
	/* Other users of the OS seam may have mappings too. */
	os_stats(&stats);
	if (mapped > stats.mapped) {
		snprintf(why, size, "%zu bytes are listed, but only %zu are mapped", mapped, stats.mapped);
		return false;
	}
	return true;
}

void my_stats(struct heap_stats *stats)
{
	os_stats(stats);
}

static void fork_prepare(void)
{
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_lock(&stripes[i].lock);
	pthread_mutex_lock(&refused.lock);
	forking = true;
}

static void fork_done(void)
{
	forking = false;
	pthread_mutex_unlock(&refused.lock);
	for (size_t i = STRIPES; i-- > 0;)
		pthread_mutex_unlock(&stripes[i].lock);
}

/* A constructor and not the first malloc: the C library may allocate here, and a reset of this file's variables must not register twice. */
static __attribute__((constructor)) void register_fork_handlers(void)
{
	pthread_atfork(fork_prepare, fork_done, fork_done);
}
