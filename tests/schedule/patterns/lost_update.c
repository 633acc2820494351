/* A counter that is read and written, each atomically, but not both at once. */
#include "pattern.h"

#define THREADS 3

static _Atomic int count;

static void *worker(void *argument)
{
#ifdef CORRECT
	atomic_fetch_add(&count, 1);
#else
	atomic_store(&count, atomic_load(&count) + 1);
#endif
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], worker, 0);
	pattern_join(threads, THREADS);
	PATTERN_CHECK(atomic_load(&count) == THREADS);
}
