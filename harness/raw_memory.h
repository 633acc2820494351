/*
 * Memory access behind the back of the sanitizers. The engine reads and writes memory that it has poisoned itself, and memory of the
 * allocator under test: calls to memset or memcpy would land in a sanitizer's interceptors. The loops below carry a barrier so
 * that no compiler turns them back into such calls.
 */
#ifndef HEAPSTORM_HARNESS_RAW_MEMORY_H
#define HEAPSTORM_HARNESS_RAW_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Any alignment, may alias anything. */
typedef uint64_t raw_word __attribute__((aligned(1), may_alias));
typedef uint64_t raw_vector __attribute__((vector_size(16), aligned(1), may_alias));

/* In a tree that is instrumented as a whole these are not. */
#define RAW __attribute__((no_sanitize("address", "undefined", "thread"), unused)) static inline

#define RAW_BARRIER() __asm__ volatile("" ::: "memory")

RAW void raw_zero(void *to, size_t size)
{
	unsigned char *p = to;
	const raw_vector zero = {0, 0};

	for (; size >= 64; p += 64, size -= 64) {
		*(raw_vector *)(p + 0) = zero;
		*(raw_vector *)(p + 16) = zero;
		*(raw_vector *)(p + 32) = zero;
		*(raw_vector *)(p + 48) = zero;
		RAW_BARRIER();
	}
	for (; size > 0; p++, size--) {
		*p = 0;
		RAW_BARRIER();
	}
}

RAW void raw_copy(void *to, const void *from, size_t size)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	for (; size >= 64; t += 64, f += 64, size -= 64) {
		const raw_vector a = *(const raw_vector *)(f + 0), b = *(const raw_vector *)(f + 16);
		const raw_vector c = *(const raw_vector *)(f + 32), d = *(const raw_vector *)(f + 48);

		*(raw_vector *)(t + 0) = a;
		*(raw_vector *)(t + 16) = b;
		*(raw_vector *)(t + 32) = c;
		*(raw_vector *)(t + 48) = d;
		RAW_BARRIER();
	}
	for (; size > 0; t++, f++, size--) {
		*t = *f;
		RAW_BARRIER();
	}
}

/* Offset of the first byte that is not zero, or `size`. */
RAW size_t raw_first_nonzero(const void *from, size_t size)
{
	const unsigned char *p = from;
	size_t i = 0;

	for (; i + 64 <= size; i += 64) {
		const raw_vector v = *(const raw_vector *)(p + i) | *(const raw_vector *)(p + i + 16) |
				     *(const raw_vector *)(p + i + 32) | *(const raw_vector *)(p + i + 48);
		if ((v[0] | v[1]) != 0)
			break;
	}
	for (; i + 8 <= size; i += 8)
		if (*(const raw_word *)(p + i) != 0)
			break;
	while (i < size && p[i] == 0)
		i++;
	return i;
}

#endif
