/*
 * The supervisor: runs a process that runs programs, and finds out what became of it. The process writes into a struct run_record in
 * shared memory; whatever ends it, the record says what it was doing.
 */
#ifndef HEAPSTORM_HARNESS_SUPERVISOR_H
#define HEAPSTORM_HARNESS_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>

#include "verdict.h"

/* The environment variable by which the process finds the record: the number of an open file descriptor. */
#define RUN_RECORD_ENVIRONMENT "HEAPSTORM_RECORD_FD"

struct supervision {
	char *const *argv;      /* argv[0] is the path of the executable */
	const char *output;     /* its standard error goes to this file; NULL: it is dropped */
	double timeout_seconds; /* without progress for so long it is stuck and killed */
	/*
	 * After so long it is asked to stop (SIGINT), which is no failure; 0: no limit. One that stands still at that moment is waited for, until
	 * it makes progress or is stuck.
	 */
	double budget_seconds;
	const volatile bool *interrupted;                                 /* ends it likewise when set; may be NULL */
	void (*progress)(const struct run_record *record, void *context); /* about once a second; may be NULL */
	void *context;
};

struct supervised {
	struct run_record *record; /* verdict.kind says what was found; supervised_release unmaps it */
	int status;                /* of waitpid */
	bool started;              /* false: the executable could not be run, errno says why */
	bool stopped;              /* ended by budget or interruption */
};

/* Runs the process to its end. False with errno when the OS does not let it: no process, no memory. */
bool supervise(const struct supervision *supervision, struct supervised *result);

void supervised_release(struct supervised *result);

/* In the supervised process: the shared record, or one of its own if it was started by hand. Never NULL. */
struct run_record *run_record_open(void);

#endif
