/* Several threads: blocks that stay with their thread, that change hands, and threads that come and go. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "worker.h"

static double thread_share;

/* ---- larson: a server. Each thread replaces random blocks of its set, then ends, and a new thread inherits the set ---- */

enum { LARSON_THREADS = 4, LARSON_BLOCKS = 1000, LARSON_GENERATIONS = 25 };

static void **larson_blocks;
static uint64_t larson_count;
static unsigned larson_generation;

static uint64_t larson_work(unsigned number)
{
	/* Of the set that another thread worked on before. */
	void **const blocks = larson_blocks + (number + larson_generation) % LARSON_THREADS * LARSON_BLOCKS;
	uint64_t random = 88172645463325252u + number + 100 * larson_generation;

	for (uint64_t i = 0; i < larson_count; i++) {
		void **const block = &blocks[random_below(&random, LARSON_BLOCKS)];

		free(*block);
		*block = make_block(8 + random_below(&random, 1000));
	}
	return 2 * larson_count;
}

static uint64_t run_larson(double share, const char *argument)
{
	const size_t bytes = LARSON_THREADS * LARSON_BLOCKS * sizeof(*larson_blocks);
	uint64_t operations = 0;

	(void)argument;
	larson_blocks = table_map(bytes);
	larson_count = share_of(share, 120000);
	for (larson_generation = 0; larson_generation < LARSON_GENERATIONS; larson_generation++)
		operations += run_threads(LARSON_THREADS, larson_work);
	for (int i = 0; i < LARSON_THREADS * LARSON_BLOCKS; i++)
		free(larson_blocks[i]);
	table_unmap(larson_blocks, bytes);
	return operations;
}

/* ---- xmalloc: threads that only allocate, threads that only free, batches in a queue between them ---- */

enum { X_PAIRS = 2, X_BATCH = 100, X_QUEUE = 64 };

struct batch {
	void *blocks[X_BATCH];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct batch *batches[X_QUEUE];
	unsigned count, producers;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .emptied = PTHREAD_COND_INITIALIZER};

static uint64_t x_produce(unsigned number)
{
	const uint64_t batches = share_of(thread_share, 30000);
	uint64_t random = 362436069 + number;

	for (uint64_t i = 0; i < batches; i++) {
		struct batch *const batch = malloc(sizeof(*batch));

		if (batch == NULL)
			die("no memory for a batch");
		for (int k = 0; k < X_BATCH; k++)
			batch->blocks[k] = make_block(random_size(&random, 16, 5));
		pthread_mutex_lock(&queue.lock);
		while (queue.count == X_QUEUE)
			pthread_cond_wait(&queue.emptied, &queue.lock);
		queue.batches[queue.count++] = batch;
		pthread_cond_signal(&queue.filled);
		pthread_mutex_unlock(&queue.lock);
	}
	pthread_mutex_lock(&queue.lock);
	queue.producers--;
	pthread_cond_broadcast(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
	return batches * (X_BATCH + 1);
}

static uint64_t x_consume(void)
{
	for (uint64_t frees = 0;; frees += X_BATCH + 1) {
		struct batch *batch;

		pthread_mutex_lock(&queue.lock);
		while (queue.count == 0 && queue.producers > 0)
			pthread_cond_wait(&queue.filled, &queue.lock);
		if (queue.count == 0) {
			pthread_mutex_unlock(&queue.lock);
			return frees;
		}
		batch = queue.batches[--queue.count];
		pthread_cond_signal(&queue.emptied);
		pthread_mutex_unlock(&queue.lock);
		for (int k = 0; k < X_BATCH; k++)
			free(batch->blocks[k]);
		free(batch);
	}
}

static uint64_t x_work(unsigned number)
{
	return number < X_PAIRS ? x_produce(number) : x_consume();
}

static uint64_t run_xmalloc(double share, const char *argument)
{
	(void)argument;
	thread_share = share;
	queue.producers = X_PAIRS;
	return run_threads(2 * X_PAIRS, x_work);
}

/* ---- cache-thrash, cache-scratch: do small blocks of different threads share a cache line? ---- */

enum { CACHE_THREADS = 2, CACHE_WRITES = 2000 };

static void *scratch[CACHE_THREADS];

/* Makes a small block, writes it many times, frees it. */
static uint64_t cache_work(unsigned number)
{
	const uint64_t count = share_of(thread_share, 100000);

	/* cache-scratch: the first block of each thread was made by main, one beside the other. */
	free(scratch[number]);
	scratch[number] = NULL;
	for (uint64_t i = 0; i < count; i++) {
		volatile char *const block = make_block(8);

		for (int k = 0; k < CACHE_WRITES; k++)
			block[k % 8] = (char)(block[k % 8] + 1);
		free((void *)block);
	}
	return 2 * count;
}

static uint64_t run_cache_thrash(double share, const char *argument)
{
	(void)argument;
	thread_share = share;
	return run_threads(CACHE_THREADS, cache_work);
}

static uint64_t run_cache_scratch(double share, const char *argument)
{
	(void)argument;
	thread_share = share;
	for (int i = 0; i < CACHE_THREADS; i++)
		scratch[i] = make_block(8);
	return run_threads(CACHE_THREADS, cache_work);
}

/* ---- lifetimes-threads ---- */

uint64_t mixed_lifetimes(uint64_t steps, uint64_t seed);

static uint64_t lifetimes_work(unsigned number)
{
	return mixed_lifetimes(share_of(thread_share, 600), 123456789 + number);
}

static uint64_t run_lifetimes_threads(double share, const char *argument)
{
	(void)argument;
	thread_share = share;
	return run_threads(4, lifetimes_work);
}

/* ---- churn: short-lived threads with blocks of all sizes, half of which go through a common table to whoever takes them ---- */

enum { CHURN_THREADS = 8, CHURN_SHARED = 1000, CHURN_OWN = 300 };

static _Atomic(void *) *churn_shared;
static unsigned churn_round;

static uint64_t churn_work(unsigned number)
{
	void *own[CHURN_OWN] = {NULL};
	uint64_t random = 521288629 + number + 1000 * churn_round, operations = 0;

	for (int i = 0; i < 6000; i++) {
		const uint32_t kind = random_below(&random, 100);
		void *block = make_block(kind < 90 ? random_size(&random, 16, 5) : random_size(&random, 512, 6));

		if (kind % 2 == 0) {
			block = atomic_exchange(&churn_shared[random_below(&random, CHURN_SHARED)], block);
		} else {
			void **const place = &own[random_below(&random, CHURN_OWN)];
			void *const old = *place;

			*place = block;
			block = old;
		}
		free(block);
		operations += 2;
	}
	for (int i = 0; i < CHURN_OWN; i++)
		free(own[i]);
	return operations;
}

static uint64_t run_churn(double share, const char *argument)
{
	const unsigned rounds = (unsigned)share_of(share, 60);
	uint64_t operations = 0;

	(void)argument;
	churn_shared = table_map(CHURN_SHARED * sizeof(*churn_shared));
	for (churn_round = 0; churn_round < rounds; churn_round++)
		operations += run_threads(CHURN_THREADS, churn_work);
	for (int i = 0; i < CHURN_SHARED; i++)
		free(atomic_load(&churn_shared[i]));
	table_unmap(churn_shared, CHURN_SHARED * sizeof(*churn_shared));
	return operations;
}

/* ---- threads-N: each thread on its own ---- */

enum { FEW = 40, MANY = 2000 };

static pthread_barrier_t barrier;

/* Little live data; all threads are there until the last has ended its work. */
static uint64_t few_work(unsigned number)
{
	void *blocks[FEW] = {NULL};
	const uint64_t count = share_of(thread_share, 40000);
	uint64_t random = 1812433253 + number;

	for (uint64_t i = 0; i < count; i++) {
		void **const block = &blocks[random_below(&random, FEW)];

		free(*block);
		*block = make_block(random_size(&random, 16, 7));
	}
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < FEW; i++)
		free(blocks[i]);
	return 2 * count;
}

static uint64_t run_threads_64(double share, const char *argument)
{
	uint64_t operations;

	(void)argument;
	thread_share = share;
	pthread_barrier_init(&barrier, NULL, 64);
	operations = run_threads(64, few_work);
	pthread_barrier_destroy(&barrier);
	return operations;
}

static uint64_t many_work(unsigned number)
{
	void **const blocks = table_map(MANY * sizeof(*blocks));
	const uint64_t count = share_of(thread_share, 600000);
	uint64_t random = 1664525 + number;

	for (uint64_t i = 0; i < count; i++) {
		void **const block = &blocks[random_below(&random, MANY)];

		free(*block);
		*block = make_block(random_size(&random, 16, 7));
	}
	for (int i = 0; i < MANY; i++)
		free(blocks[i]);
	table_unmap(blocks, MANY * sizeof(*blocks));
	return 2 * count;
}

static uint64_t run_threads_8(double share, const char *argument)
{
	(void)argument;
	thread_share = share;
	return run_threads(8, many_work);
}

const struct workload workloads_threads[] = {
	{"larson", run_larson},
	{"xmalloc", run_xmalloc},
	{"cache-thrash", run_cache_thrash},
	{"cache-scratch", run_cache_scratch},
	{"lifetimes-threads", run_lifetimes_threads},
	{"churn", run_churn},
	{"threads-64", run_threads_64},
	{"threads-8", run_threads_8},
	{NULL, NULL},
};
