/*
 * libc's functions for an allocator under test that gets its memory from malloc rather than from the OS: the bundle's calls come here
 * (cmake/bundle_allocator.sh). Each block is a mapping of the arena, so that it is counted, can be refused, and goes with a reset.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "raw_memory.h"

/* Before each block. */
struct header {
	void *mapping;
	size_t mapping_size, size;
	size_t unused; /* keeps blocks aligned */
};

void *heapstorm_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t offset);
int heapstorm_munmap(void *start, size_t size);

void *heapstorm_malloc(size_t size);
void heapstorm_free(void *block);
void *heapstorm_calloc(size_t count, size_t size);
void *heapstorm_realloc(void *block, size_t size);
void *heapstorm_aligned_alloc(size_t alignment, size_t size);
void *heapstorm_memalign(size_t alignment, size_t size);
int heapstorm_posix_memalign(void **result, size_t alignment, size_t size);

void *heapstorm_memalign(size_t alignment, size_t size)
{
	const size_t room = sizeof(struct header) + (alignment > 16 ? alignment : 16);
	uintptr_t block;
	char *mapping;

	if (size > PTRDIFF_MAX - room) {
		errno = ENOMEM;
		return NULL;
	}
	mapping = heapstorm_mmap(NULL, room + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED)
		return NULL;
	block = ((uintptr_t)mapping + room) / (alignment > 16 ? alignment : 16) * (alignment > 16 ? alignment : 16);
	((struct header *)block)[-1] = (struct header){.mapping = mapping, .mapping_size = room + size, .size = size};
	return (void *)block;
}

void *heapstorm_aligned_alloc(size_t alignment, size_t size)
{
	return heapstorm_memalign(alignment, size);
}

int heapstorm_posix_memalign(void **result, size_t alignment, size_t size)
{
	void *const block = heapstorm_memalign(alignment, size);

	if (block == NULL)
		return ENOMEM;
	*result = block;
	return 0;
}

void *heapstorm_malloc(size_t size)
{
	return heapstorm_memalign(16, size);
}

void heapstorm_free(void *block)
{
	const int error = errno;

	if (block != NULL) {
		const struct header header = ((struct header *)block)[-1];

		heapstorm_munmap(header.mapping, header.mapping_size);
	}
	errno = error;
}

/* A new mapping is zero. */
void *heapstorm_calloc(size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return heapstorm_malloc(bytes);
}

void *heapstorm_realloc(void *block, size_t size)
{
	void *const moved = heapstorm_malloc(size);
	size_t kept;

	if (block == NULL || moved == NULL)
		return moved;
	kept = ((struct header *)block)[-1].size;
	raw_copy(moved, block, kept < size ? kept : size);
	heapstorm_free(block);
	return moved;
}
