/* Two locks, taken in both orders. */
#include "pattern.h"

static pthread_mutex_t locks[2];

static void *worker(void *argument)
{
	unsigned one = (unsigned)(uintptr_t)argument;

#ifdef CORRECT
	one = 0;
#endif
	for (unsigned round = 0; round < 2; round++) {
		pthread_mutex_lock(&locks[one]);
		pthread_mutex_lock(&locks[1 - one]);
		pthread_mutex_unlock(&locks[1 - one]);
		pthread_mutex_unlock(&locks[one]);
	}
	return NULL;
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
