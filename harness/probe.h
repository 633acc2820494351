/*
 * Which contract an allocator follows where the standards leave a choice (struct contract), found out by asking it: for allocators that
 * declare none. Each question is asked in a child process, so that one that crashes or hangs in the answer is as it was.
 */
#ifndef HEAPSTORM_HARNESS_PROBE_H
#define HEAPSTORM_HARNESS_PROBE_H

#include <stdbool.h>
#include <stdio.h>

#include "allocator.h"

/* The environment variable with a contract that was found out before, as contract_print writes it. */
#define CONTRACT_ENVIRONMENT "HEAPSTORM_CONTRACT"

/*
 * Fills in what is OPEN in allocator->contract; what it cannot find out stays so. `counted` becomes true if its calls to the OS are seen
 * (arena.h).
 */
void probe_contract(struct allocator *allocator, bool *counted);

/* "malloc_zero=block realloc_zero=frees ..." in one line without newline. */
void contract_print(FILE *file, const struct contract *contract, bool counted);

/* Reads the same; what is not in it stays. False if a word is unknown. */
bool contract_parse(const char *text, struct contract *contract, bool *counted);

#endif
