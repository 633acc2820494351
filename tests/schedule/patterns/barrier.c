/* Phases with one barrier where two are needed: a fast thread writes for the next phase while a slow one still reads. */
#include "pattern.h"

#define THREADS 3
#define PHASES 2

static _Atomic int slots[THREADS];
static pthread_barrier_t barrier;

static void *worker(void *argument)
{
	const unsigned mine = (unsigned)(uintptr_t)argument;

	for (int phase = 1; phase <= PHASES; phase++) {
		atomic_store(&slots[mine], phase);
		pthread_barrier_wait(&barrier);
		PATTERN_CHECK(atomic_load(&slots[(mine + 1) % THREADS]) == phase);
#ifdef CORRECT
		pthread_barrier_wait(&barrier);
#endif
	}
	return NULL;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], worker, i);
	pattern_join(threads, THREADS);
}
