/*
 * Workloads: each runs in a process of its own, on whatever malloc and free the process has, and keeps its own tables in mappings, so
 * that only what it measures comes from the allocator.
 */
#ifndef HEAPSTORM_BENCH_WORKLOADS_WORKER_H
#define HEAPSTORM_BENCH_WORKLOADS_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct workload {
	const char *name; /* one of a family ends in `-`, its argument follows: pairs-64 */
	/* Does `share` (1 is the whole) of its work and frees what it made. Returns the number of calls of the allocator. */
	uint64_t (*run)(double share, const char *argument);
};

extern const struct workload workloads_single[], workloads_threads[], workloads_memory[], workloads_replay[],
	workloads_steps[];

/* At least 1. */
static inline uint64_t share_of(double share, uint64_t count)
{
	const uint64_t part = (uint64_t)(share * (double)count);

	return part > 0 ? part : 1;
}

/* Marsaglia, "Xorshift RNGs", 2003: xorshift64. The seed is not 0. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

/* Below `limit`, which is small beside 2^32. */
static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
	return (uint32_t)(((random_next(state) >> 32) * limit) >> 32);
}

/* From `least` to about 2^doublings as much: each doubling is as likely as another. */
static inline size_t random_size(uint64_t *state, size_t least, unsigned doublings)
{
	const size_t base = least << random_below(state, doublings);

	return base + (size_t)(random_next(state) >> 33) % base;
}

/* A block, written at both ends and once a page: what a program does at least. Ends the process where there is no memory. */
void *make_block(size_t size);

/* The same for what another call made. */
void *touch_block(void *block, size_t size);

/* Zeroed memory that is not the allocator's. */
void *table_map(size_t bytes);
void table_unmap(void *table, size_t bytes);

/* Takes the figure of memory after the peak here and not at the end. */
void measure_after(void);

/* Runs `count` threads to their end; the number of each, from 0, is its argument. Returns the sum of what they return. */
uint64_t run_threads(unsigned count, uint64_t (*work)(unsigned number));

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

#endif
