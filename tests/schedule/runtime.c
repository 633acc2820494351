/* What test_schedule.c runs under the scheduler: each function is one use of the runtime, which says by runtime_check what does not hold. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "runtime.h"

#define CHECK(condition) runtime_check(condition, #condition, __LINE__)

static pthread_mutex_t mutex, other_mutex;
static pthread_cond_t condition;
static pthread_rwlock_t rwlock;
static pthread_barrier_t barrier;
static sem_t semaphore;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic int shared, count;
static int plain;

static void *relock(void *argument)
{
	CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
	CHECK(pthread_mutex_unlock(&mutex) == EPERM);
	return argument;
}

void runtime_mutex_kinds(void)
{
	pthread_mutexattr_t attributes;
	pthread_t thread;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&mutex, &attributes);
	CHECK(pthread_mutex_lock(&mutex) == 0);
	CHECK(pthread_mutex_lock(&mutex) == 0);
	CHECK(pthread_mutex_trylock(&mutex) == 0);
	CHECK(pthread_mutex_unlock(&mutex) == 0);
	CHECK(pthread_mutex_unlock(&mutex) == 0);
	CHECK(pthread_mutex_destroy(&mutex) == EBUSY);
	CHECK(pthread_mutex_unlock(&mutex) == 0);
	CHECK(pthread_mutex_destroy(&mutex) == 0);

	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&mutex, &attributes);
	CHECK(pthread_mutex_lock(&mutex) == 0);
	CHECK(pthread_mutex_lock(&mutex) == EDEADLK);
	CHECK(pthread_create(&thread, NULL, relock, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(pthread_mutex_unlock(&mutex) == 0);
	CHECK(pthread_mutex_unlock(&mutex) == EPERM);

	pthread_mutex_init(&mutex, NULL);
	CHECK(pthread_mutex_lock(&mutex) == 0);
	CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
	CHECK(pthread_mutex_timedlock(&mutex, &(struct timespec){.tv_sec = 1}) == ETIMEDOUT);
	CHECK(pthread_mutex_unlock(&mutex) == 0);
}

static void *try_rwlock(void *argument)
{
	const uintptr_t readable = (uintptr_t)argument;

	CHECK(pthread_rwlock_trywrlock(&rwlock) == EBUSY);
	CHECK(pthread_rwlock_tryrdlock(&rwlock) == (readable ? 0 : EBUSY));
	if (readable)
		CHECK(pthread_rwlock_unlock(&rwlock) == 0);
	return NULL;
}

void runtime_rwlock(void)
{
	pthread_t thread;

	pthread_rwlock_init(&rwlock, NULL);
	for (uintptr_t readable = 0; readable < 2; readable++) {
		CHECK((readable ? pthread_rwlock_rdlock(&rwlock) : pthread_rwlock_wrlock(&rwlock)) == 0);
		CHECK(pthread_create(&thread, NULL, try_rwlock, (void *)readable) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(pthread_rwlock_unlock(&rwlock) == 0);
	}
	CHECK(pthread_rwlock_trywrlock(&rwlock) == 0);
	CHECK(pthread_rwlock_wrlock(&rwlock) == EDEADLK);
	CHECK(pthread_rwlock_unlock(&rwlock) == 0);
}

static void *meet(void *argument)
{
	for (int round = 1; round <= 3; round++) {
		atomic_fetch_add(&shared, 1);
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			atomic_fetch_add(&count, 1);
		CHECK(atomic_load(&shared) == 3 * round);
		pthread_barrier_wait(&barrier);
	}
	return argument;
}

void runtime_barrier(void)
{
	pthread_t threads[2];

	CHECK(pthread_barrier_init(&barrier, NULL, 0) == EINVAL);
	CHECK(pthread_barrier_init(&barrier, NULL, 3) == 0);
	pthread_create(&threads[0], NULL, meet, NULL);
	pthread_create(&threads[1], NULL, meet, NULL);
	meet(NULL);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	CHECK(atomic_load(&count) == 3);
}

void runtime_timed_wait(void)
{
	const struct timespec until = {.tv_sec = 1};

	pthread_mutex_lock(&mutex);
	CHECK(pthread_cond_timedwait(&condition, &mutex, &until) == ETIMEDOUT);
	CHECK(pthread_mutex_unlock(&mutex) == 0); /* it was taken again */
	CHECK(sem_init(&semaphore, 0, 0) == 0);
	CHECK(sem_timedwait(&semaphore, &until) == -1 && errno == ETIMEDOUT);
}

static void *post(void *argument)
{
	plain = 7; /* ordered by the semaphore */
	sem_post(&semaphore);
	return argument;
}

void runtime_semaphore(void)
{
	pthread_t thread;

	sem_init(&semaphore, 0, 1);
	CHECK(sem_trywait(&semaphore) == 0);
	CHECK(sem_trywait(&semaphore) == -1 && errno == EAGAIN);
	pthread_create(&thread, NULL, post, NULL);
	CHECK(sem_wait(&semaphore) == 0);
	CHECK(plain == 7);
	pthread_join(thread, NULL);
}

static void init_once(void)
{
	atomic_fetch_add(&count, 1);
	sched_yield();
	plain = 1;
}

static void *call_once_and_look(void *argument)
{
	pthread_once(&once, init_once);
	CHECK(plain == 1);
	return argument;
}

void runtime_once(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, call_once_and_look, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	CHECK(atomic_load(&count) == 1);
}

static pthread_key_t keys[2];
static char order[16];

static void first_destructor(void *value)
{
	CHECK(pthread_getspecific(keys[0]) == NULL); /* it is cleared before */
	strcat(order, "a");
	if ((uintptr_t)value > 1)
		pthread_setspecific(keys[0], (void *)((uintptr_t)value - 1));
}

static void second_destructor(void *value)
{
	(void)value;
	strcat(order, "b");
}

static void *set_keys(void *argument)
{
	pthread_setspecific(keys[1], (void *)1);
	pthread_setspecific(keys[0], (void *)3);
	return argument;
}

void runtime_keys(void)
{
	pthread_t thread;

	pthread_key_create(&keys[0], first_destructor);
	pthread_key_create(&keys[1], second_destructor);
	CHECK(pthread_getspecific(keys[0]) == NULL);
	pthread_create(&thread, NULL, set_keys, NULL);
	pthread_join(thread, NULL);
	CHECK(strcmp(order, "abaa") == 0);
	CHECK(pthread_key_delete(keys[0]) == 0);
	CHECK(pthread_setspecific(keys[0], &thread) == EINVAL);
}

static __thread int number = 7, zero;
static __thread char rest[300];
static pthread_key_t unset;

/* A thread of a later run is as new as one of the first. */
static void *look_at_own(void *argument)
{
	CHECK(number == 7 && zero == 0 && rest[0] == 0 && rest[299] == 0);
	CHECK(errno == 0);
	CHECK(pthread_getspecific(unset) == NULL);
	number = zero = rest[0] = rest[299] = 1;
	pthread_setspecific(unset, &number);
	atomic_fetch_add(&count, 1);
	CHECK(number == 1 && zero == 1); /* nobody else's */
	errno = EAGAIN;
	if (argument != NULL)
		pthread_exit(&number);
	return &number;
}

void runtime_thread_locals(void)
{
	pthread_t threads[3];
	void *results[3];

	pthread_key_create(&unset, NULL);
	number = 0;
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, look_at_own, (void *)(i % 2));
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(threads[i], &results[i]) == 0 && results[i] != &number);
	CHECK(results[0] != results[1] && results[1] != results[2] && results[0] != results[2]);
	CHECK(number == 0);
}

static mtx_t c_mutex;
static cnd_t c_condition;
static once_flag c_once = ONCE_FLAG_INIT;

static void c_init(void)
{
	atomic_fetch_add(&count, 1);
}

static int c_thread(void *argument)
{
	call_once(&c_once, c_init);
	mtx_lock(&c_mutex);
	plain = 1;
	cnd_signal(&c_condition);
	mtx_unlock(&c_mutex);
	if (argument != NULL)
		thrd_exit(-5);
	return 41;
}

void runtime_c11(void)
{
	thrd_t threads[2];
	int result;

	CHECK(mtx_init(&c_mutex, mtx_recursive) == thrd_success);
	CHECK(cnd_init(&c_condition) == thrd_success);
	CHECK(thrd_create(&threads[0], c_thread, NULL) == thrd_success);
	CHECK(thrd_create(&threads[1], c_thread, &count) == thrd_success);
	mtx_lock(&c_mutex);
	CHECK(mtx_trylock(&c_mutex) == thrd_success);
	mtx_unlock(&c_mutex);
	while (plain == 0)
		cnd_wait(&c_condition, &c_mutex);
	mtx_unlock(&c_mutex);
	CHECK(thrd_join(threads[0], &result) == thrd_success && result == 41);
	CHECK(thrd_join(threads[1], &result) == thrd_success && result == -5);
	CHECK(atomic_load(&count) == 1);
}

void runtime_time(void)
{
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	sleep(3600);
	usleep(5);
	clock_gettime(CLOCK_MONOTONIC, &after);
	CHECK(after.tv_sec - before.tv_sec == 3600);
	CHECK(time(NULL) == after.tv_sec);
}

static void *spin_exchange(void *argument)
{
	while (atomic_exchange(&shared, 1) != 0)
		;
	atomic_store(&shared, 0);
	return argument;
}

static void *spin_two(void *argument)
{
	while (atomic_load(&count) == 0 || atomic_load(&shared) == 1)
		;
	return argument;
}

static void *release(void *argument)
{
	atomic_store(&count, 1);
	atomic_store(&shared, 0);
	return argument;
}

/* None of the loops sleeps or yields; without preemptions they would go on for good. */
void runtime_spin(void)
{
	pthread_t threads[4];

	atomic_store(&shared, 1);
	pthread_create(&threads[0], NULL, spin_exchange, NULL);
	pthread_create(&threads[1], NULL, spin_exchange, NULL);
	pthread_create(&threads[2], NULL, spin_two, NULL);
	pthread_create(&threads[3], NULL, release, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static pthread_spinlock_t spin;

static void *try_all(void *argument)
{
	while (pthread_mutex_trylock(&mutex) != 0)
		;
	CHECK(pthread_mutex_unlock(&mutex) == 0);
	while (pthread_rwlock_tryrdlock(&rwlock) != 0)
		;
	CHECK(pthread_rwlock_unlock(&rwlock) == 0);
	while (pthread_rwlock_trywrlock(&rwlock) != 0)
		;
	CHECK(pthread_rwlock_unlock(&rwlock) == 0);
	while (pthread_spin_trylock(&spin) != 0)
		;
	CHECK(pthread_spin_unlock(&spin) == 0);
	while (sem_trywait(&semaphore) != 0)
		CHECK(errno == EAGAIN);
	return argument;
}

static void *poll_with_lock(void *argument)
{
	int seen;

	do {
		pthread_mutex_lock(&mutex);
		seen = plain;
		pthread_mutex_unlock(&mutex);
	} while (seen != 2);
	return argument;
}

static void *poll_clock(void *argument)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (now.tv_sec == start.tv_sec && now.tv_nsec < start.tv_nsec + 300000);
	return argument;
}

static void *open_all(void *argument)
{
	pthread_mutex_lock(&mutex);
	plain = 2;
	pthread_mutex_unlock(&mutex);
	sem_post(&semaphore);
	return argument;
}

/* Loops that try, or look under a lock, or at the clock, without a pause. */
void runtime_try(void)
{
	pthread_t threads[4];

	pthread_spin_init(&spin, 0);
	sem_init(&semaphore, 0, 0);
	pthread_mutex_lock(&mutex);
	pthread_rwlock_wrlock(&rwlock);
	pthread_spin_lock(&spin);
	pthread_create(&threads[0], NULL, try_all, NULL);
	pthread_create(&threads[1], NULL, poll_with_lock, NULL);
	pthread_create(&threads[2], NULL, poll_clock, NULL);
	sched_yield();
	pthread_mutex_unlock(&mutex);
	pthread_rwlock_unlock(&rwlock);
	pthread_spin_unlock(&spin);
	pthread_create(&threads[3], NULL, open_all, NULL);
	for (int i = 0; i < 4; i++)
		while (pthread_tryjoin_np(threads[i], NULL) == EBUSY)
			;
}

static void *keep(void *argument)
{
	pthread_mutex_lock(&mutex);
	return argument;
}

void runtime_try_in_vain(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, keep, NULL);
	pthread_join(thread, NULL);
	while (pthread_mutex_trylock(&mutex) != 0)
		;
}

static volatile int flag;

static void *await_flag(void *argument)
{
	while (flag == 0)
		;
	return argument;
}

static void *set_flag(void *argument)
{
	flag = 1;
	return argument;
}

/* No atomic variable, and no end without the other thread. */
void runtime_plain_spin(void)
{
	pthread_t threads[2];

	pthread_create(&threads[0], NULL, await_flag, NULL);
	pthread_create(&threads[1], NULL, set_flag, NULL);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
}

void runtime_plain_stuck(void)
{
	await_flag(NULL);
}

void runtime_stuck(void)
{
	while (atomic_load(&shared) == 0)
		;
}

static void *lock_both(void *argument)
{
	pthread_mutex_t *const locks[2] = {&mutex, &other_mutex};
	const uintptr_t one = (uintptr_t)argument;

	pthread_mutex_lock(locks[one]);
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(locks[1 - one]);
	return NULL;
}

void runtime_deadlock(void)
{
	pthread_t threads[2];

	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&threads[0], NULL, lock_both, (void *)0);
	pthread_create(&threads[1], NULL, lock_both, (void *)1);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
}

static void *touch(void *argument)
{
	for (int i = 0; i < 20; i++)
		atomic_fetch_add(i % 2 != 0 ? &shared : &count, 1);
	return argument;
}

void runtime_work(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, touch, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}
