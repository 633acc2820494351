/* One thread: pairs, live sets, mixed lifetimes, and the calls beside malloc and free. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"

static size_t parse_size(const char *text)
{
	char *end;
	size_t size = text != NULL ? strtoul(text, &end, 10) : 0;

	if (size == 0)
		die("expected a size such as 64 or 16k");
	return *end == 'k' ? size << 10 : *end == 'm' ? size << 20 : size;
}

/* A block is made and freed at once. */
static uint64_t run_pairs(double share, const char *argument)
{
	const size_t size = parse_size(argument);
	const uint64_t count = share_of(share, size <= 1024 ? 20000000 : size <= 16384 ? 10000000 : 3000000);

	for (uint64_t i = 0; i < count; i++) {
		volatile char *const block = malloc(size);

		if (block == NULL)
			die("no memory for %zu bytes", size);
		block[0] = 1;
		free((void *)block);
	}
	return 2 * count;
}

/* Of `live` blocks a random one is replaced, again and again. */
static uint64_t replace_random(uint64_t count, uint32_t live, size_t least, unsigned doublings)
{
	void **const blocks = table_map(live * sizeof(*blocks));
	uint64_t random = 88172645463325252u;

	for (uint64_t i = 0; i < count; i++) {
		void **const block = &blocks[random_below(&random, live)];

		free(*block);
		*block = make_block(random_size(&random, least, doublings));
	}
	for (uint32_t i = 0; i < live; i++)
		free(blocks[i]);
	table_unmap(blocks, live * sizeof(*blocks));
	return 2 * count;
}

static uint64_t run_random_small(double share, const char *argument)
{
	(void)argument;
	return replace_random(share_of(share, 6000000), 20000, 16, 5); /* to 512 B */
}

static uint64_t run_random_many(double share, const char *argument)
{
	(void)argument;
	return replace_random(share_of(share, 2500000), 400000, 16, 5); /* 70 MiB live */
}

static uint64_t run_random_mixed(double share, const char *argument)
{
	(void)argument;
	return replace_random(share_of(share, 3000000), 4000, 16, 11); /* to 32 KiB */
}

static uint64_t run_random_medium(double share, const char *argument)
{
	(void)argument;
	return replace_random(share_of(share, 800000), 300, 1000, 8); /* 1 to 250 kB */
}

static uint64_t run_large(double share, const char *argument)
{
	enum { LIVE = 8, MIB = 1 << 20 };
	void *blocks[LIVE] = {NULL};
	uint64_t random = 362436069;
	const uint64_t count = share_of(share, 120);

	(void)argument;
	for (uint64_t i = 0; i < count; i++) {
		void **const block = &blocks[random_below(&random, LIVE)];

		free(*block);
		*block = make_block(5 * MIB + random_below(&random, 20 * MIB));
	}
	for (int i = 0; i < LIVE; i++)
		free(blocks[i]);
	return 2 * count;
}

/*
 * Lifetimes as in a program that works in steps: in each step a batch of blocks, mostly small; a part is freed in the order it was
 * made, a part the other way round, and a few live on for many steps.
 */
uint64_t mixed_lifetimes(uint64_t steps, uint64_t seed);
uint64_t mixed_lifetimes(uint64_t steps, uint64_t seed)
{
	enum { BATCH = 3000, KEPT = 6000 };
	void *batch[BATCH];
	void **const kept = table_map(KEPT * sizeof(*kept));
	uint64_t random = seed;

	for (uint64_t step = 0; step < steps; step++) {
		for (int i = 0; i < BATCH; i++) {
			const uint32_t kind = random_below(&random, 100);

			batch[i] = make_block(kind < 70   ? 8 + random_below(&random, 64)
					      : kind < 95 ? 64 + random_below(&random, 400)
							  : 400 + random_below(&random, 4000));
		}
		for (int i = 0; i < BATCH / 2; i++) {
			if (random_below(&random, 10) == 0) {
				void **const place = &kept[random_below(&random, KEPT)];

				free(*place);
				*place = batch[i];
			} else {
				free(batch[i]);
			}
		}
		for (int i = BATCH; i-- > BATCH / 2;)
			free(batch[i]);
	}
	for (int i = 0; i < KEPT; i++)
		free(kept[i]);
	table_unmap(kept, KEPT * sizeof(*kept));
	return 2 * BATCH * steps;
}

static uint64_t run_lifetimes(double share, const char *argument)
{
	(void)argument;
	return mixed_lifetimes(share_of(share, 2200), 123456789);
}

/* Buffers that grow by a half each time, several at once, so that none can always grow in place. */
static uint64_t run_realloc(double share, const char *argument)
{
	enum { BUFFERS = 24, LAST = 3 << 20 };
	char *buffers[BUFFERS];
	size_t sizes[BUFFERS];
	uint64_t operations = 0;
	const uint64_t rounds = share_of(share, 6);

	(void)argument;
	for (uint64_t round = 0; round < rounds; round++) {
		for (int i = 0; i < BUFFERS; i++) {
			sizes[i] = 16 + (size_t)i;
			buffers[i] = make_block(sizes[i]);
		}
		for (bool grown = true; grown;) {
			grown = false;
			for (int i = 0; i < BUFFERS; i++) {
				const size_t old = sizes[i];

				if (old >= LAST)
					continue;
				sizes[i] = old + old / 2;
				buffers[i] = realloc(buffers[i], sizes[i]);
				touch_block(buffers[i] + old, sizes[i] - old);
				operations++;
				grown = true;
			}
		}
		for (int i = 0; i < BUFFERS; i++)
			free(buffers[i]);
		operations += 2 * BUFFERS;
	}
	return operations;
}

/* Strings that grow a little at a time and are then cut to size. */
static uint64_t run_realloc_small(double share, const char *argument)
{
	enum { STRINGS = 500 };
	char *strings[STRINGS] = {NULL};
	size_t sizes[STRINGS] = {0};
	uint64_t random = 521288629;
	const uint64_t count = share_of(share, 7000000);

	(void)argument;
	for (uint64_t i = 0; i < count; i++) {
		const uint32_t at = random_below(&random, STRINGS);

		sizes[at] = sizes[at] > 2000 ? 8 : sizes[at] + 1 + random_below(&random, 60);
		strings[at] = touch_block(realloc(strings[at], sizes[at]), sizes[at]);
	}
	for (int i = 0; i < STRINGS; i++)
		free(strings[i]);
	return count + STRINGS;
}

static uint64_t run_calloc(double share, const char *argument)
{
	enum { LIVE = 2000 };
	void *blocks[LIVE] = {NULL};
	uint64_t random = 1812433253;
	const uint64_t count = share_of(share, 3500000);

	(void)argument;
	for (uint64_t i = 0; i < count; i++) {
		void **const block = &blocks[random_below(&random, LIVE)];
		const size_t size = random_size(&random, 16, 8);

		free(*block);
		*block = touch_block(calloc(1, size), size);
	}
	for (int i = 0; i < LIVE; i++)
		free(blocks[i]);
	return 2 * count;
}

static uint64_t run_aligned(double share, const char *argument)
{
	enum { LIVE = 2000 };
	void *blocks[LIVE] = {NULL};
	uint64_t random = 1664525;
	const uint64_t count = share_of(share, 3000000);

	(void)argument;
	for (uint64_t i = 0; i < count; i++) {
		void **const block = &blocks[random_below(&random, LIVE)];
		const size_t size = random_size(&random, 16, 7);
		const size_t alignment = (size_t)32 << random_below(&random, 6); /* to 1 KiB */

		free(*block);
		if (posix_memalign(block, alignment, size) != 0)
			die("no memory for %zu bytes", size);
		touch_block(*block, size);
	}
	for (int i = 0; i < LIVE; i++)
		free(blocks[i]);
	return 2 * count;
}

/* Functions of one instruction. */
__asm__(".text\nnone_malloc:\n\tret\nnone_free:\n\tret\n");
void *none_malloc(size_t size);
void none_free(void *block);

/* For callgrind: a loop with as many pairs as `share` says, of 32 B or, to know the cost of the loop, of functions that do nothing. */
static uint64_t run_instructions(double share, const char *argument)
{
	const bool none = argument != NULL && strcmp(argument, "none") == 0;
	void *(*volatile const make)(size_t) = none ? none_malloc : malloc;
	void (*volatile const end)(void *) = none ? none_free : free;

	for (uint64_t i = 0; i < (uint64_t)share; i++)
		end(make(32));
	return 2 * (uint64_t)share;
}

static uint64_t run_empty(double share, const char *argument)
{
	(void)share, (void)argument;
	return 0;
}

const struct workload workloads_single[] = {
	{"empty", run_empty},
	{"pairs-", run_pairs},
	{"instructions-", run_instructions},
	{"random-small", run_random_small},
	{"random-many", run_random_many},
	{"random-mixed", run_random_mixed},
	{"random-medium", run_random_medium},
	{"lifetimes", run_lifetimes},
	{"large", run_large},
	{"realloc-grow", run_realloc},
	{"realloc-small", run_realloc_small},
	{"calloc", run_calloc},
	{"aligned", run_aligned},
	{NULL, NULL},
};
