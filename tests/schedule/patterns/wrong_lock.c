/* One variable, two locks: a data race. */
#include "pattern.h"

static int count;
static pthread_mutex_t locks[2];

static void *worker(void *argument)
{
#ifdef CORRECT
	pthread_mutex_t *const lock = &locks[0];
#else
	pthread_mutex_t *const lock = &locks[(uintptr_t)argument];
#endif
	pthread_mutex_lock(lock);
	count++;
	pthread_mutex_unlock(lock);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[2];

	pthread_mutex_init(&locks[0], NULL);
	pthread_mutex_init(&locks[1], NULL);
	pattern_start(&threads[0], worker, 0);
	pattern_start(&threads[1], worker, 1);
	pattern_join(threads, 2);
}
