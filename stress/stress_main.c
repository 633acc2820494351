/*
 * The process in which threads stress an allocator: stress-VARIANT [--threads N] [--seed S] [--rounds N] ALLOCATOR
 *
 * A round is a function of (seed, round): each thread allocates, resizes, verifies and frees blocks of its own, and hands blocks over to the
 * others through slots that all of them exchange. Threads end with blocks left in the slots, which later ones free. After each round all
 * threads are gone and all blocks are freed: the heap is walked, nothing may be lost and no two free neighbours left unmerged.
 *
 * The contents of a block follow from its id (pattern.h), so that two owners of one byte are seen when either verifies it. Nothing here puts
 * an order between the threads but what a program needs to hand a block over: that is told to ThreadSanitizer too.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "heap_check.h"
#include "pattern.h"
#include "sanitizer.h"
#include "supervisor.h"

#define THREADS_MAX 64
#define SLOTS 64
#define OWN_MAX 256
#define OPERATIONS 3000 /* of a thread in a round */

void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));
void __tsan_on_report(void *report);
int __tsan_get_report_data(void *report, const char **description, int *count, int *stack_count, int *mop_count,
			   int *loc_count, int *mutex_count, int *thread_count, int *unique_tid_count,
			   void **sleep_trace, unsigned long trace_size) __attribute__((weak));
const char *__tsan_default_options(void);
const char *__asan_default_options(void);

struct owned {
	void *address;
	size_t size;
	uint64_t id;
};

struct worker {
	uint64_t random;
	size_t size_limit;  /* of this round */
	unsigned hand_over; /* of 256 operations so many go through a slot */
	uint32_t number;
	uint64_t checks;  /* of contents */
	uint64_t next_id; /* unique in the process: no counter is shared, which would order the threads */
};

static const struct allocator *allocator;
static struct run_record *record;
static struct blocks blocks; /* none: what a walk finds live is lost */
static struct owned *slots[SLOTS];
static unsigned long round_number;

const char *__tsan_default_options(void)
{
	return "halt_on_error=1:exitcode=66:detect_deadlocks=0:history_size=4";
}

/* Leaks are found by the walk after each round: LeakSanitizer knows libc's malloc alone, which is not under test here. */
const char *__asan_default_options(void)
{
	return "handle_abort=1:detect_leaks=0:allocator_may_return_null=1";
}

/* The first finding ends the process. */
__attribute__((noreturn, format(printf, 3, 4))) static void found(enum verdict_kind kind, const void *address,
								  const char *format, ...)
{
	struct verdict *const verdict = &record->verdict;
	enum verdict_kind none = VERDICT_CLEAN;
	va_list arguments;

	va_start(arguments, format);
	if (__atomic_compare_exchange_n(&verdict->kind, &none, kind, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		vsnprintf(verdict->message, sizeof verdict->message, format, arguments);
		verdict->address = (uintptr_t)address;
		verdict->op = NO_OP;
	}
	va_end(arguments);
	_Exit(1);
}

/* ThreadSanitizer calls this for each report. */
void __tsan_on_report(void *report)
{
	const char *description = "data race";
	int unused[7];
	void *trace[1];

	if (__tsan_get_report_data != NULL)
		__tsan_get_report_data(report, &description, &unused[0], &unused[1], &unused[2], &unused[3], &unused[4],
				       &unused[5], &unused[6], trace, 1);
	if (record->verdict.kind == VERDICT_CLEAN) {
		record->verdict.op = NO_OP;
		snprintf(record->verdict.message, sizeof record->verdict.message, "ThreadSanitizer: %s in round %lu",
			 description, round_number);
		record->verdict.kind = VERDICT_RACE;
	}
}

static uint64_t next_random(struct worker *worker)
{
	uint64_t x = worker->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Mostly small, at times up to the limit of the round. */
static size_t random_size(struct worker *worker)
{
	const uint64_t draw = next_random(worker);
	const size_t limit = (draw & 15) == 0 ? worker->size_limit : (draw & 3) == 0 ? 2048 : 256;

	return 1 + (draw >> 8) % limit;
}

static void verify(struct worker *worker, const struct owned *block, size_t size)
{
	const size_t same = pattern_mismatch(block->address, 0, size, block->id);

	worker->checks++;
	if (same < size)
		found(VERDICT_CORRUPTION, (char *)block->address + same,
		      "byte %zu of a live block of %zu bytes at %p changed in round %lu", same, block->size,
		      block->address, round_number);
}

static void take_in(struct worker *worker, struct owned *block, void *address, size_t size)
{
	if (address == NULL)
		found(VERDICT_CONTRACT, NULL, "%zu bytes could not be had in round %lu though the OS refused nothing",
		      size, round_number);
	if ((uintptr_t)address % 16 != 0)
		found(VERDICT_MISALIGNED, address, "%p is not a multiple of 16 in round %lu", address, round_number);
	block->address = address;
	block->size = size;
	block->id = worker->next_id++;
	pattern_fill(address, 0, size, block->id);
}

static void make(struct worker *worker, struct owned *block)
{
	const size_t size = random_size(worker);
	const uint64_t kind = next_random(worker) & 15;

	if (kind == 0)
		take_in(worker, block, allocator->calloc(1, size), size);
	else if (kind == 1)
		take_in(worker, block, allocator->aligned_alloc(64, size), size);
	else
		take_in(worker, block, allocator->malloc(size), size);
}

static void drop(struct worker *worker, struct owned *block)
{
	verify(worker, block, block->size);
	allocator->free(block->address);
	block->address = NULL;
}

static void resize(struct worker *worker, struct owned *block)
{
	const size_t size = random_size(worker);
	void *address;

	verify(worker, block, block->size);
	address = allocator->realloc(block->address, size);
	if (address == NULL)
		found(VERDICT_CONTRACT, NULL, "realloc to %zu bytes failed in round %lu", size, round_number);
	block->address = address;
	verify(worker, block, size < block->size ? size : block->size);
	take_in(worker, block, address, size);
}

/* Puts a block into a slot and takes out what was there: it is freed by another thread than made it. */
static void hand_over(struct worker *worker, struct owned *block)
{
	static struct owned pool[THREADS_MAX][SLOTS];
	static __thread unsigned next;
	const size_t slot = next_random(worker) % SLOTS;
	struct owned *const mine = &pool[worker->number][next++ % SLOTS];
	struct owned *theirs;

	/* The entry may still be in some slot: then the block stays where it is. */
	if (__atomic_load_n(&mine->address, __ATOMIC_ACQUIRE) != NULL)
		return;
	*mine = *block;
	block->address = NULL;
	if (__tsan_release != NULL)
		__tsan_release(mine);
	theirs = __atomic_exchange_n(&slots[slot], mine, __ATOMIC_ACQ_REL);
	if (theirs == NULL)
		return;
	if (__tsan_acquire != NULL)
		__tsan_acquire(theirs);
	*block = *theirs;
	__atomic_store_n(&theirs->address, NULL, __ATOMIC_RELEASE);
	/* On a fresh thread this may be its first call. */
	if ((next_random(worker) & 3) == 0)
		resize(worker, block);
	else
		drop(worker, block);
}

static void *work(void *argument)
{
	struct worker *const worker = argument;
	struct owned own[OWN_MAX];
	const size_t count = 1 + next_random(worker) % OWN_MAX;

	memset(own, 0, sizeof own);
	for (int i = 0; i < OPERATIONS; i++) {
		struct owned *const block = &own[next_random(worker) % count];
		const unsigned draw = (unsigned)(next_random(worker) & 255);

		if (i % 64 == 0)
			__atomic_fetch_add(&record->steps, 1, __ATOMIC_RELAXED);
		if (block->address == NULL)
			make(worker, block);
		else if (draw < worker->hand_over)
			hand_over(worker, block);
		else if (draw < 232)
			drop(worker, block);
		else if (draw < 250)
			resize(worker, block);
		else
			verify(worker, block, block->size);
	}
	/* What is in the slots stays behind. */
	for (size_t i = 0; i < count; i++)
		if (own[i].address != NULL)
			drop(worker, &own[i]);
	__atomic_fetch_add(&record->operations, OPERATIONS, __ATOMIC_RELAXED);
	__atomic_fetch_add(&record->checks[VERDICT_CORRUPTION], worker->checks, __ATOMIC_RELAXED);
	return NULL;
}

static void free_slots(struct worker *worker)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct owned *const left = __atomic_exchange_n(&slots[i], NULL, __ATOMIC_ACQ_REL);

		if (left == NULL)
			continue;
		if (__tsan_acquire != NULL)
			__tsan_acquire(left);
		drop(worker, left);
	}
}

static void run_round(uint64_t seed, unsigned threads)
{
	static const size_t limits[] = {512, 4096, 70000, 600000, 3 << 20};
	struct worker workers[THREADS_MAX];
	pthread_t handles[THREADS_MAX];
	struct finding finding = {0};
	struct worker chooser = {.random = seed * UINT64_C(0xd1342543de82ef95) + round_number};
	const size_t limit = limits[next_random(&chooser) % (sizeof limits / sizeof limits[0])];
	const unsigned share = (unsigned)(next_random(&chooser) % 128);

	for (unsigned i = 0; i < threads; i++) {
		workers[i] = (struct worker){
			next_random(&chooser), limit, share, i, 0, (uint64_t)round_number << 32 | (uint64_t)i << 24};
		if (pthread_create(&handles[i], NULL, work, &workers[i]) != 0) {
			perror("heapstorm: no thread");
			exit(3);
		}
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(handles[i], NULL);
	free_slots(&chooser);
	if (allocator->quiesce != NULL)
		allocator->quiesce();
	if (!heap_check(allocator, &blocks, allocator->quiesce != NULL, ORACLES_ALL, record, NULL, &finding))
		found(finding.kind, (void *)(uintptr_t)finding.address, "after round %lu: %.400s", round_number,
		      finding.message);
}

int main(int argc, char **argv)
{
	struct subject subject;
	char message[256];
	uint64_t seed = 1;
	unsigned long threads = 4, rounds = 0;
	int at = 1;

	for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
		if (strcmp(argv[at], "--threads") == 0)
			threads = strtoul(argv[at + 1], NULL, 10);
		else if (strcmp(argv[at], "--seed") == 0)
			seed = strtoull(argv[at + 1], NULL, 10);
		else if (strcmp(argv[at], "--rounds") == 0)
			rounds = strtoul(argv[at + 1], NULL, 10);
		else
			break;
	}
	if (argc - at != 1 || threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: %s [--threads 1..%d] [--seed S] [--rounds N] ALLOCATOR\n", argv[0],
			THREADS_MAX);
		return 2;
	}
	record = run_record_open();
	record->magic = RUN_RECORD_MAGIC;
	record->size = sizeof *record;
	if (!subject_open(argv[at], &subject, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	allocator = subject.allocator;
	snprintf(record->allocator, sizeof record->allocator, "%s", allocator->name);
	if (!blocks_open(&blocks)) {
		perror("heapstorm: no memory for the shadow");
		return 3;
	}
	subject_reset(&subject);
	record->state = RUN_RUNNING;
	for (round_number = 1; rounds == 0 || round_number <= rounds; round_number++) {
		record->op = round_number;
		run_round(seed, (unsigned)threads);
		record->programs++;
	}
	record->state = RUN_FINISHED;
	return 0;
}
