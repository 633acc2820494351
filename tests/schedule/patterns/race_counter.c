/* A plain counter: a data race. */
#include "pattern.h"

static int count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *worker(void *argument)
{
#ifdef CORRECT
	pthread_mutex_lock(&lock);
#endif
	count++;
#ifdef CORRECT
	pthread_mutex_unlock(&lock);
#endif
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[2];

	(void)lock;
	pattern_start(&threads[0], worker, 0);
	pattern_start(&threads[1], worker, 0);
	pattern_join(threads, 2);
}
