/*
 * The executor: each oracle sees the mistake that it is there for, at the right operation and block, and it alone; programs on correct
 * allocators are clean; threads, labels and addresses are what program.h says.
 *
 * The mistakes are made by a toy allocator, one at a time, when a request has the size TRIGGER. A run that found something leaves its
 * executor unusable, so that each run has a process of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "executor.h"
#include "sanitizer.h"

#define TRIGGER 77

enum bug {
	BUG_NONE,
	BUG_SAME_ADDRESS,
	BUG_INSIDE,
	BUG_AROUND,
	BUG_REALLOC_OVER,
	BUG_WRITES_NEIGHBOUR,
	BUG_FREE_WRITES_NEIGHBOUR,
	BUG_REALLOC_FORGETS,
	BUG_REALLOC_DAMAGES,
	BUG_DIRTY_CALLOC,
	BUG_OFF_BY_EIGHT,
	BUG_USABLE_SHORT,
	BUG_USABLE_HUGE,
	BUG_NO_ERRNO,
	BUG_TAKES_ANY_SIZE,
	BUG_OVERFLOWS,
	BUG_TAKES_ANY_ALIGNMENT,
	BUG_WRONG_ERROR,
	BUG_POSIX_STORES_NOTHING,
	BUG_POSIX_STORES_ON_FAILURE,
	BUG_GIVES_UP,
	BUG_FREE_SETS_ERRNO,
	BUG_FREE_NULL_SETS_ERRNO,
	BUG_USABLE_OF_NULL,
	BUG_CHECK_FAILS,
	BUG_FORGETS_TO_FREE,
	BUG_LIVE_AS_FREE,
	BUG_WALK_SKIPS,
	BUG_WALK_ENDS_EARLY,
	BUG_WALK_TWICE,
	BUG_WALK_STOPS,
	BUG_REGION_SHORT,
	BUG_NO_COALESCING,
	BUG_STAYS_CACHED,
	BUG_IGNORES_LARGE_FREE,
	BUG_NEVER_REUSES,
	BUG_FORK_FAILS,
	BUG_FORK_DIES,
	BUG_FORK_ALL_ABORTS,
	BUG_FORK_READS_LIVE,
	/* Without a walk, which would see them too. */
	BUG_EMPTY_SHARES_ADDRESS,
	BUG_OFF_BY_EIGHT_UNSEEN,
};

void *heapstorm_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t offset);

/* ---- The toy: an array of regions in order of address, all of its state in one struct that the snapshot puts back ---- */

#define REGIONS_MAX 4096
#define ARENA_SIZE ((size_t)64 << 10)

struct toy_region {
	char *start, *arena;
	size_t size, arena_size, requested;
	bool live, cached;
};

static struct {
	struct toy_region regions[REGIONS_MAX];
	size_t count;
	size_t last; /* the region handed out last */
} toy;

static enum bug bug;
static pid_t home;

/* What was called, in order: sizes of requests, minus the size of what is freed, DESTRUCTOR + thread's number. */
#define LOG_MAX 256
#define DESTRUCTOR 100000
static long call_log[LOG_MAX];
static size_t log_count;
static bool with_destructors;
static pthread_key_t key;
static bool key_made;

static void log_call(long entry)
{
	if (log_count < LOG_MAX)
		call_log[log_count++] = entry;
}

static void insert_region(size_t at, struct toy_region region)
{
	if (toy.count == REGIONS_MAX)
		abort();
	memmove(&toy.regions[at + 1], &toy.regions[at], (toy.count - at) * sizeof region);
	toy.regions[at] = region;
	toy.count++;
}

static void remove_region(size_t at)
{
	toy.count--;
	memmove(&toy.regions[at], &toy.regions[at + 1], (toy.count - at) * sizeof toy.regions[0]);
}

static size_t find_region(const void *payload)
{
	for (size_t i = 0; i < toy.count; i++)
		if (toy.regions[i].start == payload)
			return i;
	return SIZE_MAX;
}

static void on_thread_end(void *value)
{
	log_call(DESTRUCTOR + (long)(intptr_t)value);
}

static void *toy_allocate(size_t alignment, size_t size)
{
	const size_t rounded = size < 16 ? 16 : (size + 15) & ~(size_t)15;

	log_call((long)size);
	if (with_destructors) {
		if (!key_made)
			key_made = pthread_key_create(&key, on_thread_end) == 0;
		if (pthread_getspecific(key) == NULL)
			pthread_setspecific(key, (void *)(intptr_t)size);
	}
	if (size > PTRDIFF_MAX - 4096 || alignment > PTRDIFF_MAX - size - 4096) {
		errno = ENOMEM;
		return NULL;
	}
	for (;;) {
		for (size_t i = 0; i < toy.count; i++) {
			struct toy_region *const region = &toy.regions[i];
			char *const start = (char *)(((uintptr_t)region->start + alignment - 1) & -alignment);
			const size_t gap = (size_t)(start - region->start);
			struct toy_region rest = *region;

			if (region->live || region->cached || region->size < gap + rounded ||
			    (bug == BUG_NEVER_REUSES && region->arena_size == region->size && region->requested != 0) ||
			    (bug == BUG_IGNORES_LARGE_FREE && size > 4096 && region->size != region->arena_size))
				continue;
			if (gap > 0) {
				region->size = gap;
				insert_region(++i, rest);
			}
			toy.regions[i].start = start;
			toy.regions[i].size = rounded;
			toy.regions[i].live = true;
			toy.regions[i].requested = size;
			if (rest.size > gap + rounded) {
				rest.start = start + rounded;
				rest.size -= gap + rounded;
				insert_region(i + 1, rest);
			}
			toy.last = i;
			return start;
		}
		const size_t wanted = rounded + (alignment > 4096 ? alignment : 0);
		const size_t arena_size = wanted < ARENA_SIZE ? ARENA_SIZE : (wanted + 4095) & ~(size_t)4095;
		char *const arena =
			heapstorm_mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		size_t at = 0;

		if (arena == MAP_FAILED)
			return NULL;
		while (at < toy.count && toy.regions[at].start < arena)
			at++;
		insert_region(at,
			      (struct toy_region){
				      .start = arena, .arena = arena, .size = arena_size, .arena_size = arena_size});
	}
}

static void *toy_malloc(size_t size)
{
	const size_t before = toy.last;

	if (home != getpid() && bug == BUG_FORK_FAILS)
		return NULL;
	if (home != getpid() && bug == BUG_FORK_DIES)
		raise(SIGKILL);
	if (home != getpid() && bug == BUG_FORK_ALL_ABORTS)
		abort();
	if (home != getpid() && bug == BUG_FORK_READS_LIVE)
		(void)*(volatile char *)toy.regions[0].start;
	if (size > PTRDIFF_MAX) {
		if (bug == BUG_NO_ERRNO)
			return NULL;
		if (bug == BUG_TAKES_ANY_SIZE)
			size = 100;
	}
	if (size == 0 && bug == BUG_EMPTY_SHARES_ADDRESS)
		return toy.regions[before].start;
	if (size == TRIGGER) {
		struct toy_region *const last = &toy.regions[before];

		switch (bug) {
		case BUG_SAME_ADDRESS:
			return last->start;
		case BUG_INSIDE:
			return last->start + 16;
		case BUG_AROUND:
			return last->start - 32;
		case BUG_WRITES_NEIGHBOUR:
			last->start[3] ^= 1;
			break;
		case BUG_OFF_BY_EIGHT:
		case BUG_OFF_BY_EIGHT_UNSEEN:
			return (char *)toy_allocate(16, size) + 8;
		case BUG_GIVES_UP:
			errno = ENOMEM;
			return NULL;
		case BUG_REGION_SHORT: {
			char *const block = toy_allocate(16, size);
			struct toy_region *const region = &toy.regions[find_region(block)];
			struct toy_region rest = *region;

			region->size = 16;
			rest.start += 16;
			rest.size -= 16;
			rest.live = false;
			insert_region(find_region(block) + 1, rest);
			return block;
		}
		case BUG_LIVE_AS_FREE: {
			char *const block = toy_allocate(16, size);

			toy.regions[find_region(block)].live = false;
			toy.regions[find_region(block)].cached = true;
			return block;
		}
		default:
			break;
		}
	}
	return toy_allocate(16, size);
}

static void toy_free(void *pointer)
{
	size_t at = find_region(pointer);

	log_call(pointer == NULL || at == SIZE_MAX ? 0 : -(long)toy.regions[at].requested);
	if (pointer == NULL) {
		if (bug == BUG_FREE_NULL_SETS_ERRNO)
			errno = EINVAL;
		return;
	}
	if (at == SIZE_MAX)
		return;
	if (toy.regions[at].requested == TRIGGER) {
		if (bug == BUG_FREE_WRITES_NEIGHBOUR && at > 0)
			toy.regions[at - 1].start[0] ^= 1;
		if (bug == BUG_FREE_SETS_ERRNO)
			errno = EBUSY;
		if (bug == BUG_FORGETS_TO_FREE)
			return;
		if (bug == BUG_STAYS_CACHED) {
			toy.regions[at].live = false;
			toy.regions[at].cached = true;
			return;
		}
	}
	toy.regions[at].live = toy.regions[at].cached = false;
	if (bug == BUG_NO_COALESCING)
		return;
	if (at + 1 < toy.count && toy.regions[at + 1].arena == toy.regions[at].arena && !toy.regions[at + 1].live &&
	    !toy.regions[at + 1].cached) {
		toy.regions[at].size += toy.regions[at + 1].size;
		remove_region(at + 1);
	}
	if (at > 0 && toy.regions[at - 1].arena == toy.regions[at].arena && !toy.regions[at - 1].live &&
	    !toy.regions[at - 1].cached) {
		toy.regions[at - 1].size += toy.regions[at].size;
		toy.regions[at - 1].requested = toy.regions[at].requested;
		remove_region(at);
	}
}

static void *toy_calloc(size_t count, size_t size)
{
	size_t bytes;
	char *block;

	if (__builtin_mul_overflow(count, size, &bytes) && bug != BUG_OVERFLOWS) {
		errno = ENOMEM;
		return NULL;
	}
	block = toy_malloc(bytes);
	if (block != NULL)
		memset(block, 0, bytes);
	if (block != NULL && bug == BUG_DIRTY_CALLOC && bytes == TRIGGER)
		block[TRIGGER - 1] = 1;
	return block;
}

static void *toy_realloc(void *pointer, size_t size)
{
	size_t kept;
	void *block;

	if (pointer == NULL)
		return toy_malloc(size);
	if (size == 0) {
		toy_free(pointer);
		return NULL;
	}
	kept = toy.regions[find_region(pointer)].requested;
	if (size == TRIGGER && bug == BUG_REALLOC_OVER) {
		toy_free(pointer);
		memmove(toy.regions[0].start, pointer, kept < size ? kept : size);
		return toy.regions[0].start;
	}
	block = toy_malloc(size);
	if (block == NULL) {
		if (bug == BUG_REALLOC_DAMAGES)
			((char *)pointer)[kept - 1] ^= 1;
		return NULL;
	}
	if (size == TRIGGER && bug == BUG_REALLOC_FORGETS)
		kept = 8;
	memcpy(block, pointer, kept < size ? kept : size);
	toy_free(pointer);
	return block;
}

static void *toy_reallocarray(void *pointer, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes) && bug != BUG_OVERFLOWS) {
		errno = ENOMEM;
		return NULL;
	}
	return toy_realloc(pointer, bytes);
}

static void *toy_aligned_alloc(size_t alignment, size_t size)
{
	if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
		if (bug == BUG_TAKES_ANY_ALIGNMENT)
			return toy_malloc(size);
		errno = bug == BUG_WRONG_ERROR ? ENOMEM : EINVAL;
		return NULL;
	}
	if (bug == BUG_OFF_BY_EIGHT && size == TRIGGER)
		return (char *)toy_allocate(alignment, size + 16) + 16;
	return toy_allocate(alignment < 16 ? 16 : alignment, size);
}

static int toy_posix_memalign(void **result, size_t alignment, size_t size)
{
	void *block;

	if (bug == BUG_POSIX_STORES_NOTHING && size == TRIGGER)
		return 0;
	if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment % sizeof(void *) != 0) {
		if (bug == BUG_POSIX_STORES_ON_FAILURE)
			*result = (void *)&toy;
		if (bug != BUG_TAKES_ANY_ALIGNMENT)
			return bug == BUG_WRONG_ERROR ? ENOMEM : EINVAL;
		alignment = 16;
	}
	block = toy_aligned_alloc(alignment, size);
	if (block == NULL)
		return errno;
	*result = block;
	return 0;
}

static size_t toy_usable_size(void *pointer)
{
	if (pointer == NULL)
		return bug == BUG_USABLE_OF_NULL ? 8 : 0;
	const struct toy_region *const region = &toy.regions[find_region(pointer)];

	if (bug == BUG_USABLE_SHORT && region->requested == TRIGGER)
		return region->requested - 1;
	if (bug == BUG_USABLE_HUGE && region->requested == TRIGGER)
		return SIZE_MAX - 15;
	return region->size;
}

static bool toy_walk(region_visitor *visit, void *context)
{
	for (size_t i = 0; i < toy.count; i++) {
		const struct toy_region *const region = &toy.regions[i];
		const struct region seen = {
			.start = region->start,
			.size = region->size,
			.kind = region->live     ? REGION_LIVE
				: region->cached ? REGION_CACHED
						 : REGION_FREE,
			.payload = region->live ? region->start : NULL,
			.arena = region->arena,
			.arena_size = region->arena_size,
		};
		const bool triggered = region->live && region->requested == TRIGGER;

		if (bug == BUG_WALK_STOPS && triggered)
			return false;
		if (bug == BUG_WALK_SKIPS && triggered)
			continue;
		if (bug == BUG_WALK_ENDS_EARLY && i + 1 == toy.count && toy.regions[0].requested == TRIGGER)
			continue;
		if (!visit(&seen, context) || (bug == BUG_WALK_TWICE && triggered && !visit(&seen, context)))
			return false;
	}
	return true;
}

static bool toy_check(char *why, size_t size)
{
	for (size_t i = 0; i < toy.count; i++) {
		if (bug == BUG_CHECK_FAILS && toy.regions[i].live && toy.regions[i].requested == TRIGGER) {
			snprintf(why, size, "a region of %d bytes", TRIGGER);
			return false;
		}
	}
	return true;
}

/* What the toy keeps apart on purpose stays so: the mistake of BUG_STAYS_CACHED. */
static void toy_quiesce(void)
{
}

static const struct allocator toy_allocator = {
	.name = "toy",
	.malloc = toy_malloc,
	.free = toy_free,
	.calloc = toy_calloc,
	.realloc = toy_realloc,
	.reallocarray = toy_reallocarray,
	.aligned_alloc = toy_aligned_alloc,
	.posix_memalign = toy_posix_memalign,
	.memalign = toy_aligned_alloc,
	.malloc_usable_size = toy_usable_size,
	.walk = toy_walk,
	.check = toy_check,
	.quiesce = toy_quiesce,
	.contract =
		{
			.malloc_zero_is_block = CONTRACT_YES,
			.realloc_zero = REALLOC_ZERO_FREES,
			.bad_alignment_fails = CONTRACT_YES,
			.usable_is_writable = CONTRACT_YES,
			.free_keeps_errno = CONTRACT_YES,
			.thread_safe = CONTRACT_YES,
			.null_sets_errno = CONTRACT_YES,
			.small_alignment = 16,
			.coalesced_request_max = 32768,
		},
};

static void no_thread_locals(struct bundle_range *tdata, struct bundle_range *tbss)
{
	*tdata = *tbss = (struct bundle_range){NULL, NULL};
}

static const struct bundle toy_bundle = {
	.name = "toy",
	.data = {(char *)&toy, (char *)(&toy + 1)},
	.thread_local_ranges = no_thread_locals,
};

/* ---- Running ---- */

static struct run_record *record;
static struct program program;

static int set_up(void **state)
{
	(void)state;
	record =
		mmap(NULL, sizeof *record + sizeof call_log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	program_init(&program);
	return record == MAP_FAILED ? -1 : 0;
}

static void parse(const char *operations)
{
	char text[4096];
	struct parse_error error;

	snprintf(text, sizeof text, "heapstorm 1\n%s%s\n", strncmp(operations, "thread", 6) == 0 ? "" : "thread main\n",
		 operations);
	if (!program_parse(text, strlen(text), &program, &error))
		fail_msg("line %zu: %s in\n%s", error.line, error.message, text);
}

/* In the child: the toy as a subject, at its start. */
static void open_toy(struct subject *subject)
{
	static struct allocator blind;

	blind = toy_allocator;
	if (bug == BUG_EMPTY_SHARES_ADDRESS || bug == BUG_OFF_BY_EIGHT_UNSEEN)
		blind.walk = NULL;
	*subject = (struct subject){.allocator = &blind, .bundle = &toy_bundle, .domain = 3};
	if (!bundle_snapshot_take(&toy_bundle, &subject->snapshot))
		_exit(9);
}

/* Runs the program in a process of its own: on an allocator by name, or on the toy. */
static const struct verdict *run(const char *allocator, enum bug with_bug, uint32_t oracles)
{
	const struct run_options options = {.oracles = oracles, .deep = true};
	long *const shared_log = (long *)(record + 1);
	int status;
	pid_t child;

	memset(record, 0, sizeof *record + sizeof call_log);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		struct executor *const executor = executor_create(record);
		struct subject subject;
		char message[256];

		alarm(20);
		bug = with_bug;
		home = getpid();
		if (allocator == NULL)
			open_toy(&subject);
		else if (!subject_open(allocator, &subject, message, sizeof message))
			_exit(8);
		executor_watch(executor, true);
		executor_run(executor, &subject, &program, &options);
		memcpy(shared_log, call_log, sizeof call_log);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (status != 0 && record->verdict.kind == VERDICT_CLEAN)
		fail_msg("the process ended with %#x", status);
	return &record->verdict;
}

struct control {
	enum bug bug;
	const char *operations;
	enum verdict_kind kind;
	uint32_t thread;
	uint64_t op;
	uint64_t victim; /* size of the first block, 0: none */
	bool masked;     /* without this oracle another one sees it */
};

static const struct control controls[] = {
	{BUG_SAME_ADDRESS, "a = malloc 200\nb = malloc 77\n", VERDICT_OVERLAP, 0, 1, 200, true},
	{BUG_INSIDE, "a = malloc 200\nb = malloc 77\n", VERDICT_OVERLAP, 0, 1, 200, true},
	{BUG_AROUND, "c = malloc 64\na = malloc 20\nb = malloc 77\n", VERDICT_OVERLAP, 0, 2, 64, true},
	{BUG_REALLOC_OVER, "c = malloc 64\na = malloc 20\na = realloc a 77\n", VERDICT_OVERLAP, 0, 2, 64, true},
	{BUG_EMPTY_SHARES_ADDRESS, "a = malloc 200\nb = malloc 0\n", VERDICT_OVERLAP, 0, 1, 200, false},
	{BUG_WRITES_NEIGHBOUR, "a = malloc 40\nb = malloc 77\nfree a\n", VERDICT_CORRUPTION, 0, 2, 40, false},
	{BUG_WRITES_NEIGHBOUR, "a = malloc 40\nb = malloc 77\ntouch a\n", VERDICT_CORRUPTION, 0, 2, 40, false},
	{BUG_WRITES_NEIGHBOUR, "a = malloc 40\nb = malloc 77\na = realloc a 10\n", VERDICT_CORRUPTION, 0, 2, 40, false},
	{BUG_WRITES_NEIGHBOUR, "a = malloc 40\nb = malloc 77\n", VERDICT_CORRUPTION, 0, NO_OP, 40, false},
	{BUG_WRITES_NEIGHBOUR, "a = malloc 4\nb = malloc 77\nfree a\n", VERDICT_CORRUPTION, 0, 2, 4, false},
	{BUG_FREE_WRITES_NEIGHBOUR,
	 "thread main\na = malloc 40\nspawn t1\njoin t1\nfree a\nthread t1\nb = malloc 77\nfree b\n",
	 VERDICT_CORRUPTION, 0, 3, 40, false},
	{BUG_REALLOC_FORGETS, "a = malloc 50\na = realloc a 77\n", VERDICT_REALLOC_LOST, 0, 1, 50, false},
	{BUG_REALLOC_FORGETS, "a = malloc 150\nb = realloc a 77\n", VERDICT_REALLOC_LOST, 0, 1, 150, false},
	{BUG_REALLOC_FORGETS, "a = malloc 150\nb = reallocarray a 7 11\n", VERDICT_REALLOC_LOST, 0, 1, 150, false},
	{BUG_REALLOC_DAMAGES, "a = malloc 50\na = realloc a 9223372036854775808\n", VERDICT_REALLOC_LOST, 0, 1, 50,
	 true},
	{BUG_DIRTY_CALLOC, "a = calloc 7 11\n", VERDICT_NOT_ZEROED, 0, 0, 77, false},
	{BUG_OFF_BY_EIGHT, "a = malloc 77\n", VERDICT_MISALIGNED, 0, 0, 77, true},
	{BUG_OFF_BY_EIGHT, "a = aligned_alloc 256 77\n", VERDICT_MISALIGNED, 0, 0, 77, true},
	{BUG_OFF_BY_EIGHT, "a = posix_memalign 64 77\n", VERDICT_MISALIGNED, 0, 0, 77, true},
	{BUG_OFF_BY_EIGHT, "a = memalign 32 77\n", VERDICT_MISALIGNED, 0, 0, 77, true},
	{BUG_OFF_BY_EIGHT_UNSEEN, "a = malloc 77\n", VERDICT_MISALIGNED, 0, 0, 77, false},
	{BUG_USABLE_SHORT, "a = malloc 77\nusable_size a\n", VERDICT_UNDERSIZED, 0, 1, 77, false},
	{BUG_USABLE_HUGE, "a = malloc 77\nusable_size a\n", VERDICT_CONTRACT, 0, 1, 77, false},
	{BUG_NO_ERRNO, "a = malloc 9223372036854775808\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_NO_ERRNO, "a = malloc 30\na = realloc a 9223372036854775808\n", VERDICT_CONTRACT, 0, 1, 0, false},
	{BUG_TAKES_ANY_SIZE, "a = malloc 9223372036854775808\n", VERDICT_CONTRACT, 0, 0, 0, true},
	{BUG_TAKES_ANY_SIZE, "a = realloc null 18446744073709551615\n", VERDICT_CONTRACT, 0, 0, 0, true},
	{BUG_OVERFLOWS, "a = calloc 4294967296 4294967296\n", VERDICT_CONTRACT, 0, 0, 0, true},
	{BUG_OVERFLOWS, "a = reallocarray null 4294967296 4294967296\n", VERDICT_CONTRACT, 0, 0, 0, true},
	{BUG_TAKES_ANY_ALIGNMENT, "a = aligned_alloc 24 40\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_TAKES_ANY_ALIGNMENT, "a = memalign 0 40\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_TAKES_ANY_ALIGNMENT, "a = posix_memalign 4 40\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_WRONG_ERROR, "a = aligned_alloc 24 40\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_WRONG_ERROR, "a = posix_memalign 24 40\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_POSIX_STORES_NOTHING, "a = posix_memalign 64 77\n", VERDICT_CONTRACT, 0, 0, 0, true},
	{BUG_POSIX_STORES_ON_FAILURE, "a = posix_memalign 24 40\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_GIVES_UP, "a = malloc 10\nb = malloc 77\n", VERDICT_CONTRACT, 0, 1, 0, false},
	{BUG_GIVES_UP, "a = malloc 10\na = realloc a 77\n", VERDICT_CONTRACT, 0, 1, 0, false},
	{BUG_FREE_SETS_ERRNO, "a = malloc 77\nfree a\n", VERDICT_CONTRACT, 0, 1, 0, false},
	{BUG_FREE_SETS_ERRNO, "a = malloc 77\n", VERDICT_CONTRACT, 0, NO_OP, 0, false},
	{BUG_FREE_NULL_SETS_ERRNO, "free null\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_USABLE_OF_NULL, "usable_size null\n", VERDICT_CONTRACT, 0, 0, 0, false},
	{BUG_CHECK_FAILS, "a = malloc 77\n", VERDICT_INVARIANT, 0, NO_OP, 0, false},
	{BUG_FORGETS_TO_FREE, "a = malloc 77\nfree a\n", VERDICT_LOST_MEMORY, 0, NO_OP, 0, true},
	{BUG_LIVE_AS_FREE, "b = malloc 10\na = malloc 77\n", VERDICT_LOST_MEMORY, 0, NO_OP, 77, true},
	{BUG_WALK_SKIPS, "a = malloc 77\nb = malloc 10\n", VERDICT_LOST_MEMORY, 0, NO_OP, 0, true},
	{BUG_WALK_ENDS_EARLY, "a = malloc 77\n", VERDICT_LOST_MEMORY, 0, NO_OP, 0, false},
	{BUG_WALK_TWICE, "a = malloc 77\nb = malloc 10\n", VERDICT_LOST_MEMORY, 0, NO_OP, 0, true},
	{BUG_WALK_STOPS, "a = malloc 77\n", VERDICT_LOST_MEMORY, 0, NO_OP, 0, false},
	{BUG_REGION_SHORT, "a = malloc 77\n", VERDICT_LOST_MEMORY, 0, NO_OP, 77, true},
	{BUG_NO_COALESCING, "a = malloc 20\nb = malloc 30\n", VERDICT_UNCOALESCED, 0, NO_OP, 0, false},
	{BUG_STAYS_CACHED, "a = malloc 77\nfree a\n", VERDICT_UNCOALESCED, 0, NO_OP, 0, false},
	{BUG_IGNORES_LARGE_FREE, "a = malloc 77\n", VERDICT_UNCOALESCED, 0, NO_OP, 0, false},
	{BUG_NEVER_REUSES, "a = malloc 100\n", VERDICT_UNRECLAIMED, 0, NO_OP, 0, false},
	{BUG_FORK_FAILS, "a = malloc 10\nfork\n", VERDICT_FORK, 0, 1, 0, false},
	{BUG_FORK_DIES, "a = malloc 10\nfork\n", VERDICT_FORK, 0, 1, 0, false},
	{BUG_FORK_ALL_ABORTS, "thread main\nspawn t1\njoin t1\nthread t1\nfork\n", VERDICT_FORK, 1, 0, 0, false},
};

#define CONTROLS (sizeof controls / sizeof controls[0])

static void each_oracle_sees_its_mistake(void **state)
{
	(void)state;
	for (size_t i = 0; i < CONTROLS; i++) {
		const struct control *const control = &controls[i];
		const struct verdict *verdict;

		parse(control->operations);
		verdict = run(NULL, control->bug, ORACLES_ALL);
		if (verdict->kind != control->kind || verdict->thread != control->thread || verdict->op != control->op)
			fail_msg("control %zu: %s in thread %u, operation %lld (%s) instead of %s in %u, %lld:\n%s", i,
				 verdict_name(verdict->kind), verdict->thread, (long long)verdict->op, verdict->message,
				 verdict_name(control->kind), control->thread, (long long)control->op,
				 control->operations);
		if (control->victim != 0 && (verdict->block_count == 0 || verdict->blocks[0].size != control->victim))
			fail_msg("control %zu: the block of %llu bytes is not named: %u blocks, %llu bytes", i,
				 (unsigned long long)control->victim, verdict->block_count,
				 (unsigned long long)verdict->blocks[0].size);
		assert_true(verdict->message[0] != '\0' && strchr(verdict->message, '\n') == NULL);
		assert_true(record->checks[control->kind] > 0);
	}
}

static void no_other_oracle_says_so(void **state)
{
	(void)state;
	for (size_t i = 0; i < CONTROLS; i++) {
		const struct control *const control = &controls[i];
		const struct verdict *verdict;

		parse(control->operations);
		verdict = run(NULL, control->bug, ORACLES_ALL & ~ORACLE(control->kind));
		if (control->masked ? verdict->kind == control->kind : verdict->kind != VERDICT_CLEAN)
			fail_msg("control %zu without %s: %s (%s)", i, verdict_name(control->kind),
				 verdict_name(verdict->kind), verdict->message);
	}
}

/* What an oracle does not see when it is off is seen by no other: at least one such mistake for each that is the executor's. */
static void every_oracle_has_a_mistake_of_its_own(void **state)
{
	uint32_t own = ORACLE(VERDICT_TOUCHED_LIVE); /* needs AddressSanitizer: live_blocks_are_watched */

	(void)state;
	for (size_t i = 0; i < CONTROLS; i++)
		if (!controls[i].masked)
			own |= ORACLE(controls[i].kind);
	for (int kind = VERDICT_OVERLAP; kind <= VERDICT_UNRECLAIMED; kind++)
		if ((own & ORACLE(kind)) == 0)
			fail_msg("%s: no mistake that only it sees", verdict_name((enum verdict_kind)kind));
	assert_true((own & ORACLE(VERDICT_FORK)) != 0);
}

/* The programs of the controls, and those of all rules where a correct allocator has a choice. */
static void correct_allocators_are_clean(void **state)
{
	static const char *const more[] = {
		"a = malloc 0\na = realloc a 0\nb = realloc null 0\nc = calloc 0 5\nd = reallocarray b 0 8\nfree a\n",
		"a = malloc 10\nb = malloc 20\na = realloc b 30\nb = realloc a 40\na = realloc a 5\n",
		"a = malloc 10\na = realloc a 18446744073709551615\ntouch a\nb = reallocarray a 18446744073709551615 "
		"2\ntouch a\nfree a\n",
		"a = malloc 10\nb = malloc 11\nb = realloc a 9223372036854775808\ntouch a\nfree a\n",
		"a = aligned_alloc 1 100\nb = aligned_alloc 2 3\nc = memalign 4096 1\nd = posix_memalign 8 0\ne = "
		"aligned_alloc 65536 0\n",
		"a = posix_memalign 3 18446744073709551615\nb = aligned_alloc 9223372036854775808 16\nc = memalign "
		"4611686018427387904 16\n",
		"a = malloc 70368744177664\nb = aligned_alloc 70368744177664 70368744177664\n",
		"a = malloc 100\nusable_size a\na = realloc a 50\nusable_size a\na = realloc a 200\nfree a\n",
		"a = malloc 100000\na = realloc a 300000\nb = calloc 1 40000\na = realloc a 10\nfree b\n",
		"a = calloc 4294967296 4294967296\nb = calloc 0 18446744073709551615\nc = reallocarray null 0 0\n",
		"thread main\na = malloc 10\nb = malloc 1000\nspawn t1\njoin t1\nfork\nfree c\nthread t1\nb = realloc "
		"b 100000\nfree a\nc = malloc 7\nexit\n",
		"thread main\na = malloc 100\nb = malloc 200000\nc = realloc a 300\nd = calloc 10 10\nfaults\nmap "
		"1\nmap 2\nmap 3\n",
		"thread main\na = malloc 100\na = realloc a 200000\na = realloc a 400000\nb = aligned_alloc 4096 "
		"9000\nfaults\nmap 2\nmap 4\n",
	};
	static const char *const allocators[] = {NULL, "mem_alloc", "mem_alloc_2.0", "system"};

	(void)state;
	for (size_t i = 0; i < CONTROLS + sizeof more / sizeof more[0]; i++) {
		parse(i < CONTROLS ? controls[i].operations : more[i - CONTROLS]);
		for (size_t a = 0; a < 4; a++) {
			const struct verdict *const verdict = run(allocators[a], BUG_NONE, ORACLES_ALL);

			if (verdict->kind != VERDICT_CLEAN)
				fail_msg("%s on %s: %s in\n%s", verdict_name(verdict->kind), record->allocator,
					 verdict->message, i < CONTROLS ? controls[i].operations : more[i - CONTROLS]);
			assert_int_equal(record->state, RUN_FINISHED);
			assert_int_equal(record->programs, 1);
		}
	}
}

/* With single oracles on, or none, a correct run is clean as well. */
static void subsets_of_oracles_are_clean(void **state)
{
	(void)state;
	parse("a = calloc 3 30\nb = malloc 0\na = realloc a 500\nusable_size a\nc = aligned_alloc 64 64\ntouch c\nfree "
	      "b\n");
	for (int kind = 0; kind < VERDICT_KINDS; kind++) {
		assert_int_equal(run("mem_alloc_2.0", BUG_NONE, kind == 0 ? 0 : ORACLE(kind))->kind, VERDICT_CLEAN);
		assert_int_equal(run("mem_alloc_2.0", BUG_NONE, ORACLES_ALL & ~ORACLE(kind))->kind, VERDICT_CLEAN);
		assert_int_equal(run(NULL, BUG_NONE, ORACLES_ALL & ~ORACLE(kind))->kind, VERDICT_CLEAN);
	}
}

/* The blocks of a verdict: who made them, and where. */
static void blocks_of_an_overlap(void **state)
{
	const struct verdict *verdict;

	(void)state;
	parse("thread main\nspawn t2\njoin t2\nc = malloc 77\nthread t2\na = malloc 9\nfree a\nb = malloc 300\n");
	verdict = run(NULL, BUG_SAME_ADDRESS, ORACLES_ALL);
	assert_int_equal(verdict->kind, VERDICT_OVERLAP);
	assert_int_equal(verdict->thread, 0);
	assert_int_equal(verdict->op, 2);
	assert_int_equal(verdict->block_count, 2);
	assert_int_equal(verdict->blocks[0].size, 300);
	assert_int_equal(verdict->blocks[0].label, 1);
	assert_int_equal(verdict->blocks[0].thread, 2);
	assert_int_equal(verdict->blocks[0].op, 2);
	assert_int_equal(verdict->blocks[1].size, 77);
	assert_int_equal(verdict->blocks[1].thread, 0);
	assert_int_equal(verdict->blocks[1].op, 2);
	assert_int_equal(verdict->blocks[1].address, verdict->blocks[0].address);
	assert_int_equal(verdict->address, verdict->blocks[0].address);
	assert_true(record->map_count > 0);
}

/* A fatal signal in the allocator is told with the operation. */
static void *crash_malloc(size_t size)
{
	int *volatile nowhere = (int *)8;

	if (size == TRIGGER)
		*nowhere = 1;
	return toy_malloc(size);
}

static void *abort_malloc(size_t size)
{
	if (size == TRIGGER)
		abort();
	return toy_malloc(size);
}

static void fatal_signals(void **state)
{
	(void)state;
	parse("a = malloc 10\nb = malloc 77\n");
	for (int i = 0; i < 2; i++) {
		int status;
		pid_t child;

		memset(record, 0, sizeof *record);
		child = fork();
		if (child == 0) {
			struct executor *const executor = executor_create(record);
			struct allocator allocator = toy_allocator;
			struct subject subject;
			const struct run_options options = {.oracles = ORACLES_ALL};

			alarm(20);
			open_toy(&subject);
			allocator.malloc = i == 0 ? crash_malloc : abort_malloc;
			subject.allocator = &allocator;
			executor_watch(executor, true);
			executor_run(executor, &subject, &program, &options);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(record->verdict.kind, i == 0 ? VERDICT_CRASH : VERDICT_ABORT);
		assert_int_equal(record->verdict.thread, 0);
		assert_int_equal(record->verdict.op, 1);
		assert_int_equal(record->verdict.address, i == 0 ? 8 : 0);
	}
}

/* Under AddressSanitizer the instruction itself is told that reaches into a live block, before any damage is met. */
static void live_blocks_are_watched(void **state)
{
	static const struct control reports[] = {
		{BUG_WRITES_NEIGHBOUR, "a = malloc 40\nb = malloc 77\nfree a\n", VERDICT_TOUCHED_LIVE, 0, 1, 40, true},
		{BUG_WRITES_NEIGHBOUR,
		 "thread main\nspawn t1\nspawn t2\nthread t1\na = malloc 40\nexit\nthread t2\nfree null\nb = malloc "
		 "77\n",
		 VERDICT_TOUCHED_LIVE, 2, 1, 40, true},
		{BUG_FREE_WRITES_NEIGHBOUR, "a = malloc 40\nb = malloc 77\nfree b\n", VERDICT_TOUCHED_LIVE, 0, 2, 40,
		 true},
		/* A report in the child of a fork is the fork's: the record stays the parent's. */
		{BUG_FORK_READS_LIVE, "a = malloc 40\nfork\n", VERDICT_FORK, 0, 1, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++) {
		const struct control *const control = &reports[i];
		const struct verdict *verdict;

		parse(control->operations);
		verdict = run(NULL, control->bug, ORACLES_ALL);
		if (verdict->kind != control->kind || verdict->thread != control->thread ||
		    verdict->op != control->op || (control->victim != 0 && verdict->blocks[0].size != control->victim))
			fail_msg("report %zu: %s in thread %u, operation %lld: %s", i, verdict_name(verdict->kind),
				 verdict->thread, (long long)verdict->op, verdict->message);
		if (control->kind == VERDICT_TOUCHED_LIVE)
			assert_non_null(strstr(verdict->message, "the allocator "));
		/* Without the oracle the blocks are open: the damage is met later, or nothing is. */
		verdict = run(NULL, control->bug, ORACLES_ALL & ~ORACLE(VERDICT_TOUCHED_LIVE));
		assert_int_equal(verdict->kind, control->masked ? VERDICT_CORRUPTION : VERDICT_CLEAN);
	}
}

/* ---- The order of calls ---- */

#define END_OF_LOG LONG_MIN

/* Runs the program once, without the rounds of a deep run, and compares the calls with `expected` up to END_OF_LOG. */
static void expect_calls(const char *operations, const long *expected)
{
	const struct run_options options = {.oracles = ORACLES_ALL};
	long *const shared_log = (long *)(record + 1);
	int status;
	pid_t child;

	parse(operations);
	memset(record, 0, sizeof *record + sizeof call_log);
	child = fork();
	if (child == 0) {
		struct executor *const executor = executor_create(record);
		struct subject subject;

		alarm(20);
		home = getpid();
		open_toy(&subject);
		executor_run(executor, &subject, &program, &options);
		memcpy(shared_log, call_log, sizeof call_log);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(record->verdict.kind, VERDICT_CLEAN);
	for (size_t i = 0; expected[i] != END_OF_LOG; i++)
		if (shared_log[i] != expected[i])
			fail_msg("call %zu is %ld instead of %ld in\n%s", i, shared_log[i], expected[i], operations);
}

#define EXPECT_CALLS(operations, ...) expect_calls(operations, (const long[]){__VA_ARGS__, END_OF_LOG})

static void labels(void **state)
{
	(void)state;
	/* Bound again: the old block stays, and is freed at the end. */
	EXPECT_CALLS("a = malloc 10\na = malloc 20\nfree a\nfree a\nb = malloc 30\nfree b\n", 10, 20, -20, 0, 30, -30,
		     -10, 0);
	/* realloc gives the name of its block up; the result's old block stays. */
	EXPECT_CALLS("a = malloc 10\nb = malloc 20\nb = realloc a 30\nfree a\nfree b\n", 10, 20, 30, -10, 0, -30, -20);
	EXPECT_CALLS("a = malloc 10\na = realloc a 30\nfree a\nfree null\n", 10, 30, -10, -30, 0, 0);
	/* A name without a block is NULL: realloc makes one. */
	EXPECT_CALLS("a = realloc b 10\nb = realloc b 20\nfree a\nfree b\nfree b\n", 10, 20, -10, -20, 0, 0);
	/* What failed leaves no block, but realloc keeps its own. */
	EXPECT_CALLS("a = malloc 10\nb = malloc 15\nb = realloc a 9223372036854775808\nfree b\nfree a\n", 10, 15,
		     (long)9223372036854775808ul, 0, -10, -15);
	EXPECT_CALLS("a = malloc 10\na = realloc a 9223372036854775808\nfree a\n", 10, (long)9223372036854775808ul, -10,
		     0);
	EXPECT_CALLS("a = malloc 10\na = malloc 9223372036854775808\nfree a\n", 10, (long)9223372036854775808ul, 0,
		     -10);
	/* realloc to nothing frees. */
	EXPECT_CALLS("a = malloc 10\nb = realloc a 0\nfree a\nfree b\n", 10, -10, 0, 0);
}

static void threads_run_in_order(void **state)
{
	(void)state;
	/* Main runs on after spawn, to its end; then the lowest. */
	EXPECT_CALLS(
		"thread main\nspawn t2\nspawn t1\na = malloc 1\nthread t1\nb = malloc 2\nthread t2\nc = malloc 3\n", 1,
		2, 3);
	/* join runs the lowest that can, and main as soon as it can. */
	EXPECT_CALLS("thread main\nspawn t2\nspawn t1\njoin t1\na = malloc 1\nthread t1\nb = malloc 2\nthread t2\nc = "
		     "malloc 3\n",
		     2, 1, 3);
	EXPECT_CALLS("thread main\nspawn t2\nspawn t1\njoin t2\na = malloc 1\nthread t1\nb = malloc 2\nthread t2\nc = "
		     "malloc 3\n",
		     2, 3, 1);
	/* A second spawn does nothing; a thread that is not spawned never runs; joining it, oneself or main does not block. */
	EXPECT_CALLS("thread main\nspawn t1\njoin t1\nspawn t1\njoin t1\njoin t2\njoin main\na = malloc 1\nthread "
		     "t1\njoin t1\njoin main\nb = malloc 2\n"
		     "thread t2\nc = malloc 3\n",
		     2, 1);
	/* signal counts, wait takes one each. */
	EXPECT_CALLS("thread main\nspawn t1\nsignal 5\nsignal 5\nwait 5\nwait 5\na = malloc 1\nwait 7\nb = malloc "
		     "2\nthread t1\nc = malloc 3\nsignal 7\n"
		     "d = malloc 4\n",
		     1, 3, 4, 2);
	/* exit: what follows is run as a destructor, before anybody else goes on. In main it does nothing. */
	EXPECT_CALLS("thread main\nspawn t1\njoin t1\nexit\na = malloc 1\nthread t1\nb = malloc 2\nexit\nc = malloc "
		     "3\nexit\nwait 1\njoin main\nspawn t2\nfree b\nthread t2\nd = malloc 4\n",
		     2, 3, -2, 1);
	/* Threads may spawn, and work on each other's blocks. */
	EXPECT_CALLS("thread main\na = malloc 1\nspawn t1\nthread t1\nspawn t2\na = realloc a 2\njoin t2\nfree "
		     "b\nthread t2\nfree a\nb = malloc 3\n",
		     1, 2, -1, -2, 3, -3);
	/* The end waits for those, too, that a thread of a higher number started late. */
	EXPECT_CALLS("thread main\nspawn t2\nthread t1\nb = malloc 2\nthread t2\nspawn t1\nc = malloc 3\n", 3, 2);
	/* Events and threads of a run do not reach the next round: see the deep runs. */
}

static void nothing_hangs(void **state)
{
	(void)state;
	EXPECT_CALLS("thread main\nwait 0\na = malloc 1\n", 1);
	EXPECT_CALLS("thread main\nspawn t1\njoin t1\na = malloc 1\nthread t1\nwait 0\nb = malloc 2\n", 2, 1);
	EXPECT_CALLS("thread main\nspawn t1\nthread t1\nwait 0\nb = malloc 2\n", 2);
	EXPECT_CALLS("thread main\nspawn t1\nspawn t2\njoin t1\na = malloc 1\nthread t1\njoin t2\nb = malloc 2\nthread "
		     "t2\njoin t1\nc = malloc 3\n",
		     2, 1, 3);
	EXPECT_CALLS("thread main\nspawn t1\nspawn t2\nthread t1\nwait 1\nb = malloc 2\nsignal 2\nthread t2\nwait 2\nc "
		     "= malloc 3\nsignal 1\n",
		     2, 3);
	/* The lowest of those that wait. */
	EXPECT_CALLS("thread main\nspawn t1\nspawn t2\njoin t2\na = malloc 1\nthread t1\nwait 1\nb = malloc 2\nthread "
		     "t2\nwait 2\nc = malloc 3\n",
		     2, 3, 1);
}

static void destructors_run_before_the_next_thread(void **state)
{
	(void)state;
	with_destructors = true;
	EXPECT_CALLS("thread main\nspawn t1\nspawn t2\njoin t1\na = malloc 1\nthread t1\nb = malloc 2\nthread t2\nc = "
		     "malloc 3\n",
		     2, DESTRUCTOR + 2, 1, 3, DESTRUCTOR + 3);
	EXPECT_CALLS("thread main\nspawn t1\nspawn t2\nthread t1\nb = malloc 2\nexit\nthread t2\nc = malloc 3\nb = "
		     "realloc b 4\n",
		     2, DESTRUCTOR + 2, 3, 4, -2, DESTRUCTOR + 3);
	with_destructors = false;
}

/* ---- Addresses ---- */

static uint64_t address_hash;
static const struct allocator *logged;

static void *logging_malloc(size_t size)
{
	void *const block = logged->malloc(size);

	address_hash = (address_hash ^ (uintptr_t)block) * UINT64_C(0x100000001b3);
	return block;
}

/* Runs a program `times` times and hashes the addresses of each run. */
static void hash_runs(const char *name, uint64_t *hashes, size_t times)
{
	static struct run_record own;
	const struct run_options options = {.oracles = ORACLES_ALL, .deep = true};
	struct executor *const executor = executor_create(&own);
	struct allocator allocator;
	struct subject subject;
	char message[256];

	if (!subject_open(name, &subject, message, sizeof message))
		_exit(8);
	logged = subject.allocator;
	allocator = *logged;
	allocator.malloc = logging_malloc;
	subject.allocator = &allocator;
	parse("thread main\na = malloc 10\nb = malloc 5000\nspawn t1\nc = malloc 70000\nfree a\njoin t1\nd = malloc "
	      "12\ne = malloc 300000\n"
	      "thread t1\nf = malloc 10\nfree b\ng = malloc 5000\nh = malloc 200\nfaults\nmap 3\n");
	for (size_t i = 0; i < times; i++) {
		address_hash = 1;
		if (executor_run(executor, &subject, &program, &options) != VERDICT_CLEAN)
			_exit(7);
		hashes[i] = address_hash;
	}
}

static void addresses_are_the_same_every_time(void **state)
{
	static const char *const names[] = {"mem_alloc", "mem_alloc_2.0"};

	(void)state;
	for (size_t a = 0; a < 2; a++) {
		char command[256], text[64] = "";
		uint64_t *const hashes = (uint64_t *)(record + 1);
		int status;
		pid_t child = fork();

		if (child == 0) {
			alarm(20);
			hash_runs(names[a], hashes, 3);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_not_equal(hashes[0], 1);
		assert_int_equal(hashes[0], hashes[1]);
		assert_int_equal(hashes[0], hashes[2]);
		for (int i = 0; i < 2; i++) {
			FILE *again;

			snprintf(command, sizeof command, "/proc/%d/exe --addresses %s", (int)getpid(), names[a]);
			again = popen(command, "r");
			assert_non_null(again);
			assert_non_null(fgets(text, sizeof text, again));
			assert_int_equal(pclose(again), 0);
			assert_int_equal(strtoull(text, NULL, 10), hashes[0]);
		}
	}
}

/* Outcomes are those of this program: what did not run has none, whatever was there before. */
static void outcomes_of_what_did_not_run(void **state)
{
	uint8_t outcomes[8];
	const struct run_options options = {.oracles = ORACLES_ALL, .outcomes = outcomes};
	static struct run_record own;
	struct executor *const executor = executor_create(&own);
	struct subject subject;

	(void)state;
	home = getpid();
	open_toy(&subject);
	memset(outcomes, 99, sizeof outcomes);
	parse("thread main\na = malloc 10\nb = malloc 9223372036854775808\nfree a\nspawn t1\nthread t1\nexit\nc = "
	      "malloc 5\nthread t2\nd = malloc 6\n");
	assert_int_equal(executor_run(executor, &subject, &program, &options), VERDICT_CLEAN);
	static const uint8_t expected[] = {OUTCOME_BLOCK, OUTCOME_NULL,  OUTCOME_NONE, OUTCOME_NONE,
					   OUTCOME_NONE,  OUTCOME_BLOCK, OUTCOME_NONE, 99};

	assert_memory_equal(outcomes, expected, sizeof expected);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_oracle_sees_its_mistake),
		cmocka_unit_test(no_other_oracle_says_so),
		cmocka_unit_test(every_oracle_has_a_mistake_of_its_own),
		cmocka_unit_test(correct_allocators_are_clean),
		cmocka_unit_test(subsets_of_oracles_are_clean),
		cmocka_unit_test(blocks_of_an_overlap),
		cmocka_unit_test(fatal_signals),
		cmocka_unit_test(labels),
		cmocka_unit_test(threads_run_in_order),
		cmocka_unit_test(nothing_hangs),
		cmocka_unit_test(destructors_run_before_the_next_thread),
		cmocka_unit_test(addresses_are_the_same_every_time),
		cmocka_unit_test(outcomes_of_what_did_not_run),
	};

	/* Most mistakes of the toy have another name there: it reaches into live blocks to make them. */
	const struct CMUnitTest watched_tests[] = {
		cmocka_unit_test(live_blocks_are_watched),      cmocka_unit_test(correct_allocators_are_clean),
		cmocka_unit_test(subsets_of_oracles_are_clean), cmocka_unit_test(labels),
		cmocka_unit_test(threads_run_in_order),         cmocka_unit_test(addresses_are_the_same_every_time),
	};

	if (argc == 3 && strcmp(argv[1], "--addresses") == 0) {
		uint64_t hash;

		program_init(&program);
		hash_runs(argv[2], &hash, 1);
		printf("%llu\n", (unsigned long long)hash);
		return 0;
	}
	if (sanitizer_has_asan())
		return cmocka_run_group_tests(watched_tests, set_up, NULL);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
