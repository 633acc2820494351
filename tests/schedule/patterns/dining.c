/* Dining philosophers: all take the left fork first, or the last one the right. */
#include "pattern.h"

#ifndef THREADS
#define THREADS 5
#endif

static pthread_mutex_t forks[THREADS];
static int meals;

static void *philosopher(void *argument)
{
	unsigned left = (unsigned)(uintptr_t)argument, right = (left + 1) % THREADS;

#ifdef CORRECT
	if (right < left) {
		left = right;
		right = THREADS - 1;
	}
#endif
	pthread_mutex_lock(&forks[left]);
	pthread_mutex_lock(&forks[right]);
	__atomic_fetch_add(&meals, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&forks[right]);
	pthread_mutex_unlock(&forks[left]);
	return NULL;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pthread_mutex_init(&forks[i], NULL);
	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], philosopher, i);
	pattern_join(threads, THREADS);
	PATTERN_CHECK(meals == THREADS);
}
