/* The same with fences: relaxed accesses with a fence on each side order the data, without one they do not. */
#include "pattern.h"

static int data;
static _Atomic int published;

static void *writer(void *argument)
{
	data = 1;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	atomic_store_explicit(&published, 1, memory_order_relaxed);
	return argument;
}

static void *reader(void *argument)
{
	while (atomic_load_explicit(&published, memory_order_relaxed) == 0)
		;
#ifdef CORRECT
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
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
