/*
 * The executor: runs a program on an allocator with every oracle, one thread at a time.
 *
 * Each thread of the program is a real thread; one holds the token and runs until it blocks (program.h says how the next one is
 * chosen), so that a run is the same every time. A thread has run its destructors to the end before another goes on. With a scheduler
 * threads also change in the middle of an operation.
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

/* What a scheduler asks of the executor. */
struct scheduler_client {
	bool (*ready)(void *context, uint32_t thread); /* what `thread` waits for in the program has come */
	bool (*release)(void *context); /* nothing can run: lets a thread that waits go on; false if none waits */
	void (*resumed)(void *context, uint32_t thread); /* `thread` has the processor now */
	void (*ended)(void *context, uint32_t thread);   /* it has run its destructors */
	void *context;
};

/*
 * Chooses which thread runs, in place of the executor, also in the middle of an operation: stress/schedule/. All functions are called
 * by threads of the run.
 */
struct scheduler {
	void (*begin)(const struct scheduler *scheduler, const struct scheduler_client *client,
		      struct run_record *record);
	void (*pause)(bool pause); /* while paused, main is alone and on its own */
	void (*end)(void);
	void (*spawn)(uint32_t thread, void *(*start)(void *), void *argument);
	void (*operation)(void); /* one begins */
	void (*wait)(void);      /* until client->ready() */
	void (*release)(
		const void *object); /* what was done so far comes before what follows an acquire of the object */
	void (*acquire)(const void *object);
	void (*at_exit)(void (*destructor)(void *),
			void *argument); /* runs with the calling thread's destructors, after the allocator's */
	bool one_processor;   /* its threads wait for each other in the kernel: that is faster on one processor */
	int (*fork)(void);    /* fork, with the allocator's handlers; the child goes on without a scheduler */
	void (*failed)(void); /* a verdict is in the record: ends the process */
};

#define FORK_CHILD_BLOCKED 12  /* exit status of a child that waits for what only its parent's threads could do */
#define FORK_CHILD_UNLOCKED 13 /* of one that unlocks a mutex that is not locked */

struct run_options {
	uint32_t oracles; /* ORACLE() bits */
	bool sparse; /* of large blocks fill and check the ends and samples between: for fuzzing, where a poisoned byte tells all the same */
	bool deep;    /* also the checks that run the program again or fail every mapping */
	bool no_fork; /* fork does nothing: it takes milliseconds, more than all else of a small program */
	unsigned fork_timeout_milliseconds; /* a child of a fork that takes longer hangs; 0: 5 s */
	const struct scheduler *scheduler;  /* NULL: threads take turns at the operations that block */
	struct event_log *log;              /* gets the first round's history; or NULL */
	uint8_t *outcomes; /* of each operation, thread after thread; room for program_op_count(); or NULL */
};

struct event_log;
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
