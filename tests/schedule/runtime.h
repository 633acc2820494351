/* See runtime.c. */
#ifndef HEAPSTORM_TESTS_RUNTIME_H
#define HEAPSTORM_TESTS_RUNTIME_H

#include <stdbool.h>

void runtime_check(bool holds, const char *what, int line);

void runtime_mutex_kinds(void);
void runtime_rwlock(void);
void runtime_barrier(void);
void runtime_timed_wait(void);
void runtime_semaphore(void);
void runtime_once(void);
void runtime_keys(void);
void runtime_thread_locals(void);
void runtime_c11(void);
void runtime_time(void);
void runtime_spin(void);
void runtime_try(void);
void runtime_try_in_vain(void);
void runtime_plain_spin(void);
void runtime_plain_stuck(void);
void runtime_stuck(void);
void runtime_deadlock(void);
void runtime_work(void);

#endif
