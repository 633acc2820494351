/* A spin lock that one path, taken only if another thread was quicker, does not open. */
#include <sched.h>

#include "pattern.h"

#define THREADS 3

static _Atomic int locked, count;

static void *worker(void *argument)
{
	int seen = atomic_load(&count);

	while (atomic_exchange(&locked, 1) != 0)
		;
	if (atomic_load(&count) != seen) {
#ifdef CORRECT
		atomic_store(&locked, 0);
#endif
		return argument;
	}
	atomic_store(&count, seen + 1);
	atomic_store(&locked, 0);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], worker, 0);
	pattern_join(threads, THREADS);
}
