#include "generator.h"

#include <string.h>

static const uint8_t makers[] = {OP_MALLOC,   OP_CALLOC,  OP_ALIGNED_ALLOC, OP_POSIX_MEMALIGN,
				 OP_MEMALIGN, OP_REALLOC, OP_REALLOCARRAY};

#define MAKERS (sizeof makers / sizeof makers[0])

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t generator_random(struct generator *generator)
{
	uint64_t x = generator->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t generator_below(struct generator *generator, uint64_t limit)
{
	return generator_random(generator) % limit;
}

/* Around powers of two, their quarters, multiples of 16, and pages: where allocators change their mind. */
static size_t boundary_size(struct generator *generator)
{
	static const int offsets[] = {-17, -16, -9, -8, -1, 0, 0, 1, 8, 9, 16, 17};
	const uint64_t draw = generator_random(generator);
	const unsigned shift = 4 + (draw & 15) % ((draw & 16) != 0 ? 14 : 7); /* 16 bytes to 128 KiB, mostly to 1 KiB */
	const size_t border = (((size_t)4 + ((draw >> 5) & 3)) << shift) / 4;
	const int offset = offsets[(draw >> 8) % (sizeof offsets / sizeof offsets[0])];

	return offset < 0 && border < (size_t)-offset ? border : border + (size_t)offset;
}

size_t generator_size(struct generator *generator)
{
	uint64_t draw;
	size_t limit;

	if (generator->boundaries)
		return boundary_size(generator);
	draw = generator_random(generator);
	limit = (draw & 31) == 0 ? generator->size_limit : (draw & 3) == 0 ? 1024 : 128;
	return 1 + (draw >> 8) % limit;
}

uint32_t generator_shared_label(unsigned number)
{
	return label_nth(number);
}

uint32_t generator_private_label(unsigned thread, unsigned slot)
{
	return label_nth(1024 + (uint64_t)thread * SLOTS_MAX + slot);
}

void generator_add(struct generator *generator, unsigned thread, struct op op)
{
	program_append(generator->program, thread, op);
}

static void add_maker(struct generator *generator, unsigned thread, uint32_t label, enum op_kind kind)
{
	struct op op = {.kind = kind, .result = label, .block = LABEL_NULL, .size = generator_size(generator)};

	switch (kind) {
	case OP_CALLOC:
	case OP_REALLOCARRAY:
		op.count = 1 + generator_below(generator, 4);
		op.size = 1 + op.size / op.count;
		break;
	case OP_ALIGNED_ALLOC:
	case OP_POSIX_MEMALIGN:
	case OP_MEMALIGN:
		op.alignment = UINT64_C(8) << generator_below(generator, generator_below(generator, 8) == 0 ? 11 : 5);
		break;
	default:
		break;
	}
	generator_add(generator, thread, op);
}

void generator_make(struct generator *generator, unsigned thread, uint32_t label)
{
	unsigned total = 0;
	uint64_t draw;

	for (size_t i = 0; i < MAKERS; i++)
		total += generator->weights.make[i];
	draw = total == 0 ? 0 : generator_below(generator, total);
	for (size_t i = 0; i < MAKERS; i++) {
		if (draw < generator->weights.make[i] || total == 0) {
			add_maker(generator, thread, label, makers[i]);
			return;
		}
		draw -= generator->weights.make[i];
	}
}

static void add_resize(struct generator *generator, unsigned thread, uint32_t label, bool array)
{
	const uint64_t count = array ? 1 + generator_below(generator, 3) : 0;
	const size_t size = generator_size(generator);

	generator_add(generator, thread,
		      (struct op){.kind = array ? OP_REALLOCARRAY : OP_REALLOC,
				  .result = label,
				  .block = label,
				  .count = count,
				  .size = array ? 1 + size / count : size});
}

static void add_on_block(struct generator *generator, unsigned thread, enum op_kind kind, uint32_t label)
{
	generator_add(generator, thread, (struct op){.kind = kind, .block = label});
}

/* One operation on a label of all. */
static void step_foreign(struct generator *generator, unsigned thread, uint64_t draw)
{
	const struct weights *const w = &generator->weights;
	const uint32_t label = generator_shared_label((unsigned)generator_below(generator, generator->shared));

	if (draw < w->foreign_free) {
		add_on_block(generator, thread, OP_FREE, label);
	} else if ((draw -= w->foreign_free) < w->foreign_resize) {
		add_resize(generator, thread, label, false);
	} else if ((draw -= w->foreign_resize) < w->foreign_touch) {
		add_on_block(generator, thread, OP_TOUCH, label);
	} else if ((draw -= w->foreign_touch) < w->foreign_usable) {
		add_on_block(generator, thread, OP_USABLE_SIZE, label);
	} else {
		/* What is there is freed first, so that few blocks become nameless. */
		add_on_block(generator, thread, OP_FREE, label);
		generator_make(generator, thread, label);
	}
}

void generator_step(struct generator *generator, unsigned thread)
{
	const struct weights *const w = &generator->weights;
	const unsigned foreign = generator->shared == 0 ? 0
							: w->foreign_free + w->foreign_resize + w->foreign_touch +
								  w->foreign_usable + w->foreign_make;
	const unsigned own = w->release + w->resize + w->resize_array + w->touch + w->usable + w->trim;
	uint64_t draw = generator_below(generator, foreign + own + 1);
	const unsigned slot = (unsigned)generator_below(generator, generator->slots);
	const uint32_t label = generator_private_label(thread, slot);

	if (draw < foreign) {
		step_foreign(generator, thread, draw);
		return;
	}
	draw -= foreign;
	if (!generator->bound[thread][slot]) {
		generator_make(generator, thread, label);
		generator->bound[thread][slot] = 1;
	} else if (draw < w->resize) {
		add_resize(generator, thread, label, false);
	} else if ((draw -= w->resize) < w->resize_array) {
		add_resize(generator, thread, label, true);
	} else if ((draw -= w->resize_array) < w->touch) {
		add_on_block(generator, thread, OP_TOUCH, label);
	} else if ((draw -= w->touch) < w->usable) {
		add_on_block(generator, thread, OP_USABLE_SIZE, label);
	} else if ((draw -= w->usable) < w->trim) {
		generator_add(generator, thread,
			      (struct op){.kind = OP_TRIM, .size = generator_below(generator, 2) << 16});
	} else {
		add_on_block(generator, thread, OP_FREE, label);
		generator->bound[thread][slot] = 0;
	}
}

void generator_work(struct generator *generator, unsigned thread, size_t count)
{
	for (size_t i = 0; i < count; i++)
		generator_step(generator, thread);
}

void generator_run_threads(struct generator *generator, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		generator_add(generator, 0, (struct op){.kind = OP_SPAWN, .thread = i});
	for (unsigned i = first; i < first + count; i++)
		generator_add(generator, 0, (struct op){.kind = OP_JOIN, .thread = i});
}

const struct scenario *scenario_find(const char *name)
{
	for (size_t i = 0; scenarios[i].name != NULL; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	return NULL;
}

static void generate(const struct scenario *scenario, uint64_t seed, uint64_t round, unsigned threads, bool small,
		     struct program *program)
{
	static const size_t limits[] = {512, 512, 4096, 4096, 40000, 300000, 2 << 20};
	static struct generator generator;

	program_clear(program);
	memset(&generator, 0, sizeof generator);
	generator.program = program;
	generator.threads = threads;
	/* Hashed one after the other, so that neighbouring seeds and rounds have nothing in common. */
	generator.random = seed;
	generator.random = generator_random(&generator) ^ round;
	generator.random = generator_random(&generator);
	generator.size_limit = limits[generator_below(&generator, sizeof limits / sizeof limits[0])];
	generator.operations = (size_t)(small ? 4 : 64) << generator_below(&generator, small ? 3 : 5);
	generator.slots = 2 + (unsigned)generator_below(&generator, small ? 8 : SLOTS_MAX - 1);
	generator.shared = 1 + (unsigned)generator_below(&generator, small ? 8 : 64);
	generator.weights = (struct weights){
		.make = {12, 2, 1, 1, 1, 1, 1},
		.release = 16,
		.resize = 3,
		.resize_array = 1,
		.touch = 1,
		.usable = 1,
	};
	scenario->generate(&generator);
}

void generate_round(const struct scenario *scenario, uint64_t seed, uint64_t round, unsigned threads,
		    struct program *program)
{
	generate(scenario, seed, round, threads, false, program);
}

void generate_small_round(const struct scenario *scenario, uint64_t seed, uint64_t round, unsigned threads,
			  struct program *program)
{
	generate(scenario, seed, round, threads, true, program);
}
