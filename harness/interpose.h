/*
 * What an allocator under test registers with libc beside its memory: thread-specific keys and fork handlers. Both are taken
 * back between programs, so that each program starts as if it were the first.
 */
#ifndef HEAPSTORM_HARNESS_INTERPOSE_H
#define HEAPSTORM_HARNESS_INTERPOSE_H

/* Deletes the keys that were created since the last call and forgets the fork handlers. */
void interpose_reset(void);

#endif
