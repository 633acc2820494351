/* A buffer whose consumers look once, with `if`, and not again after they were woken. */
#include "pattern.h"

#define CONSUMERS 2

static int filled;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER;

static void *producer(void *argument)
{
	for (unsigned i = 0; i < CONSUMERS; i++) {
		pthread_mutex_lock(&lock);
		filled++;
		pthread_cond_signal(&not_empty);
		pthread_mutex_unlock(&lock);
	}
	return argument;
}

static void *consumer(void *argument)
{
	pthread_mutex_lock(&lock);
#ifdef CORRECT
	while (filled == 0)
#else
	if (filled == 0)
#endif
		pthread_cond_wait(&not_empty, &lock);
	PATTERN_CHECK(filled > 0);
	filled--;
	pthread_mutex_unlock(&lock);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[CONSUMERS + 1];

	for (unsigned i = 0; i < CONSUMERS; i++)
		pattern_start(&threads[i], consumer, 0);
	pattern_start(&threads[CONSUMERS], producer, 0);
	pattern_join(threads, CONSUMERS + 1);
}
