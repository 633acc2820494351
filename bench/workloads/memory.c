/* What remains: fragmentation by survivors, and memory after a peak. */
#include <stdlib.h>

#include "worker.h"

/*
 * Phases, each with blocks of other sizes than the one before; of each phase a few blocks, spread over all of it, survive. The figure of
 * memory after is taken with all survivors alive.
 */
static uint64_t run_fragmentation(double share, const char *argument)
{
	enum { PHASES = 10, SURVIVORS = 20000 };
	static const unsigned sizes[PHASES] = {24, 200, 48, 900, 120, 2400, 72, 480, 6000, 330};
	const size_t bytes = (size_t)share_of(share > 0.5 ? 1 : 0.5, 48) << 20;
	void **const survivors = table_map(PHASES * SURVIVORS * sizeof(*survivors));
	void **const blocks = table_map(bytes / sizes[0] * sizeof(*blocks));
	uint64_t random = 69069, operations = 0;
	size_t kept = 0;

	(void)argument;
	for (int phase = 0; phase < PHASES; phase++) {
		const unsigned size = sizes[phase];
		const size_t count = bytes / size;

		for (size_t i = 0; i < count; i++)
			blocks[i] = make_block(size - size / 4 + random_below(&random, size / 2));
		for (size_t i = 0; i < count; i++) {
			/* One in a hundred: 1 % of the bytes of a phase. */
			if (i % 100 == 50 && kept < PHASES * SURVIVORS)
				survivors[kept++] = blocks[i];
			else
				free(blocks[i]);
		}
		operations += 2 * count;
	}
	table_unmap(blocks, bytes / sizes[0] * sizeof(*blocks));
	measure_after();
	for (size_t i = 0; i < kept; i++)
		free(survivors[i]);
	table_unmap(survivors, PHASES * SURVIVORS * sizeof(*survivors));
	return operations;
}

/* 200 MiB at the peak; all of it is freed, and light use goes on. */
static uint64_t run_peak(double share, const char *argument)
{
	enum { LIVE = 200 };
	const size_t count = share_of(share, 650000);
	const uint64_t light = share_of(share, 3000000);
	void **const blocks = table_map(count * sizeof(*blocks));
	void *live[LIVE] = {NULL};
	uint64_t random = 2463534242;

	(void)argument;
	for (size_t i = 0; i < count; i++)
		blocks[i] = make_block(random_size(&random, 16, 6));
	for (size_t i = 0; i < count; i += 2)
		free(blocks[i]);
	for (size_t i = 1; i < count; i += 2)
		free(blocks[i]);
	table_unmap(blocks, count * sizeof(*blocks));
	for (uint64_t i = 0; i < light; i++) {
		void **const block = &live[random_below(&random, LIVE)];

		free(*block);
		*block = make_block(random_size(&random, 16, 6));
	}
	measure_after();
	for (int i = 0; i < LIVE; i++)
		free(live[i]);
	return 2 * (count + light);
}

const struct workload workloads_memory[] = {
	{"fragmentation", run_fragmentation},
	{"peak", run_peak},
	{NULL, NULL},
};
