/*
 * The executor: runs a program on an allocator with every oracle, one thread at a time.
 *
 * Each thread of the program is a real thread; one holds the token and runs until it blocks (program.h says how the next one is
 * chosen), so that a run is the same every time. A thread has run its destructors to the end before another goes on.
 */
#ifndef HEAPSTORM_HARNESS_EXECUTOR_H
#define HEAPSTORM_HARNESS_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "program.h"
#include "subject.h"
#include "verdict.h"

#define ORACLES_ALL UINT32_MAX
#define ORACLE(kind) (UINT32_C(1) << (kind)) /* kind: enum verdict_kind */

enum outcome {
	OUTCOME_NONE, /* the operation makes no block, or did not run */
	OUTCOME_NULL,
	OUTCOME_BLOCK,
};

struct run_options {
	uint32_t oracles; /* ORACLE() bits */
	bool sparse; /* of large blocks fill and check the ends and samples between: for fuzzing, where a poisoned byte tells all the same */
	bool deep;    /* also the checks that run the program again or fail every mapping */
	bool no_fork; /* fork does nothing: it takes milliseconds, more than all else of a small program */
	unsigned fork_timeout_milliseconds; /* a child of a fork that takes longer hangs; 0: 5 s */
	uint8_t *outcomes; /* of each operation, thread after thread; room for program_op_count(); or NULL */
};

struct executor;

/*
 * Makes an executor that reports into `record`, which must outlive it. One at a time in a process. NULL when the OS has no
 * memory. All of its memory is its own mappings.
 */
struct executor *executor_create(struct run_record *record);

/*
 * Resets the subject and runs the program. Returns VERDICT_CLEAN, or what record->verdict describes: the process
 * should then end, for the heap may be in ruins and threads may be left behind.
 */
enum verdict_kind executor_run(struct executor *executor, const struct subject *subject, const struct program *program,
			       const struct run_options *options);

/*
 * Turns what the process dies of into a verdict in the record: fatal signals and, where a sanitizer's runtime is linked, its reports.
 * With `handle_signals` handlers are installed that record and raise the signal again.
 */
void executor_watch(struct executor *executor, bool handle_signals);

#endif
