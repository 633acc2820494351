/*
 * Preloaded, this gives a process an OS with pages of HEAPSTORM_PAGE_SIZE bytes, which the real ones are a part of: getauxval and sysconf say so,
 * mappings begin at multiples of it, and what is not whole pages of it is refused, as such an OS would.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t page(void)
{
	static size_t size;

	if (size == 0) {
		const char *const text = getenv("HEAPSTORM_PAGE_SIZE");

		size = text != NULL ? strtoul(text, NULL, 10) : 4096;
	}
	return size;
}

unsigned long getauxval(unsigned long type)
{
	static unsigned long (*next)(unsigned long);

	if (type == AT_PAGESZ)
		return page();
	if (next == NULL)
		next = (unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");
	return next(type);
}

long sysconf(int name)
{
	static long (*next)(int);

	if (name == _SC_PAGESIZE)
		return (long)page();
	if (next == NULL)
		next = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
	return next(name);
}

/* The arena of the engine asks which pages are resident: one of these is if a part of it is. */
long syscall(long number, ...)
{
	static long (*next)(long, ...);
	const size_t parts = page() / 4096;
	unsigned char *resident, *answer;
	va_list list;
	long words[6];
	long result;

	if (next == NULL)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		words[i] = va_arg(list, long);
	va_end(list);
	if (number != SYS_mincore || parts == 1)
		return next(number, words[0], words[1], words[2], words[3], words[4], words[5]);
	resident = alloca((size_t)words[1] / 4096 + 1);
	answer = (unsigned char *)words[2];
	result = next(number, words[0], words[1], resident);
	for (size_t i = 0; result == 0 && i < (size_t)words[1] / page(); i++) {
		answer[i] = 0;
		for (size_t k = 0; k < parts; k++)
			answer[i] |= resident[i * parts + k];
	}
	return result;
}

/* Says it and ends: an allocator that takes a failure in its stride would hide it. */
static void refuse(const char *call, const void *start, size_t size)
{
	char line[128];
	const int length = snprintf(line, sizeof line, "%s(%p, %zu): not of whole pages\n", call, start, size);

	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		abort();
	abort();
}

static void check(const char *call, const void *start, size_t size)
{
	if ((uintptr_t)start % page() != 0 || size % page() != 0)
		refuse(call, start, size);
}

static void *call_mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset)
{
	return (void *)syscall(SYS_mmap, start, size, protection, flags, fd, offset);
}

void *mmap(void *start, size_t size, int protection, int flags, int fd, off_t offset)
{
	const size_t slack = page() - 4096, rounded = (size + 4095) & -(size_t)4096;
	char *address, *wanted;

	/* Files are those of the system: sizes that are no whole pages are rounded up by any OS. */
	if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 || slack == 0 || rounded > SIZE_MAX - slack)
		return call_mmap(start, size, protection, flags, fd, offset);
	address = call_mmap(start, size, protection, flags, fd, offset);
	if (address == MAP_FAILED || (uintptr_t)address % page() == 0)
		return address;
	syscall(SYS_munmap, address, rounded);
	address = call_mmap(NULL, rounded + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (address == MAP_FAILED)
		return address;
	wanted = (char *)(((uintptr_t)address + slack) & -page());
	if (wanted > address)
		syscall(SYS_munmap, address, (size_t)(wanted - address));
	if (address + slack > wanted)
		syscall(SYS_munmap, wanted + rounded, (size_t)(address + slack - wanted));
	return call_mmap(wanted, size, protection, flags | MAP_FIXED, fd, offset);
}

void *mmap64(void *start, size_t size, int protection, int flags, int fd, off64_t offset)
	__attribute__((alias("mmap")));

int munmap(void *start, size_t size)
{
	if ((uintptr_t)start % page() != 0)
		refuse("munmap", start, size);
	return (int)syscall(SYS_munmap, start, size);
}

int madvise(void *start, size_t size, int advice)
{
	if (advice == MADV_DONTNEED)
		check("madvise", start, size);
	return (int)syscall(SYS_madvise, start, size, advice);
}

int mprotect(void *start, size_t size, int protection)
{
	check("mprotect", start, size);
	return (int)syscall(SYS_mprotect, start, size, protection);
}

void *mremap(void *start, size_t old_size, size_t new_size, int flags, ...)
{
	va_list arguments;
	void *to, *moved;

	check("mremap", start, old_size);
	check("mremap", start, new_size);
	va_start(arguments, flags);
	to = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void *) : NULL;
	va_end(arguments);
	if ((flags & MREMAP_FIXED) != 0) {
		check("mremap", to, new_size);
		return (void *)syscall(SYS_mremap, start, old_size, new_size, flags, to);
	}
	if ((flags & MREMAP_MAYMOVE) == 0 || new_size <= old_size)
		return (void *)syscall(SYS_mremap, start, old_size, new_size, flags, NULL);
	/* In place, or to where a mapping of such an OS may begin. */
	moved = (void *)syscall(SYS_mremap, start, old_size, new_size, flags & ~MREMAP_MAYMOVE, NULL);
	if (moved != MAP_FAILED)
		return moved;
	to = mmap(NULL, new_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (to == MAP_FAILED)
		return to;
	return (void *)syscall(SYS_mremap, start, old_size, new_size, flags | MREMAP_FIXED, to);
}
