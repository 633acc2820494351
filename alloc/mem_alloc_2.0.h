/*
 * mem_alloc_2.0: thread caches over splitting and coalescing heaps. docs/mem_alloc.md has the design.
 *
 * malloc and free of up to 512 KiB work on lists of the calling thread, without locks. Behind them each thread has a heap of 2 MiB chunks
 * where blocks have no header, free neighbours are merged at once, and an empty chunk goes back to the OS. Blocks above 512 KiB are
 * mappings of their own.
 *
 * All functions may be called from any thread, before main, in destructors of thread-specific data and in the child of a fork.
 * Blocks are aligned to 16 bytes. A pointer that is no live block of this allocator is undefined behaviour; where it is noticed, one line
 * on standard error names it and the process aborts.
 */
#ifndef HEAPSTORM_ALLOC_MEM_ALLOC_2_0_H
#define HEAPSTORM_ALLOC_MEM_ALLOC_2_0_H

#include <stdbool.h>
#include <stddef.h>

#include "allocator.h"

/*
 * Returns a block of at least `size` bytes, contents undefined; for 0 a block of its own as well. NULL with errno ENOMEM when the OS refuses
 * or `size` exceeds PTRDIFF_MAX.
 */
void *my_malloc_2_0(size_t size);

/* Takes a block back. NULL does nothing. Keeps errno. */
void my_free_2_0(void *pointer);

/* As my_malloc_2_0(count * size) with zeroed contents. NULL with errno ENOMEM also when the product overflows. */
void *my_calloc_2_0(size_t count, size_t size);

/*
 * Resizes a block, moving it where needed; contents are kept up to the smaller size. NULL `pointer`: as my_malloc_2_0. `size` 0: frees the block and
 * returns NULL, errno kept. On failure returns NULL with errno ENOMEM and the block is as it was. An alignment above 16 bytes that the
 * block was made with is not kept.
 */
void *my_realloc_2_0(void *pointer, size_t size);

/* As my_realloc_2_0(pointer, count * size); NULL with errno ENOMEM, the block as it was, when the product overflows. */
void *my_reallocarray_2_0(void *pointer, size_t count, size_t size);

/*
 * As my_malloc_2_0 at a multiple of `alignment`. NULL with errno EINVAL when it is no power of two. `size` need not be a multiple of it.
 */
void *my_aligned_alloc_2_0(size_t alignment, size_t size);

/*
 * Stores a block at a multiple of `alignment` in *result and returns 0. Else returns EINVAL (no power of two, or no multiple of
 * sizeof(void *)) or ENOMEM and leaves *result alone. Keeps errno.
 */
int my_posix_memalign_2_0(void **result, size_t alignment, size_t size);

/* As my_aligned_alloc_2_0. */
void *my_memalign_2_0(size_t alignment, size_t size);

/* Bytes of the block, all of them the caller's to use: at least what was asked for. 0 for NULL. */
size_t my_malloc_usable_size_2_0(void *pointer);

/*
 * Gives free memory of the calling thread and of finished ones back to the OS: whole chunks, and free pages inside others but for about `pad`
 * bytes. Returns 1 if any was given back, else 0.
 */
int my_malloc_trim_2_0(size_t pad);

/*
 * The hooks of `struct allocator`, for a caller that knows that no other thread is in here; `visit` must not call in here either. Arenas are the
 * chunks, the mappings of large blocks, and those that hold thread caches. my_check examines every tag, list, bin and count.
 * my_quiesce empties the caches of all threads, whose blocks are merged where they belong; a chunk without a live block is one free region then, or gone.
 */
bool my_walk_2_0(region_visitor *visit, void *context);
bool my_check_2_0(char *why, size_t size);
void my_quiesce_2_0(void);
void my_stats_2_0(struct heap_stats *stats);

#endif
