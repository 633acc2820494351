/*
 * What an allocator under test registers with libc beside its memory: thread-specific keys and fork handlers. Both are taken
 * back between programs, so that each program starts as if it were the first.
 */
#ifndef HEAPSTORM_HARNESS_INTERPOSE_H
#define HEAPSTORM_HARNESS_INTERPOSE_H

/* What was registered so far, by constructors before main, stays for good. */
void interpose_keep(void);

/* Takes back what was registered since interpose_keep, and what this thread set for the keys that stay. */
void interpose_reset(void);

#endif
