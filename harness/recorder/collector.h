/*
 * The reading end of `heapstorm record`: takes the calls of each process image out of its ring (hub.h), gives every
 * block a number in place of its address, and writes a recording (trace.h) for each image.
 *
 * Files The first image of the process that heapstorm started goes to PATH. Every other one, be it the child of a fork
 * or a program that a process exec'ed, goes to PATH.PID, and where that is taken by an earlier image of the same
 * process, to PATH.PID.2, PATH.PID.3, ... An image that made no call has no file.
 */
#ifndef HEAPSTORM_HARNESS_RECORDER_COLLECTOR_H
#define HEAPSTORM_HARNESS_RECORDER_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "trace.h"

struct collector;

/* A finished file. */
struct recording {
	char *path;
	char *command; /* arguments with spaces between */
	uint32_t pid;
	bool forked;  /* the image is the child of a fork */
	bool stopped; /* at operations_max */
	int error;    /* errno of what kept the file from being whole, 0 for none */
	uint64_t operations, threads, bytes;
	uint64_t peak_blocks, peak_bytes; /* live at one time; bytes as requested */
	struct trace_totals totals;
};

/* A recording stops after `operations_max` (0: never). NULL with errno set: the system lacks what it takes. */
struct collector *collector_create(const char *path, uint64_t operations_max, bool follow_children);

/* What the program is to have in its environment as HUB_ENVIRONMENT. */
const char *collector_environment(const struct collector *collector);

/* Called in the child that becomes the program, before exec. */
void collector_set_main(struct collector *collector, pid_t pid);

/* Takes in what is there. False: there was nothing. */
bool collector_poll(struct collector *collector);

/* Sleeps until an image ends, at most `timeout` milliseconds. */
void collector_wait(struct collector *collector, int timeout);

/* Images that have not ended. */
size_t collector_live(const struct collector *collector);

/* Ends every recording as it stands; the programs go on unrecorded. */
void collector_finish(struct collector *collector);

/* The finished ones, in the order of their ends. */
const struct recording *collector_recordings(const struct collector *collector, size_t *count);

/* Images that were not recorded as too many were alive. */
uint32_t collector_left_out(const struct collector *collector);

/* Finishes and frees. */
void collector_destroy(struct collector *collector);

#endif
