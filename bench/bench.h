/*
 * Allocators side by side: each workload runs on each allocator in a process of its own, in rounds (A B C, A B C, ...), and what counts is
 * the median of the rounds.
 */
#ifndef HEAPSTORM_BENCH_BENCH_H
#define HEAPSTORM_BENCH_BENCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "workloads/steps.h"

#define BENCH_PEERS_MAX 16
#define BENCH_WORKLOADS_MAX 80
#define BENCH_ROUNDS_MAX 31

/* ---- Allocators, peers.c ---- */

struct bench_peer {
	char name[32];
	char library[PATH_MAX]; /* "" for libc itself */
	char preload[PATH_MAX]; /* the same, or a link to it: bench_peer_link */
};

/* The n-th name that is known, NULL after the last; what it is, and whether it runs when none is asked for. */
const char *bench_peer_name(size_t n, const char **what, bool *by_default);

/*
 * Finds an allocator by its name or by the path of a shared object; `lib` is the folder with heapstorm's own libraries. False: `why` says
 * what is missing, and *known whether the name is one of ours.
 */
bool bench_peer_find(const char *name, const char *lib, struct bench_peer *peer, bool *known, char *why,
		     size_t why_size);

/* Makes a link in `folder` where the path of the library cannot be preloaded as it is. False: that of `folder` cannot be either. */
bool bench_peer_link(struct bench_peer *peer, const char *folder);

/* ---- Workloads, suite.c ---- */

enum bench_kind { BENCH_WORKER, BENCH_REPLAY, BENCH_PROGRAM };

struct bench_workload {
	char name[32];
	const char *what; /* one line */
	enum bench_kind kind;
	char file[PATH_MAX]; /* BENCH_REPLAY: the recording */
	const char *
		setup; /* BENCH_PROGRAM: shell text, run once in a folder of its own; makes ./program; status 3 skips */
	const char *const *run; /* BENCH_PROGRAM: arguments of ./program */
	const char *client;     /* BENCH_PROGRAM: shell text that runs beside the program, which it ends; or NULL */
};

/* All there are; recordings are those of `corpus` (a folder with traces/, or NULL). Returns how many were written to `workloads`. */
size_t bench_workloads(struct bench_workload workloads[BENCH_WORKLOADS_MAX], const char *corpus);

/* Writes a recording as the worker plays it (workloads/replay.h). False: `why` says what is wrong. */
bool bench_replay_write(const char *recording, const char *path, uint64_t *calls, char *why, size_t why_size);

/* ---- Measuring, measure.c ---- */

enum bench_metric {
	BENCH_WALL,    /* s */
	BENCH_CPU,     /* s, of all threads, user and system */
	BENCH_PEAK,    /* KiB resident, at most */
	BENCH_AFTER,   /* KiB resident after the peak was freed */
	BENCH_TRIMMED, /* KiB resident after malloc_trim */
	BENCH_FAULTS,  /* page faults */
	BENCH_METRICS
};

extern const char *const bench_metric_names[BENCH_METRICS];  /* "wall", ... */
extern const char *const bench_metric_titles[BENCH_METRICS]; /* "Wall time", ... */

struct bench_sample {
	bool valid;
	double metric[BENCH_METRICS]; /* NAN where there is none */
	uint64_t operations;          /* 0 where not known */
};

struct bench_cell {
	struct bench_sample rounds[BENCH_ROUNDS_MAX];
	char failure[128]; /* "" if all rounds were measured */
};

struct bench_paths {
	char spawn[PATH_MAX], worker[PATH_MAX]; /* executables */
	char work[PATH_MAX];                    /* an existing folder for files */
};

/* Makes what the workload needs. False: it is to be skipped, `why` says what is missing. */
bool bench_prepare(const struct bench_paths *paths, const struct bench_workload *workload, char *why, size_t why_size);

/* Runs it once. What went wrong is in cell->failure. */
void bench_measure(const struct bench_paths *paths, const struct bench_workload *workload,
		   const struct bench_peer *peer, double share, double timeout_seconds, struct bench_sample *sample,
		   char failure[128]);

/* Instructions of a malloc and a free of 32 B, as callgrind counts them; NAN and a reason if that cannot be. */
double bench_instructions(const struct bench_paths *paths, const struct bench_peer *peer, char *why, size_t why_size);

/* Of BENCH_SECTION_CALLS turns each. Instructions include those of the loop. */
struct bench_steps {
	uint64_t instructions[BENCH_SECTIONS], locked[BENCH_SECTIONS];
};

/* Counts by single steps, steps.c: takes seconds. False: `why` says what is in the way. */
bool bench_step(const struct bench_paths *paths, const struct bench_peer *peer, struct bench_steps *steps, char *why,
		size_t why_size);

/* ---- Results, results.c ---- */

struct bench_results {
	struct bench_peer peers[BENCH_PEERS_MAX];
	struct bench_workload workloads[BENCH_WORKLOADS_MAX];
	struct bench_cell (*cells)[BENCH_PEERS_MAX]; /* of each workload */
	double instructions[BENCH_PEERS_MAX];        /* NAN where not counted */
	struct bench_steps steps[BENCH_PEERS_MAX];
	bool stepped[BENCH_PEERS_MAX];
	size_t peer_count, workload_count, reference; /* the peer that ratios refer to */
	unsigned rounds;
	double share;
};

/* The median of the rounds, NAN if there is none. */
double bench_median(const struct bench_results *results, size_t workload, size_t peer, enum bench_metric metric);

/* Of two medians, to that of the reference; NAN if one of them is not there or 0. */
double bench_ratio(const struct bench_results *results, size_t workload, size_t peer, enum bench_metric metric);

/* Calls of the allocator in one round, 0 if not known. */
double bench_operations(const struct bench_results *results, size_t workload, size_t peer);

/* Of the ratios to the reference, over the workloads where both were measured; NAN if there is none. */
double bench_geomean(const struct bench_results *results, size_t peer, enum bench_metric metric);

/* A table of ratios, or of figures where `absolute`. */
void bench_print_table(FILE *file, const struct bench_results *results, enum bench_metric metric, bool absolute);

/* One line an allocator. */
void bench_print_summary(FILE *file, const struct bench_results *results);

/* Locked instructions and instructions per call, where any were counted. */
void bench_print_steps(FILE *file, const struct bench_results *results);

cJSON *bench_json(const struct bench_results *results);

/* ---- Graphs, plot.c ---- */

/*
 * Draws with gnuplot, each as PNG and SVG: PREFIX-overview (CPU time against memory, an allocator a point), PREFIX-workloads (the ratio of every
 * workload) and PREFIX-sizes (time of a malloc and a free over the size, where pairs-* were measured). False: `why` says what is missing.
 */
bool bench_plot(const struct bench_results *results, const char *prefix, char *why, size_t why_size);

#endif
