/* A linked queue with a dummy node: two that append at once to the same last node lose one, unless the link is compared and exchanged. */
#include "pattern.h"

#define THREADS 3

static _Atomic uint32_t next[THREADS + 2];
static _Atomic uint32_t tail = 1; /* node 1 is the dummy */

static void *append(void *argument)
{
	const uint32_t node = 2 + (uint32_t)(uintptr_t)argument;

	for (;;) {
		uint32_t last = atomic_load(&tail), none = 0;
		uint32_t after = atomic_load(&next[last]);

		if (after != 0) {
			atomic_compare_exchange_strong(&tail, &last, after); /* helps who is not done */
			continue;
		}
#ifdef CORRECT
		if (!atomic_compare_exchange_strong(&next[last], &none, node))
			continue;
#else
		(void)none;
		atomic_store(&next[last], node);
#endif
		atomic_compare_exchange_strong(&tail, &last, node);
		return NULL;
	}
}

void pattern_run(void)
{
	pthread_t threads[THREADS];
	unsigned length = 0;

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], append, i);
	pattern_join(threads, THREADS);
	for (uint32_t node = 1; (node = atomic_load(&next[node])) != 0 && length <= THREADS;)
		length++;
	PATTERN_CHECK(length == THREADS);
}
