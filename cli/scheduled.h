/* Processes that run programs under chosen schedules: runner-sched, or one linked with another build of an allocator. */
#ifndef HEAPSTORM_CLI_SCHEDULED_H
#define HEAPSTORM_CLI_SCHEDULED_H

#include "program.h"
#include "supervisor.h"

struct scheduled {
	const char *runner; /* path of the executable */
	const char *allocator;
	const char *seed, *runs, *bound, *scenario, *threads; /* as options of runner-sched (stress/schedule_main.c) */
	double timeout;                                       /* seconds */
	const char *points;                                   /* likewise; NULL: its default */
};

/*
 * Runs one process to its end. `file` NULL: it makes the programs. `budget` in seconds, 0: no limit. Ends this process with status 2 or 3 if the
 * other one cannot run. The caller releases the result.
 */
void scheduled_run(const struct scheduled *scheduled, const char *file, const char *strategy, double budget,
		   struct supervised *result);

/*
 * Sees the failing program fail again in fresh processes, at the same point. If it does not, that is a defect of heapstorm: keeps the file below
 * `out` and ends this process with status 3.
 */
void scheduled_confirm(const struct scheduled *scheduled, const struct program *program,
		       const struct run_record *record, const char *out);

#endif
