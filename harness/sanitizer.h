/* What the engine asks of a sanitizer's runtime. The engine itself is never instrumented; without a runtime these do nothing. */
#ifndef HEAPSTORM_HARNESS_SANITIZER_H
#define HEAPSTORM_HARNESS_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>

void __asan_poison_memory_region(const volatile void *address, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *address, size_t size) __attribute__((weak));
void *__asan_region_is_poisoned(void *start, size_t size) __attribute__((weak));
void *__asan_get_report_address(void) __attribute__((weak));
int __asan_get_report_access_type(void) __attribute__((weak));
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

#endif
