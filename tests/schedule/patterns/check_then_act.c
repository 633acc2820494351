/* Room is looked for first and taken afterwards. */
#include "pattern.h"

#define THREADS 3
#define ROOM 2

static _Atomic int used;

static void *taker(void *argument)
{
#ifdef CORRECT
	int seen = atomic_load(&used);

	while (seen < ROOM && !atomic_compare_exchange_strong(&used, &seen, seen + 1))
		;
#else
	if (atomic_load(&used) < ROOM)
		atomic_fetch_add(&used, 1);
#endif
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], taker, 0);
	pattern_join(threads, THREADS);
	PATTERN_CHECK(atomic_load(&used) <= ROOM);
}
