/* The flag is looked at without the lock: the signal comes between the look and the wait, and nobody waits yet. */
#include "pattern.h"

static _Atomic int ready;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void *waiter(void *argument)
{
#ifdef CORRECT
	pthread_mutex_lock(&lock);
	while (atomic_load(&ready) == 0)
		pthread_cond_wait(&condition, &lock);
	pthread_mutex_unlock(&lock);
#else
	if (atomic_load(&ready) == 0) {
		pthread_mutex_lock(&lock);
		pthread_cond_wait(&condition, &lock);
		pthread_mutex_unlock(&lock);
	}
#endif
	return argument;
}

static void *signaler(void *argument)
{
	pthread_mutex_lock(&lock);
	atomic_store(&ready, 1);
	pthread_cond_signal(&condition);
	pthread_mutex_unlock(&lock);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[2];

	pattern_start(&threads[0], waiter, 0);
	pattern_start(&threads[1], signaler, 0);
	pattern_join(threads, 2);
}
