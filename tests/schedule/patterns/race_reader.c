/* A write under the read side of a read-write lock: a data race between two readers. */
#include "pattern.h"

static int hits;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static void *worker(void *argument)
{
#ifdef CORRECT
	pthread_rwlock_wrlock(&lock);
#else
	pthread_rwlock_rdlock(&lock);
#endif
	hits++;
	pthread_rwlock_unlock(&lock);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[2];

	pattern_start(&threads[0], worker, 0);
	pattern_start(&threads[1], worker, 0);
	pattern_join(threads, 2);
}
