/* References are counted down in two steps: two that drop the last two may both see that none is left. */
#include "pattern.h"

#define THREADS 3

static _Atomic int references = THREADS, freed;

static void *user(void *argument)
{
#ifdef CORRECT
	if (atomic_fetch_sub(&references, 1) == 1)
		atomic_fetch_add(&freed, 1);
#else
	atomic_fetch_sub(&references, 1);
	if (atomic_load(&references) == 0)
		atomic_fetch_add(&freed, 1);
#endif
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], user, 0);
	pattern_join(threads, THREADS);
	PATTERN_CHECK(atomic_load(&freed) == 1);
}
