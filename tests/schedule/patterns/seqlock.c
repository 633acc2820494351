/* A sequence lock whose reader does not look at the number a second time. */
#include "pattern.h"

static _Atomic unsigned sequence;
static _Atomic int left, right;

static void *writer(void *argument)
{
	for (int value = 1; value <= 2; value++) {
		atomic_fetch_add(&sequence, 1);
		atomic_store(&left, value);
		atomic_store(&right, value);
		atomic_fetch_add(&sequence, 1);
	}
	return argument;
}

static void *reader(void *argument)
{
	unsigned before;
	int a, b;

	do {
		while ((before = atomic_load(&sequence)) % 2 != 0)
			;
		a = atomic_load(&left);
		b = atomic_load(&right);
#ifdef CORRECT
	} while (atomic_load(&sequence) != before);
#else
	} while (0);
#endif
	PATTERN_CHECK(a == b);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[2];

	pattern_start(&threads[0], writer, 0);
	pattern_start(&threads[1], reader, 0);
	pattern_join(threads, 2);
}
