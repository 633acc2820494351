/*
 * The subject: an allocator under test together with all that is needed to start it afresh.
 *
 * An executable that runs allocators lists their adapters in `heapstorm_adapters`, ended by NULL (harness/adapters/builtin.c).
 */
#ifndef HEAPSTORM_HARNESS_SUBJECT_H
#define HEAPSTORM_HARNESS_SUBJECT_H

#include <stdbool.h>

#include "allocator.h"
#include "bundle/bundle.h"

struct adapter {
	const struct allocator *allocator;
	const struct bundle *bundle; /* NULL: its state cannot be reset and its OS calls are its own */
};

extern const struct adapter *const heapstorm_adapters[];

struct subject {
	const struct allocator *allocator;
	const struct bundle *bundle;
	unsigned domain; /* of the arena */
	bool counted;    /* no bundle, but its OS calls are seen (os_calls.c) */
	struct bundle_snapshot snapshot;
};

/*
 * Finds an allocator by name and remembers its untouched state. A name with a slash is the path of a shared object, which is loaded
 * (shared_object.h); an executable with one allocator takes it for that one. Called before the allocator's first use, on the thread that
 * runs `main` of programs. False with one line in `message`: no such allocator, or the OS has no memory.
 */
bool subject_open(const char *name, struct subject *subject, char *message, size_t message_size);

/*
 * What the contract of an open subject leaves open is taken from the environment (CONTRACT_ENVIRONMENT) or found out by asking it (probe.h).
 * `allocator`, which must stay, becomes a copy with that contract. False with one line in `message` for an environment that is no contract.
 */
bool subject_ask(struct subject *subject, struct allocator *allocator, char *message, size_t message_size);

/* Takes the allocator back to its untouched state, with no memory mapped, and directs its OS calls to its own domain. */
void subject_reset(const struct subject *subject);

/* True if its OS calls go through the arena: they are counted and can be made to fail. */
bool subject_has_arena(const struct subject *subject);

#endif
