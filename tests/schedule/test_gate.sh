#!/bin/sh
# What a scheduled run would not see is refused by name: test_gate.sh COMPILER bundle_allocator.sh
set -eu
cc=$1 script=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
check() { # wanted-status wanted-text
	status=0
	sh "$script" --name gate --variant sched --cc "$cc" --out "$work/gate.o" --keep 'gate_*' -- "$work/gate.c" >"$work/out" 2>&1 || status=$?
	[ $status -eq "$1" ] || { echo "status $status where $1 is due: $(cat "$work/out")" >&2; bad=1; }
	[ -z "$2" ] || grep -q -- "$2" "$work/out" || { echo "the message lacks '$2': $(cat "$work/out")" >&2; bad=1; }
}

cat >"$work/gate.c" <<'C'
#define _GNU_SOURCE
#include <pthread.h>
static pthread_mutex_t lock;
int gate_ceiling(void);
int gate_ceiling(void) { int old; return pthread_mutex_setprioceiling(&lock, 1, &old); }
C
check 1 pthread_mutex_setprioceiling

# Handlers that pthread_exit would not run.
cat >"$work/gate.c" <<'C'
#include <pthread.h>
void gate_handler(void *argument);
void gate_clean_up(void);
void gate_clean_up(void) { pthread_cleanup_push(gate_handler, 0); pthread_exit(0); pthread_cleanup_pop(1); }
C
check 1 __pthread_register_cancel

cat >"$work/gate.c" <<'C'
static long counter;
void gate_stray_increment(void);
void gate_stray_increment(void) { __asm__ volatile("lock; incq %0" : "+m"(counter)); }
C
check 1 gate_stray_increment

cat >"$work/gate.c" <<'C'
static long counter;
void gate_stray_exchange(void);
void gate_stray_exchange(void) { long one = 1; __asm__ volatile("xchgq %0, %1" : "+m"(counter), "+r"(one)); }
C
check 1 gate_stray_exchange

cat >"$work/gate.c" <<'C'
#include <pthread.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counter;
void gate_known(void);
void gate_known(void)
{
	pthread_mutex_lock(&lock);
	counter++;
	pthread_mutex_unlock(&lock);
	__atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
}
C
check 0 ''
exit $bad
