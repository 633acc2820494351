/* A semaphore that guards a section but starts with room for two. */
#include <semaphore.h>

#include "pattern.h"

#define THREADS 3

static sem_t semaphore;
static _Atomic int inside;

static void *user(void *argument)
{
	sem_wait(&semaphore);
	PATTERN_CHECK(atomic_fetch_add(&inside, 1) == 0);
	atomic_fetch_sub(&inside, 1);
	sem_post(&semaphore);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

#ifdef CORRECT
	sem_init(&semaphore, 0, 1);
#else
	sem_init(&semaphore, 0, 2);
#endif
	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], user, 0);
	pattern_join(threads, THREADS);
}
