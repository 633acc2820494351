/* A token goes around. While it is passed on it is nowhere, and whoever looks just then makes a second one. */
#include "pattern.h"

#define THREADS 3

static _Atomic int token; /* whose turn, -1: it is lost */
static _Atomic int holders;

static void *member(void *argument)
{
	const int mine = (int)(uintptr_t)argument;
	int lost = -1;

	for (;;) {
		const int seen = atomic_load(&token);

		if (seen == mine)
			break;
		if (seen == lost && atomic_compare_exchange_strong(&token, &lost, mine))
			break;
		lost = -1;
	}
	PATTERN_CHECK(atomic_fetch_add(&holders, 1) == 0);
#ifndef CORRECT
	atomic_store(&token, -1);
#endif
	atomic_fetch_sub(&holders, 1);
	atomic_store(&token, (mine + 1) % THREADS);
	return NULL;
}

void pattern_run(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pattern_start(&threads[i], member, i);
	pattern_join(threads, THREADS);
}
