/*
 * What the compiler calls at each access to memory under -fsanitize=thread: the names of clang 16 to 19 and of gcc 12. Plain accesses
 * go to the race detector, atomic ones are scheduling points as well.
 */
#include <string.h>

#include "internal.h"

#define PC __builtin_return_address(0)
#define PLAIN_MAX (1u << 18) /* plain accesses between two points */

static inline void plain(const volatile void *address, size_t size, bool writes, const void *pc)
{
	struct thread *const thread = schedule_self;

	if (thread == NULL)
		return;
	race_access(thread, (const void *)address, size, writes, false, pc);
	/* A loop may wait for what is no atomic variable, but should be. */
	if (++thread->plain == PLAIN_MAX)
		schedule_plain_loop(thread, pc);
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
	if (schedule_self != NULL)
		race_call(schedule_self, pc);
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
	if (schedule_self != NULL)
		race_return(schedule_self);
}

void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_begin(void)
{
}

void __tsan_ignore_thread_end(void);
void __tsan_ignore_thread_end(void)
{
}

#define PLAIN(name, size, writes)                                                                                      \
	void __tsan_##name(void *address);                                                                             \
	void __tsan_##name(void *address)                                                                              \
	{                                                                                                              \
		plain(address, size, writes, PC);                                                                      \
	}
#define PLAIN_SIZES(name, writes)                                                                                      \
	PLAIN(name##1, 1, writes)                                                                                      \
	PLAIN(name##2, 2, writes)                                                                                      \
	PLAIN(name##4, 4, writes)                                                                                      \
	PLAIN(name##8, 8, writes)                                                                                      \
	PLAIN(name##16, 16, writes)

PLAIN_SIZES(read, false)
PLAIN_SIZES(write, true)
PLAIN_SIZES(read_write, true)
PLAIN_SIZES(unaligned_read, false)
PLAIN_SIZES(unaligned_write, true)
PLAIN_SIZES(unaligned_read_write, true)
PLAIN_SIZES(volatile_read, false)
PLAIN_SIZES(volatile_write, true)
PLAIN_SIZES(unaligned_volatile_read, false)
PLAIN_SIZES(unaligned_volatile_write, true)

void __tsan_read_range(void *address, unsigned long size);
void __tsan_read_range(void *address, unsigned long size)
{
	plain(address, size, false, PC);
}

void __tsan_write_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size)
{
	plain(address, size, true, PC);
}

void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memcpy(void *to, const void *from, size_t size)
{
	plain(from, size, false, PC);
	plain(to, size, true, PC);
	return memcpy(to, from, size);
}

void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size)
{
	plain(from, size, false, PC);
	plain(to, size, true, PC);
	return memmove(to, from, size);
}

void *__tsan_memset(void *to, int value, size_t size);
void *__tsan_memset(void *to, int value, size_t size)
{
	plain(to, size, true, PC);
	return memset(to, value, size);
}

/* ---- Atomic accesses ---- */

static void before(const volatile void *address, bool stores, const void *pc)
{
	if (schedule_self == NULL)
		return;
	schedule_point(stores ? POINT_ATOMIC_WRITE : POINT_ATOMIC_READ, (const void *)address, pc);
}

static void after(const volatile void *address, size_t size, int order, bool loads, bool stores, const void *pc)
{
	if (schedule_self == NULL)
		return;
	race_access(schedule_self, (const void *)address, size, stores, true, pc);
	race_atomic(schedule_self, (const void *)address, order, loads, stores);
}

typedef unsigned __int128 u128;

/* The 16-byte operations of the compiler would go to libatomic, which locks; only one thread runs at a time, so plain ones do. */
#define LOAD_NATIVE(a) __atomic_load_n(a, __ATOMIC_SEQ_CST)
#define STORE_NATIVE(a, v) __atomic_store_n(a, v, __ATOMIC_SEQ_CST)
#define LOAD_PLAIN(a) (*(a))
#define STORE_PLAIN(a, v) (*(a) = (v))

#define READ_MODIFY_WRITE(bits, type, LOAD, STORE, name, result)                                                       \
	type __tsan_atomic##bits##_##name(volatile type *address, type value, int order);                              \
	type __tsan_atomic##bits##_##name(volatile type *address, type value, int order)                               \
	{                                                                                                              \
		before(address, true, PC);                                                                             \
		const type old = LOAD(address);                                                                        \
		STORE(address, (type)(result));                                                                        \
		after(address, sizeof(type), order, true, true, PC);                                                   \
		if (schedule_self != NULL && (type)(result) == old)                                                    \
			schedule_saw(schedule_self, (const void *)address, (uint64_t)old, PC);                         \
		else if (schedule_self != NULL)                                                                        \
			schedule_changed(schedule_self);                                                               \
		return old;                                                                                            \
	}

#define COMPARE_EXCHANGE(bits, type, LOAD, STORE, name)                                                                \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *address, type *expected, type value,          \
							  int order, int failure);                                     \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile type *address, type *expected, type value,          \
							  int order, int failure)                                      \
	{                                                                                                              \
		before(address, true, PC);                                                                             \
		const type old = LOAD(address);                                                                        \
		const bool same = old == *expected;                                                                    \
		if (same)                                                                                              \
			STORE(address, value);                                                                         \
		else                                                                                                   \
			*expected = old;                                                                               \
		after(address, sizeof(type), same ? order : failure, true, same, PC);                                  \
		if (!same && schedule_self != NULL)                                                                    \
			schedule_saw(schedule_self, (const void *)address, (uint64_t)old, PC);                         \
		else if (schedule_self != NULL)                                                                        \
			schedule_changed(schedule_self);                                                               \
		return same;                                                                                           \
	}

#define ATOMICS(bits, type, LOAD, STORE)                                                                               \
	type __tsan_atomic##bits##_load(const volatile type *address, int order);                                      \
	type __tsan_atomic##bits##_load(const volatile type *address, int order)                                       \
	{                                                                                                              \
		before(address, false, PC);                                                                            \
		const type value = LOAD(address);                                                                      \
		after(address, sizeof(type), order, true, false, PC);                                                  \
		if (schedule_self != NULL)                                                                             \
			schedule_saw(schedule_self, (const void *)address, (uint64_t)value, PC);                       \
		return value;                                                                                          \
	}                                                                                                              \
	void __tsan_atomic##bits##_store(volatile type *address, type value, int order);                               \
	void __tsan_atomic##bits##_store(volatile type *address, type value, int order)                                \
	{                                                                                                              \
		before(address, true, PC);                                                                             \
		STORE(address, value);                                                                                 \
		after(address, sizeof(type), order, false, true, PC);                                                  \
		if (schedule_self != NULL)                                                                             \
			schedule_changed(schedule_self);                                                               \
	}                                                                                                              \
	READ_MODIFY_WRITE(bits, type, LOAD, STORE, exchange, value)                                                    \
	READ_MODIFY_WRITE(bits, type, LOAD, STORE, fetch_add, old + value)                                             \
	READ_MODIFY_WRITE(bits, type, LOAD, STORE, fetch_sub, old - value)                                             \
	READ_MODIFY_WRITE(bits, type, LOAD, STORE, fetch_and, old &value)                                              \
	READ_MODIFY_WRITE(bits, type, LOAD, STORE, fetch_or, old | value)                                              \
	READ_MODIFY_WRITE(bits, type, LOAD, STORE, fetch_xor, old ^ value)                                             \
	READ_MODIFY_WRITE(bits, type, LOAD, STORE, fetch_nand, ~(old & value))                                         \
	COMPARE_EXCHANGE(bits, type, LOAD, STORE, strong)                                                              \
	COMPARE_EXCHANGE(bits, type, LOAD, STORE, weak)                                                                \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type value, int order,  \
							int failure);                                                  \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type value, int order,  \
							int failure)                                                   \
	{                                                                                                              \
		before(address, true, PC);                                                                             \
		const type old = LOAD(address);                                                                        \
		if (old == expected)                                                                                   \
			STORE(address, value);                                                                         \
		after(address, sizeof(type), old == expected ? order : failure, true, old == expected, PC);            \
		if (old != expected && schedule_self != NULL)                                                          \
			schedule_saw(schedule_self, (const void *)address, (uint64_t)old, PC);                         \
		else if (schedule_self != NULL)                                                                        \
			schedule_changed(schedule_self);                                                               \
		return old;                                                                                            \
	}

ATOMICS(8, uint8_t, LOAD_NATIVE, STORE_NATIVE)
ATOMICS(16, uint16_t, LOAD_NATIVE, STORE_NATIVE)
ATOMICS(32, uint32_t, LOAD_NATIVE, STORE_NATIVE)
ATOMICS(64, uint64_t, LOAD_NATIVE, STORE_NATIVE)
ATOMICS(128, u128, LOAD_PLAIN, STORE_PLAIN)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
	if (schedule_self != NULL)
		race_fence(schedule_self, order);
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}
