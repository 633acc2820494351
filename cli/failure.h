/* Failures as they are kept: one folder each, docs/failures.md. */
#ifndef HEAPSTORM_CLI_FAILURE_H
#define HEAPSTORM_CLI_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "program.h"
#include "report.h"
#include "verdict.h"

/* A failure that a verb has found. */
struct failure {
	struct program *program;   /* that failed */
	struct run_record *record; /* of its run */
	const char *allocator;
	const char *out; /* the folder in which the folders of failures are */
	const void *input;
	size_t input_size;            /* bytes of `input` as found, 0 if the program did not come as bytes */
	const char *executable;       /* that ran, for the functions and lines of its stacks */
	const char *sanitizer_output; /* file with its standard error; may be NULL */
	const char *variant;          /* in which it ran */
	const char *
		runner; /* variant of the runner in which the program fails the same way each time; NULL: not known to fail in any */
	double shrink_seconds;                /* to make it smaller; 0: 10 */
	bool as_found;                        /* only what is certain is kept: not made smaller, exported or drawn */
	const cJSON *details; /* more fields for failure.json; may be NULL */
	/* Filled in by failure_keep. */
	char folder[512];                     /* in which it is kept */
	char path[544];                       /* its program.heap */
	unsigned long seen;                   /* how often by now, this time included */
	cJSON *stacks;                        /* cli_stacks_json */
	char signature[REPORT_SIGNATURE_MAX]; /* what failures of this folder have in common */
};

/*
 * Keeps a failure in a folder of its own, or counts it if there is one for the same failure: the same verdict and the same innermost functions of the
 * allocator, or the same kind of operation where it has no stack.
 *
 * The folder is there at once with what is certain; then the program is made smaller for a few seconds, exported as C and drawn, and the folder is
 * replaced by the complete one. Each of the two steps is a rename: what has the name is never half written. Where the program was made smaller,
 * program and record are of the small one afterwards. Prints a few lines on what was kept and where. Ends the process with status 2 if it
 * cannot be written.
 */
void failure_keep(struct failure *failure);

/* What replay needs besides the folder to run it where it failed: " --variant sched", or "". */
const char *failure_replay_options(const struct failure *failure);

/* Frees what failure_keep has allocated. */
void failure_release(struct failure *failure);

/* Adds `folder`, `program`, `seen`, `stacks` and `signature` to a result (docs/json.md). */
void failure_add_json(const struct failure *failure, cJSON *result);

#endif
