/*
 * The one seam between the allocators and the kernel. Nothing else in alloc/ makes a system call for memory.
 *
 * Footprint is counted here. The harness injects faults and serves memory of its own at the calls below this seam
 * (mmap, munmap, mremap, madvise), which it renames in the object file: the shipped code has no test hook in it.
 */
#ifndef HEAPSTORM_ALLOC_OS_H
#define HEAPSTORM_ALLOC_OS_H

#include <stdbool.h>
#include <stddef.h>

#include "allocator.h"

/* Bytes of a page of the OS, a power of two, 4 KiB to 64 KiB. Never fails. */
size_t os_page_size(void);

/*
 * Maps `size` bytes (a multiple of the page size, not 0) of zeroed memory at a multiple of `alignment` (a power of two; at most
 * the page size costs nothing). Returns NULL with errno ENOMEM when the OS has none.
 */
void *os_map(size_t size, size_t alignment);

/* Returns [start, start + size), whole pages of earlier mappings, to the OS. Keeps errno. False when the OS refused. */
bool os_unmap(void *start, size_t size);

/*
 * Resizes a mapping of `old_size` bytes to `new_size`, moving it where it may (`may_move`). Contents up to the smaller size are kept,
 * new bytes are zero. Returns the new address, or NULL with errno ENOMEM: the mapping is then as it was.
 */
void *os_remap(void *start, size_t old_size, size_t new_size, bool may_move);

/*
 * Moves the pages of the mapping [from, from + from_size) over [to, to + to_size), which is at least as large, lies in another mapping and loses its
 * contents; behind them it is zero. `from` is no longer mapped then. False with errno ENOMEM: both are as they were.
 */
bool os_move(void *from, size_t from_size, void *to, size_t to_size);

/* Gives the pages of [start, start + size) back but keeps the addresses; they read as zero next. Keeps errno. False when refused. */
bool os_purge(void *start, size_t size);

/* Makes every access to [start, start + size), whole pages of a mapping, a fault. Keeps errno. False when refused. */
bool os_guard(void *start, size_t size);

/* Tells that purged pages are in use again: only the count of `purged` bytes changes. */
void os_reuse(size_t size);

/* Bytes that are mapped and not purged. */
size_t os_held(void);

/* Fills in all of `stats`. */
void os_stats(struct heap_stats *stats);

#endif
