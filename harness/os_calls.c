/*
 * The OS calls of shared objects under test. An executable that exports these functions has them in front of libc's for each library that it
 * loads: a call from one is counted and can be made to fail (arena.h), one of the executable itself is passed on as it is. libc's own malloc and
 * libraries that enter the kernel by themselves are not seen.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena.h"

extern const char __executable_start[], _end[];

/* Whether the call with this return address comes from a library. */
static bool is_foreign(const void *caller)
{
	return (const char *)caller < __executable_start || (const char *)caller >= _end;
}

#define CALLER() __builtin_return_address(0)

static void *map(void *hint, size_t size, int protection, int flags, int fd, off_t offset, const void *caller)
{
	const bool foreign = is_foreign(caller) && (flags & MAP_ANONYMOUS) != 0;
	void *result;

	if (foreign && arena_foreign_call())
		return MAP_FAILED;
	result = (void *)syscall(SYS_mmap, hint, size, protection, flags, fd, offset);
	if (foreign && result == MAP_FAILED)
		arena_foreign_refused();
	else if (foreign && (flags & MAP_FIXED) == 0) /* or else it lies in what was reserved and counted before */
		arena_foreign_mapped((ptrdiff_t)size);
	return result;
}

void *mmap(void *hint, size_t size, int protection, int flags, int fd, off_t offset)
{
	return map(hint, size, protection, flags, fd, offset, CALLER());
}

void *mmap64(void *hint, size_t size, int protection, int flags, int fd, off_t offset)
{
	return map(hint, size, protection, flags, fd, offset, CALLER());
}

int munmap(void *start, size_t size)
{
	const int result = (int)syscall(SYS_munmap, start, size);

	if (result == 0 && is_foreign(CALLER()))
		arena_foreign_mapped(-(ptrdiff_t)size);
	return result;
}

void *mremap(void *start, size_t old_size, size_t new_size, int flags, ...)
{
	const bool foreign = is_foreign(CALLER());
	void *to = NULL, *result;

	if ((flags & MREMAP_FIXED) != 0) {
		va_list arguments;

		va_start(arguments, flags);
		to = va_arg(arguments, void *);
		va_end(arguments);
	}
	if (foreign && arena_foreign_call())
		return MAP_FAILED;
	result = (void *)syscall(SYS_mremap, start, old_size, new_size, flags, to);
	if (foreign && result == MAP_FAILED)
		arena_foreign_refused();
	else if (foreign)
		arena_foreign_mapped((ptrdiff_t)new_size - (ptrdiff_t)old_size);
	return result;
}
