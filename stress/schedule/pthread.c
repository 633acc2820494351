/*
 * What an allocator calls of pthreads, C11 threads, semaphores and the clock, under the names heapstorm_sched_...
 *
 * The state of a lock lies in the object itself, which starts as zeroes in every static initializer: the number of the holder plus 1
 * in the first word (schedule.c's report of a deadlock reads it), a count in the second. So locks are put back together with the
 * allocator's data between runs, and a fork copies them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define PC __builtin_return_address(0)
#define NAME(name) heapstorm_sched_##name
#define OUTSIDE (SCHEDULE_THREADS_MAX + 1) /* holder of what is locked while no run is on */
#define KIND_OFFSET 16                     /* of the type in glibc's pthread_mutex_t */
#define NANOSECONDS_PER_POINT 1000
#define EPOCH (UINT64_C(1000000000) * 1000000) /* nanoseconds: the time at which each run begins */

struct lock {
	uint32_t holder; /* plus 1 */
	uint32_t count;  /* of a recursive one, or readers */
	uint32_t generation;
};

static uint32_t holder_of(const struct thread *thread)
{
	return thread != NULL ? thread->number + 1 : OUTSIDE;
}

static int kind_of(const void *mutex)
{
	int kind;

	memcpy(&kind, (const char *)mutex + KIND_OFFSET, sizeof kind);
	return kind & 3;
}

/* Nobody will ever open it: the others are not there in the child of a fork, and have all ended when the heap is quiet. */
static void never_opened(const void *object)
{
	if (schedule_in_child())
		_exit(FORK_CHILD_BLOCKED);
	schedule_fail(VERDICT_DEADLOCK, (uintptr_t)object, "all threads have ended, and a lock is still held");
}

/* Before a lock is taken: a loop may look again and again at what it guards. */
static void lock_point(const void *lock, const void *pc)
{
	if (schedule_self == NULL)
		return;
	schedule_idle(schedule_self, pc);
	schedule_point(POINT_LOCK, lock, pc);
}

/* It was tried, and not to be had: `state` says why. */
static int refused(const void *object, uint32_t state, int error, const void *pc)
{
	if (schedule_self != NULL)
		schedule_saw(schedule_self, object, state, pc);
	return error;
}

/* ---- Mutexes ---- */

int NAME(pthread_mutex_init)(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int NAME(pthread_mutex_init)(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
	int kind = PTHREAD_MUTEX_DEFAULT;

	memset(mutex, 0, sizeof *mutex);
	if (attributes != NULL)
		pthread_mutexattr_gettype(attributes, &kind);
	memcpy((char *)mutex + KIND_OFFSET, &kind, sizeof kind);
	return 0;
}

int NAME(pthread_mutex_destroy)(pthread_mutex_t *mutex);
int NAME(pthread_mutex_destroy)(pthread_mutex_t *mutex)
{
	return ((struct lock *)mutex)->holder != 0 ? EBUSY : 0;
}

static int lock_mutex(pthread_mutex_t *mutex, bool wait, bool timed, const void *pc)
{
	struct lock *const lock = (struct lock *)mutex;
	struct thread *const thread = schedule_self;
	const uint32_t holder = holder_of(thread);

	lock_point(mutex, pc);
	while (lock->holder != 0) {
		if (lock->holder == holder && kind_of(mutex) == PTHREAD_MUTEX_RECURSIVE) {
			lock->count++;
			return 0;
		}
		if (lock->holder == holder && kind_of(mutex) == PTHREAD_MUTEX_ERRORCHECK)
			return wait ? EDEADLK : EBUSY;
		if (!wait)
			return refused(mutex, lock->holder, EBUSY, pc);
		if (thread == NULL)
			never_opened(mutex);
		if (!schedule_block(mutex, "for a mutex", timed, pc))
			return ETIMEDOUT;
	}
	lock->holder = holder;
	if (thread != NULL)
		race_acquire(thread, mutex);
	return 0;
}

int NAME(pthread_mutex_lock)(pthread_mutex_t *mutex);
int NAME(pthread_mutex_lock)(pthread_mutex_t *mutex)
{
	return lock_mutex(mutex, true, false, PC);
}

int NAME(pthread_mutex_trylock)(pthread_mutex_t *mutex);
int NAME(pthread_mutex_trylock)(pthread_mutex_t *mutex)
{
	return lock_mutex(mutex, false, false, PC);
}

int NAME(pthread_mutex_timedlock)(pthread_mutex_t *mutex, const struct timespec *until);
int NAME(pthread_mutex_timedlock)(pthread_mutex_t *mutex, const struct timespec *until)
{
	(void)until;
	return lock_mutex(mutex, true, true, PC);
}

int NAME(pthread_mutex_clocklock)(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until);
int NAME(pthread_mutex_clocklock)(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
	(void)clock;
	(void)until;
	return lock_mutex(mutex, true, true, PC);
}

static void open_mutex(pthread_mutex_t *mutex)
{
	if (schedule_self != NULL)
		race_release(schedule_self, mutex, false);
	((struct lock *)mutex)->holder = 0;
	schedule_wake(mutex, true);
}

int NAME(pthread_mutex_unlock)(pthread_mutex_t *mutex);
int NAME(pthread_mutex_unlock)(pthread_mutex_t *mutex)
{
	struct lock *const lock = (struct lock *)mutex;
	struct thread *const thread = schedule_self;

	if (thread != NULL)
		schedule_point(POINT_UNLOCK, mutex, PC);
	if (lock->holder != holder_of(thread)) {
		/* What was locked before a run, or by the thread that forked, is opened by whoever is left. */
		if (thread != NULL && lock->holder != OUTSIDE) {
			if (kind_of(mutex) == PTHREAD_MUTEX_ERRORCHECK)
				return EPERM;
			schedule_fail(VERDICT_DEADLOCK, (uintptr_t)mutex,
				      "a thread unlocks a mutex that it does not hold");
		}
		/* In a child all that is locked is its own, by the fork handlers. */
		if (lock->holder == 0 && schedule_in_child()) {
			if (kind_of(mutex) == PTHREAD_MUTEX_ERRORCHECK)
				return EPERM;
			_exit(FORK_CHILD_UNLOCKED);
		}
	}
	if (lock->count > 0 && kind_of(mutex) == PTHREAD_MUTEX_RECURSIVE) {
		lock->count--;
		return 0;
	}
	open_mutex(mutex);
	return 0;
}

/* ---- Condition variables: nothing is kept in them, those that wait are known ---- */

int NAME(pthread_cond_init)(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int NAME(pthread_cond_init)(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
	(void)attributes;
	memset(condition, 0, sizeof *condition);
	return 0;
}

int NAME(pthread_cond_destroy)(pthread_cond_t *condition);
int NAME(pthread_cond_destroy)(pthread_cond_t *condition)
{
	(void)condition;
	return 0;
}

static int wait_condition(pthread_cond_t *condition, pthread_mutex_t *mutex, bool timed, const void *pc)
{
	bool woken;

	if (schedule_self == NULL)
		never_opened(condition);
	schedule_point(POINT_UNLOCK, mutex, pc);
	open_mutex(mutex);
	woken = schedule_block(condition, "on a condition", timed, pc);
	lock_mutex(mutex, true, false, pc);
	return woken ? 0 : ETIMEDOUT;
}

int NAME(pthread_cond_wait)(pthread_cond_t *condition, pthread_mutex_t *mutex);
int NAME(pthread_cond_wait)(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	return wait_condition(condition, mutex, false, PC);
}

int NAME(pthread_cond_timedwait)(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until);
int NAME(pthread_cond_timedwait)(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
	(void)until;
	return wait_condition(condition, mutex, true, PC);
}

int NAME(pthread_cond_clockwait)(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
				 const struct timespec *until);
int NAME(pthread_cond_clockwait)(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
				 const struct timespec *until)
{
	(void)clock;
	(void)until;
	return wait_condition(condition, mutex, true, PC);
}

static int wake_condition(pthread_cond_t *condition, bool all, const void *pc)
{
	if (schedule_self != NULL)
		schedule_point(POINT_WAKE, condition, pc);
	schedule_wake(condition, all);
	return 0;
}

int NAME(pthread_cond_signal)(pthread_cond_t *condition);
int NAME(pthread_cond_signal)(pthread_cond_t *condition)
{
	return wake_condition(condition, false, PC);
}

int NAME(pthread_cond_broadcast)(pthread_cond_t *condition);
int NAME(pthread_cond_broadcast)(pthread_cond_t *condition)
{
	return wake_condition(condition, true, PC);
}

/* ---- Read-write locks ---- */

int NAME(pthread_rwlock_init)(pthread_rwlock_t *rwlock, const pthread_rwlockattr_t *attributes);
int NAME(pthread_rwlock_init)(pthread_rwlock_t *rwlock, const pthread_rwlockattr_t *attributes)
{
	(void)attributes;
	memset(rwlock, 0, sizeof *rwlock);
	return 0;
}

int NAME(pthread_rwlock_destroy)(pthread_rwlock_t *rwlock);
int NAME(pthread_rwlock_destroy)(pthread_rwlock_t *rwlock)
{
	(void)rwlock;
	return 0;
}

static int lock_rwlock(pthread_rwlock_t *rwlock, bool writes, bool wait, bool timed, const void *pc)
{
	struct lock *const lock = (struct lock *)rwlock;
	struct thread *const thread = schedule_self;

	lock_point(rwlock, pc);
	while (lock->holder != 0 || (writes && lock->count > 0)) {
		if (lock->holder == holder_of(thread))
			return wait ? EDEADLK : EBUSY;
		if (!wait)
			return refused(rwlock, lock->holder, EBUSY, pc);
		if (thread == NULL)
			never_opened(rwlock);
		if (!schedule_block(rwlock, "for a read-write lock", timed, pc))
			return ETIMEDOUT;
	}
	if (writes)
		lock->holder = holder_of(thread);
	else
		lock->count++;
	if (thread != NULL) {
		race_acquire(thread, rwlock);
		if (writes) /* readers do not wait for readers */
			race_acquire(thread, (const char *)rwlock + 1);
	}
	return 0;
}

#define RWLOCK_FUNCTION(name, writes, wait)                                                                            \
	int NAME(pthread_rwlock_##name)(pthread_rwlock_t * rwlock);                                                    \
	int NAME(pthread_rwlock_##name)(pthread_rwlock_t * rwlock)                                                     \
	{                                                                                                              \
		return lock_rwlock(rwlock, writes, wait, false, PC);                                                   \
	}
RWLOCK_FUNCTION(rdlock, false, true)
RWLOCK_FUNCTION(wrlock, true, true)
RWLOCK_FUNCTION(tryrdlock, false, false)
RWLOCK_FUNCTION(trywrlock, true, false)

int NAME(pthread_rwlock_timedrdlock)(pthread_rwlock_t *rwlock, const struct timespec *until);
int NAME(pthread_rwlock_timedrdlock)(pthread_rwlock_t *rwlock, const struct timespec *until)
{
	(void)until;
	return lock_rwlock(rwlock, false, true, true, PC);
}

int NAME(pthread_rwlock_timedwrlock)(pthread_rwlock_t *rwlock, const struct timespec *until);
int NAME(pthread_rwlock_timedwrlock)(pthread_rwlock_t *rwlock, const struct timespec *until)
{
	(void)until;
	return lock_rwlock(rwlock, true, true, true, PC);
}

int NAME(pthread_rwlock_unlock)(pthread_rwlock_t *rwlock);
int NAME(pthread_rwlock_unlock)(pthread_rwlock_t *rwlock)
{
	struct lock *const lock = (struct lock *)rwlock;
	struct thread *const thread = schedule_self;

	if (thread != NULL)
		schedule_point(POINT_UNLOCK, rwlock, PC);
	if (lock->holder != 0) {
		if (thread != NULL)
			race_release(thread, rwlock, false);
		lock->holder = 0;
	} else if (lock->count > 0) {
		if (thread != NULL)
			race_release(thread, (const char *)rwlock + 1, true);
		lock->count--;
	} else if (thread != NULL) {
		schedule_fail(VERDICT_DEADLOCK, (uintptr_t)rwlock, "a thread unlocks a read-write lock that is open");
	}
	schedule_wake(rwlock, true);
	return 0;
}

/* ---- Spin locks: a waiting thread is known to wait ---- */

int NAME(pthread_spin_init)(pthread_spinlock_t *spin, int shared);
int NAME(pthread_spin_init)(pthread_spinlock_t *spin, int shared)
{
	(void)shared;
	*spin = 0;
	return 0;
}

int NAME(pthread_spin_destroy)(pthread_spinlock_t *spin);
int NAME(pthread_spin_destroy)(pthread_spinlock_t *spin)
{
	(void)spin;
	return 0;
}

static int lock_spin(pthread_spinlock_t *spin, bool wait, const void *pc)
{
	struct thread *const thread = schedule_self;

	lock_point((const void *)spin, pc);
	while (*spin != 0) {
		if (!wait)
			return refused((const void *)spin, (uint32_t)*spin, EBUSY, pc);
		if (thread == NULL)
			never_opened((const void *)spin);
		schedule_block((const void *)spin, "for a spin lock", false, pc);
	}
	*spin = (int)holder_of(thread);
	if (thread != NULL)
		race_acquire(thread, (const void *)spin);
	return 0;
}

int NAME(pthread_spin_lock)(pthread_spinlock_t *spin);
int NAME(pthread_spin_lock)(pthread_spinlock_t *spin)
{
	return lock_spin(spin, true, PC);
}

int NAME(pthread_spin_trylock)(pthread_spinlock_t *spin);
int NAME(pthread_spin_trylock)(pthread_spinlock_t *spin)
{
	return lock_spin(spin, false, PC);
}

int NAME(pthread_spin_unlock)(pthread_spinlock_t *spin);
int NAME(pthread_spin_unlock)(pthread_spinlock_t *spin)
{
	if (schedule_self != NULL) {
		schedule_point(POINT_UNLOCK, (const void *)spin, PC);
		race_release(schedule_self, (const void *)spin, false);
	}
	*spin = 0;
	schedule_wake((const void *)spin, true);
	return 0;
}

/* ---- Once ---- */

enum { ONCE_NEW, ONCE_RUNS, ONCE_DONE };

static void run_once(int *once, void (*function)(void), const void *pc)
{
	struct thread *const thread = schedule_self;

	if (thread != NULL)
		schedule_point(POINT_LOCK, once, pc);
	while (*once == ONCE_RUNS) {
		if (thread == NULL)
			never_opened(once);
		schedule_block(once, "for a pthread_once", false, pc);
	}
	if (*once == ONCE_NEW) {
		*once = ONCE_RUNS;
		function();
		if (thread != NULL)
			race_release(thread, once, false);
		*once = ONCE_DONE;
		schedule_wake(once, true);
	}
	if (thread != NULL)
		race_acquire(thread, once);
}

int NAME(pthread_once)(pthread_once_t *once, void (*function)(void));
int NAME(pthread_once)(pthread_once_t *once, void (*function)(void))
{
	run_once(once, function, PC);
	return 0;
}

void NAME(call_once)(once_flag *once, void (*function)(void));
void NAME(call_once)(once_flag *once, void (*function)(void))
{
	run_once((int *)once, function, PC);
}

/* ---- Barriers: holder is how many are needed, count how many are there ---- */

int NAME(pthread_barrier_init)(pthread_barrier_t *barrier, const pthread_barrierattr_t *attributes, unsigned count);
int NAME(pthread_barrier_init)(pthread_barrier_t *barrier, const pthread_barrierattr_t *attributes, unsigned count)
{
	(void)attributes;
	if (count == 0)
		return EINVAL;
	memset(barrier, 0, sizeof *barrier);
	((struct lock *)barrier)->holder = count;
	return 0;
}

int NAME(pthread_barrier_destroy)(pthread_barrier_t *barrier);
int NAME(pthread_barrier_destroy)(pthread_barrier_t *barrier)
{
	(void)barrier;
	return 0;
}

int NAME(pthread_barrier_wait)(pthread_barrier_t *barrier);
int NAME(pthread_barrier_wait)(pthread_barrier_t *barrier)
{
	struct lock *const state = (struct lock *)barrier;
	struct thread *const thread = schedule_self;

	if (thread == NULL)
		never_opened(barrier);
	schedule_point(POINT_WAKE, barrier, PC);
	race_release(thread, barrier, true);
	if (++state->count == state->holder) {
		state->count = 0;
		state->generation++;
		schedule_wake(barrier, true);
		race_acquire(thread, barrier);
		return PTHREAD_BARRIER_SERIAL_THREAD;
	}
	for (const uint32_t generation = state->generation; state->generation == generation;)
		schedule_block(barrier, "at a barrier", false, PC);
	race_acquire(thread, barrier);
	return 0;
}

/* ---- Semaphores: count is the value ---- */

int NAME(sem_init)(sem_t *semaphore, int shared, unsigned value);
int NAME(sem_init)(sem_t *semaphore, int shared, unsigned value)
{
	(void)shared;
	memset(semaphore, 0, sizeof *semaphore);
	((struct lock *)semaphore)->count = value;
	return 0;
}

int NAME(sem_destroy)(sem_t *semaphore);
int NAME(sem_destroy)(sem_t *semaphore)
{
	(void)semaphore;
	return 0;
}

static int take_semaphore(sem_t *semaphore, bool wait, bool timed, const void *pc)
{
	struct lock *const lock = (struct lock *)semaphore;

	lock_point(semaphore, pc);
	while (lock->count == 0) {
		if (!wait) {
			refused(semaphore, 0, EAGAIN, pc);
			errno = EAGAIN;
			return -1;
		}
		if (schedule_self == NULL)
			never_opened(semaphore);
		if (!schedule_block(semaphore, "on a semaphore", timed, pc)) {
			errno = ETIMEDOUT;
			return -1;
		}
	}
	lock->count--;
	if (schedule_self != NULL)
		race_acquire(schedule_self, semaphore);
	return 0;
}

int NAME(sem_wait)(sem_t *semaphore);
int NAME(sem_wait)(sem_t *semaphore)
{
	return take_semaphore(semaphore, true, false, PC);
}

int NAME(sem_trywait)(sem_t *semaphore);
int NAME(sem_trywait)(sem_t *semaphore)
{
	return take_semaphore(semaphore, false, false, PC);
}

int NAME(sem_timedwait)(sem_t *semaphore, const struct timespec *until);
int NAME(sem_timedwait)(sem_t *semaphore, const struct timespec *until)
{
	(void)until;
	return take_semaphore(semaphore, true, true, PC);
}

int NAME(sem_post)(sem_t *semaphore);
int NAME(sem_post)(sem_t *semaphore)
{
	if (schedule_self != NULL) {
		schedule_point(POINT_WAKE, semaphore, PC);
		race_release(schedule_self, semaphore, true);
		schedule_changed(schedule_self);
	}
	((struct lock *)semaphore)->count++;
	schedule_wake(semaphore, true);
	return 0;
}

/* ---- Thread-specific data: kept here, so that the destructors run while the thread is still under control ---- */

static struct key {
	bool used;
	void (*destructor)(void *);
} keys[KEYS_MAX];
static struct thread outside; /* values that are set while no run is on */

static struct fork_handler {
	void (*prepare)(void);
	void (*parent)(void);
	void (*child)(void);
} fork_handlers[16];
static unsigned fork_handler_count;

static struct key kept_keys[KEYS_MAX];
static unsigned kept_fork_handlers;

static struct thread *values_of(void)
{
	if (schedule_self != NULL)
		return schedule_self;
	return schedule.active || schedule_in_child() ? schedule.running : &outside;
}

int NAME(pthread_key_create)(pthread_key_t *key, void (*destructor)(void *));
int NAME(pthread_key_create)(pthread_key_t *key, void (*destructor)(void *))
{
	if (schedule_self != NULL)
		schedule_point(POINT_LOCK, keys, PC);
	for (unsigned i = 0; i < KEYS_MAX; i++) {
		if (keys[i].used)
			continue;
		keys[i] = (struct key){true, destructor};
		for (unsigned thread = 0; thread < SCHEDULE_THREADS_MAX; thread++)
			schedule.threads[thread].values[i] = NULL;
		*key = i;
		return 0;
	}
	return EAGAIN;
}

int NAME(pthread_key_delete)(pthread_key_t key);
int NAME(pthread_key_delete)(pthread_key_t key)
{
	if (key >= KEYS_MAX || !keys[key].used)
		return EINVAL;
	if (schedule_self != NULL)
		schedule_point(POINT_LOCK, keys, PC);
	keys[key].used = false;
	return 0;
}

int NAME(pthread_setspecific)(pthread_key_t key, const void *value);
int NAME(pthread_setspecific)(pthread_key_t key, const void *value)
{
	if (key >= KEYS_MAX || !keys[key].used)
		return EINVAL;
	values_of()->values[key] = (void *)value;
	return 0;
}

void *NAME(pthread_getspecific)(pthread_key_t key);
void *NAME(pthread_getspecific)(pthread_key_t key)
{
	return key < KEYS_MAX && keys[key].used ? values_of()->values[key] : NULL;
}

void keys_run_destructors(struct thread *thread)
{
	bool again = true;

	for (unsigned round = 0; again && round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
		again = false;
		for (unsigned i = 0; i < KEYS_MAX; i++) {
			void *const value = thread->values[i];

			if (!keys[i].used || value == NULL)
				continue;
			thread->values[i] = NULL;
			if (keys[i].destructor != NULL) {
				keys[i].destructor(value);
				again = true;
			}
		}
	}
}

int NAME(pthread_atfork)(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int NAME(pthread_atfork)(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (fork_handler_count == sizeof fork_handlers / sizeof fork_handlers[0])
		return ENOMEM;
	fork_handlers[fork_handler_count++] = (struct fork_handler){prepare, parent, child};
	return 0;
}

void schedule_fork_handlers(int when)
{
	/* The last that came prepares first, as in libc. */
	for (unsigned i = 0; i < fork_handler_count; i++) {
		const struct fork_handler *const handler = &fork_handlers[when == 0 ? fork_handler_count - 1 - i : i];
		void (*const function)(void) = when == 0   ? handler->prepare
					       : when == 1 ? handler->parent
							   : handler->child;

		if (function != NULL)
			function();
	}
}

void schedule_keep(void)
{
	memcpy(kept_keys, keys, sizeof keys);
	kept_fork_handlers = fork_handler_count;
}

void schedule_forget(void)
{
	memcpy(keys, kept_keys, sizeof keys);
	memset(outside.values, 0, sizeof outside.values);
	fork_handler_count = kept_fork_handlers;
}

/* ---- Threads ---- */

static int create_thread(pthread_t *handle, void *(*start)(void *), void *argument, bool detached)
{
	uint32_t number;

	if (schedule_self == NULL) {
		fputs("heapstorm: the allocator starts a thread outside of a run: that is not under control\n", stderr);
		_exit(3);
	}
	schedule_point(POINT_START, NULL, PC);
	number = schedule_spawn(SCHEDULE_ANY_THREAD, start, argument);
	schedule.threads[number].detached = detached;
	*handle = schedule.threads[number].handle;
	return 0;
}

int NAME(pthread_create)(pthread_t *handle, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int NAME(pthread_create)(pthread_t *handle, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	int detached = PTHREAD_CREATE_JOINABLE;

	if (attributes != NULL)
		pthread_attr_getdetachstate(attributes, &detached);
	return create_thread(handle, start, argument, detached == PTHREAD_CREATE_DETACHED);
}

static struct thread *find_thread(pthread_t handle)
{
	for (uint32_t i = 1; i < schedule.thread_count; i++)
		if (schedule.threads[i].state != STATE_UNUSED && pthread_equal(schedule.threads[i].handle, handle))
			return &schedule.threads[i];
	return NULL;
}

static int join_thread(pthread_t handle, void **result, bool wait, const void *pc)
{
	struct thread *const thread = find_thread(handle);

	if (thread == NULL || thread->joined)
		return ESRCH;
	if (thread == schedule_self)
		return EDEADLK;
	if (thread->detached)
		return EINVAL;
	schedule_point(POINT_LOCK, NULL, pc);
	while (thread->state != STATE_ENDED) {
		if (!wait)
			return refused(thread, 0, EBUSY, pc);
		schedule_block(thread, "for a thread to end", false, pc);
	}
	thread->joined = true;
	race_join_thread(schedule_self, thread);
	if (result != NULL)
		*result = thread->result;
	return 0;
}

int NAME(pthread_join)(pthread_t handle, void **result);
int NAME(pthread_join)(pthread_t handle, void **result)
{
	return join_thread(handle, result, true, PC);
}

int NAME(pthread_tryjoin_np)(pthread_t handle, void **result);
int NAME(pthread_tryjoin_np)(pthread_t handle, void **result)
{
	return join_thread(handle, result, false, PC);
}

int NAME(pthread_detach)(pthread_t handle);
int NAME(pthread_detach)(pthread_t handle)
{
	struct thread *const thread = find_thread(handle);

	if (thread == NULL)
		return ESRCH;
	thread->detached = true;
	return 0;
}

__attribute__((noreturn)) void NAME(pthread_exit)(void *result);
void NAME(pthread_exit)(void *result)
{
	schedule_thread_exit(result);
}

/* ---- Time goes by with the points, with sleep and with looks at the clock, and only so ---- */

static uint64_t time_now(const void *pc)
{
	schedule.slept += NANOSECONDS_PER_POINT;
	/* It may wait for a time to come, while others have much to do before. */
	if (schedule_self != NULL)
		schedule_idle(schedule_self, pc);
	return EPOCH + schedule.points * NANOSECONDS_PER_POINT + schedule.slept;
}

static void now(struct timespec *time, const void *pc)
{
	const uint64_t nanoseconds = time_now(pc);

	time->tv_sec = (time_t)(nanoseconds / 1000000000);
	time->tv_nsec = (long)(nanoseconds % 1000000000);
}

int NAME(clock_gettime)(clockid_t clock, struct timespec *time);
int NAME(clock_gettime)(clockid_t clock, struct timespec *time)
{
	(void)clock;
	now(time, PC);
	return 0;
}

int NAME(gettimeofday)(struct timeval *time, void *zone);
int NAME(gettimeofday)(struct timeval *time, void *zone)
{
	struct timespec exact;

	(void)zone;
	now(&exact, PC);
	time->tv_sec = exact.tv_sec;
	time->tv_usec = exact.tv_nsec / 1000;
	return 0;
}

time_t NAME(time)(time_t *time);
time_t NAME(time)(time_t *time)
{
	struct timespec exact;

	now(&exact, PC);
	if (time != NULL)
		*time = exact.tv_sec;
	return exact.tv_sec;
}

clock_t NAME(clock)(void);
clock_t NAME(clock)(void)
{
	return (clock_t)((time_now(PC) - EPOCH) / 1000);
}

static void rest(int64_t nanoseconds, const void *pc)
{
	schedule.slept += (uint64_t)nanoseconds;
	if (schedule_self != NULL)
		schedule_yield(pc);
}

int NAME(nanosleep)(const struct timespec *time, struct timespec *left);
int NAME(nanosleep)(const struct timespec *time, struct timespec *left)
{
	(void)left;
	rest(time->tv_sec * INT64_C(1000000000) + time->tv_nsec, PC);
	return 0;
}

int NAME(clock_nanosleep)(clockid_t clock, int flags, const struct timespec *time, struct timespec *left);
int NAME(clock_nanosleep)(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
	(void)clock;
	(void)left;
	rest(flags == TIMER_ABSTIME ? 0 : time->tv_sec * INT64_C(1000000000) + time->tv_nsec, PC);
	return 0;
}

int NAME(usleep)(useconds_t microseconds);
int NAME(usleep)(useconds_t microseconds)
{
	rest((int64_t)microseconds * 1000, PC);
	return 0;
}

unsigned NAME(sleep)(unsigned seconds);
unsigned NAME(sleep)(unsigned seconds)
{
	rest((int64_t)seconds * 1000000000, PC);
	return 0;
}

int NAME(sched_yield)(void);
int NAME(sched_yield)(void)
{
	rest(0, PC);
	return 0;
}

/* ---- C11 threads ---- */

static int thrd_result(int error)
{
	return error == 0           ? thrd_success
	       : error == ETIMEDOUT ? thrd_timedout
	       : error == EBUSY     ? thrd_busy
	       : error == ENOMEM    ? thrd_nomem
				    : thrd_error;
}

int NAME(thrd_create)(thrd_t *handle, thrd_start_t start, void *argument);
int NAME(thrd_create)(thrd_t *handle, thrd_start_t start, void *argument)
{
	/* A function that returns int, called as one that returns a pointer: join_thread's result is cut to an int again. */
	return thrd_result(create_thread((pthread_t *)handle, (void *(*)(void *))(void *)start, argument, false));
}

int NAME(thrd_join)(thrd_t handle, int *result);
int NAME(thrd_join)(thrd_t handle, int *result)
{
	void *value = NULL;
	const int error = join_thread((pthread_t)handle, &value, true, PC);

	if (result != NULL)
		*result = (int)(intptr_t)value;
	return thrd_result(error);
}

int NAME(thrd_detach)(thrd_t handle);
int NAME(thrd_detach)(thrd_t handle)
{
	return thrd_result(NAME(pthread_detach)((pthread_t)handle));
}

__attribute__((noreturn)) void NAME(thrd_exit)(int result);
void NAME(thrd_exit)(int result)
{
	NAME(pthread_exit)((void *)(intptr_t)result);
}

void NAME(thrd_yield)(void);
void NAME(thrd_yield)(void)
{
	rest(0, PC);
}

int NAME(thrd_sleep)(const struct timespec *time, struct timespec *left);
int NAME(thrd_sleep)(const struct timespec *time, struct timespec *left)
{
	return NAME(nanosleep)(time, left);
}

int NAME(mtx_init)(mtx_t *mutex, int type);
int NAME(mtx_init)(mtx_t *mutex, int type)
{
	const int kind = (type & mtx_recursive) != 0 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL;

	memset(mutex, 0, sizeof *mutex);
	memcpy((char *)mutex + KIND_OFFSET, &kind, sizeof kind);
	return thrd_success;
}

void NAME(mtx_destroy)(mtx_t *mutex);
void NAME(mtx_destroy)(mtx_t *mutex)
{
	(void)mutex;
}

int NAME(mtx_lock)(mtx_t *mutex);
int NAME(mtx_lock)(mtx_t *mutex)
{
	return thrd_result(lock_mutex((pthread_mutex_t *)mutex, true, false, PC));
}

int NAME(mtx_trylock)(mtx_t *mutex);
int NAME(mtx_trylock)(mtx_t *mutex)
{
	return thrd_result(lock_mutex((pthread_mutex_t *)mutex, false, false, PC));
}

int NAME(mtx_timedlock)(mtx_t *mutex, const struct timespec *until);
int NAME(mtx_timedlock)(mtx_t *mutex, const struct timespec *until)
{
	(void)until;
	return thrd_result(lock_mutex((pthread_mutex_t *)mutex, true, true, PC));
}

int NAME(mtx_unlock)(mtx_t *mutex);
int NAME(mtx_unlock)(mtx_t *mutex)
{
	return thrd_result(NAME(pthread_mutex_unlock)((pthread_mutex_t *)mutex));
}

int NAME(cnd_init)(cnd_t *condition);
int NAME(cnd_init)(cnd_t *condition)
{
	return thrd_result(NAME(pthread_cond_init)((pthread_cond_t *)condition, NULL));
}

void NAME(cnd_destroy)(cnd_t *condition);
void NAME(cnd_destroy)(cnd_t *condition)
{
	(void)condition;
}

int NAME(cnd_wait)(cnd_t *condition, mtx_t *mutex);
int NAME(cnd_wait)(cnd_t *condition, mtx_t *mutex)
{
	return thrd_result(wait_condition((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, false, PC));
}

int NAME(cnd_timedwait)(cnd_t *condition, mtx_t *mutex, const struct timespec *until);
int NAME(cnd_timedwait)(cnd_t *condition, mtx_t *mutex, const struct timespec *until)
{
	(void)until;
	return thrd_result(wait_condition((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, true, PC));
}

int NAME(cnd_signal)(cnd_t *condition);
int NAME(cnd_signal)(cnd_t *condition)
{
	return thrd_result(wake_condition((pthread_cond_t *)condition, false, PC));
}

int NAME(cnd_broadcast)(cnd_t *condition);
int NAME(cnd_broadcast)(cnd_t *condition)
{
	return thrd_result(wake_condition((pthread_cond_t *)condition, true, PC));
}

int NAME(tss_create)(tss_t *key, tss_dtor_t destructor);
int NAME(tss_create)(tss_t *key, tss_dtor_t destructor)
{
	return thrd_result(NAME(pthread_key_create)(key, destructor));
}

void NAME(tss_delete)(tss_t key);
void NAME(tss_delete)(tss_t key)
{
	NAME(pthread_key_delete)(key);
}

int NAME(tss_set)(tss_t key, void *value);
int NAME(tss_set)(tss_t key, void *value)
{
	return thrd_result(NAME(pthread_setspecific)(key, value));
}

void *NAME(tss_get)(tss_t key);
void *NAME(tss_get)(tss_t key)
{
	return NAME(pthread_getspecific)(key);
}
