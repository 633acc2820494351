/*
 * A pattern: a small program with threads that has one concurrency bug, or none if compiled with CORRECT.
 *
 * It runs under the scheduled runner (pattern_main.c) and freely under ThreadSanitizer (pattern_free.c). All that it remembers is static,
 * so that it starts afresh when that is put back. What is shared and not meant to race is atomic or locked.
 */
#ifndef HEAPSTORM_TESTS_PATTERN_H
#define HEAPSTORM_TESTS_PATTERN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

void pattern_run(void);
__attribute__((noreturn)) void pattern_failed(const char *what);

#define PATTERN_CHECK(condition)                                                                                       \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			pattern_failed(#condition);                                                                    \
	} while (0)

static inline void pattern_start(pthread_t *thread, void *(*start)(void *), uintptr_t argument)
{
	if (pthread_create(thread, NULL, start, (void *)argument) != 0)
		pattern_failed("no thread");
}

static inline void pattern_join(pthread_t *threads, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

#endif
