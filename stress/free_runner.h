/*
 * The free runner: runs a program with real threads at full speed, and the oracles with them.
 *
 * A program is run in passes, each on the heap that the one before left. Within a pass nothing orders the threads but what the program says:
 * spawn, join, signal and wait, and a block that one thread puts into a label and another takes out. The harness itself is compiled
 * without instrumentation and takes no lock that ThreadSanitizer sees. After a pass all threads are gone: the heap is checked and walked with
 * the blocks that are still live, and once more when they are freed; after some passes the footprint must not grow any more.
 *
 * Blocks whose address is no multiple of 16 are not in the overlap oracle here, for they share granules of the shadow; their contents are
 * checked like all others.
 */
#ifndef HEAPSTORM_STRESS_FREE_RUNNER_H
#define HEAPSTORM_STRESS_FREE_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "executor.h"
#include "program.h"
#include "subject.h"
#include "verdict.h"

struct free_runner_options {
	uint32_t oracles; /* ORACLE() bits */
	unsigned passes;  /* at least */
	bool bare;        /* calls only, nothing is looked at: to see what the oracles cost */
	bool sparse;      /* of large blocks fill and check the ends and samples between */
};

struct free_runner;

/* One at a time in a process. NULL when the OS has no memory. The record must outlive it. */
struct free_runner *free_runner_create(struct run_record *record);

/*
 * Resets the subject and runs the program. What is found is written into the record, and the process ends with status 1: threads may be
 * anywhere. Signals and reports of sanitizers become verdicts too.
 */
void free_runner_run(struct free_runner *runner, const struct subject *subject, const struct program *program,
		     const struct free_runner_options *options);

#endif
