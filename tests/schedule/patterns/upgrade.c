/* A read lock is given up for a write lock, and what was seen under the first is not looked at again. */
#include "pattern.h"

#define THREADS 2

static int made;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static void *user(void *argument)
{
	int seen;

	pthread_rwlock_rdlock(&lock);
	seen = made;
	pthread_rwlock_unlock(&lock);
	if (seen == 0) {
		pthread_rwlock_wrlock(&lock);
#ifdef CORRECT
		if (made == 0)
#endif
			made++;
		pthread_rwlock_unlock(&lock);
	}
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], user, 0);
	pattern_join(threads, THREADS);
	PATTERN_CHECK(made == 1);
}
