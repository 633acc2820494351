/*
 * libc's own allocator. Its functions are taken from libc itself, so that they are the real ones also where a sanitizer or a preloaded
 * library has put others in front.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "builtin.h"

static struct allocator allocator = {
	.name = "system",
	.contract =
		{
			.malloc_zero_is_block = CONTRACT_YES,
			.realloc_zero = REALLOC_ZERO_FREES,
			.thread_safe = CONTRACT_YES,
			.null_sets_errno = CONTRACT_YES,
		},
};

/* A function pointer from dlsym, without the cast that ISO C does not have. */
#define TAKE(field, symbol) (*(void **)&allocator.field = dlsym(libc, symbol))

__attribute__((constructor)) static void take_functions_of_libc(void)
{
	void *const libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

	if (libc == NULL) {
		fprintf(stderr, "heapstorm: %s\n", dlerror());
		exit(3);
	}
	TAKE(malloc, "malloc");
	TAKE(free, "free");
	TAKE(calloc, "calloc");
	TAKE(realloc, "realloc");
	/* libc's reallocarray calls whatever realloc comes first in the process. */
	if (allocator.realloc == realloc)
		TAKE(reallocarray, "reallocarray");
	TAKE(aligned_alloc, "aligned_alloc");
	TAKE(posix_memalign, "posix_memalign");
	TAKE(memalign, "memalign");
	TAKE(malloc_usable_size, "malloc_usable_size");
	TAKE(malloc_trim, "malloc_trim");
}

const struct adapter adapter_system = {&allocator, NULL};
