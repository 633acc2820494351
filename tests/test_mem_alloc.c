/*
 * Both allocators as they are shipped: every corner of the contract, the heap that walk shows, threads and forks.
 *
 * What runs in other threads or in a child cannot use cmocka's assertions: REQUIRE ends the process instead.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocator.h"
#include "mem_alloc.h"
#include "mem_alloc_2.0.h"
#include "os.h"

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                  \
			_exit(99);                                                                                     \
		}                                                                                                      \
	} while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static const struct allocator mem_alloc = {
	.name = "mem_alloc",
	.malloc = my_malloc,
	.free = my_free,
	.calloc = my_calloc,
	.realloc = my_realloc,
	.reallocarray = my_reallocarray,
	.aligned_alloc = my_aligned_alloc,
	.posix_memalign = my_posix_memalign,
	.memalign = my_memalign,
	.malloc_usable_size = my_malloc_usable_size,
	.malloc_trim = my_malloc_trim,
	.walk = my_walk,
	.check = my_check,
	.stats = my_stats,
};

static const struct allocator mem_alloc_2_0 = {
	.name = "mem_alloc_2.0",
	.malloc = my_malloc_2_0,
	.free = my_free_2_0,
	.calloc = my_calloc_2_0,
	.realloc = my_realloc_2_0,
	.reallocarray = my_reallocarray_2_0,
	.aligned_alloc = my_aligned_alloc_2_0,
	.posix_memalign = my_posix_memalign_2_0,
	.memalign = my_memalign_2_0,
	.malloc_usable_size = my_malloc_usable_size_2_0,
	.malloc_trim = my_malloc_trim_2_0,
	.walk = my_walk_2_0,
	.check = my_check_2_0,
	.quiesce = my_quiesce_2_0,
	.stats = my_stats_2_0,
};

/* Around every boundary there is: granules, classes, pages, magazines, the heap's limit, chunks. */
static const size_t sizes[] = {
	0,     1,      8,      15,     16,     17,     31,     32,      33,      100,     1008,    1023,    1024,
	1025,  1151,   1152,   1153,   4032,   4064,   4065,   4095,    4096,    4097,    20000,   65535,   65536,
	65537, 100000, 131072, 300000, 524287, 524288, 524289, 1000000, 2047984, 2047985, 2097152, 3000001,
};

static const struct allocator *subject(void **state)
{
	return *state;
}

/* ---- Contents ---- */

static uint8_t pattern(const void *seed, size_t offset)
{
	return (uint8_t)(((uintptr_t)seed >> 4) * 31 + offset * 7 + 1);
}

static void fill(void *block, size_t size, const void *seed)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)block)[i] = pattern(seed, i);
}

static bool holds(const void *block, size_t size, const void *seed)
{
	for (size_t i = 0; i < size; i++)
		if (((const uint8_t *)block)[i] != pattern(seed, i))
			return false;
	return true;
}

static bool is_zero(const void *block, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((const uint8_t *)block)[i] != 0)
			return false;
	return true;
}

/* ---- The heap as walk shows it ---- */

#define REGIONS_MAX 20000

static struct heap_map {
	size_t count;
	size_t of_kind[REGION_META + 1];
	size_t bytes_of_kind[REGION_META + 1];
	size_t largest_free;
	const char *fault;
	struct region regions[REGIONS_MAX];
} map;

static bool add_region(const struct region *region, void *context)
{
	struct heap_map *to = context;
	const struct region *previous = to->count == 0 ? NULL : &to->regions[to->count - 1];
	bool first = region->start == region->arena;

	if (region->size == 0)
		to->fault = "an empty region";
	if (!first && (previous == NULL || previous->arena != region->arena ||
		       (const char *)previous->start + previous->size != region->start))
		to->fault = "a region that does not follow the one before";
	if (first && previous != NULL &&
	    (const char *)previous->start + previous->size != (const char *)previous->arena + previous->arena_size)
		to->fault = "an arena that is not tiled to its end";
	if ((region->kind == REGION_LIVE) != (region->payload != NULL))
		to->fault = "a payload where there is none, or none where there should be";
	if (!first && region->kind == REGION_FREE && previous != NULL && previous->kind == REGION_FREE)
		to->fault = "two free regions side by side";
	if (to->count == REGIONS_MAX) {
		to->fault = "more regions than the test has room for";
		return false;
	}
	to->regions[to->count++] = *region;
	to->of_kind[region->kind]++;
	to->bytes_of_kind[region->kind] += region->size;
	if (region->kind == REGION_FREE && region->size > to->largest_free)
		to->largest_free = region->size;
	return true;
}

/* Checks the allocator and fills `map`. NULL, or what is wrong. */
static const char *look(const struct allocator *allocator)
{
	static char why[256];
	const struct region *last;

	if (!allocator->check(why, sizeof(why)))
		return why;
	memset(&map, 0, offsetof(struct heap_map, regions));
	if (!allocator->walk(add_region, &map))
		return map.fault != NULL ? map.fault : "the walk was stopped";
	if (map.count != 0) {
		last = &map.regions[map.count - 1];
		if ((const char *)last->start + last->size != (const char *)last->arena + last->arena_size)
			return "the last arena is not tiled to its end";
	}
	return map.fault;
}

static void assert_sound(const struct allocator *allocator)
{
	const char *fault = look(allocator);

	if (fault != NULL)
		fail_msg("%s: %s", allocator->name, fault);
}

static const struct region *live_region(const void *payload)
{
	for (size_t i = 0; i < map.count; i++)
		if (map.regions[i].payload == payload)
			return &map.regions[i];
	return NULL;
}

static void quiesce(const struct allocator *allocator)
{
	if (allocator->quiesce != NULL)
		allocator->quiesce();
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_CACHED], 0);
}

/* Nothing is left of whatever a test did. */
static int all_is_free(void **state)
{
	const struct allocator *allocator = subject(state);

	quiesce(allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], 0);
	/* A chunk is one free region, and no arena holds more than one. */
	for (size_t i = 0; i < map.count; i++)
		if (map.regions[i].kind == REGION_FREE)
			assert_true(map.regions[i].size > map.regions[i].arena_size - 64 * KIB);
	return 0;
}

static size_t mapped(const struct allocator *allocator)
{
	struct heap_stats stats;

	allocator->stats(&stats);
	return stats.mapped;
}

static size_t map_calls(const struct allocator *allocator)
{
	struct heap_stats stats;

	allocator->stats(&stats);
	return stats.map_calls;
}

/* The linker sends the allocators' calls here (--wrap), so that the OS can refuse them memory and nobody else. */
void *__real_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);
void *__real_mremap(void *address, size_t old_size, size_t new_size, int flags, ...);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);
void *__wrap_mremap(void *address, size_t old_size, size_t new_size, int flags, ...);

static _Atomic bool refusing;

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
	if (atomic_load_explicit(&refusing, memory_order_relaxed)) {
		errno = EAGAIN; /* not what the callers have to report */
		return MAP_FAILED;
	}
	return __real_mmap(address, length, protection, flags, file, offset);
}

void *__wrap_mremap(void *address, size_t old_size, size_t new_size, int flags, ...)
{
	void *target = NULL;

	if (atomic_load_explicit(&refusing, memory_order_relaxed)) {
		errno = EAGAIN;
		return MAP_FAILED;
	}
	if (flags & MREMAP_FIXED) {
		va_list arguments;

		va_start(arguments, flags);
		target = va_arg(arguments, void *);
		va_end(arguments);
	}
	return __real_mremap(address, old_size, new_size, flags, target);
}

static void refuse_mappings(bool refuse)
{
	atomic_store_explicit(&refusing, refuse, memory_order_relaxed);
}

/* Runs `body` in a child and returns its status as of waitpid; what it writes on standard error goes to `text`. */
static int in_child(void (*body)(const struct allocator *), const struct allocator *allocator, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got;
	int ends[2];
	int status;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		signal(SIGABRT, SIG_DFL);
		alarm(60);
		body(allocator);
		_exit(0);
	}
	close(ends[1]);
	while (length + 1 < size && (got = read(ends[0], text + length, size - 1 - length)) > 0)
		length += (size_t)got;
	text[length] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void assert_child_passes(void (*body)(const struct allocator *), const struct allocator *allocator)
{
	char text[1000];
	int status = in_child(body, allocator, text, sizeof(text));

	if (status != 0)
		fail_msg("%s: the child ended with status %#x: %s", allocator->name, (unsigned int)status, text);
}

/* ---- Contract ---- */

static void test_malloc_sizes(void **state)
{
	const struct allocator *allocator = subject(state);
	void *blocks[COUNT(sizes)];

	for (size_t i = 0; i < COUNT(sizes); i++) {
		blocks[i] = allocator->malloc(sizes[i]);
		assert_non_null(blocks[i]);
		assert_int_equal((uintptr_t)blocks[i] % 16, 0);
		assert_true(allocator->malloc_usable_size(blocks[i]) >= sizes[i]);
		/* All usable bytes are the user's. */
		fill(blocks[i], allocator->malloc_usable_size(blocks[i]), blocks[i]);
	}
	for (size_t i = 0; i < COUNT(sizes); i++)
		assert_true(holds(blocks[i], allocator->malloc_usable_size(blocks[i]), blocks[i]));
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], COUNT(sizes));
	for (size_t i = 0; i < COUNT(sizes); i++) {
		assert_non_null(live_region(blocks[i]));
		assert_true(live_region(blocks[i])->size >= sizes[i]);
		allocator->free(blocks[i]);
	}
}

static void test_malloc_zero_is_unique(void **state)
{
	const struct allocator *allocator = subject(state);
	void *blocks[50];

	for (size_t i = 0; i < COUNT(blocks); i++) {
		blocks[i] = i % 3 == 0   ? allocator->malloc(0)
			    : i % 3 == 1 ? allocator->calloc(0, 8)
					 : allocator->aligned_alloc(64, 0);
		assert_non_null(blocks[i]);
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(blocks[i], blocks[j]);
	}
	for (size_t i = 0; i < COUNT(blocks); i++)
		allocator->free(blocks[i]);
}

static void test_too_much(void **state)
{
	const struct allocator *allocator = subject(state);
	static volatile size_t bad[] = {(size_t)PTRDIFF_MAX - 4096, PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
					SIZE_MAX - 4096, SIZE_MAX};
	void *untouched = &map;
	void *result = untouched;
	void *block = allocator->malloc(100);

	fill(block, 100, block);
	for (size_t i = 0; i < COUNT(bad); i++) {
		errno = 0;
		assert_null(allocator->malloc(bad[i]));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(allocator->calloc(1, bad[i]));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(allocator->realloc(block, bad[i]));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(allocator->realloc(NULL, bad[i]));
		assert_int_equal(errno, ENOMEM);
		for (size_t alignment = 8; alignment <= (size_t)1 << 63 && alignment != 0; alignment *= 2) {
			errno = 0;
			assert_null(allocator->aligned_alloc(alignment, bad[i]));
			assert_int_equal(errno, ENOMEM);
			errno = 7;
			assert_int_equal(allocator->posix_memalign(&result, alignment, bad[i]), ENOMEM);
			assert_int_equal(errno, 7);
			assert_ptr_equal(result, untouched);
		}
	}
	/* No address space has a multiple of these but zero. */
	errno = 0;
	assert_null(allocator->aligned_alloc((size_t)1 << 62, 1));
	assert_int_equal(errno, ENOMEM);
	errno = 0;
	assert_null(allocator->aligned_alloc((size_t)1 << 63, 1));
	assert_int_equal(errno, ENOMEM);
	assert_true(holds(block, 100, block));
	allocator->free(block);
}

static void test_overflow(void **state)
{
	const struct allocator *allocator = subject(state);
	static volatile size_t pairs[][2] = {{SIZE_MAX, 2},
					     {2, SIZE_MAX},
					     {SIZE_MAX / 2 + 1, 2},
					     {(size_t)1 << 32, (size_t)1 << 32},
					     {SIZE_MAX / 16 + 1, 16}};
	void *block = allocator->malloc(100);

	fill(block, 100, block);
	for (size_t i = 0; i < COUNT(pairs); i++) {
		errno = 0;
		assert_null(allocator->calloc(pairs[i][0], pairs[i][1]));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(allocator->reallocarray(block, pairs[i][0], pairs[i][1]));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(allocator->reallocarray(NULL, pairs[i][0], pairs[i][1]));
		assert_int_equal(errno, ENOMEM);
	}
	assert_true(holds(block, 100, block));
	block = allocator->reallocarray(block, 30, 100);
	assert_non_null(block);
	assert_true(allocator->malloc_usable_size(block) >= 3000);
	allocator->free(block);
}

static void test_calloc_reused_memory(void **state)
{
	const struct allocator *allocator = subject(state);

	for (size_t round = 0; round < 3; round++)
		for (size_t i = 0; i < COUNT(sizes); i++) {
			uint8_t *dirty = allocator->malloc(sizes[i]);
			uint8_t *zero;

			assert_non_null(dirty);
			memset(dirty, 0xff, allocator->malloc_usable_size(dirty));
			allocator->free(dirty);
			if (round == 1 && allocator->quiesce != NULL)
				allocator->quiesce();
			if (round == 2)
				allocator->malloc_trim(0);
			zero = allocator->calloc(1, sizes[i]);
			assert_non_null(zero);
			assert_true(is_zero(zero, sizes[i]));
			memset(zero, 0xff, sizes[i]);
			allocator->free(zero);
		}
}

static void test_free_and_errno(void **state)
{
	const struct allocator *allocator = subject(state);

	errno = 11;
	allocator->free(NULL);
	assert_int_equal(errno, 11);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		void *block = allocator->malloc(sizes[i]);

		errno = 12;
		allocator->free(block);
		assert_int_equal(errno, 12);
	}
}

static void test_usable_size_of_null(void **state)
{
	assert_int_equal(subject(state)->malloc_usable_size(NULL), 0);
}

static void test_realloc_every_step(void **state)
{
	const struct allocator *allocator = subject(state);

	for (size_t i = 0; i < COUNT(sizes); i++)
		for (size_t j = 0; j < COUNT(sizes); j++) {
			size_t from = sizes[i], to = sizes[j] + (sizes[j] == 0);
			void *seed = (void *)(i * 1000 + j * 16);
			void *block = allocator->malloc(from);
			/* With a neighbour there is no room to grow in every second case. */
			void *neighbour = j % 2 == 0 ? allocator->malloc(from) : NULL;

			assert_non_null(block);
			fill(block, from, seed);
			block = allocator->realloc(block, to);
			assert_non_null(block);
			assert_int_equal((uintptr_t)block % 16, 0);
			assert_true(allocator->malloc_usable_size(block) >= to);
			assert_true(holds(block, from < to ? from : to, seed));
			fill(block, allocator->malloc_usable_size(block), block);
			assert_sound(allocator);
			assert_non_null(live_region(block));
			assert_int_equal(map.of_kind[REGION_LIVE], j % 2 == 0 ? 2 : 1);
			allocator->free(block);
			allocator->free(neighbour);
		}
}

static void test_realloc_corners(void **state)
{
	const struct allocator *allocator = subject(state);

	for (size_t i = 0; i < COUNT(sizes); i++) {
		void *block = allocator->realloc(NULL, sizes[i]);

		assert_non_null(block);
		assert_true(allocator->malloc_usable_size(block) >= sizes[i]);
		errno = 5;
		assert_null(allocator->realloc(block, 0));
		assert_int_equal(errno, 5);
		assert_sound(allocator);
		assert_int_equal(map.of_kind[REGION_LIVE], 0);
	}
}

static void test_realloc_shrinks(void **state)
{
	const struct allocator *allocator = subject(state);
	void *block = allocator->malloc(40 * MIB);
	size_t before = mapped(allocator);

	fill(block, 8192, block);
	void *seed = block;
	block = allocator->realloc(block, 4 * MIB);
	assert_non_null(block);
	assert_true(holds(block, 8192, seed));
	assert_true(mapped(allocator) <= before - 35 * MIB);
	block = allocator->realloc(block, 100);
	assert_true(allocator->malloc_usable_size(block) < 64 * KIB);
	assert_true(holds(block, 100, seed));
	allocator->free(block);
}

static void test_realloc_grows_step_by_step(void **state)
{
	const struct allocator *allocator = subject(state);
	uint8_t *block = NULL;
	size_t size = 0;

	while (size < 6 * MIB) {
		size_t more = size + size / 2 + 1000;

		block = allocator->realloc(block, more);
		assert_non_null(block);
		assert_true(size == 0 || (block[0] == 1 && block[size - 1] == 2));
		block[0] = 1;
		block[more - 1] = 2;
		size = more;
		if (size > MIB) {
			/* Takes the place behind, so that pages have to move. */
			void *obstacle = allocator->malloc(MIB);

			assert_non_null(obstacle);
			allocator->free(obstacle);
		}
	}
	allocator->free(block);
}

static void test_alignments(void **state)
{
	const struct allocator *allocator = subject(state);
	void *blocks[24 * COUNT(sizes)];
	size_t count = 0;

	for (unsigned int shift = 0; shift < 24; shift++)
		for (size_t i = 0; i < COUNT(sizes); i += 3) {
			size_t alignment = (size_t)1 << shift;
			void *block = NULL;

			if (i % 2 == 0)
				block = allocator->aligned_alloc(alignment, sizes[i]);
			else if (alignment >= sizeof(void *))
				assert_int_equal(allocator->posix_memalign(&block, alignment, sizes[i]), 0);
			else
				block = allocator->memalign(alignment, sizes[i]);
			assert_non_null(block);
			assert_int_equal((uintptr_t)block % alignment, 0);
			assert_int_equal((uintptr_t)block % 16, 0);
			assert_true(allocator->malloc_usable_size(block) >= sizes[i]);
			fill(block, sizes[i], block);
			blocks[count++] = block;
		}
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], count);
	for (size_t n = 0; n < count; n++) {
		size_t size = sizes[n % ((COUNT(sizes) + 2) / 3) * 3];

		assert_true(holds(blocks[n], size, blocks[n]));
		assert_non_null(live_region(blocks[n]));
		if (n % 4 == 0) {
			void *seed = blocks[n];

			blocks[n] = allocator->realloc(blocks[n], size + 5000);
			assert_non_null(blocks[n]);
			assert_true(holds(blocks[n], size, seed));
		}
	}
	for (size_t n = 0; n < count; n++)
		allocator->free(blocks[n]);
}

static void test_bad_alignments(void **state)
{
	const struct allocator *allocator = subject(state);
	static volatile size_t bad[] = {0, 3, 6, 24, 48, 4095, 4097, SIZE_MAX, ((size_t)1 << 63) + 1};
	static volatile size_t too_small[] = {1, 2, 4};
	void *untouched = &map;
	void *result = untouched;

	for (size_t i = 0; i < COUNT(bad); i++) {
		errno = 0;
		assert_null(allocator->aligned_alloc(bad[i], 100));
		assert_int_equal(errno, EINVAL);
		errno = 0;
		assert_null(allocator->memalign(bad[i], 100));
		assert_int_equal(errno, EINVAL);
		errno = 3;
		assert_int_equal(allocator->posix_memalign(&result, bad[i], 100), EINVAL);
		assert_int_equal(errno, 3);
		assert_ptr_equal(result, untouched);
	}
	for (size_t i = 0; i < COUNT(too_small); i++) {
		assert_int_equal(allocator->posix_memalign(&result, too_small[i], 100), EINVAL);
		assert_ptr_equal(result, untouched);
	}
}

static void test_posix_memalign_keeps_errno(void **state)
{
	const struct allocator *allocator = subject(state);
	void *block;

	errno = 9;
	assert_int_equal(allocator->posix_memalign(&block, 4096, 5 * MIB), 0);
	assert_int_equal(errno, 9);
	allocator->free(block);
}

static void test_trim(void **state)
{
	const struct allocator *allocator = subject(state);
	void *blocks[300];
	size_t before;

	for (size_t i = 0; i < COUNT(blocks); i++) {
		blocks[i] = allocator->malloc(20000);
		fill(blocks[i], 20000, blocks[i]);
	}
	for (size_t i = 0; i < COUNT(blocks); i++)
		if (i % 50 != 0)
			allocator->free(blocks[i]);
	allocator->malloc_trim(0);
	/* All that could go has gone. */
	assert_int_equal(allocator->malloc_trim(0), 0);
	for (size_t i = 0; i < COUNT(blocks); i += 50) {
		assert_true(holds(blocks[i], 20000, blocks[i]));
		allocator->free(blocks[i]);
	}
	before = mapped(allocator);
	allocator->malloc_trim(0);
	assert_true(mapped(allocator) <= before);
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_FREE], 0);
	assert_int_equal(map.of_kind[REGION_CACHED], 0);
}

/* ---- When the OS refuses ---- */

static void refused_then_granted(const struct allocator *allocator)
{
	void *blocks[COUNT(sizes)];
	void *small = allocator->malloc(50);
	void *more[1000];
	size_t count = 0;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		blocks[i] = allocator->malloc(sizes[i]);
		REQUIRE(blocks[i] != NULL);
		fill(blocks[i], sizes[i], blocks[i]);
	}
	refuse_mappings(true);
	errno = 0;
	REQUIRE(allocator->malloc(100 * MIB) == NULL && errno == ENOMEM);
	errno = 0;
	REQUIRE(allocator->calloc(100, MIB) == NULL && errno == ENOMEM);
	errno = 0;
	REQUIRE(allocator->aligned_alloc(MIB, 100 * MIB) == NULL && errno == ENOMEM);
	errno = 0;
	REQUIRE(allocator->realloc(blocks[COUNT(sizes) - 1], 100 * MIB) == NULL && errno == ENOMEM);
	errno = 0;
	REQUIRE(allocator->realloc(blocks[5], 100 * MIB) == NULL && errno == ENOMEM);
	errno = 4;
	REQUIRE(allocator->posix_memalign(&more[0], 64, 100 * MIB) == ENOMEM && errno == 4);
	/* Until even small ones fail. */
	while (count < COUNT(more) && (more[count] = allocator->malloc(30000)) != NULL) {
		fill(more[count], 30000, more[count]);
		count++;
	}
	REQUIRE(count < COUNT(more));
	REQUIRE(look(allocator) == NULL);
	REQUIRE(map.of_kind[REGION_LIVE] == COUNT(sizes) + 1 + count);
	for (size_t i = 0; i < COUNT(sizes); i++)
		REQUIRE(holds(blocks[i], sizes[i], blocks[i]));
	/* To shrink and to free is possible without the OS. */
	for (size_t i = 1; i < COUNT(sizes); i++) {
		void *seed = blocks[i];

		blocks[i] = allocator->realloc(blocks[i], (sizes[i] + 1) / 2);
		REQUIRE(blocks[i] != NULL);
		REQUIRE(holds(blocks[i], (sizes[i] + 1) / 2, seed));
	}
	for (size_t i = 0; i < count; i++) {
		REQUIRE(holds(more[i], 30000, more[i]));
		allocator->free(more[i]);
	}
	REQUIRE(look(allocator) == NULL);
	refuse_mappings(false);
	more[0] = allocator->malloc(100 * MIB);
	REQUIRE(more[0] != NULL);
	allocator->free(more[0]);
	for (size_t i = 0; i < COUNT(sizes); i++)
		allocator->free(blocks[i]);
	allocator->free(small);
	if (allocator->quiesce != NULL)
		allocator->quiesce();
	REQUIRE(look(allocator) == NULL);
	REQUIRE(map.of_kind[REGION_LIVE] == 0);
}

static void test_refused_then_granted(void **state)
{
	assert_child_passes(refused_then_granted, subject(state));
}

#define REFUSED_THREADS 60

struct refused {
	const struct allocator *allocator;
	pthread_barrier_t *ready, *refused;
	void *block;
	bool got;
};

/* The first calls of a thread that gets no memory even for its bookkeeping. */
static void *first_calls_are_refused(void *argument)
{
	struct refused *refused = argument;
	const struct allocator *allocator = refused->allocator;
	void *block;

	pthread_barrier_wait(refused->ready);
	pthread_barrier_wait(refused->refused);
	REQUIRE(holds(refused->block, 2000, refused->block));
	errno = 6;
	allocator->free(refused->block);
	REQUIRE(errno == 6);
	errno = 0;
	block = allocator->malloc(1000);
	refused->got = block != NULL;
	REQUIRE(block != NULL || errno == ENOMEM);
	if (block != NULL)
		fill(block, 1000, block);
	allocator->free(block);
	return NULL;
}

static void threads_are_refused(const struct allocator *allocator)
{
	struct refused refused[REFUSED_THREADS];
	pthread_t threads[REFUSED_THREADS];
	pthread_barrier_t barriers[2];
	size_t failures = 0;

	for (size_t i = 0; i < COUNT(barriers); i++)
		REQUIRE(pthread_barrier_init(&barriers[i], NULL, REFUSED_THREADS + 1) == 0);
	for (size_t i = 0; i < REFUSED_THREADS; i++) {
		refused[i] = (struct refused){allocator, &barriers[0], &barriers[1], allocator->malloc(2000), false};
		fill(refused[i].block, 2000, refused[i].block);
		REQUIRE(pthread_create(&threads[i], NULL, first_calls_are_refused, &refused[i]) == 0);
	}
	pthread_barrier_wait(&barriers[0]);
	refuse_mappings(true);
	pthread_barrier_wait(&barriers[1]);
	for (size_t i = 0; i < REFUSED_THREADS; i++) {
		REQUIRE(pthread_join(threads[i], NULL) == 0);
		failures += !refused[i].got;
	}
	refuse_mappings(false);
	REQUIRE(failures != 0);
	if (allocator->quiesce != NULL)
		allocator->quiesce();
	REQUIRE(look(allocator) == NULL);
	REQUIRE(map.of_kind[REGION_LIVE] == 0);
}

static void test_threads_are_refused(void **state)
{
	assert_child_passes(threads_are_refused, subject(state));
}

static void largest_free_region(const struct allocator *allocator)
{
	void *blocks[400];
	void *block;
	size_t largest;

	for (size_t i = 0; i < COUNT(blocks); i++)
		blocks[i] = allocator->malloc(i * 37 % 3000 + 1);
	for (size_t i = 0; i < COUNT(blocks); i++)
		if (i % 100 != 50)
			allocator->free(blocks[i]);
	allocator->quiesce();
	REQUIRE(look(allocator) == NULL);
	largest = map.largest_free;
	REQUIRE(largest > MIB);
	refuse_mappings(true);
	block = allocator->malloc(largest);
	REQUIRE(block != NULL);
	fill(block, largest, block);
	REQUIRE(holds(block, largest, block));
	allocator->free(block);
	/* And so on, until nothing is left that a block of its size does not fit. */
	for (;;) {
		allocator->quiesce();
		REQUIRE(look(allocator) == NULL);
		if (map.largest_free < 32)
			break;
		REQUIRE(allocator->malloc(map.largest_free) != NULL);
	}
}

static void test_largest_free_region(void **state)
{
	assert_child_passes(largest_free_region, subject(state));
}

/* ---- What is noticed ---- */

static void free_twice(const struct allocator *allocator)
{
	void *block = allocator->malloc(40);

	fprintf(stderr, "%p\n", block);
	allocator->free(block);
	allocator->free(block);
}

static void free_after_merge(const struct allocator *allocator)
{
	void *keeper = allocator->malloc(3000); /* what follows is in its chunk, which stays */
	void *block = allocator->malloc(40);

	REQUIRE(keeper != NULL);
	fprintf(stderr, "%p\n", block);
	allocator->free(block);
	allocator->quiesce();
	allocator->free(block);
}

static void free_inside(const struct allocator *allocator)
{
	char *block = allocator->malloc(400);

	fprintf(stderr, "%p\n", (void *)(block + 64));
	memset(block, 0, 400);
	allocator->free(block + 64);
}

static void free_unaligned(const struct allocator *allocator)
{
	char *block = allocator->malloc(400);

	fprintf(stderr, "%p\n", (void *)(block + 3));
	memset(block, 0, 400);
	allocator->free(block + 3);
}

static void free_inside_large(const struct allocator *allocator)
{
	char *block = allocator->malloc(MIB);

	fprintf(stderr, "%p\n", (void *)(block + 1024));
	memset(block, 0, MIB);
	allocator->free(block + 1024);
}

static void usable_size_inside(const struct allocator *allocator)
{
	char *block = allocator->malloc(400);

	fprintf(stderr, "%p\n", (void *)(block + 48));
	memset(block, 0, 400);
	allocator->malloc_usable_size(block + 48);
}

static void realloc_inside(const struct allocator *allocator)
{
	char *block = allocator->malloc(400);

	fprintf(stderr, "%p\n", (void *)(block + 48));
	memset(block, 0, 400);
	REQUIRE(allocator->realloc(block + 48, 10) == NULL);
}

/* The child aborts, and its line names the pointer that it announced. */
static void assert_noticed(void (*body)(const struct allocator *), const struct allocator *allocator)
{
	char text[1000];
	char pointer[100] = "";
	int status = in_child(body, allocator, text, sizeof(text));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_int_equal(sscanf(text, "%99s", pointer), 1);
	assert_non_null(strstr(strchr(text, '\n'), pointer));
	assert_non_null(strstr(text, allocator->name));
}

static void test_damage_is_noticed(void **state)
{
	assert_noticed(free_inside, subject(state));
	assert_noticed(free_unaligned, subject(state));
	assert_noticed(free_inside_large, subject(state));
	assert_noticed(usable_size_inside, subject(state));
	assert_noticed(realloc_inside, subject(state));
}

static void test_double_free_is_noticed(void **state)
{
	assert_noticed(free_twice, subject(state));
	assert_noticed(free_after_merge, subject(state));
}

/* ---- mem_alloc only ---- */

static void test_mapping_per_block(void **state)
{
	const struct allocator *allocator = subject(state);
	size_t before = mapped(allocator);
	void *blocks[20];

	for (size_t i = 0; i < COUNT(blocks); i++)
		blocks[i] = allocator->malloc(5000 * i);
	assert_sound(allocator);
	for (size_t i = 0; i < COUNT(blocks); i++) {
		const struct region *region = live_region(blocks[i]);

		assert_non_null(region);
		assert_int_equal(region->size, allocator->malloc_usable_size(blocks[i]));
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(region->arena, live_region(blocks[j])->arena);
	}
	assert_int_equal(map.count, 2 * COUNT(blocks));
	for (size_t i = 0; i < COUNT(blocks); i++)
		allocator->free(blocks[i]);
	assert_int_equal(mapped(allocator), before);
}

/* ---- mem_alloc_2.0 only: the heap ---- */

static void swap(size_t *a, size_t *b)
{
	size_t c = *a;

	*a = *b;
	*b = c;
}

/* Free blocks as (address, size), to compare two moments. */
static size_t free_map(const struct allocator *allocator, struct region *regions, size_t max)
{
	size_t count = 0;

	quiesce(allocator);
	for (size_t i = 0; i < map.count; i++)
		if (map.regions[i].kind == REGION_FREE) {
			assert_true(count < max);
			regions[count++] = map.regions[i];
		}
	return count;
}

#define PERMUTED 5

static void permute(const struct allocator *allocator, size_t *order, size_t fixed, const struct region *expected,
		    size_t expected_count, size_t size)
{
	struct region regions[50];
	void *blocks[PERMUTED];
	size_t count;

	if (fixed < PERMUTED) {
		for (size_t i = fixed; i < PERMUTED; i++) {
			swap(&order[fixed], &order[i]);
			permute(allocator, order, fixed + 1, expected, expected_count, size);
			swap(&order[fixed], &order[i]);
		}
		return;
	}
	for (size_t i = 0; i < PERMUTED; i++) {
		blocks[i] = allocator->malloc(size);
		assert_non_null(blocks[i]);
	}
	for (size_t i = 0; i < PERMUTED; i++) {
		allocator->free(blocks[order[i]]);
		/* One by one into the heap, so that each merges with what is free by then. */
		allocator->quiesce();
	}
	count = free_map(allocator, regions, COUNT(regions));
	assert_int_equal(count, expected_count);
	for (size_t i = 0; i < count; i++) {
		assert_ptr_equal(regions[i].start, expected[i].start);
		assert_int_equal(regions[i].size, expected[i].size);
	}
}

static void test_any_order_coalesces(void **state)
{
	static const size_t block_sizes[] = {16, 32, 48, 1024, 1040, 5000, 70000};
	const struct allocator *allocator = subject(state);
	void *below = allocator->malloc(500);
	void *keeper = allocator->malloc(1000);

	allocator->free(below);
	for (size_t i = 0; i < COUNT(block_sizes); i++) {
		struct region expected[50];
		size_t order[PERMUTED] = {0, 1, 2, 3, 4};
		size_t count = free_map(allocator, expected, COUNT(expected));

		permute(allocator, order, 0, expected, count, block_sizes[i]);
	}
	allocator->free(keeper);
}

static uint32_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

static void test_random_order_coalesces(void **state)
{
	const struct allocator *allocator = subject(state);
	static void *blocks[3000];
	uint64_t random = 1;

	for (size_t round = 0; round < 5; round++) {
		for (size_t i = 0; i < COUNT(blocks); i++) {
			size_t size = random_next(&random) % (random_next(&random) % 50 == 0 ? 100000 : 700);

			blocks[i] = allocator->malloc(size);
			memset(blocks[i], 0xee, size);
		}
		for (size_t i = COUNT(blocks); i-- > 1;) {
			size_t j = random_next(&random) % (i + 1);
			void *block = blocks[i];

			blocks[i] = blocks[j];
			blocks[j] = block;
		}
		for (size_t i = 0; i < COUNT(blocks); i++) {
			allocator->free(blocks[i]);
			if (i % 500 == 0)
				assert_sound(allocator);
		}
		assert_int_equal(all_is_free(state), 0);
		assert_true(map.of_kind[REGION_FREE] <= 1);
	}
}

static void test_splits_and_reuses(void **state)
{
	const struct allocator *allocator = subject(state);
	char *low = allocator->malloc(30000);
	void *keeper = allocator->malloc(3000);
	size_t calls;
	char *block;

	allocator->free(low);
	allocator->quiesce();
	calls = map_calls(allocator);
	block = allocator->malloc(10000);
	/* The hole is smaller than the rest of the chunk: it is used first. */
	assert_true(block >= low && block < low + 30000);
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], 2);
	assert_int_equal(map_calls(allocator), calls);
	allocator->free(block);
	allocator->free(keeper);
}

static void test_cached_is_not_live(void **state)
{
	const struct allocator *allocator = subject(state);
	void *block = allocator->malloc(64);
	void *live = allocator->malloc(64);

	allocator->free(block);
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], 1);
	assert_true(map.of_kind[REGION_CACHED] >= 1);
	assert_null(live_region(block));
	/* A walk changes nothing, and the visitor may stop it. */
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], 1);
	/* What was freed last is handed out first. */
	assert_ptr_equal(allocator->malloc(64), block);
	allocator->free(block);
	allocator->free(live);
}

static bool stop_at_third(const struct region *region, void *context)
{
	(void)region;
	return ++*(size_t *)context < 3;
}

static void test_walk_stops(void **state)
{
	const struct allocator *allocator = subject(state);
	void *a = allocator->malloc(64);
	void *b = allocator->malloc(64);
	void *c = allocator->malloc(2 * MIB);
	size_t visits = 0;

	allocator->free(a);
	assert_false(allocator->walk(stop_at_third, &visits));
	assert_int_equal(visits, 3);
	assert_sound(allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], 2);
	allocator->free(b);
	allocator->free(c);
}

static void test_grows_in_place(void **state)
{
	const struct allocator *allocator = subject(state);
	char *block = allocator->malloc(100000);
	char *large = allocator->malloc(MIB);

	block[89999] = 42;
	large[699999] = 43;
	assert_ptr_equal(allocator->realloc(block, 200000), block);
	assert_ptr_equal(allocator->realloc(block, 300000), block);
	assert_ptr_equal(allocator->realloc(block, 90000), block);
	assert_ptr_equal(allocator->realloc(large, 700000), large);
	assert_sound(allocator);
	assert_int_equal(block[89999], 42);
	assert_int_equal(large[699999], 43);
	allocator->free(block);
	allocator->free(large);
}

static void test_memory_goes_back(void **state)
{
	const struct allocator *allocator = subject(state);
	static void *blocks[10000];
	struct heap_stats stats;
	size_t before;

	allocator->malloc_trim(0);
	before = mapped(allocator);
	for (size_t i = 0; i < COUNT(blocks); i++) {
		blocks[i] = allocator->malloc(3000);
		memset(blocks[i], 1, 3000);
	}
	assert_true(mapped(allocator) > before + 28 * MIB);
	for (size_t i = 0; i < COUNT(blocks); i++)
		allocator->free(blocks[i]);
	/* Most of it at once, by the frees alone: two chunks are kept, and those of the last blocks. */
	allocator->stats(&stats);
	assert_true(mapped(allocator) <= before + 8 * MIB);
	assert_true(mapped(allocator) - stats.purged <= before + 6 * MIB + (128 << 10));
	assert_int_equal(allocator->malloc_trim(0), 1);
	assert_int_equal(mapped(allocator), before);
	allocator->stats(&stats);
	assert_int_equal(stats.purged, 0);
	assert_true(stats.mapped_peak >= before + 28 * MIB);

	/* One survivor: its chunk stays, the pages of the others go. */
	for (size_t i = 0; i < 600; i++)
		blocks[i] = allocator->malloc(3000);
	for (size_t i = 0; i < 600; i++)
		if (i != 300)
			allocator->free(blocks[i]);
	assert_int_equal(allocator->malloc_trim(0), 1);
	allocator->stats(&stats);
	assert_true(stats.purged > 1600000);
	assert_int_equal(allocator->malloc_trim(0), 0);
	allocator->free(blocks[300]);
	allocator->malloc_trim(0);
	allocator->stats(&stats);
	assert_int_equal(stats.purged, 0);
}

/* ---- Threads ---- */

static void *in_thread(void *(*body)(void *), void *argument)
{
	pthread_t thread;
	void *result;

	assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	return result;
}

#define HANDED 3000

struct handed {
	const struct allocator *allocator;
	void *blocks[HANDED];
	size_t sizes[HANDED];
};

static void *allocate_handed(void *argument)
{
	struct handed *handed = argument;
	uint64_t random = 7;

	for (size_t i = 0; i < HANDED; i++) {
		handed->sizes[i] = random_next(&random) % (i % 100 == 0 ? 200000 : 500);
		handed->blocks[i] = handed->allocator->malloc(handed->sizes[i]);
		REQUIRE(handed->blocks[i] != NULL);
		fill(handed->blocks[i], handed->sizes[i], handed->blocks[i]);
	}
	return NULL;
}

static void *free_handed(void *argument)
{
	struct handed *handed = argument;

	for (size_t i = 0; i < HANDED; i++) {
		REQUIRE(holds(handed->blocks[i], handed->sizes[i], handed->blocks[i]));
		handed->allocator->free(handed->blocks[i]);
	}
	return NULL;
}

/* The first call of a thread may be a free, a realloc or a question about another's block. */
static void *realloc_handed(void *argument)
{
	struct handed *handed = argument;

	for (size_t i = 0; i < HANDED; i++) {
		void *seed = handed->blocks[i];
		size_t size = handed->sizes[i] * (i % 3) + 1;

		REQUIRE(handed->allocator->malloc_usable_size(handed->blocks[i]) >= handed->sizes[i]);
		handed->blocks[i] = handed->allocator->realloc(handed->blocks[i], size);
		REQUIRE(handed->blocks[i] != NULL);
		REQUIRE(holds(handed->blocks[i], size < handed->sizes[i] ? size : handed->sizes[i], seed));
		fill(handed->blocks[i], size, handed->blocks[i]);
		handed->sizes[i] = size;
	}
	return NULL;
}

static void test_blocks_outlive_their_thread(void **state)
{
	static struct handed handed;

	handed.allocator = subject(state);
	in_thread(allocate_handed, &handed);
	assert_sound(handed.allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], HANDED);
	free_handed(&handed);
}

static void test_freed_by_another_thread(void **state)
{
	static struct handed handed;

	handed.allocator = subject(state);
	allocate_handed(&handed);
	in_thread(free_handed, &handed);
	assert_sound(handed.allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], 0);
}

static void test_first_call_is_realloc(void **state)
{
	static struct handed handed;

	handed.allocator = subject(state);
	allocate_handed(&handed);
	in_thread(realloc_handed, &handed);
	assert_sound(handed.allocator);
	assert_int_equal(map.of_kind[REGION_LIVE], HANDED);
	in_thread(free_handed, &handed);
}

static void test_finished_threads_leave_nothing(void **state)
{
	static struct handed handed;
	size_t plateau = 0;

	handed.allocator = subject(state);
	for (size_t round = 0; round < 30; round++) {
		in_thread(allocate_handed, &handed);
		in_thread(free_handed, &handed);
		if (round == 5)
			plateau = mapped(handed.allocator);
		if (round > 5)
			assert_true(mapped(handed.allocator) <= plateau);
	}
}

static void *allocate_and_free_half(void *argument)
{
	struct handed *handed = argument;

	allocate_handed(handed);
	for (size_t i = 0; i < HANDED; i += 2) {
		handed->allocator->free(handed->blocks[i]);
		handed->blocks[i] = NULL;
		handed->sizes[i] = 0;
	}
	return NULL;
}

static void test_orphans_are_adopted(void **state)
{
	static struct handed handed;
	const struct allocator *allocator = subject(state);
	size_t calls, free_bytes;
	void *blocks[100];

	handed.allocator = allocator;
	allocator->malloc_trim(0);
	in_thread(allocate_and_free_half, &handed);
	assert_sound(allocator);
	free_bytes = map.bytes_of_kind[REGION_FREE];
	assert_true(free_bytes > MIB);
	/* The memory that the finished thread left free is used before any is mapped. */
	calls = map_calls(allocator);
	for (size_t i = 0; i < COUNT(blocks); i++)
		blocks[i] = allocator->malloc(5000);
	assert_int_equal(map_calls(allocator), calls);
	for (size_t i = 0; i < COUNT(blocks); i++)
		allocator->free(blocks[i]);
	free_handed(&handed);
}

/* ThreadSanitizer ends a thread in the last round, and what comes after is a fault of its own. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LATE_RUNS 3
#endif
#endif
#ifndef LATE_RUNS
#define LATE_RUNS 4 /* PTHREAD_DESTRUCTOR_ITERATIONS */
#endif

static pthread_key_t late_key;

struct late {
	const struct allocator *allocator;
	void *block;
	int runs;
};

/* Allocates in every round of destructors, so also after the allocator's own has run. */
static void late_destructor(void *argument)
{
	struct late *late = argument;
	const struct allocator *allocator = late->allocator;
	void *blocks[100];

	REQUIRE(holds(late->block, 100, late->block));
	for (size_t i = 0; i < COUNT(blocks); i++) {
		blocks[i] = allocator->malloc(i * 100);
		REQUIRE(blocks[i] != NULL);
		fill(blocks[i], i * 100, blocks[i]);
	}
	for (size_t i = 0; i < COUNT(blocks); i++) {
		REQUIRE(holds(blocks[i], i * 100, blocks[i]));
		allocator->free(blocks[i]);
	}
	allocator->free(late->block);
	allocator->malloc_trim(0);
	late->block = NULL;
	if (++late->runs < LATE_RUNS) {
		late->block = allocator->calloc(1, 100);
		REQUIRE(is_zero(late->block, 100));
		late->block = allocator->realloc(late->block, 1000);
		fill(late->block, 100, late->block);
		pthread_setspecific(late_key, late);
	}
}

static void *thread_with_late_destructor(void *argument)
{
	struct late *late = argument;

	late->block = late->allocator->malloc(100);
	fill(late->block, 100, late->block);
	REQUIRE(pthread_setspecific(late_key, late) == 0);
	return NULL;
}

/* The allocator is first called in a destructor. */
static void *thread_only_late(void *argument)
{
	struct late *late = argument;

	REQUIRE(pthread_setspecific(late_key, late) == 0);
	return NULL;
}

static void test_thread_destructors(void **state)
{
	const struct allocator *allocator = subject(state);

	assert_int_equal(pthread_key_create(&late_key, late_destructor), 0);
	for (size_t round = 0; round < 10; round++) {
		struct late late = {allocator, NULL, 0};

		in_thread(thread_with_late_destructor, &late);
		assert_int_equal(late.runs, LATE_RUNS);
		late = (struct late){allocator, allocator->malloc(100), LATE_RUNS - 2};
		fill(late.block, 100, late.block);
		in_thread(thread_only_late, &late);
		assert_int_equal(late.runs, LATE_RUNS);
		assert_sound(allocator);
		assert_int_equal(map.of_kind[REGION_LIVE], 0);
	}
	pthread_key_delete(late_key);
}

/* Blocks of 16 bytes and more that any thread may take and free. */
static void *_Atomic exchange[64];
static _Atomic bool stop;

struct worker {
	const struct allocator *allocator;
	uint64_t random;
	size_t operations; /* 0: until `stop` */
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	const struct allocator *allocator = worker->allocator;
	uint64_t random = worker->random;
	void *blocks[100] = {NULL};
	size_t block_sizes[100] = {0};

	for (size_t n = 0; worker->operations == 0 ? !atomic_load(&stop) : n < worker->operations; n++) {
		size_t i = random_next(&random) % COUNT(blocks);
		size_t size = 16 + random_next(&random) % (random_next(&random) % 64 == 0 ? 600000 : 600);

		if (blocks[i] == NULL) {
			blocks[i] = allocator->malloc(size);
			REQUIRE(blocks[i] != NULL);
			block_sizes[i] = size > 4000 ? 4000 : size;
			fill(blocks[i], block_sizes[i], blocks[i]);
			continue;
		}
		REQUIRE(holds(blocks[i], block_sizes[i], blocks[i]));
		if (random_next(&random) % 4 == 0) {
			void *seed = blocks[i];

			blocks[i] = allocator->realloc(blocks[i], size);
			REQUIRE(blocks[i] != NULL);
			size = size > 4000 ? 4000 : size;
			REQUIRE(holds(blocks[i], block_sizes[i] < size ? block_sizes[i] : size, seed));
			block_sizes[i] = size;
			fill(blocks[i], size, blocks[i]);
		} else if (random_next(&random) % 2 == 0) {
			*(void **)blocks[i] = blocks[i];
			blocks[i] = atomic_exchange(&exchange[random_next(&random) % COUNT(exchange)], blocks[i]);
			REQUIRE(blocks[i] == NULL || *(void **)blocks[i] == blocks[i]);
			allocator->free(blocks[i]);
			blocks[i] = NULL;
		} else {
			allocator->free(blocks[i]);
			blocks[i] = NULL;
		}
	}
	for (size_t i = 0; i < COUNT(blocks); i++)
		allocator->free(blocks[i]);
	return NULL;
}

static void empty_exchange(const struct allocator *allocator)
{
	for (size_t i = 0; i < COUNT(exchange); i++) {
		allocator->free(exchange[i]);
		exchange[i] = NULL;
	}
}

static void test_threads_exchange_blocks(void **state)
{
	const struct allocator *allocator = subject(state);
	struct worker workers[4];
	pthread_t threads[COUNT(workers)];

	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT(workers); i++) {
			workers[i] = (struct worker){allocator, round * 10 + i, 4000};
			assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
		}
		for (size_t i = 0; i < COUNT(workers); i++)
			pthread_join(threads[i], NULL);
		assert_sound(allocator);
	}
	empty_exchange(allocator);
}

/* ---- Fork ---- */

/* The child of a fork in which other threads were at work. */
static void child_of_threads(const struct allocator *allocator)
{
	struct worker worker = {allocator, 99, 3000};

	/* What the other threads had is in order as far as it can be seen. */
	REQUIRE(look(allocator) == NULL);
	memset((void *)exchange, 0, sizeof(exchange));
	work(&worker);
	empty_exchange(allocator);
	REQUIRE(look(allocator) == NULL);
	allocator->malloc_trim(0);
	if (allocator->quiesce != NULL)
		allocator->quiesce();
	REQUIRE(look(allocator) == NULL);
}

static void test_fork_while_threads_allocate(void **state)
{
	const struct allocator *allocator = subject(state);
	struct worker workers[3];
	pthread_t threads[COUNT(workers)];

	atomic_store(&stop, false);
	for (size_t i = 0; i < COUNT(workers); i++) {
		workers[i] = (struct worker){allocator, i + 1, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t round = 0; round < 40; round++) {
		void *block = allocator->malloc(100);

		assert_child_passes(child_of_threads, allocator);
		allocator->free(block);
	}
	atomic_store(&stop, true);
	for (size_t i = 0; i < COUNT(workers); i++)
		pthread_join(threads[i], NULL);
	empty_exchange(allocator);
}

static void child_of_child(const struct allocator *allocator)
{
	char text[1000];

	REQUIRE(in_child(refused_then_granted, allocator, text, sizeof(text)) == 0);
}

static void test_fork_in_child(void **state)
{
	assert_child_passes(child_of_child, subject(state));
}

/* A thread that has not allocated yet forks. */
static void *fork_first(void *argument)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		child_of_threads(argument);
		_exit(0);
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	REQUIRE(status == 0);
	return NULL;
}

static void test_fork_in_fresh_thread(void **state)
{
	void *block = subject(state)->malloc(1000);

	in_thread(fork_first, (void *)subject(state));
	subject(state)->free(block);
}

/* ---- Before main ---- */

static void *early[2];

static void allocate_early(void)
{
	early[0] = my_malloc(1000);
	early[1] = my_malloc_2_0(1000);
}

/* Runs before every constructor, those of the allocators among them. */
static __attribute__((section(".preinit_array"), used)) void (*const before_constructors)(void) = allocate_early;

static void test_before_main(void **state)
{
	const struct allocator *allocator = subject(state);
	void **block = allocator == &mem_alloc ? &early[0] : &early[1];

	assert_non_null(*block);
	assert_true(allocator->malloc_usable_size(*block) >= 1000);
	fill(*block, 1000, *block);
	assert_true(holds(*block, 1000, *block));
	allocator->free(*block);
	*block = NULL;
}

#define TEST(function) {#function, test_##function, NULL, all_is_free, NULL}

static int run(const struct allocator *allocator, const struct CMUnitTest *tests, size_t count)
{
	struct CMUnitTest copies[50];

	assert(count <= COUNT(copies));
	for (size_t i = 0; i < count; i++) {
		copies[i] = tests[i];
		copies[i].initial_state = (void *)allocator;
	}
	return _cmocka_run_group_tests(allocator->name, copies, count, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest common[] = {
		TEST(before_main), /* first: the others expect that nothing is live */
		TEST(malloc_sizes),
		TEST(malloc_zero_is_unique),
		TEST(too_much),
		TEST(overflow),
		TEST(calloc_reused_memory),
		TEST(free_and_errno),
		TEST(usable_size_of_null),
		TEST(realloc_every_step),
		TEST(realloc_corners),
		TEST(realloc_shrinks),
		TEST(realloc_grows_step_by_step),
		TEST(alignments),
		TEST(bad_alignments),
		TEST(posix_memalign_keeps_errno),
		TEST(trim),
		TEST(refused_then_granted),
		TEST(threads_are_refused),
		TEST(damage_is_noticed),
		TEST(blocks_outlive_their_thread),
		TEST(freed_by_another_thread),
		TEST(first_call_is_realloc),
		TEST(finished_threads_leave_nothing),
		TEST(thread_destructors),
		TEST(threads_exchange_blocks),
		TEST(fork_while_threads_allocate),
		TEST(fork_in_child),
		TEST(fork_in_fresh_thread),
	};
	const struct CMUnitTest only_mem_alloc[] = {
		TEST(mapping_per_block),
	};
	const struct CMUnitTest only_2_0[] = {
		TEST(largest_free_region), TEST(double_free_is_noticed),
		TEST(any_order_coalesces), TEST(random_order_coalesces),
		TEST(splits_and_reuses),   TEST(cached_is_not_live),
		TEST(walk_stops),          TEST(grows_in_place),
		TEST(memory_goes_back),    TEST(orphans_are_adopted),
	};
	int failed = 0;

	failed += run(&mem_alloc, common, COUNT(common));
	failed += run(&mem_alloc, only_mem_alloc, COUNT(only_mem_alloc));
	failed += run(&mem_alloc_2_0, common, COUNT(common));
	failed += run(&mem_alloc_2_0, only_2_0, COUNT(only_2_0));
	return failed != 0;
}
