/* What threads do to each other, one function a scenario. */
#include "generator.h"

#include <string.h>

static unsigned min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Threads beside main, at least `least`. */
static unsigned workers(const struct generator *g, unsigned least)
{
	return g->threads < least ? least : g->threads;
}

static void signal_event(struct generator *g, unsigned thread, unsigned event)
{
	generator_add(g, thread, (struct op){.kind = OP_SIGNAL, .event = event});
}

static void wait_event(struct generator *g, unsigned thread, unsigned event)
{
	generator_add(g, thread, (struct op){.kind = OP_WAIT, .event = event});
}

/* Everything, in shares that differ from round to round: what no weight is left for in one round is frequent in another. */
static void generate_mixed(struct generator *g)
{
	const unsigned count = g->threads;
	struct weights *const w = &g->weights;
	unsigned *const all = (unsigned *)w;
	size_t forks = 0;

	for (size_t i = 0; i < sizeof *w / sizeof *all; i++) {
		const uint64_t draw = generator_random(g);

		all[i] = (draw & 3) == 0 ? 0 : 1 + (unsigned)(draw >> 8) % 16;
	}
	w->make[0] += 4;
	w->release += 8;
	w->trim = (w->trim + 7) / 8;
	g->boundaries = generator_below(g, 4) == 0;
	if (generator_below(g, 8) == 0)
		forks = 1 + generator_below(g, 2);
	if (generator_below(g, 4) == 0)
		for (uint64_t n = 1 + generator_below(g, 32), i = 0; i < 8; i++, n += 1 + generator_below(g, 64))
			program_add_fault(g->program, n);
	generator_work(g, 0, 1 + generator_below(g, 32));
	for (unsigned t = 1; t <= count; t++) {
		const bool leaves = generator_below(g, 2) == 0;

		generator_work(g, t, g->operations / 2);
		if (forks > 0) {
			generator_add(g, t, (struct op){.kind = OP_FORK});
			forks--;
		}
		generator_work(g, t, g->operations / 2);
		if (leaves) {
			generator_add(g, t, (struct op){.kind = OP_EXIT});
			generator_work(g, t, generator_below(g, 16));
		}
	}
	generator_run_threads(g, 1, count);
}

/* Pairs of threads, each with a ring of labels; events say what is full and what is empty. */
static void generate_producer_consumer(struct generator *g)
{
	const unsigned pairs = workers(g, 2) / 2;
	const unsigned ring = 1 + (unsigned)generator_below(g, min(1024 / pairs, 64u));
	const size_t items = g->operations;

	for (unsigned pair = 0; pair < pairs; pair++) {
		const unsigned producer = 1 + 2 * pair, consumer = producer + 1, full = 2 * pair, empty = full + 1;

		for (size_t i = 0; i < items; i++) {
			const uint32_t label = generator_shared_label(pair * ring + (unsigned)(i % ring));

			if (i >= ring)
				wait_event(g, producer, empty);
			generator_make(g, producer, label);
			signal_event(g, producer, full);
			wait_event(g, consumer, full);
			if (generator_below(g, 8) == 0)
				generator_add(g, consumer,
					      (struct op){.kind = OP_REALLOC,
							  .result = label,
							  .block = label,
							  .size = generator_size(g)});
			generator_add(g, consumer, (struct op){.kind = OP_FREE, .block = label});
			signal_event(g, consumer, empty);
			/* Memory of its own, so that a consumer has a heap too. */
			if (generator_below(g, 4) == 0)
				generator_work(g, consumer, 2);
		}
	}
	g->shared = 0;
	generator_run_threads(g, 1, 2 * pairs);
}

static void generate_all_to_all(struct generator *g)
{
	const unsigned count = workers(g, 2);

	g->weights.foreign_make = 10;
	g->weights.foreign_free = 14;
	g->weights.foreign_touch = 1;
	for (unsigned t = 1; t <= count; t++)
		generator_work(g, t, g->operations);
	generator_run_threads(g, 1, count);
}

/* Threads come and go all the time; the blocks that they leave are freed by those after them. */
static void generate_churn(struct generator *g)
{
	const unsigned count = g->threads;
	const unsigned total = min(count * (4 + (unsigned)generator_below(g, 12)), PROGRAM_THREADS_MAX - 1u);

	g->weights.foreign_make = 8;
	g->weights.foreign_free = 8;
	g->shared = 64;
	g->slots = min(g->slots, 32u);
	for (unsigned t = 1; t <= total; t++) {
		/* The blocks that a thread before this one left behind; some stay for good. */
		for (unsigned slot = 0; t > count && slot < g->slots; slot++)
			if (g->bound[t - count][slot] && generator_below(g, 4) != 0)
				generator_add(g, t,
					      (struct op){.kind = OP_FREE,
							  .block = generator_private_label(t - count, slot)});
		generator_work(g, t, 8 + generator_below(g, g->operations / 4));
		if (t > count)
			generator_add(g, 0, (struct op){.kind = OP_JOIN, .thread = t - count});
		generator_add(g, 0, (struct op){.kind = OP_SPAWN, .thread = t});
	}
}

/* The first call of a thread is whatever it may be, on a block of another thread. */
static void generate_first_call(struct generator *g)
{
	static const uint8_t kinds[] = {OP_FREE,          OP_REALLOC, OP_USABLE_SIZE, OP_TOUCH,         OP_MALLOC,
					OP_CALLOC,        OP_TRIM,    OP_FREE,        OP_REALLOC,       OP_REALLOCARRAY,
					OP_ALIGNED_ALLOC, OP_FREE,    OP_MEMALIGN,    OP_POSIX_MEMALIGN};
	const unsigned count = workers(g, 2);
	const unsigned total = min(count * (2 + (unsigned)generator_below(g, 8)), PROGRAM_THREADS_MAX - 1u);

	g->weights.foreign_make = 4;
	g->weights.foreign_free = 4;
	g->shared = 16 + total;
	for (unsigned t = 1; t <= total; t++)
		generator_make(g, 0, generator_shared_label(16 + t - 1));
	for (unsigned t = 1; t <= total; t++) {
		const uint32_t label = generator_shared_label(16 + t - 1);
		const uint8_t kind = kinds[generator_below(g, sizeof kinds)];

		generator_add(g, t,
			      (struct op){.kind = kind,
					  .result = label,
					  .block = label,
					  .size = kind == OP_TRIM ? 0 : generator_size(g),
					  .count = kind == OP_CALLOC || kind == OP_REALLOCARRAY ? 1 : 64});
		generator_work(g, t, generator_below(g, 24));
		if (t > count)
			generator_add(g, 0, (struct op){.kind = OP_JOIN, .thread = t - count});
		generator_add(g, 0, (struct op){.kind = OP_SPAWN, .thread = t});
	}
}

/* Destructors of thread-specific data run when the allocator may have torn down what it has for the thread. */
static void generate_destructors(struct generator *g)
{
	const unsigned count = workers(g, 2);
	const unsigned total = min(count * (2 + (unsigned)generator_below(g, 8)), PROGRAM_THREADS_MAX - 1u);

	g->weights.foreign_make = 6;
	g->weights.foreign_free = 6;
	g->weights.foreign_resize = 1;
	g->slots = min(g->slots, 16u);
	for (unsigned t = 1; t <= total; t++) {
		/* Some threads call the allocator in their destructor only. */
		if (generator_below(g, 4) != 0)
			generator_work(g, t, 1 + generator_below(g, 48));
		generator_add(g, t, (struct op){.kind = OP_EXIT});
		generator_work(g, t, 1 + generator_below(g, 24));
		if (t > count)
			generator_add(g, 0, (struct op){.kind = OP_JOIN, .thread = t - count});
		generator_add(g, 0, (struct op){.kind = OP_SPAWN, .thread = t});
	}
}

static void generate_fork(struct generator *g)
{
	const unsigned count = workers(g, 2);
	const unsigned forker = 1 + (unsigned)generator_below(g, count);

	g->weights.foreign_make = 6;
	g->weights.foreign_free = 6;
	g->weights.trim = 1;
	g->size_limit = 2 << 20; /* large blocks have locks of their own */
	for (unsigned t = 1; t <= count; t++) {
		/* Main forks once more while they run. */
		generator_work(g, t, g->operations);
		if (t == forker) {
			generator_add(g, t, (struct op){.kind = OP_FORK});
			generator_work(g, t, 32);
		}
		generator_add(g, 0, (struct op){.kind = OP_SPAWN, .thread = t});
	}
	generator_work(g, 0, 4);
	generator_add(g, 0, (struct op){.kind = OP_FORK});
}

static void generate_foreign_realloc(struct generator *g)
{
	const unsigned count = workers(g, 2);

	g->shared = min(g->shared, 24u);
	g->weights.foreign_resize = 30;
	g->weights.foreign_free = 2;
	g->weights.foreign_usable = 2;
	for (unsigned i = 0; i < g->shared; i++)
		generator_make(g, 0, generator_shared_label(i));
	for (unsigned t = 1; t <= count; t++)
		generator_work(g, t, g->operations);
	generator_run_threads(g, 1, count);
}

static void generate_boundaries(struct generator *g)
{
	g->boundaries = true;
	g->weights.resize = 8;
	g->weights.usable = 3;
	g->weights.foreign_make = 4;
	g->weights.foreign_free = 4;
	for (unsigned t = 1; t <= g->threads; t++)
		generator_work(g, t, g->operations);
	generator_run_threads(g, 1, g->threads);
}

static void generate_faults(struct generator *g)
{
	g->size_limit = 300000;
	g->weights.resize = 6;
	g->weights.foreign_make = 4;
	g->weights.foreign_free = 4;
	g->weights.foreign_resize = 2;
	for (unsigned t = 1; t <= g->threads; t++)
		generator_work(g, t, g->operations);
	/* Runs of failures and single ones. */
	for (uint64_t n = 1 + generator_below(g, 16); n < 400;) {
		for (uint64_t run = 1 + generator_below(g, 1 + generator_below(g, 12)); run > 0; run--)
			program_add_fault(g->program, n++);
		n += 1 + generator_below(g, 48);
	}
	generator_run_threads(g, 1, g->threads);
}

const struct scenario scenarios[] = {
	{"mixed", "all of these in shares that differ from round to round (the default)", generate_mixed},
	{"producer-consumer", "one thread of a pair allocates, the other one frees", generate_producer_consumer},
	{"all-to-all", "every thread frees what every other has made", generate_all_to_all},
	{"churn", "threads come and go and leave live blocks behind", generate_churn},
	{"first-call", "the first call of a thread is any, on a block of another", generate_first_call},
	{"destructors", "destructors of thread-specific data allocate and free", generate_destructors},
	{"fork", "forks while other threads are inside the allocator", generate_fork},
	{"foreign-realloc", "realloc of blocks that other threads have made", generate_foreign_realloc},
	{"boundaries", "sizes around the borders of size classes", generate_boundaries},
	{"faults", "the OS refuses memory in the middle of it", generate_faults},
	{0},
};
