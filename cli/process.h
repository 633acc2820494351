/* What the verbs share of starting the processes of the installation. */
#ifndef HEAPSTORM_CLI_PROCESS_H
#define HEAPSTORM_CLI_PROCESS_H

#include "supervisor.h"

/* A run of a fuzz target, fuzz.c. */
struct cli_fuzz {
	const char *target;                        /* path of the executable */
	const char *allocators;                    /* names separated by commas; NULL: all that are linked with it */
	const char *corpus, *seeds;                /* folders of inputs; the second may be NULL */
	const char *log;                           /* file for what libFuzzer writes */
	const char *random_seed, *max_runs;        /* NULL: libFuzzer's own choice; no limit */
	double budget, timeout;                    /* seconds; a budget of 0 is no limit */
	void (*progress)(const struct run_record *record, void *context);
	void *context;
};

/* Runs it to its end. Ends the process with status 3 if it does not start. */
void cli_fuzz_process(const struct cli_fuzz *fuzz, struct supervised *result);

/* Turns the programs of a folder into inputs for the fuzzer, in a folder that is there. Returns how many there are. */
size_t cli_encode_seeds(const char *from, const char *to);

#endif
