/* Who runs next. A strategy decides by thread numbers, counts and random numbers alone. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define OBJECTS_MAX 1024 /* shared objects that SURW chooses from; a power of two */
#define PCT_CHANGES_MAX 16
#define LOW_PRIORITY (UINT64_C(1) << 62)

static const char *const names[STRATEGIES] = {"none", "file", "random", "pct", "surw", "pos", "bounded"};

const char *schedule_strategy_name(enum schedule_strategy strategy)
{
	return names[strategy];
}

bool schedule_strategy_from_name(const char *name, enum schedule_strategy *strategy)
{
	for (unsigned i = 0; i < STRATEGIES; i++)
		if (strcmp(names[i], name) == 0) {
			*strategy = (enum schedule_strategy)i;
			return true;
		}
	return false;
}

void schedule_mix(uint64_t run, struct schedule_options *options)
{
	/* Most bugs need one or two switches, some need an order of many. */
	static const struct {
		enum schedule_strategy strategy;
		unsigned depth;
	} turns[] = {
		{STRATEGY_RANDOM, 0}, {STRATEGY_PCT, 2}, {STRATEGY_SURW, 0}, {STRATEGY_PCT, 3},
		{STRATEGY_POS, 0},    {STRATEGY_PCT, 1}, {STRATEGY_SURW, 0}, {STRATEGY_RANDOM, 0},
	};

	options->strategy = turns[run % 8].strategy;
	options->depth = turns[run % 8].depth;
}

static uint64_t state; /* of the random numbers of this run */

static uint64_t draw(void)
{
	/* splitmix64 */
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t draw_below(uint64_t limit)
{
	return draw() % limit;
}

/* ---- FILE ---- */

static struct preemption sorted[RUN_PREEMPTIONS_MAX]; /* by thread, then by point */
static uint32_t sorted_count;

static int compare_entries(const void *first, const void *second)
{
	const struct preemption *const a = first, *const b = second;

	if (a->thread != b->thread)
		return a->thread < b->thread ? -1 : 1;
	return a->point < b->point ? -1 : a->point > b->point;
}

static void begin_file(void)
{
	sorted_count = 0;
	for (size_t i = 0; i < schedule.options.list_count && sorted_count < RUN_PREEMPTIONS_MAX; i++)
		if (schedule.options.list[i].thread < SCHEDULE_THREADS_MAX)
			sorted[sorted_count++] = schedule.options.list[i];
	qsort(sorted, sorted_count, sizeof sorted[0], compare_entries);
}

static uint32_t first_entry(uint32_t thread)
{
	uint32_t i = 0;

	while (i < sorted_count && sorted[i].thread < thread)
		i++;
	return i;
}

static struct thread *choose_file(struct thread *thread, struct thread *usual)
{
	for (; thread->cursor < sorted_count; thread->cursor++) {
		const struct preemption *const entry = &sorted[thread->cursor];

		const uint64_t here =
			(entry->point & PREEMPTION_ANCHORED) != 0 ? schedule_anchor(thread) : thread->points;

		if (entry->thread != thread->number || entry->point > here)
			break;
		if (entry->point < here)
			continue;
		if (entry->target < schedule.thread_count && schedule.threads[entry->target].state == STATE_READY) {
			thread->cursor++;
			return &schedule.threads[entry->target];
		}
	}
	return usual;
}

/* ---- RANDOM: few switches ---- */

static uint64_t switch_once_in;

static struct thread *random_ready(const struct thread *without)
{
	uint32_t count = schedule.ready - (without != NULL && without->state == STATE_READY);
	uint32_t chosen;

	if (count == 0)
		return NULL;
	chosen = (uint32_t)draw_below(count);
	for (uint32_t i = 0; i < schedule.thread_count; i++) {
		struct thread *const thread = &schedule.threads[i];

		if (thread->state == STATE_READY && thread != without && chosen-- == 0)
			return thread;
	}
	return NULL;
}

static struct thread *choose_random(struct thread *thread, bool blocked)
{
	if (blocked)
		return random_ready(NULL);
	return draw_below(switch_once_in) == 0 ? random_ready(thread) : thread;
}

/* ---- PCT ---- */

/* Points of the run at which the running thread falls behind all others. Which of two that fell is the lower one is random: the first drawn. */
static uint64_t changes[PCT_CHANGES_MAX];
static unsigned change_count;
static uint64_t low_priority;

static struct thread *highest(void)
{
	struct thread *best = NULL;

	for (uint32_t i = 0; i < schedule.thread_count; i++) {
		struct thread *const thread = &schedule.threads[i];

		if (thread->state == STATE_READY && (best == NULL || thread->priority > best->priority))
			best = thread;
	}
	return best;
}

static struct thread *choose_pct(struct thread *thread, bool blocked)
{
	for (unsigned i = 0; i < change_count; i++)
		if (changes[i] == schedule.points)
			thread->priority = LOW_PRIORITY + 1 + i;
	/* One that yields would be chosen again and again. */
	if (blocked && thread->state == STATE_BLOCKED && thread->waits_for == NULL)
		thread->priority = low_priority--;
	return highest();
}

/* ---- POS ---- */

static struct thread *choose_pos(struct thread *thread, bool blocked)
{
	if (blocked && thread->state == STATE_BLOCKED && thread->waits_for == NULL)
		thread->priority /= 2;
	return highest();
}

/* ---- SURW ---- */

/*
 * Of the objects that at least two threads accessed in the run before, one is chosen; the orders of the accesses to it by different threads
 * are drawn uniformly: the next one is by thread t with a chance in proportion to how many of them t still has before it. The other
 * threads run until they stand before such an access and wait there for their turn.
 */
static struct shared_object {
	uint64_t object; /* portable; 0: empty */
	uint64_t threads[2];
	uint16_t counts[SCHEDULE_THREADS_MAX];
} objects[2][OBJECTS_MAX];
static uint64_t in_use[2][OBJECTS_MAX / 64]; /* a bit for each: most are empty */
static unsigned collecting;                  /* which of the two this run fills in */
static uint64_t chosen_object;
static uint32_t remaining[SCHEDULE_THREADS_MAX];
#define NOBODY UINT32_MAX
static uint32_t intended; /* the thread whose turn it is */
static unsigned yields;   /* since the last turn */
#define YIELDS_MAX 16

/* In the table that this run fills in. */
static struct shared_object *find_object(uint64_t object)
{
	uint64_t hash = object * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	for (unsigned probe = 0; probe < 16; probe++, hash++) {
		const unsigned slot = hash & (OBJECTS_MAX - 1);
		struct shared_object *const entry = &objects[collecting][slot];

		if (entry->object == 0) {
			entry->object = object;
			in_use[collecting][slot / 64] |= UINT64_C(1) << slot % 64;
		}
		if (entry->object == object)
			return entry;
	}
	return NULL;
}

static void count_access(const struct thread *thread)
{
	const uint64_t object = race_portable_address(thread->object);
	struct shared_object *entry;

	if (object == 0)
		return;
	entry = find_object(object);
	if (entry == NULL)
		return;
	entry->threads[thread->number / 64] |= UINT64_C(1) << thread->number % 64;
	if (entry->counts[thread->number] < UINT16_MAX)
		entry->counts[thread->number]++;
}

static void begin_surw(void)
{
	const struct shared_object *const table = objects[collecting];
	const struct shared_object *chosen = NULL;
	unsigned seen = 0;

	for (unsigned i = 0; i < OBJECTS_MAX; i++)
		if ((in_use[collecting][i / 64] >> i % 64 & 1) != 0 &&
		    __builtin_popcountll(table[i].threads[0]) + __builtin_popcountll(table[i].threads[1]) >= 2 &&
		    draw_below(++seen) == 0)
			chosen = &table[i];
	chosen_object = chosen != NULL ? chosen->object : 0;
	for (unsigned i = 0; i < SCHEDULE_THREADS_MAX; i++)
		remaining[i] = chosen != NULL ? chosen->counts[i] : 0;
	collecting ^= 1;
	for (unsigned i = 0; i < OBJECTS_MAX; i++)
		if ((in_use[collecting][i / 64] >> i % 64 & 1) != 0)
			memset(&objects[collecting][i], 0, sizeof objects[collecting][i]);
	memset(in_use[collecting], 0, sizeof in_use[collecting]);
	intended = NOBODY;
	yields = 0;
}

/*
 * Whose access to the object is next. Threads that are yet to be started count as well: otherwise those that are started first would also
 * always come first.
 */
static void intend(void)
{
	uint64_t total = 0, ticket;

	intended = NOBODY;
	for (uint32_t i = 0; i < SCHEDULE_THREADS_MAX; i++) {
		if (i < schedule.thread_count && schedule.threads[i].state == STATE_ENDED)
			remaining[i] = 0;
		total += remaining[i];
	}
	if (total == 0)
		return;
	ticket = draw_below(total);
	for (intended = 0; ticket >= remaining[intended]; intended++)
		ticket -= remaining[intended];
}

/* It stands before an access to the object, and it is not its turn. */
static bool parked(const struct thread *thread)
{
	return thread->object != NULL && thread->number != intended && intended != NOBODY &&
	       race_portable_address(thread->object) == chosen_object;
}

static struct thread *random_not_parked(const struct thread *without)
{
	struct thread *chosen = NULL;
	uint64_t seen = 0;

	for (uint32_t i = 0; i < schedule.thread_count; i++) {
		struct thread *const thread = &schedule.threads[i];

		if (thread->state == STATE_READY && thread != without && !parked(thread) && draw_below(++seen) == 0)
			chosen = thread;
	}
	return chosen;
}

static struct thread *choose_surw(struct thread *thread, bool blocked)
{
	struct thread *chosen;

	if (chosen_object == 0)
		return choose_random(thread, blocked);
	if (intended == NOBODY || (intended < schedule.thread_count && schedule.threads[intended].state == STATE_ENDED))
		intend();
	if (!blocked && !parked(thread)) {
		/* Accesses to other objects take no turns, but any of them may come first. */
		chosen = draw_below(switch_once_in) == 0 ? random_not_parked(thread) : NULL;
		return chosen != NULL ? chosen : thread;
	}
	/* Threads that yield to each other may wait for one of those that are parked. */
	if (thread->state == STATE_BLOCKED && thread->waits_for == NULL && ++yields > YIELDS_MAX) {
		yields = 0;
		return random_ready(NULL);
	}
	chosen = random_not_parked(NULL);
	/* The intended one waits for one of those that are parked. */
	return chosen != NULL ? chosen : random_ready(NULL);
}

/* An access takes the turn of its thread, also if it was let through out of turn. */
static void executed_surw(struct thread *thread)
{
	if (thread->object == NULL || chosen_object == 0 || race_portable_address(thread->object) != chosen_object)
		return;
	if (remaining[thread->number] > 0)
		remaining[thread->number]--;
	yields = 0;
	intend();
}

/* ---- All ---- */

void strategy_begin(void)
{
	/* A run is a function of the seed alone, but for the lengths and objects that PCT and SURW take from the run before. */
	state = schedule.options.seed * UINT64_C(0xd1342543de82ef95) + 1;
	switch_once_in = UINT64_C(2) << draw_below(7);
	change_count = 0;
	low_priority = LOW_PRIORITY;
	if (schedule.options.strategy == STRATEGY_PCT) {
		unsigned wanted = schedule.options.depth > 0 ? schedule.options.depth - 1 : 0;

		if (wanted > PCT_CHANGES_MAX)
			wanted = PCT_CHANGES_MAX;
		for (change_count = 0; change_count < wanted; change_count++)
			changes[change_count] = 1 + draw_below(schedule.points_last > 0 ? schedule.points_last : 1000);
	}
	if (schedule.options.strategy == STRATEGY_SURW)
		begin_surw();
	if (schedule.options.strategy == STRATEGY_BOUNDED)
		bounded_begin(&schedule.options.list, &schedule.options.list_count);
	if (schedule.options.strategy == STRATEGY_FILE || schedule.options.strategy == STRATEGY_BOUNDED)
		begin_file();
}

void strategy_thread(struct thread *thread)
{
	thread->priority = draw() | UINT64_C(1) << 63;
	thread->cursor = first_entry(thread->number);
}

struct thread *strategy_choose(struct thread *thread, bool blocked)
{
	struct thread *const usual = schedule_usual(thread, blocked);

	switch (schedule.options.strategy) {
	case STRATEGY_FILE:
		return choose_file(thread, usual);
	case STRATEGY_BOUNDED:
		return bounded_choose(thread, blocked, usual, choose_file(thread, usual));
	case STRATEGY_RANDOM:
		return choose_random(thread, blocked);
	case STRATEGY_PCT:
		return choose_pct(thread, blocked);
	case STRATEGY_POS:
		return choose_pos(thread, blocked);
	case STRATEGY_SURW:
		return choose_surw(thread, blocked);
	default:
		return usual;
	}
}

void strategy_executed(struct thread *thread)
{
	if (schedule.options.strategy == STRATEGY_SURW) {
		count_access(thread);
		executed_surw(thread);
	}
	if (schedule.options.strategy != STRATEGY_POS || thread->object == NULL)
		return;
	/* What was done is in the past: all that raced with it draws anew. */
	for (uint32_t i = 0; i < schedule.thread_count; i++) {
		struct thread *const other = &schedule.threads[i];

		if (other != thread && other->state == STATE_READY && other->object == thread->object &&
		    (other->writes || thread->writes))
			other->priority = draw() | UINT64_C(1) << 63;
	}
	thread->priority = draw() | UINT64_C(1) << 63;
}
