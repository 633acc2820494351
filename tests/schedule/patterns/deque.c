/* A deque from which the owner takes at one end and thieves steal at the other: who gets the last item must be decided at one place. */
#include "pattern.h"

#define ITEMS 3
#define THIEVES 2

static _Atomic int top, bottom = ITEMS;
static _Atomic int got[ITEMS];

static void take(int item)
{
	PATTERN_CHECK(atomic_fetch_add(&got[item], 1) == 0);
}

static void *owner(void *argument)
{
	for (unsigned round = 0; round < ITEMS; round++) {
		const int at = atomic_fetch_sub(&bottom, 1) - 1;
		int first = atomic_load(&top);

		if (at < first) {
			atomic_store(&bottom, first);
			break;
		}
#ifdef CORRECT
		if (at == first) {
			const _Bool mine = atomic_compare_exchange_strong(&top, &first, first + 1);

			atomic_store(&bottom, at + 1);
			if (!mine)
				break;
		}
#endif
		take(at);
	}
	return argument;
}

static void *thief(void *argument)
{
	int first = atomic_load(&top);

	if (first < atomic_load(&bottom) && atomic_compare_exchange_strong(&top, &first, first + 1))
		take(first);
	return argument;
}

void pattern_run(void)
{
	pthread_t threads[THIEVES + 1];

	pattern_start(&threads[0], owner, 0);
	for (unsigned i = 1; i <= THIEVES; i++)
		pattern_start(&threads[i], thief, 0);
	pattern_join(threads, THIEVES + 1);
}
