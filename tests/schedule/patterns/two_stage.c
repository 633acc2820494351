/* Two stages of an update, each under its own lock: a reader sees the first without the second. */
#include "pattern.h"

#ifndef THREADS
#define THREADS 2
#endif

static int first, second;
static pthread_mutex_t first_lock = PTHREAD_MUTEX_INITIALIZER, second_lock = PTHREAD_MUTEX_INITIALIZER;

static void *writer(void *argument)
{
	pthread_mutex_lock(&first_lock);
	first = 1;
#ifndef CORRECT
	pthread_mutex_unlock(&first_lock);
#endif
	pthread_mutex_lock(&second_lock);
	second = 1;
	pthread_mutex_unlock(&second_lock);
#ifdef CORRECT
	pthread_mutex_unlock(&first_lock);
#endif
	return argument;
}

static void *reader(void *argument)
{
	int a, b;

	pthread_mutex_lock(&first_lock);
	a = first;
	pthread_mutex_unlock(&first_lock);
	pthread_mutex_lock(&second_lock);
	b = second;
	pthread_mutex_unlock(&second_lock);
	PATTERN_CHECK(!(a == 1 && b == 0));
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS + 1];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], writer, 0);
	pattern_start(&threads[THREADS], reader, 0);
	pattern_join(threads, THREADS + 1);
}
