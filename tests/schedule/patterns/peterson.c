/* Peterson's mutual exclusion, with the wish raised after the turn is given away. */
#include "pattern.h"

static _Atomic int wishes[2], turn, inside;

static void *worker(void *argument)
{
	const int mine = (int)(uintptr_t)argument, other = 1 - mine;

#ifdef CORRECT
	atomic_store(&wishes[mine], 1);
	atomic_store(&turn, other);
#else
	atomic_store(&turn, other);
	atomic_store(&wishes[mine], 1);
#endif
	while (atomic_load(&wishes[other]) == 1 && atomic_load(&turn) == other)
		;
	PATTERN_CHECK(atomic_fetch_add(&inside, 1) == 0);
	atomic_fetch_sub(&inside, 1);
	atomic_store(&wishes[mine], 0);
	return NULL;
}

void pattern_run(void)
{
	pthread_t threads[2];

	pattern_start(&threads[0], worker, 0);
	pattern_start(&threads[1], worker, 1);
	pattern_join(threads, 2);
}
