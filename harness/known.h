/*
 * Failures that are known already and are to be passed over, so that a search goes on to the others. The environment variable HEAPSTORM_KNOWN
 * has their signatures (verdict_signature), one a line. Only what leaves the heap usable can be passed over.
 */
#ifndef HEAPSTORM_HARNESS_KNOWN_H
#define HEAPSTORM_HARNESS_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "verdict.h"

#define KNOWN_ENVIRONMENT "HEAPSTORM_KNOWN"

/*
 * True if a search can go on after such a failure in the same heap. After undefined behaviour it can where the allocator was compiled with
 * -fsanitize-recover=undefined.
 */
bool known_can_be_passed_over(enum verdict_kind kind, const char *message);

/* The oracles, as ORACLE() bits, without those whose failures are known by their name alone. */
uint32_t known_oracles_left(uint32_t oracles);

/* True if this failure is known. */
bool known_failure(enum verdict_kind kind, const char *message);

#endif
