/* Double-checked initialization that says it is done before it is. */
#include "pattern.h"

#define THREADS 2

static _Atomic int done, value;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *user(void *argument)
{
	if (!atomic_load(&done)) {
		pthread_mutex_lock(&lock);
		if (!atomic_load(&done)) {
#ifdef CORRECT
			atomic_store(&value, 42);
			atomic_store(&done, 1);
#else
			atomic_store(&done, 1);
			atomic_store(&value, 42);
#endif
		}
		pthread_mutex_unlock(&lock);
	}
	PATTERN_CHECK(atomic_load(&value) == 42);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], user, 0);
	pattern_join(threads, THREADS);
}
