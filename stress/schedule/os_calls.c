/* The allocator's calls to the OS: points, and memory that comes and goes. The arena serves them (harness/arena.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "internal.h"

#define PC __builtin_return_address(0)

/* harness/arena.c */
void *heapstorm_mmap(void *hint, size_t size, int protection, int flags, int descriptor, off_t offset);
int heapstorm_munmap(void *start, size_t size);
void *heapstorm_mremap(void *start, size_t old_size, size_t new_size, int flags, ...);
int heapstorm_madvise(void *start, size_t size, int advice);
int heapstorm_mprotect(void *start, size_t size, int protection);
void *heapstorm_sbrk(intptr_t increment);

static void os_point(const void *pc)
{
	/* All of them meet in the kernel: one object for strategies that look at objects. */
	static const char kernel;

	if (schedule_self != NULL)
		schedule_point(POINT_OS, &kernel, pc);
}

void *heapstorm_sched_mmap(void *hint, size_t size, int protection, int flags, int descriptor, off_t offset);
void *heapstorm_sched_mmap(void *hint, size_t size, int protection, int flags, int descriptor, off_t offset)
{
	void *start;

	os_point(PC);
	start = heapstorm_mmap(hint, size, protection, flags, descriptor, offset);
	if (start != MAP_FAILED)
		race_fresh(start, size);
	return start;
}

void *heapstorm_sched_mmap64(void *hint, size_t size, int protection, int flags, int descriptor, off_t offset)
	__attribute__((alias("heapstorm_sched_mmap")));

int heapstorm_sched_munmap(void *start, size_t size);
int heapstorm_sched_munmap(void *start, size_t size)
{
	os_point(PC);
	if (schedule_self != NULL)
		race_unmap(schedule_self, start, size, PC);
	return heapstorm_munmap(start, size);
}

void *heapstorm_sched_mremap(void *start, size_t old_size, size_t new_size, int flags, ...);
void *heapstorm_sched_mremap(void *start, size_t old_size, size_t new_size, int flags, ...)
{
	void *result, *target = NULL;
	va_list arguments;

	if ((flags & MREMAP_FIXED) != 0) {
		va_start(arguments, flags);
		target = va_arg(arguments, void *);
		va_end(arguments);
	}
	os_point(PC);
	result = heapstorm_mremap(start, old_size, new_size, flags, target);
	if (result == MAP_FAILED)
		return result;
	if (result == start) {
		/* What stays where it is was not touched: another thread may use it meanwhile. */
		if (new_size > old_size)
			race_fresh((char *)start + old_size, new_size - old_size);
		else if (schedule_self != NULL)
			race_unmap(schedule_self, (char *)start + new_size, old_size - new_size, PC);
		return result;
	}
	if (schedule_self != NULL)
		race_unmap(schedule_self, start, old_size, PC);
	race_fresh(result, new_size);
	return result;
}

int heapstorm_sched_madvise(void *start, size_t size, int advice);
int heapstorm_sched_madvise(void *start, size_t size, int advice)
{
	os_point(PC);
	/* What is thrown away is written with zeroes. */
	if (schedule_self != NULL && advice == MADV_DONTNEED)
		race_unmap(schedule_self, start, size, PC);
	return heapstorm_madvise(start, size, advice);
}

int heapstorm_sched_mprotect(void *start, size_t size, int protection);
int heapstorm_sched_mprotect(void *start, size_t size, int protection)
{
	os_point(PC);
	return heapstorm_mprotect(start, size, protection);
}

void *heapstorm_sched_sbrk(intptr_t increment);
void *heapstorm_sched_sbrk(intptr_t increment)
{
	os_point(PC);
	return heapstorm_sbrk(increment);
}

long heapstorm_sched_syscall(long number, ...);
long heapstorm_sched_syscall(long number, ...)
{
	long a[6];
	va_list arguments;

	va_start(arguments, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	switch (number) {
	case SYS_futex: {
		uint32_t *const word = (uint32_t *)(uintptr_t)a[0];
		const int operation = (int)a[1] & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);

		if (schedule_self == NULL)
			return 0;
		schedule_point(operation == FUTEX_WAKE ? POINT_WAKE : POINT_LOCK, word, PC);
		if (operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET) {
			if (*word != (uint32_t)a[2]) {
				errno = EAGAIN;
				return -1;
			}
			if (schedule_block(word, "on a futex", a[3] != 0, PC))
				return 0;
			errno = ETIMEDOUT;
			return -1;
		}
		if (operation == FUTEX_WAKE || operation == FUTEX_WAKE_BITSET) {
			schedule_wake(word, a[2] > 1);
			return 1;
		}
		break;
	}
	case SYS_membarrier:
		/* One thread runs at a time: each has seen all. */
		if (schedule_self != NULL)
			schedule_point(POINT_OS, NULL, PC);
		return 0;
	case SYS_gettid:
		return schedule_self != NULL ? 1000 + (long)schedule_self->number : 1000;
	case SYS_getcpu:
	case SYS_getrandom:
		break;
	}
	fprintf(stderr, "heapstorm: the allocator makes the system call %ld, which a scheduled run does not know\n",
		number);
	_exit(3);
}

int heapstorm_sched_sched_getcpu(void);
int heapstorm_sched_sched_getcpu(void)
{
	return 0;
}
