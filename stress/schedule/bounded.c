/*
 * Every schedule with no preemption, then every one with one, two, ...: iterative context bounding (Musuvathi and Qadeer, PLDI 2007).
 *
 * A schedule is its list of exceptions, and the lists are a tree: a child has one entry more, at a later point than all others. So each
 * schedule is run once, and nothing has to be kept of it but its list. An entry where the running thread blocked or ended is free, one
 * where it could have gone on is a preemption, and so is one at a yield: otherwise two threads that wait in a loop would yield to each
 * other without end. Free children are run next, depth first; those with one preemption more wait for the next level.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define WORDS_MAX ((size_t)1 << 27) /* of a level that waits: 1 GB */

_Static_assert(SCHEDULE_THREADS_MAX <= 256, "a thread has 8 bits of a word");

/* A schedule whose children of one kind are yet to be run: this, its entries as a word each, and the number of words of all. */
struct parent {
	uint32_t entries;
	uint32_t children, next; /* how many there are, which one is to be run */
	uint32_t unused;
};
#define PARENT_WORDS (sizeof(struct parent) / sizeof(uint64_t))

struct words {
	uint64_t *start;
	size_t count, capacity;
};

static struct {
	unsigned level, bound;
	bool full;               /* there was no memory for the next level */
	struct words depth;      /* a stack of those with free children */
	struct words now, later; /* those with preempted children of this level, of the next */
	size_t at;               /* in `now` */
	uint64_t pending_now, pending_later;

	/* The schedule that runs. */
	struct preemption list[RUN_PREEMPTIONS_MAX];
	uint32_t count;
	uint32_t played;
	bool complete; /* its last entry is in the list, or it is the default schedule */
	bool preempted;
	uint32_t child, seen; /* while it is not: which one it is, and how many went by */
	uint32_t children[2]; /* free ones, preempted ones */
} search;

static bool reserve(struct words *words, size_t count)
{
	size_t capacity = words->capacity > 0 ? words->capacity : (size_t)1 << 16;
	void *grown;

	if (words->count + count <= words->capacity)
		return true;
	while (capacity < words->count + count)
		capacity *= 2;
	if (capacity > WORDS_MAX)
		return false;
	if (words->start == NULL)
		grown = mmap(NULL, capacity * sizeof(uint64_t), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	else
		grown = mremap(words->start, words->capacity * sizeof(uint64_t), capacity * sizeof(uint64_t),
			       MREMAP_MAYMOVE);
	if (grown == MAP_FAILED)
		return false;
	words->start = grown;
	words->capacity = capacity;
	return true;
}

/* The schedule that has just been run becomes a parent. */
static bool push(struct words *words, uint32_t children)
{
	const struct parent parent = {.entries = search.count, .children = children};
	const size_t size = PARENT_WORDS + search.count + 1;

	if (!reserve(words, size))
		return false;
	memcpy(&words->start[words->count], &parent, sizeof parent);
	words->count += size;
	for (uint32_t i = 0; i < search.count; i++) {
		const struct preemption *const entry = &search.list[i];

		words->start[words->count - size + PARENT_WORDS + i] =
			(uint64_t)entry->thread << 56 | (uint64_t)entry->target << 48 | entry->point;
	}
	words->start[words->count - 1] = size;
	return true;
}

/* Takes the next child of a parent. False: it has had all of them. */
static bool take_child(uint64_t *at, bool preempted)
{
	struct parent parent;

	memcpy(&parent, at, sizeof parent);
	if (parent.next == parent.children)
		return false;
	for (uint32_t i = 0; i < parent.entries; i++) {
		const uint64_t word = at[PARENT_WORDS + i];

		search.list[i] = (struct preemption){
			.thread = (uint32_t)(word >> 56),
			.target = word >> 48 & 0xff,
			.point = word & ((UINT64_C(1) << 48) - 1),
		};
	}
	search.count = parent.entries;
	search.child = parent.next++;
	search.preempted = preempted;
	search.complete = false;
	search.pending_now--;
	memcpy(at, &parent, sizeof parent);
	return true;
}

static bool take_next(void)
{
	for (; search.depth.count > 0; search.depth.count -= search.depth.start[search.depth.count - 1])
		if (take_child(search.depth.start + search.depth.count - search.depth.start[search.depth.count - 1],
			       false))
			return true;
	for (; search.at < search.now.count;
	     search.at += PARENT_WORDS + ((struct parent *)&search.now.start[search.at])->entries + 1)
		if (take_child(search.now.start + search.at, true))
			return true;
	return false;
}

void schedule_bounded_start(unsigned bound)
{
	search.depth.count = search.now.count = search.later.count = search.at = 0;
	search.pending_now = search.pending_later = 0;
	search.full = false;
	search.level = 0;
	search.bound = bound;
	search.count = 0;
	search.complete = true;
	search.children[0] = search.children[1] = 0;
}

/* Those with one preemption more are the ones to run. False: there are none. */
static bool next_level(void)
{
	const struct words before = search.now;

	if (search.level == search.bound || search.later.count == 0)
		return false;
	search.level++;
	search.now = search.later;
	search.later = before;
	search.later.count = search.at = 0;
	search.pending_now = search.pending_later;
	search.pending_later = 0;
	return true;
}

enum schedule_search schedule_bounded_next(struct run_record *record)
{
	enum schedule_search result = SEARCH_GOES_ON;

	if (!search.complete || search.played < search.count)
		return SEARCH_DIVERGED;
	if (search.children[0] > 0) {
		search.full |= !push(&search.depth, search.children[0]);
		search.pending_now += search.children[0];
	}
	if (search.children[1] > 0 && search.level < search.bound) {
		search.full |= !push(&search.later, search.children[1]);
		search.pending_later += search.children[1];
	}
	search.children[0] = search.children[1] = 0;
	if (search.full)
		result = SEARCH_FULL;
	while (result == SEARCH_GOES_ON && !take_next())
		if (!next_level())
			result = SEARCH_DONE;
	record->bound_level = search.level;
	record->bound_pending = search.pending_now + (result == SEARCH_GOES_ON);
	record->bound_pending_later = search.pending_later;
	record->bound_done = result == SEARCH_DONE;
	return result;
}

void bounded_begin(const struct preemption **list, size_t *count)
{
	search.played = search.seen = 0;
	search.children[0] = search.children[1] = 0;
	*list = search.list;
	*count = search.count;
}

/* Number `n` of the threads that could run in place of the usual one. */
static struct thread *other(const struct thread *usual, uint32_t n)
{
	for (uint32_t i = 0; i < schedule.thread_count; i++) {
		struct thread *const thread = &schedule.threads[i];

		if (thread->state == STATE_READY && thread != usual && n-- == 0)
			return thread;
	}
	return NULL;
}

struct thread *bounded_choose(struct thread *thread, bool blocked, struct thread *usual, struct thread *listed)
{
	const bool yields = blocked && thread->state == STATE_BLOCKED && thread->waits_for == NULL;
	const bool preempts = !blocked || yields;
	const uint32_t others = schedule.ready - 1;
	struct thread *target = usual;

	if (search.played < search.count) {
		search.played += listed != usual;
		return listed;
	}
	if (search.complete) {
		search.children[preempts] += others;
		return usual;
	}
	if (preempts != search.preempted)
		return usual;
	if (search.child - search.seen < others) {
		target = other(usual, search.child - search.seen);
		search.list[search.count++] = (struct preemption){
			.thread = thread->number, .target = target->number, .point = thread->points};
		search.played++;
		search.complete = true;
	}
	search.seen += others;
	return target;
}
