/*
 * The shrinker: makes a failing program as small and as simple as it gets while it fails in the same way.
 *
 * Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) on threads, preemptions, faults and
 * operations, then by what belongs together (all operations of a block, of an event, of a thread), by pairs, and last on kinds, sizes,
 * counts, alignments and names, until a whole round changes nothing.
 */
#ifndef HEAPSTORM_HARNESS_SHRINK_H
#define HEAPSTORM_HARNESS_SHRINK_H

#include <stdbool.h>
#include <stddef.h>

#include "program.h"
#include "verdict.h"

/* What decides whether a program fails in the same way. */
struct shrink_oracle {
	/*
	 * The index of the first of `count` candidates that does, `count` if none does. Where threads run in a chosen order, about `orders` others than
	 * that of the candidate may be tried; the candidate then has the one that failed.
	 */
	size_t (*first_failing)(void *context, struct program *candidates, size_t count, unsigned orders);
	/* Looks for an order with fewer preemptions in which the program, which has some, fails likewise, and puts it in. NULL: there are no orders. */
	bool (*fewer_preemptions)(void *context, struct program *program);
	/* Whether this one does, each time in two fresh processes. After a false one the shrinker goes back to what was confirmed before. */
	bool (*confirm)(void *context, const struct program *program);
	void (*progress)(void *context, const struct program *smallest); /* each smaller one; may be NULL */
	void *context;
	size_t candidates_max;            /* at a time; 0: a default */
	double seconds;                   /* no new candidates after so long; 0: no limit */
	const volatile bool *interrupted; /* likewise when set; may be NULL */
};

struct shrink_figures {
	size_t candidates; /* offered to first_failing; how many of them ran is for the oracle to know */
	size_t accepted;
	size_t rounds;
	double seconds;
	bool complete; /* a whole round changed nothing: not ended by time or interruption */
};

/*
 * Shrinks `program` in place. False if it does not fail to begin with: then it is left as it was. What it returns was confirmed. Figures may
 * be NULL.
 */
bool shrink(struct program *program, const struct shrink_oracle *oracle, struct shrink_figures *figures);

/*
 * The oracle that runs programs in processes of their own, many candidates in one as long as none fails: of an executable such as
 * runner-asan, with `--batch`.
 */
struct shrink_runner {
	const char *runner; /* path of the executable */
	const char *allocator;
	const char *folder; /* for temporary files */
	double timeout_seconds;
	const volatile bool *interrupted;
	bool scheduled;      /* it is runner-sched: orders of threads are tried, too */
	bool deep;           /* with the checks that run a program again; found out by shrink_runner_begin */
	bool single;         /* one candidate a process; set when a confirmation fails */
	size_t processes;    /* started so far */
	size_t runs;         /* programs run so far */
	struct program base; /* scheduled: the last that failed, and the anchors of its preemptions */
	uint64_t *anchors;
	char signature[512];   /* what the failure has to be; made by shrink_runner_begin */
	char environment[256]; /* why nothing could be run, "" if all went well */
	void (*progress)(const struct shrink_runner *runner, const struct program *smallest); /* may be NULL */
};

/*
 * Runs the program and keeps its verdict as the one to look for. Returns it; CLEAN: there is nothing to shrink. In a scheduled run the
 * program's schedule becomes the one that was run: without entries that are never reached.
 */
enum verdict_kind shrink_runner_begin(struct shrink_runner *runner, struct program *program);

/* Frees what it holds. */
void shrink_runner_end(struct shrink_runner *runner);

/* Fills in first_failing, confirm, progress, context and interrupted. */
void shrink_runner_oracle(struct shrink_runner *runner, struct shrink_oracle *oracle);

/*
 * What two failures have in common if they are of the same mistake: the verdict and, where the message tells mistakes of one kind apart (contract, crash,
 * abort, fork), the message without its numbers.
 */
void verdict_signature(const struct verdict *verdict, char *text, size_t size);

#endif
