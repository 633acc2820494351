/*
 * Mutations of programs, operation by operation. Pure functions of their random state: the same seed and program give the same result in any
 * process. Nothing is allocated once the programs have grown to their size.
 *
 * Each seed draws a subset of the operation kinds and of the mutations, and usually one size or alignment to dwell on (swarm testing: Groce et
 * al., "Swarm Testing", ISSTA 2012), since many bugs need a lot of one thing and none of another.
 */
#ifndef HEAPSTORM_FUZZ_MUTATOR_H
#define HEAPSTORM_FUZZ_MUTATOR_H

#include "program.h"

/* Bounds of what a mutation makes; a program that is larger already is not cut. */
struct mutator_options {
	size_t ops_max;     /* operations of a program */
	size_t threads_max; /* 1: nothing that concerns threads or the schedule is added */
	bool faults;        /* faults are added, moved and removed */
	/* Preemptions worth trying, of the program that ran last; returns how many. NULL: none are known. */
	size_t (*preemptions)(const struct preemption **list);
};

/*
 * Bounds of the programs of fuzz_sequence and of fuzz_threads, for whatever makes the same ones. A cache that outlives its thread, a block freed by
 * another: no second thread is too many.
 */
#define MUTATOR_SEQUENCE .ops_max = 200, .threads_max = 3, .faults = true
#define MUTATOR_THREADS .ops_max = 48, .threads_max = 4, .faults = true

/* Used by the libFuzzer entry points. Weak: a target that defines its own has that. */
extern const struct mutator_options mutator_options;

struct mutator {
	uint64_t random;
	struct mutator_options options;
	uint32_t kinds;      /* swarm: set of enum op_kind that may be made */
	uint32_t mutations;  /* swarm: set of mutations that may be used */
	unsigned size_style; /* swarm: where sizes are drawn from */
	uint64_t focus_size;
	uint64_t focus_alignment;
};

/* Starts `mutator` from a seed. */
void mutator_seed(struct mutator *mutator, uint64_t seed, const struct mutator_options *options);

/* A number from 0 to limit - 1; `limit` is not 0. */
uint64_t mutator_below(struct mutator *mutator, uint64_t limit);

/* Changes the program: one mutation, sometimes several. */
void mutator_mutate(struct mutator *mutator, struct program *program);

/* Makes `to` (not one of the others) a mixture of two programs. Allocator, expectation, faults and schedule are those of `a`. */
void mutator_cross(struct mutator *mutator, const struct program *a, const struct program *b, struct program *to);

/* Makes a program of `ops` operations in one thread, from the seed alone. Blocks live at once stay below 64 MiB. */
void mutator_random_program(uint64_t seed, size_t ops, struct program *program);

#endif
