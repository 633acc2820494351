/* What the engine asks of a sanitizer's runtime. The engine itself is never instrumented; without a runtime these do nothing. */
#ifndef HEAPSTORM_HARNESS_SANITIZER_H
#define HEAPSTORM_HARNESS_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raw_memory.h"

void __asan_poison_memory_region(const volatile void *address, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *address, size_t size) __attribute__((weak));
void *__asan_region_is_poisoned(void *start, size_t size) __attribute__((weak));
void *__asan_get_report_address(void) __attribute__((weak));
int __asan_get_report_access_type(void) __attribute__((weak));
void __asan_get_shadow_mapping(size_t *scale, size_t *offset) __attribute__((weak));
void __asan_set_error_report_callback(void (*callback)(const char *report)) __attribute__((weak));
void __ubsan_get_current_report_data(const char **kind, const char **message, const char **file, unsigned *line,
				     unsigned *column, char **address) __attribute__((weak));

void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));
/* Of ThreadSanitizer's own runtime alone: __tsan_init and the like the scheduled runner has too. */
void *__tsan_get_current_report(void) __attribute__((weak));

static inline bool sanitizer_has_tsan(void)
{
	return __tsan_get_current_report != NULL;
}

static inline bool sanitizer_has_asan(void)
{
	return __asan_poison_memory_region != NULL;
}

/* Tells ThreadSanitizer that what threads did before they released an address comes before what follows here, and the other way round. */
static inline void sanitizer_acquire(void *address)
{
	if (__tsan_acquire != NULL)
		__tsan_acquire(address);
}

static inline void sanitizer_release(void *address)
{
	if (__tsan_release != NULL)
		__tsan_release(address);
}

/* AddressSanitizer's shadow has a byte for each 8 bytes of memory; it begins here, 0 where there is none. */
extern uintptr_t sanitizer_shadow;

/* Finds the shadow. To be called before the two functions of blocks. */
void sanitizer_open(void);

/* Up to here the shadow is written by hand, for which a call costs several times as much. */
#define SANITIZER_BY_HAND 1024

#define SANITIZER_POISON 0xf7 /* memory that the program poisoned itself */

RAW void sanitizer_shadow_fill(unsigned char *shadow, size_t size, unsigned char value)
{
	const uint64_t eight = UINT64_C(0x0101010101010101) * value;

	for (; size >= 8; shadow += 8, size -= 8) {
		*(raw_word *)shadow = eight;
		RAW_BARRIER();
	}
	for (; size > 0; shadow++, size--) {
		*shadow = value;
		RAW_BARRIER();
	}
}

static inline void sanitizer_poison(const void *address, size_t size)
{
	if (__asan_poison_memory_region != NULL)
		__asan_poison_memory_region(address, size);
}

static inline void sanitizer_unpoison(const void *address, size_t size)
{
	if (__asan_unpoison_memory_region != NULL)
		__asan_unpoison_memory_region(address, size);
}

/*
 * The same for the blocks of an allocator, most of them small and at a multiple of 8. Of the last 8 bytes that a block shares with
 * others the shadow tells how many, from the first on, may be used.
 */
RAW void sanitizer_poison_block(const void *address, size_t size)
{
	if (sanitizer_shadow == 0 || (uintptr_t)address % 8 != 0 || size > SANITIZER_BY_HAND) {
		sanitizer_poison(address, size);
		return;
	}
	unsigned char *const shadow = (unsigned char *)(((uintptr_t)address >> 3) + sanitizer_shadow);
	const size_t whole = size / 8, rest = size % 8;

	sanitizer_shadow_fill(shadow, whole, SANITIZER_POISON);
	/* Only where nothing behind the block may be used. */
	if (rest != 0 && shadow[whole] != 0 && shadow[whole] <= rest)
		shadow[whole] = SANITIZER_POISON;
}

RAW void sanitizer_unpoison_block(const void *address, size_t size)
{
	if (sanitizer_shadow == 0 || (uintptr_t)address % 8 != 0 || size > SANITIZER_BY_HAND) {
		sanitizer_unpoison(address, size);
		return;
	}
	unsigned char *const shadow = (unsigned char *)(((uintptr_t)address >> 3) + sanitizer_shadow);
	const size_t whole = size / 8, rest = size % 8;

	sanitizer_shadow_fill(shadow, whole, 0);
	/* From 0x80 on the whole is poisoned. */
	if (rest != 0 && shadow[whole] != 0 && (shadow[whole] >= 0x80 || shadow[whole] < rest))
		shadow[whole] = (unsigned char)rest;
}

#endif
