/*
 * mem_alloc: every block is a mapping of its own. The simplest allocator that keeps the whole contract of C17 and POSIX: memory comes with
 * mmap, goes with munmap, and grows with mremap; nothing is kept, nothing is shared between blocks.
 *
 * A block costs one page at the least and one system call each way, and a process can have about vm.max_map_count (65530) of
 * mappings. It is the reference that others are compared with, not an allocator for programs with many blocks.
 *
 * All functions may be called from any thread, before main, in destructors of thread-specific data and in the child of a fork.
 * Blocks are aligned to 16 bytes. A pointer that is no live block of this allocator is undefined behaviour; where it is noticed, one line
 * on standard error names it and the process aborts.
 */
#ifndef HEAPSTORM_ALLOC_MEM_ALLOC_H
#define HEAPSTORM_ALLOC_MEM_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include "allocator.h"

/*
 * Returns a block of at least `size` bytes, contents undefined; for 0 a block of its own as well. NULL with errno ENOMEM when the OS refuses
 * or `size` exceeds PTRDIFF_MAX.
 */
void *my_malloc(size_t size);

/* Gives a block back to the OS. NULL does nothing. Keeps errno. */
void my_free(void *pointer);

/* As my_malloc(count * size) with zeroed contents. NULL with errno ENOMEM also when the product overflows. */
void *my_calloc(size_t count, size_t size);

/*
 * Resizes a block, moving it where needed; contents are kept up to the smaller size. NULL `pointer`: as my_malloc. `size` 0: frees the block and
 * returns NULL, errno kept. On failure returns NULL with errno ENOMEM and the block is as it was. An alignment above 16 bytes that the
 * block was made with is not kept.
 */
void *my_realloc(void *pointer, size_t size);

/* As my_realloc(pointer, count * size); NULL with errno ENOMEM, the block as it was, when the product overflows. */
void *my_reallocarray(void *pointer, size_t count, size_t size);

/*
 * As my_malloc at a multiple of `alignment`. NULL with errno EINVAL when it is no power of two. `size` need not be a multiple of it.
 */
void *my_aligned_alloc(size_t alignment, size_t size);

/*
 * Stores a block at a multiple of `alignment` in *result and returns 0. Else returns EINVAL (no power of two, or no multiple of
 * sizeof(void *)) or ENOMEM and leaves *result alone. Keeps errno.
 */
int my_posix_memalign(void **result, size_t alignment, size_t size);

/* As my_aligned_alloc. */
void *my_memalign(size_t alignment, size_t size);

/* Bytes of the block, all of them the caller's to use: at least what was asked for. 0 for NULL. */
size_t my_malloc_usable_size(void *pointer);

/*
 * Gives free memory back to the OS. There is none but mappings that the OS refused to take at their free. Returns 1 if any was given back,
 * else 0.
 */
int my_malloc_trim(size_t pad);

/*
 * The hooks of `struct allocator`, for a caller that knows that no other thread is in here; `visit` must not call in here either. Each
 * mapping is an arena: its header and padding as REGION_META, then the block as REGION_LIVE; or REGION_FREE all of it, see my_malloc_trim. my_check examines every header and link.
 */
bool my_walk(region_visitor *visit, void *context);
bool my_check(char *why, size_t size);
void my_stats(struct heap_stats *stats);

#endif
