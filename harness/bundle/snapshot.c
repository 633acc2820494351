#define _GNU_SOURCE

#include "bundle.h"

#include <stdint.h>
#include <sys/mman.h>

/* The brackets hold redzones of the sanitizers, which these copies read and write like all else. */
#define UNCHECKED __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

#if defined(__x86_64__)
/* Not memcpy: AddressSanitizer's would report the redzones. */
UNCHECKED static void copy_bytes(char *to, const char *from, size_t size)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}
#else
/* Volatile keeps the compiler from making a call of memcpy of this, which AddressSanitizer's would report the redzones. */
UNCHECKED static void copy_bytes(char *to, const char *from, size_t size)
{
	typedef uint64_t __attribute__((aligned(1), may_alias)) word;
	size_t i = 0;

	for (; i + sizeof(word) <= size; i += sizeof(word))
		*(volatile word *)(to + i) = *(const volatile word *)(from + i);
	for (; i < size; i++)
		((volatile char *)to)[i] = ((const volatile char *)from)[i];
}
#endif

#define RANGES 4

static void ranges_of(const struct bundle *bundle, struct bundle_range ranges[RANGES])
{
	ranges[0] = bundle->data;
	ranges[1] = bundle->bss;
	bundle->thread_local_ranges(&ranges[2], &ranges[3]);
}

bool bundle_snapshot_take(const struct bundle *bundle, struct bundle_snapshot *snapshot)
{
	struct bundle_range ranges[RANGES];
	size_t size = 0;

	ranges_of(bundle, ranges);
	for (int i = 0; i < RANGES; i++)
		size += (size_t)(ranges[i].end - ranges[i].begin);

	char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (copy == MAP_FAILED)
		return false;
	snapshot->bundle = bundle;
	snapshot->copy = copy;
	snapshot->size = size;
	for (int i = 0; i < RANGES; i++) {
		size_t length = (size_t)(ranges[i].end - ranges[i].begin);

		copy_bytes(copy, ranges[i].begin, length);
		copy += length;
	}
	return true;
}

void bundle_snapshot_restore(const struct bundle_snapshot *snapshot)
{
	struct bundle_range ranges[RANGES];
	const char *copy = snapshot->copy;

	ranges_of(snapshot->bundle, ranges);
	for (int i = 0; i < RANGES; i++) {
		size_t length = (size_t)(ranges[i].end - ranges[i].begin);

		copy_bytes(ranges[i].begin, copy, length);
		copy += length;
	}
}

void bundle_snapshot_release(struct bundle_snapshot *snapshot)
{
	munmap(snapshot->copy, snapshot->size);
	snapshot->copy = NULL;
	snapshot->size = 0;
}

size_t bundle_thread_size(const struct bundle *bundle)
{
	struct bundle_range tdata, tbss;

	bundle->thread_local_ranges(&tdata, &tbss);
	return (size_t)(tdata.end - tdata.begin) + (size_t)(tbss.end - tbss.begin);
}

void bundle_thread_save(const struct bundle *bundle, char *copy)
{
	struct bundle_range tdata, tbss;

	bundle->thread_local_ranges(&tdata, &tbss);
	copy_bytes(copy, tdata.begin, (size_t)(tdata.end - tdata.begin));
	copy_bytes(copy + (tdata.end - tdata.begin), tbss.begin, (size_t)(tbss.end - tbss.begin));
}

void bundle_thread_restore(const struct bundle *bundle, const char *copy)
{
	struct bundle_range tdata, tbss;

	bundle->thread_local_ranges(&tdata, &tbss);
	copy_bytes(tdata.begin, copy, (size_t)(tdata.end - tdata.begin));
	copy_bytes(tbss.begin, copy + (tdata.end - tdata.begin), (size_t)(tbss.end - tbss.begin));
}
