/*
 * What the C library has beside the functions of the allocators, for LD_PRELOAD; theirs get its names from the linker. ALLOCATOR is what their names
 * end in: nothing, or _2_0.
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

void *valloc(size_t size)
{
	return MY(aligned_alloc)(os_page_size(), size);
}

void *pvalloc(size_t size)
{
	size_t page = os_page_size();

	if (size > PTRDIFF_MAX - page) {
		errno = ENOMEM;
		return NULL;
	}
	return MY(aligned_alloc)(page, (size + page - 1) & -page);
}
