/* Two writes that one reader sees half done: it must come after some writer's first write and before any writer's second. */
#include "pattern.h"

#ifndef THREADS
#define THREADS 3
#endif

static _Atomic int first, second;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *writer(void *argument)
{
#ifdef CORRECT
	pthread_mutex_lock(&lock);
#endif
	atomic_store(&first, 1);
	atomic_store(&second, 1);
#ifdef CORRECT
	pthread_mutex_unlock(&lock);
#endif
	return argument;
}

static void *reader(void *argument)
{
	int a, b;

#ifdef CORRECT
	pthread_mutex_lock(&lock);
#endif
	a = atomic_load(&first);
	b = atomic_load(&second);
#ifdef CORRECT
	pthread_mutex_unlock(&lock);
#endif
	PATTERN_CHECK(!(a == 1 && b == 0));
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS + 1];

	(void)lock;
	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], writer, 0);
	pattern_start(&threads[THREADS], reader, 0);
	pattern_join(threads, THREADS + 1);
}
