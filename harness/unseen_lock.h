/*
 * A lock that ThreadSanitizer does not see: two threads that were in the harness one after the other are in no order for it, so that no race
 * of the allocator is hidden. The mutex of Drepper, "Futexes Are Tricky" (2011), second version.
 */
#ifndef HEAPSTORM_HARNESS_UNSEEN_LOCK_H
#define HEAPSTORM_HARNESS_UNSEEN_LOCK_H

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Waits while *word is `value`, at most for the time (NULL: without limit). May return early. errno stays as it is. */
static inline void unseen_wait(uint32_t *word, uint32_t value, const struct timespec *time)
{
	const int error = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, time, NULL, 0);
	errno = error;
}

static inline void unseen_wake(uint32_t *word, int threads)
{
	const int error = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
	errno = error;
}

/* 0: free, 1: taken, 2: taken and somebody may wait. */
static inline void unseen_lock(uint32_t *lock)
{
	uint32_t state = 0;

	if (__atomic_compare_exchange_n(lock, &state, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	if (state != 2)
		state = __atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE);
	while (state != 0) {
		unseen_wait(lock, 2, NULL);
		state = __atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE);
	}
}

static inline void unseen_unlock(uint32_t *lock)
{
	if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) == 2)
		unseen_wake(lock, 1);
}

#endif
