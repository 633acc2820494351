/*
 * The happens-before race detector: FastTrack's idea (Flanagan and Freund, PLDI 2009) with a few accesses kept for each 8 bytes, as
 * ThreadSanitizer does, so that accesses of different parts of a word are told apart and both places of a race are known.
 *
 * Time is the step of the run, one clock for all threads, which moves on at each point and each release. An access of thread u at step
 * s comes before what thread t does if s <= clock(t)[u].
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arena.h"
#include "internal.h"

#define PAGE_SHIFT 12
#define ACCESSES 4             /* kept for each 8 bytes */
#define SHADOW_PAGES_MAX 65536 /* 256 MiB of the allocator's memory */
#define SYNCS_MAX 32768        /* a power of two */
#define CONTEXTS_MAX 65536     /* a power of two; an index fits 16 bits */
#define POINT_UNKNOWN UINT16_MAX
#define CODE_ORIGIN ((uintptr_t)__executable_start)

/* Memory orders as the compiler passes them. */
enum { ORDER_RELAXED, ORDER_CONSUME, ORDER_ACQUIRE, ORDER_RELEASE, ORDER_ACQ_REL, ORDER_SEQ_CST };

enum {
	FLAG_WRITE = 1,
	FLAG_PLAIN = 2, /* not atomic */
	FLAG_ALONE = 4, /* all that is kept of this granule is of the same thread */
};

struct access {
	uint32_t step;
	uint32_t pc; /* from the start of the executable */
	uint16_t context;
	uint16_t point; /* the thread's last one before; POINT_UNKNOWN if it does not fit */
	uint8_t thread;
	uint8_t bytes; /* of the 8, a bit each */
	uint8_t flags;
};

struct page {
	uint32_t shadow; /* index, plus 1; 0: none yet */
	uint32_t since;  /* accesses before this step are forgotten: the memory is new */
	uint32_t last;   /* step of the last access */
};

struct range {
	const char *begin, *end;
	struct page *pages;
	size_t page_count;
};

/* What a release left at an object. */
struct sync {
	const void *object;
	uint32_t step; /* of its making: valid if not before the run */
	struct clock clock;
};

/* A place of the call tree. */
struct context {
	uint32_t parent, pc;
};

extern const char __executable_start[];

static struct range arena_region, data_region;
static struct access (*shadow)[512][ACCESSES];
static uint32_t shadow_pages;
static struct sync *syncs;
static uint32_t sync_count;
static struct context contexts[CONTEXTS_MAX]; /* 0 is the root */
static struct preemption conflicts[SCHEDULE_CONFLICTS];
static uint32_t conflict_count; /* of the run, those that were overwritten too */
static bool blind;              /* a table is full: the rest of the run is not looked at, rather than wrongly */

static void *map_table(size_t size)
{
	void *const table =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (table == MAP_FAILED) {
		perror("heapstorm: no memory for the race detector");
		_exit(3);
	}
	return table;
}

static void open_region(struct range *region, const void *begin, const void *end)
{
	if (region->begin == begin && region->end == end)
		return;
	region->begin = begin;
	region->end = end;
	region->page_count = ((size_t)(region->end - region->begin) >> PAGE_SHIFT) + 2;
	region->pages = map_table(region->page_count * sizeof(struct page));
}

void race_watch_bundle(const struct bundle *bundle)
{
	/* One range: what lies between the two is nobody's. In whole granules of 8 bytes; its begin is the origin in the trace hash. */
	const char *const begin = bundle->data.begin < bundle->bss.begin ? bundle->data.begin : bundle->bss.begin;

	open_region(&data_region, (const void *)((uintptr_t)begin & ~(uintptr_t)7),
		    bundle->data.end > bundle->bss.end ? bundle->data.end : bundle->bss.end);
}

void race_begin(void)
{
	size_t size;
	const char *const base = arena_range(&size);

	if (shadow == NULL) {
		shadow = map_table(SHADOW_PAGES_MAX * sizeof *shadow);
		syncs = map_table(SYNCS_MAX * sizeof *syncs);
	}
	open_region(&arena_region, base, base + size);
	if (schedule.step > UINT32_MAX / 2) {
		/* So long a campaign: everything starts over. */
		madvise(shadow, SHADOW_PAGES_MAX * sizeof *shadow, MADV_DONTNEED);
		madvise(syncs, SYNCS_MAX * sizeof *syncs, MADV_DONTNEED);
		madvise(arena_region.pages, arena_region.page_count * sizeof(struct page), MADV_DONTNEED);
		memset(data_region.pages, 0, data_region.page_count * sizeof(struct page));
		shadow_pages = 0;
		schedule.step = 0;
	}
	schedule.first_step = ++schedule.step;
	sync_count = 0;
	conflict_count = 0;
	blind = false;
}

size_t schedule_conflicts(const struct preemption **list)
{
	*list = conflicts;
	return conflict_count < SCHEDULE_CONFLICTS ? conflict_count : SCHEDULE_CONFLICTS;
}

uint64_t race_portable_address(const void *address)
{
	const char *const byte = address;

	if (byte >= arena_region.begin && byte < arena_region.end)
		return (UINT64_C(1) << 44) + (uint64_t)(byte - arena_region.begin);
	if (byte >= data_region.begin && byte < data_region.end)
		return (UINT64_C(2) << 44) + (uint64_t)(byte - data_region.begin);
	/* Code: the text of the executable lies within 2 GiB of its start. Stacks and thread-local variables are all one. */
	if ((uintptr_t)byte - CODE_ORIGIN < (UINT64_C(1) << 31))
		return (UINT64_C(3) << 44) + ((uintptr_t)byte - CODE_ORIGIN);
	return 0;
}

/* ---- Call stacks ---- */

void race_call(struct thread *thread, const void *pc)
{
	const uint32_t place = (uint32_t)((uintptr_t)pc - CODE_ORIGIN);
	const uint32_t parent =
		thread->calls == 0 || thread->calls > CALLS_MAX ? 0 : thread->contexts[thread->calls - 1];
	uint32_t slot;

	if (thread->calls++ >= CALLS_MAX)
		return;
	slot = (parent * 0x9e3779b1u ^ place * 0x85ebca6bu) >> 7;
	for (unsigned probe = 0; probe < 64; probe++, slot++) {
		struct context *const context = &contexts[slot & (CONTEXTS_MAX - 1)];

		if ((slot & (CONTEXTS_MAX - 1)) == 0)
			continue;
		if (context->pc == 0 && context->parent == 0)
			*context = (struct context){parent, place};
		if (context->pc == place && context->parent == parent) {
			thread->contexts[thread->calls - 1] = slot & (CONTEXTS_MAX - 1);
			return;
		}
	}
	thread->contexts[thread->calls - 1] = parent;
}

void race_return(struct thread *thread)
{
	if (thread->calls > 0)
		thread->calls--;
}

static uint32_t current_context(const struct thread *thread)
{
	return thread->calls == 0 ? 0 : thread->contexts[(thread->calls > CALLS_MAX ? CALLS_MAX : thread->calls) - 1];
}

static void note_stack(const struct access *access, size_t size, const char *verb)
{
	struct run_stack *const stack = &schedule.record->stacks[schedule.record->stack_count++];

	stack->thread = access->thread;
	stack->calls[0] = access->pc;
	stack->count = 1;
	for (uint32_t context = access->context; context != 0 && stack->count < RUN_STACK_MAX;
	     context = contexts[context].parent)
		stack->calls[stack->count++] = contexts[context].pc;
	snprintf(stack->what, sizeof stack->what, "%s %zu byte%s", verb, size, size == 1 ? "" : "s");
}

static const char *verb(const struct access *access)
{
	static const char *const verbs[] = {"atomically reads", "atomically writes", "reads", "writes"};

	return verbs[access->flags & 3];
}

__attribute__((noreturn, noinline)) static void report_race(const void *address, const struct access *now,
							    const struct access *before)
{
	char first[16], second[16];
	const size_t bytes = (size_t)__builtin_popcount(now->bytes), others = (size_t)__builtin_popcount(before->bytes);

	schedule.record->stack_count = 0;
	note_stack(now, bytes, verb(now));
	note_stack(before, others, verb(before));
	thread_name(now->thread, first);
	thread_name(before->thread, second);
	schedule_fail(VERDICT_RACE, (uintptr_t)address,
		      "%s %s %zu bytes at %p and %s %s %zu bytes there, and nothing orders the two", first, verb(now),
		      bytes, address, second, verb(before), others);
}

/* ---- Accesses ---- */

static inline struct range *region_of(const void *address)
{
	if ((const char *)address >= arena_region.begin && (const char *)address < arena_region.end)
		return &arena_region;
	if ((const char *)address >= data_region.begin && (const char *)address < data_region.end)
		return &data_region;
	return NULL;
}

static struct page *page_of(const struct range *region, const void *address)
{
	struct page *const page = &region->pages[((const char *)address - region->begin) >> PAGE_SHIFT];

	if (page->shadow == 0) {
		if (shadow_pages == SHADOW_PAGES_MAX) {
			blind = true;
			return NULL;
		}
		page->shadow = ++shadow_pages;
	}
	page->last = schedule.step;
	return page;
}

/* One thread reads what another wrote: the pair of places is what is new about a schedule. */
static void note_reads_from(uint32_t writer, uint32_t reader)
{
	uint8_t *const counter =
		&schedule.options
			 .feedback[(writer * 0x9e3779b1u ^ reader * 0x85ebca6bu) >> 8 & (SCHEDULE_FEEDBACK - 1)];

	if (*counter < 4)
		++*counter;
}

/* Two threads at the same bytes, one of them writing. In what other order could they have come? */
static void note_conflict(const struct access *before, const struct access *now)
{
	const struct preemption orders[] = {
		{.thread = before->thread, .point = before->point, .target = now->thread},
		{.thread = now->thread, .point = now->point, .target = before->thread},
	};

	for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
		const struct preemption *const last = &conflicts[(conflict_count - 1) % SCHEDULE_CONFLICTS];

		if (orders[i].point == 0 || orders[i].point == POINT_UNKNOWN)
			continue;
		if (conflict_count > 0 && last->thread == orders[i].thread && last->point == orders[i].point)
			continue;
		conflicts[conflict_count++ % SCHEDULE_CONFLICTS] = orders[i];
	}
}

/* Whatever races with the second access races with the first as well, if they are of the same thread and step. */
static inline bool covers(const struct access *first, const struct access *second)
{
	return ((second->bytes & ~first->bytes) | (second->flags & ~first->flags & (FLAG_WRITE | FLAG_PLAIN))) == 0;
}

/* Looks for a race with all that is kept, and keeps `now` as the first, in place of what is the least loss. */
static void compare(struct thread *thread, const char *granule, struct access *kept, struct access now, uint32_t since)
{
	struct access *place = NULL;
	unsigned worth = 0; /* of the place: the higher, the less is lost */

	now.flags |= FLAG_ALONE;
	for (unsigned i = 0; i < ACCESSES; i++) {
		struct access *const before = &kept[i];
		unsigned value = 1;

		if (before->step < since) {
			value = 3;
		} else if (before->thread == now.thread) {
			/* The new one says all that the old one did. */
			if (covers(&now, before))
				value = 4;
		} else {
			const uint8_t bytes = before->bytes & now.bytes, flags = before->flags | now.flags;
			const bool ordered = before->step <= thread->clock.steps[before->thread];

			if (schedule.options.feedback != NULL && bytes != 0 && (flags & FLAG_WRITE) != 0) {
				note_conflict(before, &now);
				if ((before->flags & ~now.flags & FLAG_WRITE) != 0)
					note_reads_from(before->pc, now.pc);
			}
			if (!ordered && bytes != 0 && (flags & FLAG_WRITE) != 0 && (flags & FLAG_PLAIN) != 0)
				report_race(granule + __builtin_ctz(bytes), &now, before);
			if (ordered && covers(&now, before)) {
				before->step = 0; /* whatever comes after the new one comes after the old one, too */
				value = 3;
			} else {
				now.flags &= (uint8_t)~FLAG_ALONE;
				value = ordered ? 2 : 1;
			}
		}
		if (value > worth || (value == worth && before->step < place->step)) {
			worth = value;
			place = before;
		}
	}
	*place = kept[0];
	kept[0] = now;
}

static inline void access_granule(struct thread *thread, const struct range *region, const char *granule, uint8_t bytes,
				  uint8_t flags, uint32_t pc)
{
	struct page *const page = page_of(region, granule);

	if (page == NULL)
		return;
	const uint32_t since = page->since > schedule.first_step ? page->since : schedule.first_step;
	struct access *const kept =
		shadow[page->shadow - 1][((size_t)(granule - region->begin) & ((1u << PAGE_SHIFT) - 1)) >> 3];
	struct access now = {
		.step = schedule.step,
		.pc = pc,
		.context = (uint16_t)current_context(thread),
		.point = (uint16_t)(thread->points < POINT_UNKNOWN ? thread->points : POINT_UNKNOWN),
		.thread = (uint8_t)thread->number,
		.bytes = bytes,
		.flags = flags,
	};

	/* Most accesses are the first, or follow one of the same thread: with no other thread's, or since which nobody else did anything. */
	if (kept->step < since) {
		now.flags |= FLAG_ALONE; /* what lies behind the first is older still */
		*kept = now;
		return;
	}
	if (kept->thread == now.thread) {
		if (kept->step == now.step && covers(kept, &now) &&
		    ((kept->flags & FLAG_ALONE) != 0 || schedule.options.feedback == NULL))
			return;
		if ((kept->flags & FLAG_ALONE) != 0 && covers(&now, kept)) {
			now.flags |= FLAG_ALONE;
			*kept = now;
			return;
		}
	}
	compare(thread, granule, kept, now, since);
}

void race_access(struct thread *thread, const void *address, size_t size, bool writes, bool atomic, const void *pc)
{
	const struct range *const region = region_of(address);
	const char *byte = address;
	const uint8_t flags = (uint8_t)((writes ? FLAG_WRITE : 0) | (atomic ? 0 : FLAG_PLAIN));
	const uint32_t place = (uint32_t)((uintptr_t)pc - CODE_ORIGIN);
	size_t offset = (uintptr_t)byte & 7;

	if (region == NULL || blind)
		return;
	schedule.record->checks[VERDICT_RACE]++;
	if (offset + size <= 8) {
		access_granule(thread, region, byte - offset, (uint8_t)(((1u << size) - 1) << offset), flags, place);
		return;
	}
	if (size > (size_t)(region->end - byte))
		size = (size_t)(region->end - byte);
	while (size > 0 && !blind) {
		const size_t part = size < 8 - offset ? size : 8 - offset;

		access_granule(thread, region, byte - offset, (uint8_t)(((1u << part) - 1) << offset), flags, place);
		byte += part;
		size -= part;
		offset = 0;
	}
}

void race_unmap(struct thread *thread, const void *address, size_t size, const void *pc)
{
	const char *const begin = address;

	if (region_of(address) != &arena_region || size > (size_t)(arena_region.end - begin))
		return;
	/* Only what was in use in this run: an unmapping is a write to all of it. */
	for (size_t at = 0; at < size; at += (size_t)1 << PAGE_SHIFT) {
		const struct page *const page = &arena_region.pages[(begin + at - arena_region.begin) >> PAGE_SHIFT];

		if (page->shadow != 0 && page->last >= schedule.first_step && page->last >= page->since)
			race_access(thread, begin + at, (size_t)1 << PAGE_SHIFT, true, false, pc);
	}
}

void race_fresh(const void *address, size_t size)
{
	const struct range *const region = region_of(address);

	if (region != &arena_region || size > (size_t)(region->end - (const char *)address))
		return;
	schedule.step++;
	for (size_t at = 0; at < size; at += (size_t)1 << PAGE_SHIFT)
		region->pages[((const char *)address + at - region->begin) >> PAGE_SHIFT].since = schedule.step;
}

/* ---- Order ---- */

static void join(struct clock *to, const struct clock *from)
{
	for (uint32_t i = 0; i < schedule.thread_count; i++)
		if (from->steps[i] > to->steps[i])
			to->steps[i] = from->steps[i];
}

static struct sync *find_sync(const void *object, bool make)
{
	uint64_t hash = ((uintptr_t)object >> 2) * UINT64_C(0x9e3779b97f4a7c15) >> 40;

	for (;; hash++) {
		struct sync *const sync = &syncs[hash & (SYNCS_MAX - 1)];

		if (sync->step < schedule.first_step) {
			if (!make)
				return NULL;
			if (sync_count >= SYNCS_MAX / 4 * 3) {
				blind = true;
				return NULL;
			}
			sync_count++;
			sync->object = object;
			sync->step = schedule.step;
			memset(&sync->clock, 0, sizeof sync->clock);
			return sync;
		}
		if (sync->object == object)
			return sync;
	}
}

/* The thread's clock as it is now; its next access is later. */
static const struct clock *clock_now(struct thread *thread)
{
	thread->clock.steps[thread->number] = schedule.step++;
	return &thread->clock;
}

void race_release(struct thread *thread, const void *object, bool keep)
{
	struct sync *const sync = find_sync(object, true);

	if (sync == NULL)
		return;
	const struct clock *const clock = clock_now(thread);

	if (keep)
		join(&sync->clock, clock);
	else
		sync->clock = *clock;
}

void race_acquire(struct thread *thread, const void *object)
{
	const struct sync *const sync = find_sync(object, false);

	if (sync != NULL)
		join(&thread->clock, &sync->clock);
}

void race_atomic(struct thread *thread, const void *object, int order, bool loads, bool stores)
{
	order &= 0x7fff;
	if (loads) {
		const struct sync *const sync = find_sync(object, false);

		if (sync != NULL && order != ORDER_RELAXED && order != ORDER_RELEASE) {
			join(&thread->clock, &sync->clock);
		} else if (sync != NULL) {
			if (!thread->has_relaxed_seen)
				memset(&thread->relaxed_seen, 0, sizeof thread->relaxed_seen);
			thread->has_relaxed_seen = true;
			join(&thread->relaxed_seen, &sync->clock);
		}
	}
	if (!stores)
		return;
	if (order == ORDER_RELEASE || order == ORDER_ACQ_REL || order == ORDER_SEQ_CST) {
		race_release(thread, object, loads);
	} else if (thread->has_fence) {
		struct sync *const sync = find_sync(object, true);

		if (sync != NULL && loads)
			join(&sync->clock, &thread->fence);
		else if (sync != NULL)
			sync->clock = thread->fence;
	} else if (!loads) {
		/* A relaxed store ends the release sequence (C17 with DR of 2020, C++20); a read-modify-write goes on with it. */
		struct sync *const sync = find_sync(object, false);

		if (sync != NULL)
			memset(&sync->clock, 0, sizeof sync->clock);
	}
}

void race_fence(struct thread *thread, int order)
{
	order &= 0x7fff;
	if (order != ORDER_RELAXED && order != ORDER_RELEASE && thread->has_relaxed_seen) {
		join(&thread->clock, &thread->relaxed_seen);
		thread->has_relaxed_seen = false;
	}
	if (order == ORDER_RELEASE || order == ORDER_ACQ_REL || order == ORDER_SEQ_CST) {
		thread->fence = *clock_now(thread);
		thread->has_fence = true;
	}
}

void race_fork_thread(struct thread *parent, struct thread *child)
{
	if (parent != NULL)
		child->clock = *clock_now(parent);
}

void race_join_thread(struct thread *thread, const struct thread *ended)
{
	join(&thread->clock, &ended->clock);
	thread->clock.steps[ended->number] = schedule.step;
}
