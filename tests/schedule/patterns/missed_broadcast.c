/* Two wait on one condition for different things, and a signal wakes the one that has nothing to do with it. */
#include "pattern.h"

static int granted[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void *waiter(void *argument)
{
	const unsigned mine = (unsigned)(uintptr_t)argument;

	pthread_mutex_lock(&lock);
	while (granted[mine] == 0)
		pthread_cond_wait(&condition, &lock);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void *granter(void *argument)
{
	pthread_mutex_lock(&lock);
	granted[(uintptr_t)argument] = 1;
#ifdef CORRECT
	pthread_cond_broadcast(&condition);
#else
	pthread_cond_signal(&condition);
#endif
	pthread_mutex_unlock(&lock);
	return NULL;
}

void pattern_run(void)
{
	pthread_t threads[4];

	pattern_start(&threads[0], waiter, 0);
	pattern_start(&threads[1], waiter, 1);
	pattern_start(&threads[2], granter, 0);
	pattern_start(&threads[3], granter, 1);
	pattern_join(threads, 4);
}
