/* The order in which the executor runs the operations of a program: who runs when, as stretches of one thread each. */
#include <stdlib.h>
#include <string.h>

#include "event_log.h"
#include "export.h"

enum state { ABSENT, READY, WAITING, JOINING, ENDED };

struct simulation {
	const struct program *program;
	struct export_order *order;
	enum state state[PROGRAM_THREADS_MAX];
	uint64_t waits_for[PROGRAM_THREADS_MAX];
	size_t at[PROGRAM_THREADS_MAX]; /* next operation */
	uint32_t events[PROGRAM_EVENTS_MAX];
	bool started[PROGRAM_THREADS_MAX];
};

static bool can_run(const struct simulation *s, size_t t)
{
	switch (s->state[t]) {
	case READY:
		return true;
	case WAITING:
		return s->events[s->waits_for[t]] > 0;
	case JOINING:
		return s->state[s->waits_for[t]] == ENDED || s->state[s->waits_for[t]] == ABSENT;
	default:
		return false;
	}
}

/* As choose_next of the executor. `program->thread_count`: all have ended. */
static size_t choose(struct simulation *s)
{
	const size_t count = s->program->thread_count;
	size_t blocked = count;

	for (size_t t = 0; t < count; t++) {
		if (can_run(s, t))
			return t;
		if (s->state[t] != WAITING && s->state[t] != JOINING)
			continue;
		if (blocked == count || (s->state[blocked] == JOINING && (s->state[t] == WAITING || blocked == 0)))
			blocked = t;
	}
	return blocked;
}

static void add_stretch(struct export_order *order, size_t thread, size_t first, size_t last, bool ends)
{
	if (order->count == order->capacity) {
		order->capacity = order->capacity > 0 ? order->capacity * 2 : 64;
		order->stretches = realloc(order->stretches, order->capacity * sizeof order->stretches[0]);
		if (order->stretches == NULL)
			abort();
	}
	order->stretches[order->count++] =
		(struct stretch){.thread = (uint32_t)thread, .first = first, .last = last, .ends = ends};
}

/* Runs a thread until it blocks or ends. */
static void run_thread(struct simulation *s, size_t t)
{
	const struct thread_program *const code = &s->program->threads[t];
	const size_t first = s->at[t];

	if (s->state[t] == WAITING && s->events[s->waits_for[t]] > 0)
		s->events[s->waits_for[t]]--;
	s->state[t] = READY;
	while (s->at[t] < code->count) {
		const struct op *const op = &code->ops[s->at[t]];

		s->at[t]++;
		switch (op->kind) {
		case OP_EXIT:
			if (t != 0)
				s->at[t] = code->count;
			break;
		case OP_SPAWN:
			if (op->thread != 0 && op->thread < s->program->thread_count && !s->started[op->thread]) {
				s->started[op->thread] = true;
				s->state[op->thread] = READY;
			}
			break;
		case OP_SIGNAL:
			s->events[op->event]++;
			break;
		case OP_WAIT:
			if (s->events[op->event] > 0) {
				s->events[op->event]--;
				break;
			}
			s->state[t] = WAITING;
			s->waits_for[t] = op->event;
			add_stretch(s->order, t, first, s->at[t], false);
			return;
		case OP_JOIN:
			if (op->thread == 0 || op->thread == t || op->thread >= s->program->thread_count ||
			    s->state[op->thread] == ENDED || s->state[op->thread] == ABSENT)
				break;
			s->state[t] = JOINING;
			s->waits_for[t] = op->thread;
			add_stretch(s->order, t, first, s->at[t], false);
			return;
		default:
			break;
		}
	}
	if (t != 0) {
		s->state[t] = ENDED;
		add_stretch(s->order, t, first, s->at[t], true);
		return;
	}
	/* Main joins what there is, from the lowest on. */
	for (size_t other = 1; other < s->program->thread_count; other++)
		if (s->state[other] != ABSENT && s->state[other] != ENDED) {
			s->state[0] = JOINING;
			s->waits_for[0] = other;
			add_stretch(s->order, t, first, s->at[t], false);
			return;
		}
	s->state[0] = ENDED;
	add_stretch(s->order, t, first, s->at[t], true);
}

void export_order(const struct program *program, struct export_order *order)
{
	struct simulation *const s = calloc(1, sizeof *s);

	*order = (struct export_order){0};
	if (s == NULL)
		abort();
	s->program = program;
	s->order = order;
	s->state[0] = READY;
	while (s->state[0] != ENDED) {
		const size_t next = choose(s);

		if (next == program->thread_count)
			break;
		if (!can_run(s, next))
			s->state[next] = READY;
		run_thread(s, next);
	}
	free(s);
}

void export_order_copy(const struct export_order *from, struct export_order *to)
{
	*to = (struct export_order){0};
	for (size_t i = 0; i < from->count; i++)
		add_stretch(to, from->stretches[i].thread, from->stretches[i].first, from->stretches[i].last,
			    from->stretches[i].ends);
}

void export_order_of_log(const struct program *program, const struct event_log *log, struct export_order *order)
{
	size_t at[PROGRAM_THREADS_MAX] = {0};
	size_t steps[PROGRAM_THREADS_MAX] = {0};

	*order = (struct export_order){0};
	for (size_t i = 0; i < log->count; i++) {
		const struct event *const event = &log->events[i];
		struct stretch *const last = order->count > 0 ? &order->stretches[order->count - 1] : NULL;

		if (event->kind != EVENT_STEP || event->thread >= program->thread_count ||
		    event->op >= program->threads[event->thread].count || event->op < at[event->thread])
			continue;
		if (last != NULL && last->thread == event->thread)
			last->last = event->op + 1;
		else
			add_stretch(order, event->thread, at[event->thread], event->op + 1, false);
		at[event->thread] = event->op + 1;
		steps[event->thread] = order->count;
	}
	/* Threads that were started have their rest, then main. */
	for (size_t t = program->thread_count; t-- > 0;) {
		const size_t thread = t > 0 ? program->thread_count - t : 0;

		if (at[thread] < program->threads[thread].count && (thread == 0 || steps[thread] > 0)) {
			add_stretch(order, thread, at[thread], program->threads[thread].count, false);
			steps[thread] = order->count;
		}
	}
	for (size_t t = 1; t < program->thread_count; t++)
		if (steps[t] > 0)
			order->stretches[steps[t] - 1].ends = true;
	/* Main has the last turn: it sees to the end of the others. */
	if (order->count == 0 || order->stretches[order->count - 1].thread != 0)
		add_stretch(order, 0, program->threads[0].count, program->threads[0].count, false);
	order->stretches[order->count - 1].ends = true;
}
