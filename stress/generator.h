/*
 * The generator of stress programs: a round is a function of (scenario, seed, round number, threads) and of nothing else, on every machine.
 */
#ifndef HEAPSTORM_STRESS_GENERATOR_H
#define HEAPSTORM_STRESS_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "program.h"

#define STRESS_THREADS_MAX 64 /* that --threads may ask for */

struct generator;

struct scenario {
	const char *name, *description; /* one line */
	void (*generate)(struct generator *generator);
};

extern const struct scenario scenarios[]; /* the first is the default; a NULL name ends it */

/* NULL if none has that name. */
const struct scenario *scenario_find(const char *name);

/*
 * Replaces what `program` (initialised) holds by the program of a round. `threads` (1 to STRESS_THREADS_MAX) are at work at a time, main aside;
 * where a scenario needs two there are two.
 */
void generate_round(const struct scenario *scenario, uint64_t seed, uint64_t round, unsigned threads,
		    struct program *program);

/* The same with a few operations for each thread, so that many orders of them can be tried. */
void generate_small_round(const struct scenario *scenario, uint64_t seed, uint64_t round, unsigned threads,
			  struct program *program);

/* ---- For scenarios ---- */

#define SLOTS_MAX 128 /* private labels of a thread */

/* How often a thread does what, relative to each other. Zero: never. */
struct weights {
	unsigned make[8];                                            /* the kinds of `makers` in generator.c */
	unsigned release, resize, resize_array, touch, usable, trim; /* on labels of its own */
	unsigned foreign_free, foreign_resize, foreign_touch, foreign_usable, foreign_make; /* on labels of all */
};

struct generator {
	struct program *program;
	uint64_t random;
	unsigned threads;
	size_t operations; /* of a thread, about */
	size_t size_limit; /* bytes; most blocks are much smaller */
	bool boundaries;   /* sizes are those around the borders of classes */
	unsigned slots;    /* private labels of a thread, at most SLOTS_MAX */
	unsigned shared;   /* labels that all use */
	struct weights weights;
	uint8_t bound[PROGRAM_THREADS_MAX][SLOTS_MAX]; /* private labels that hold a block, as far as is known */
};

uint64_t generator_random(struct generator *generator);
uint64_t generator_below(struct generator *generator, uint64_t limit); /* 0 to limit - 1; limit is not 0 */
size_t generator_size(struct generator *generator);

/* The labels of a round: a thread's own, and those of all. */
uint32_t generator_private_label(unsigned thread, unsigned slot);
uint32_t generator_shared_label(unsigned number);

void generator_add(struct generator *generator, unsigned thread, struct op op);

/* result = malloc, calloc, ... of a size. */
void generator_make(struct generator *generator, unsigned thread, uint32_t label);

/* One operation, or `count` of them, by the weights. */
void generator_step(struct generator *generator, unsigned thread);
void generator_work(struct generator *generator, unsigned thread, size_t count);

/* Main spawns the threads from `first` on and joins them. */
void generator_run_threads(struct generator *generator, unsigned first, unsigned count);

#endif
