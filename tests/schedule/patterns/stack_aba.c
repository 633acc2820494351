/* A lock-free stack of numbered nodes. The head comes back with another node below it (ABA), unless a tag tells the two apart. */
#include "pattern.h"

#define NODES 3
#define THREADS 2
#ifdef CORRECT
#define TAG ((uint64_t)1 << 32)
#else
#define TAG ((uint64_t)0)
#endif

static _Atomic uint64_t head; /* number of the node, from 1; above it the tag */
static _Atomic uint32_t below[NODES + 1];
static _Atomic int taken[NODES + 1];

static void push(uint32_t node)
{
	uint64_t old = atomic_load(&head), new;

	atomic_store(&taken[node], 0);
	do {
		atomic_store(&below[node], (uint32_t)old);
		new = (old >> 32 << 32) + TAG + node;
	} while (!atomic_compare_exchange_strong(&head, &old, new));
}

static uint32_t pop(void)
{
	uint64_t old = atomic_load(&head), new;

	do {
		if ((uint32_t)old == 0)
			return 0;
		new = (old >> 32 << 32) + TAG + atomic_load(&below[(uint32_t)old]);
	} while (!atomic_compare_exchange_strong(&head, &old, new));
	PATTERN_CHECK(atomic_exchange(&taken[(uint32_t)old], 1) == 0);
	return (uint32_t)old;
}

static void *worker(void *argument)
{
	for (unsigned round = 0; round < 2; round++) {
		const uint32_t one = pop(), two = pop();

		if (one != 0)
			push(one);
		if (two != 0)
			push(two);
	}
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (uint32_t node = NODES; node > 0; node--)
		push(node);
	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], worker, 0);
	pattern_join(threads, THREADS);
}
