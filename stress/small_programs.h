/*
 * All programs of one thread with a few operations over a few sizes, one after the other, the shorter ones first: what a small program can
 * show is shown. The order is the same on every machine.
 */
#ifndef HEAPSTORM_STRESS_SMALL_PROGRAMS_H
#define HEAPSTORM_STRESS_SMALL_PROGRAMS_H

#include <stdint.h>

#include "program.h"

#define SMALL_OPERATIONS_MAX 12

/* The choices that make a program, as a counter whose digits have bounds of their own. */
struct small_programs {
	unsigned operations; /* of the programs at the moment, from 1 */
	unsigned used;
	struct {
		unsigned value, bound;
	} choices[SMALL_OPERATIONS_MAX];
};

void small_programs_begin(struct small_programs *all);

/* Replaces what `program` (initialised) holds by the next one. */
void small_programs_next(struct small_programs *all, struct program *program);

#endif
