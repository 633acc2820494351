/*
 * The names of the C library over one of the allocators, for LD_PRELOAD. ALLOCATOR is what its functions' names end in: nothing, or _2_0.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "mem_alloc.h"
#include "mem_alloc_2.0.h"
#include "os.h"

#ifndef ALLOCATOR
#define ALLOCATOR
#endif
#define PASTE(name, suffix) name##suffix
#define PASTED(name, suffix) PASTE(name, suffix)
#define MY(name) PASTED(my_##name, ALLOCATOR)
#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *malloc(size_t size)
{
	return MY(malloc)(size);
}

EXPORTED void free(void *pointer)
{
	MY(free)(pointer);
}

EXPORTED void *calloc(size_t count, size_t size)
{
	return MY(calloc)(count, size);
}

EXPORTED void *realloc(void *pointer, size_t size)
{
	return MY(realloc)(pointer, size);
}

EXPORTED void *reallocarray(void *pointer, size_t count, size_t size)
{
	return MY(reallocarray)(pointer, count, size);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size)
{
	return MY(aligned_alloc)(alignment, size);
}

EXPORTED int posix_memalign(void **result, size_t alignment, size_t size)
{
	return MY(posix_memalign)(result, alignment, size);
}

EXPORTED void *memalign(size_t alignment, size_t size)
{
	return MY(memalign)(alignment, size);
}

EXPORTED void *valloc(size_t size)
{
	return MY(aligned_alloc)(os_page_size(), size);
}

EXPORTED void *pvalloc(size_t size)
{
	size_t page = os_page_size();

	if (size > PTRDIFF_MAX - page) {
		errno = ENOMEM;
		return NULL;
	}
	return MY(aligned_alloc)(page, (size + page - 1) & -page);
}

EXPORTED size_t malloc_usable_size(void *pointer)
{
	return MY(malloc_usable_size)(pointer);
}

EXPORTED int malloc_trim(size_t pad)
{
	return MY(malloc_trim)(pad);
}
