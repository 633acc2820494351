/* Plain data is published through an atomic flag that orders nothing: a data race. */
#include "pattern.h"

static int data;
static _Atomic int published;

static void *writer(void *argument)
{
	data = 1;
#ifdef CORRECT
	atomic_store_explicit(&published, 1, memory_order_release);
#else
	atomic_store_explicit(&published, 1, memory_order_relaxed);
#endif
	return argument;
}

static void *reader(void *argument)
{
	if (atomic_load_explicit(&published, memory_order_acquire) == 1)
		PATTERN_CHECK(data == 1);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[2];

	pattern_start(&threads[0], writer, 0);
	pattern_start(&threads[1], reader, 0);
	pattern_join(threads, 2);
}
