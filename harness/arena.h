/*
 * OS memory for allocators under test. The bundle's calls (mmap, munmap, mremap, madvise, mprotect, sbrk) come here under the names
 * heapstorm_mmap, ... and are served from a range at a fixed address: fast, the same in every run, and a use after unmap is seen under
 * AddressSanitizer. The calls are counted and can be made to fail.
 *
 * Each allocator under test has a domain of its own; one is in use at a time. Unmapped addresses are handed out again only after
 * ARENA_QUARANTINE bytes of fresh ones, so that what still points there is found.
 */
#ifndef HEAPSTORM_HARNESS_ARENA_H
#define HEAPSTORM_HARNESS_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_DOMAINS 4
#define ARENA_QUARANTINE ((size_t)1 << 20)

struct arena_counts {
	size_t mapped, mapped_peak; /* bytes */
	uint64_t calls;             /* mapping calls (all that a fault can hit) since arena_reset */
	uint64_t faults;            /* of them made to fail */
	uint64_t refusals;          /* failed because the arena is full or the arguments are bad, and not by a fault */
};

/* Makes `domain` the one that calls are served from. The first use reserves its range; false with errno if the OS refuses. */
bool arena_use(unsigned domain);

/* Unmaps and zeroes everything of the domain in use: it is as it was at the start. Faults are forgotten. */
void arena_reset(void);

/* Maps `size` bytes, as no call of the allocator: it is not counted, and no fault hits it. NULL with errno if the arena is too small. */
void *arena_map(size_t size);

/*
 * For an allocator whose mappings are the OS's own (os_calls.h): faults are forgotten and calls counted anew, and what it has mapped is left
 * as it is.
 */
void arena_restart(void);

/* Such an allocator is about to map memory: counted; true with errno if the call has to fail. */
bool arena_foreign_call(void);

/* It has mapped so many bytes more (less), or the OS refused. */
void arena_foreign_mapped(ptrdiff_t bytes);
void arena_foreign_refused(void);

/* The n-th calls that fail, ascending, counted since arena_reset. The array must stay. */
void arena_set_faults(const uint64_t *faults, size_t count);

/* While set, every mapping call fails. */
void arena_fail_all(bool fail);

const struct arena_counts *arena_counts(void);

/* Around a fork, innermost: no other thread is in the arena then. For parent and child. */
void arena_fork_prepare(void);
void arena_fork_done(void);

/* True if the address lies in the range of the domain in use. */
bool arena_contains(const void *address);

/* The range of the domain in use: its start, and its size in bytes. */
const void *arena_range(size_t *size);

/* True if it lies in memory that is mapped at the moment. */
bool arena_is_mapped(const void *address);

#endif
