#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>

/* Independent counters that order nothing: all accesses are relaxed. */
static struct {
	_Atomic size_t mapped, mapped_peak, purged, map_calls, unmap_calls;
} counts;

/* Where the next aligned mapping is tried: right below the last one, as the kernel itself goes downwards. 0: none so far. */
static _Atomic uintptr_t hint;

static size_t load(_Atomic size_t *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static void add(_Atomic size_t *count, size_t amount)
{
	atomic_fetch_add_explicit(count, amount, memory_order_relaxed);
}

static void sub(_Atomic size_t *count, size_t amount)
{
	atomic_fetch_sub_explicit(count, amount, memory_order_relaxed);
}

static void count_mapped(size_t size)
{
	size_t now = atomic_fetch_add_explicit(&counts.mapped, size, memory_order_relaxed) + size;
	size_t peak = load(&counts.mapped_peak);

	while (now > peak && !atomic_compare_exchange_weak_explicit(&counts.mapped_peak, &peak, now,
								    memory_order_relaxed, memory_order_relaxed))
		;
}

size_t os_page_size(void)
{
	static _Atomic size_t page_size;
	size_t size = load(&page_size);

	if (size == 0) {
		/* sysconf may not be called this early by a preloaded library; the auxiliary vector is there from the start. */
		size = getauxval(AT_PAGESZ);
		if (size == 0)
			size = 4096;
		atomic_store_explicit(&page_size, size, memory_order_relaxed);
	}
	return size;
}

static void *map(uintptr_t address, size_t size)
{
	void *start = mmap((void *)address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED) {
		errno = ENOMEM;
		return NULL;
	}
	return start;
}

/* Unmaps without counting: for what was never handed out. What the OS refuses to take stays mapped and is counted. */
static void discard(uintptr_t start, size_t size)
{
	if (size != 0 && munmap((void *)start, size) != 0)
		count_mapped(size);
}

static void *map_aligned(size_t size, size_t alignment)
{
	uintptr_t wanted = atomic_load_explicit(&hint, memory_order_relaxed);
	uintptr_t start;
	size_t slack = alignment - os_page_size();

	/* Where there is no hint the OS may still choose well: Linux aligns what holds a huge page since 6.7. */
	wanted = wanted > size && wanted - size >= alignment ? (wanted - size) & -alignment : 0;
	start = (uintptr_t)map(wanted, size);
	if (start == 0)
		return NULL;
	if ((start & (alignment - 1)) == 0)
		return (void *)start;
	discard(start, size);
	if (size > SIZE_MAX - slack) {
		errno = ENOMEM;
		return NULL;
	}
	start = (uintptr_t)map(0, size + slack);
	if (start == 0)
		return NULL;
	wanted = (start + alignment - 1) & -alignment;
	discard(start, wanted - start);
	discard(wanted + size, start + slack - wanted);
	return (void *)wanted;
}

void *os_map(size_t size, size_t alignment)
{
	void *start;

	if (alignment <= os_page_size()) {
		start = map(0, size);
	} else {
		start = map_aligned(size, alignment);
		if (start != NULL)
			atomic_store_explicit(&hint, (uintptr_t)start, memory_order_relaxed);
	}
	if (start == NULL)
		return NULL;
	count_mapped(size);
	add(&counts.map_calls, 1);
	return start;
}

bool os_unmap(void *start, size_t size)
{
	int saved_errno = errno;
	uintptr_t lowest = (uintptr_t)start;

	if (munmap(start, size) != 0) {
		errno = saved_errno;
		return false;
	}
	/* The place of the lowest mapping is free again: without this, map and unmap in turn would wander down for ever. */
	atomic_compare_exchange_strong_explicit(&hint, &lowest, (uintptr_t)start + size, memory_order_relaxed,
						memory_order_relaxed);
	sub(&counts.mapped, size);
	add(&counts.unmap_calls, 1);
	return true;
}

void *os_remap(void *start, size_t old_size, size_t new_size, bool may_move)
{
	void *result = mremap(start, old_size, new_size, may_move ? MREMAP_MAYMOVE : 0);

	if (result == MAP_FAILED) {
		errno = ENOMEM;
		return NULL;
	}
	if (new_size > old_size) {
		count_mapped(new_size - old_size);
		add(&counts.map_calls, 1);
	} else {
		sub(&counts.mapped, old_size - new_size);
	}
	return result;
}

bool os_move(void *from, size_t from_size, void *to, size_t to_size)
{
	/* In one go with what lies behind the pages, so that it is one area for the kernel, which can grow in place. */
	if (mremap(from, from_size, to_size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED) {
		errno = ENOMEM;
		return false;
	}
	sub(&counts.mapped, from_size);
	add(&counts.unmap_calls, 1);
	return true;
}

bool os_purge(void *start, size_t size)
{
	int saved_errno = errno;

	if (madvise(start, size, MADV_DONTNEED) != 0) {
		errno = saved_errno;
		return false;
	}
	add(&counts.purged, size);
	return true;
}

bool os_guard(void *start, size_t size)
{
	int saved_errno = errno;
	bool done = mprotect(start, size, PROT_NONE) == 0;

	errno = saved_errno;
	return done;
}

void os_reuse(size_t size)
{
	sub(&counts.purged, size);
}

size_t os_held(void)
{
	size_t mapped = load(&counts.mapped), purged = load(&counts.purged);

	return mapped > purged ? mapped - purged : 0;
}

void os_stats(struct heap_stats *stats)
{
	stats->mapped = load(&counts.mapped);
	stats->mapped_peak = load(&counts.mapped_peak);
	stats->purged = load(&counts.purged);
	stats->map_calls = load(&counts.map_calls);
	stats->unmap_calls = load(&counts.unmap_calls);
}
