/* The token: which thread runs, points, blocking, and the record of the schedule. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define POINTS_MAX_DEFAULT 2000000

struct schedule schedule;
__thread struct thread *schedule_self __attribute__((tls_model("initial-exec")));

static void mix(uint64_t value)
{
	schedule.hash = (schedule.hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
	schedule.hash ^= schedule.hash >> 29;
}

static void set_state(struct thread *thread, enum state state)
{
	schedule.ready += (uint32_t)(state == STATE_READY) - (uint32_t)(thread->state == STATE_READY);
	thread->state = state;
}

void schedule_stop(void)
{
	schedule.record->points = schedule.points;
	schedule.record->trace_hash = schedule.hash;
	if (schedule.options.failed != NULL)
		schedule.options.failed();
	_exit(1);
}

void schedule_fail(enum verdict_kind kind, uint64_t address, const char *format, ...)
{
	struct run_record *const record = schedule.record;
	struct verdict *const verdict = &record->verdict;
	va_list arguments;

	if (verdict->kind == VERDICT_CLEAN) {
		verdict->thread = record->thread;
		verdict->op = record->op;
		verdict->address = address;
		verdict->block_count = 0;
		va_start(arguments, format);
		vsnprintf(verdict->message, sizeof verdict->message, format, arguments);
		va_end(arguments);
		__atomic_store_n(&verdict->kind, kind, __ATOMIC_RELEASE);
	}
	schedule_stop();
}

/* Every thread and what it waits for, as one clause each. */
static void describe_waits(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < schedule.thread_count && used < size; i++) {
		const struct thread *const thread = &schedule.threads[i];
		char name[16], holder[32] = "";

		if (thread->state != STATE_BLOCKED)
			continue;
		thread_name(i, name);
		/* A lock says who has it: pthread.c keeps the number of the holder, plus 1, in its first word. */
		if (strstr(thread->waits_how, "lock") != NULL || strstr(thread->waits_how, "mutex") != NULL) {
			const uint32_t owner = *(const uint32_t *)thread->waits_for;
			char other[16];

			if (owner != 0 && owner <= schedule.thread_count) {
				thread_name(owner - 1, other);
				snprintf(holder, sizeof holder, " that %s holds", other);
			}
		}
		used += (size_t)snprintf(text + used, size - used, "%s%s waits %s%s", used > 0 ? ", " : "", name,
					 thread->waits_how, holder);
	}
}

/* Waits that the program's own operations may have ended meanwhile. */
static void look_at_waits(void)
{
	for (uint32_t i = 0; i < schedule.thread_count; i++)
		if (schedule.threads[i].state == STATE_WAITING && schedule.client.ready(schedule.client.context, i))
			set_state(&schedule.threads[i], STATE_READY);
}

/* Nothing is READY: whose wait can be ended. */
static void find_ready(void)
{
	char waits[360];

	look_at_waits();
	if (schedule.ready > 0)
		return;
	for (uint32_t i = 0; i < schedule.thread_count; i++)
		if (schedule.threads[i].state == STATE_BLOCKED && schedule.threads[i].timed) {
			schedule.threads[i].timed_out = true;
			set_state(&schedule.threads[i], STATE_READY);
			return;
		}
	if (schedule.client.release != NULL && schedule.client.release(schedule.client.context)) {
		look_at_waits();
		if (schedule.ready > 0)
			return;
	}
	describe_waits(waits, sizeof waits);
	schedule_fail(VERDICT_DEADLOCK, 0, "no thread can go on: %s", waits);
}

struct thread *schedule_usual(struct thread *thread, bool blocked)
{
	uint32_t number = 0;

	if (!blocked)
		return thread;
	/* Of three, two that yield to each other would leave out the one that they wait for: the next in the circle. */
	if (thread->state == STATE_BLOCKED && thread->waits_for == NULL)
		number = thread->number;
	for (uint32_t i = 0; i < schedule.thread_count; i++, number++) {
		if (number == schedule.thread_count)
			number = 0;
		if (schedule.threads[number].state == STATE_READY)
			return &schedule.threads[number];
	}
	return NULL;
}

uint64_t schedule_anchor(const struct thread *thread)
{
	return PREEMPTION_ANCHORED | thread->operations << 32 | (thread->points - thread->operation_point);
}

static void note_preemption(const struct thread *thread, const struct thread *target)
{
	struct run_record *const record = schedule.record;

	record->anchors[record->preemption_count] = schedule_anchor(thread);
	record->preemptions[record->preemption_count++] = (struct preemption){
		.thread = thread->number,
		.target = target->number,
		.point = thread->points,
	};
}

/* `target` goes on, and `thread` once it is chosen again. For one that has ended it may not return. */
static void switch_to(struct thread *thread, struct thread *target)
{
	const int error = errno;
	const bool ended = thread->state == STATE_ENDED;

	mix(UINT64_C(0x5157) << 32 | target->number);
	schedule.running = target;
	threads_switch(thread, target);
	if (ended)
		return;
	if (schedule.client.resumed != NULL)
		schedule.client.resumed(schedule.client.context, thread->number);
	errno = error;
}

static void count_point(struct thread *thread, enum point_kind kind, const void *object, const void *pc)
{
	thread->points++;
	thread->plain = 0;
	if (kind != POINT_YIELD)
		thread->plain_loops = 0;
	schedule.points++;
	if (++schedule.step == UINT32_MAX)
		schedule_fail(VERDICT_STUCK, 0, "the clock of the run is at its end");
	mix((uint64_t)kind << 56 | (uint64_t)thread->number << 48 | (race_portable_address(pc) & 0xffffffffffff));
	mix(race_portable_address(object));
	schedule.record->steps++;
	if (schedule.points > schedule.points_max) {
		char name[16];

		thread_name(thread->number, name);
		schedule_fail(VERDICT_STUCK, (uintptr_t)object,
			      "no end after %llu scheduling points: %s was the last to run",
			      (unsigned long long)schedule.points_max, name);
	}
}

/* The default: go on, and the lowest where that cannot be. What the strategy wants beyond that is an entry of the list. */
static struct thread *choose(struct thread *thread, bool blocked)
{
	struct thread *const usual = schedule_usual(thread, blocked);
	struct thread *target;

	if (schedule.record->preemption_count == RUN_PREEMPTIONS_MAX)
		return usual; /* what does not fit into the list is not done, so that the list is the run */
	target = strategy_choose(thread, blocked);
	if (target != usual)
		note_preemption(thread, target);
	return target;
}

static bool writes(enum point_kind kind)
{
	return kind != POINT_ATOMIC_READ && kind != POINT_START && kind != POINT_OPERATION;
}

void schedule_point(enum point_kind kind, const void *object, const void *pc)
{
	struct thread *const thread = schedule_self;

	thread->object = object;
	thread->writes = writes(kind);
	count_point(thread, kind, object, pc);
	if (kind == POINT_OPERATION)
		look_at_waits();
	if (schedule.ready > 1) {
		struct thread *const target = choose(thread, false);

		if (target != thread)
			switch_to(thread, target);
	}
	strategy_executed(thread);
}

/* The thread is not READY any more, or ended. */
static void give_way(struct thread *thread)
{
	struct thread *target;

	if (schedule.ready == 0)
		find_ready();
	target = choose(thread, true);
	if (target != thread)
		switch_to(thread, target);
}

bool schedule_block(const void *object, const char *how, bool timed, const void *pc)
{
	struct thread *const thread = schedule_self;

	thread->object = NULL;
	thread->writes = false;
	thread->waits_for = object;
	thread->waits_how = how;
	thread->timed = timed;
	thread->timed_out = false;
	set_state(thread, STATE_BLOCKED);
	count_point(thread, POINT_BLOCKED, object, pc);
	give_way(thread);
	return !thread->timed_out;
}

void schedule_wake(const void *object, bool all)
{
	for (uint32_t i = 0; i < schedule.thread_count; i++) {
		struct thread *const thread = &schedule.threads[i];

		if (thread->state == STATE_BLOCKED && thread->waits_for == object) {
			set_state(thread, STATE_READY);
			if (!all)
				return;
		}
	}
}

void schedule_yield(const void *pc)
{
	struct thread *const thread = schedule_self;

	thread->object = NULL;
	thread->writes = false;
	if (schedule.ready <= 1)
		look_at_waits();
	if (schedule.ready <= 1) {
		count_point(thread, POINT_YIELD, NULL, pc);
		return;
	}
	/* Not READY while the others are looked through. */
	set_state(thread, STATE_BLOCKED);
	thread->waits_for = NULL;
	count_point(thread, POINT_YIELD, NULL, pc);
	struct thread *const target = choose(thread, true);

	set_state(thread, STATE_READY);
	switch_to(thread, target);
}

#define SPINS_MAX 4  /* so many equal looks in a row are a loop that waits */
#define IDLE_MAX 128 /* and so many actions that change nothing: a loop that looks at more than one place */
#define PLAIN_LOOPS_MAX 256

void schedule_changed(struct thread *thread)
{
	thread->idle = thread->spins = 0;
	thread->spin_pc = NULL;
}

void schedule_idle(struct thread *thread, const void *pc)
{
	if (++thread->idle < IDLE_MAX)
		return;
	thread->idle = 0;
	schedule_yield(pc);
}

void schedule_saw(struct thread *thread, const void *address, uint64_t value, const void *pc)
{
	schedule_idle(thread, pc);
	if (thread->spin_pc != pc || thread->spin_address != address || thread->spin_value != value) {
		thread->spin_pc = pc;
		thread->spin_address = address;
		thread->spin_value = value;
		thread->spins = 0;
	} else if (++thread->spins >= SPINS_MAX) {
		thread->spins = 0;
		schedule_yield(pc);
	}
}

void schedule_plain_loop(struct thread *thread, const void *pc)
{
	char name[16];

	if (++thread->plain_loops > PLAIN_LOOPS_MAX) {
		thread_name(thread->number, name);
		schedule_fail(VERDICT_STUCK, 0, "%s goes round in a loop that has no scheduling point", name);
	}
	schedule_yield(pc);
}

void schedule_wait(void)
{
	struct thread *const thread = schedule_self;

	thread->object = NULL;
	thread->writes = false;
	set_state(thread, STATE_WAITING);
	count_point(thread, POINT_BLOCKED, NULL, NULL);
	look_at_waits();
	if (thread->state == STATE_READY)
		return;
	give_way(thread);
}

void schedule_operation(void)
{
	if (schedule_self == NULL)
		return;
	schedule_self->operations++;
	schedule_self->operation_point = schedule_self->points;
	schedule_point(POINT_OPERATION, NULL, NULL);
}

/* ---- Threads ---- */

static void end_thread(struct thread *thread)
{
	keys_run_destructors(thread);
	thread->object = NULL;
	count_point(thread, POINT_END, NULL, NULL);
	if (schedule.client.ended != NULL)
		schedule.client.ended(schedule.client.context, thread->number);
	thread->clock.steps[thread->number] = schedule.step;
	set_state(thread, STATE_ENDED);
	schedule_wake(thread, true);
	look_at_waits();
	schedule_self = NULL;
	give_way(thread);
}

void schedule_thread_body(struct thread *thread)
{
	threads_fresh();
	schedule_self = thread;
	if (schedule.client.resumed != NULL)
		schedule.client.resumed(schedule.client.context, thread->number);
	schedule_point(POINT_START, NULL, NULL);
	if (_setjmp(thread->top) == 0)
		thread->result = thread->start(thread->argument);
	end_thread(schedule_self);
}

void schedule_thread_exit(void *result)
{
	if (schedule_self == NULL || schedule_self->number == 0) {
		fputs("heapstorm: the allocator ends the main thread: that is not under control\n", stderr);
		_exit(3);
	}
	schedule_self->result = result;
	_longjmp(schedule_self->top, 1);
}

static void init_thread(struct thread *thread, uint32_t number)
{
	/* The vector clocks and contexts are as long as there are threads: what is beyond is never looked at. */
	memset(thread, 0, offsetof(struct thread, clock));
	memset(&thread->clock, 0, sizeof thread->clock);
	thread->has_fence = thread->has_relaxed_seen = false;
	thread->calls = 0;
	memset(thread->values, 0, sizeof *thread - offsetof(struct thread, values));
	thread->number = number;
}

uint32_t schedule_spawn(uint32_t number, void *(*start)(void *), void *argument)
{
	struct thread *const parent = schedule_self;
	struct thread *thread;

	if (number == SCHEDULE_ANY_THREAD)
		number = schedule.thread_count;
	if (number >= SCHEDULE_THREADS_MAX) {
		fprintf(stderr, "heapstorm: a scheduled run has at most %d threads\n", SCHEDULE_THREADS_MAX);
		_exit(3);
	}
	for (uint32_t i = schedule.thread_count; i <= number; i++)
		init_thread(&schedule.threads[i], i);
	if (schedule.thread_count <= number)
		schedule.thread_count = number + 1;
	thread = &schedule.threads[number];
	init_thread(thread, number);
	thread->start = start;
	thread->argument = argument;
	set_state(thread, STATE_READY);
	race_fork_thread(parent, thread);
	strategy_thread(thread);
	thread->handle = threads_start(thread);
	return number;
}

void schedule_begin(const struct schedule_options *options, const struct scheduler_client *client,
		    struct run_record *record)
{
	struct thread *const thread = &schedule.threads[0];

	schedule.options = *options;
	schedule.client = client != NULL ? *client : (struct scheduler_client){0};
	schedule.record = record;
	schedule.points_last = schedule.points;
	schedule.points = 0;
	schedule.points_max = options->points_max != 0 ? options->points_max : POINTS_MAX_DEFAULT;
	schedule.slept = 0;
	schedule.hash = 0;
	schedule.ready = 0;
	record->preemption_count = 0;
	record->points = 0;
	record->trace_hash = 0;
	record->stack_count = 0;
	schedule.thread_count = 1;
	init_thread(thread, 0);
	set_state(thread, STATE_READY);
	schedule.running = thread;
	threads_begin(options->kernel_switch);
	race_begin();
	strategy_begin();
	strategy_thread(thread);
	schedule.active = true;
	schedule_self = thread;
}

void schedule_end(void)
{
	schedule_self = NULL;
	schedule.active = false;
	schedule.record->points = schedule.points;
	schedule.record->trace_hash = schedule.hash;
}

void schedule_pause(bool pause)
{
	schedule_self = pause ? NULL : schedule.active ? schedule.running : NULL;
}

void schedule_release(const void *object)
{
	if (schedule_self != NULL)
		race_release(schedule_self, object, false);
}

void schedule_acquire(const void *object)
{
	if (schedule_self != NULL)
		race_acquire(schedule_self, object);
}

static bool in_child;

void schedule_fork_child(void)
{
	schedule_self = NULL;
	schedule.active = false;
	in_child = true;
}

bool schedule_in_child(void)
{
	return in_child;
}

void schedule_watch_bundle(const struct bundle *bundle)
{
	race_watch_bundle(bundle);
	threads_watch_bundle(bundle);
}
