/*
 * What mem_alloc_2.0 notices by itself: blocks that are freed twice, pointers to no block, writes to what was freed. Each in a process of its own, which
 * has to end by an abort and to name the pointer. The hardened build is tested too (HARDENED): it has guard pages, wipes what is freed and hands out
 * blocks in no order.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem_alloc_2.0.h"

#define MIB ((size_t)1 << 20)

/* What a body did wrong with; the test compares it with the message. */
static char **guilty;

static void *in_child(void *pointer)
{
	*guilty = pointer;
	return pointer;
}

/* Runs the body in a child. Returns its signal, 0 if it has none; `line` gets what it wrote. */
static int signal_of(void (*body)(void), char *line, size_t size)
{
	int ends[2], status;
	ssize_t got = 0;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL); /* cmocka has a handler */
		dup2(ends[1], STDERR_FILENO);
		body();
		_exit(0);
	}
	close(ends[1]);
	for (ssize_t more; (more = read(ends[0], line + got, size - 1 - (size_t)got)) > 0;)
		got += more;
	line[got] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void assert_noticed(void (*body)(void), const char *what)
{
	char line[256], expected[256];

	assert_int_equal(signal_of(body, line, sizeof(line)), SIGABRT);
	snprintf(expected, sizeof(expected), "mem_alloc_2.0: %p %s\n", (void *)*guilty, what);
	assert_string_equal(line, expected);
}

/* ---- Freed twice ---- */

static void twice_at_once(void)
{
	void *block = in_child(my_malloc_2_0(100));

	my_free_2_0(block);
	my_free_2_0(block);
}

static void twice_after_others(void)
{
	void *blocks[20];

	for (int i = 0; i < 20; i++)
		blocks[i] = my_malloc_2_0(100);
	in_child(blocks[3]);
	for (int i = 0; i < 20; i++)
		my_free_2_0(blocks[i]);
	my_free_2_0(blocks[3]);
}

/* Long after: the block has gone back to the heap. */
static void twice_after_flush(void)
{
	void *block = in_child(my_malloc_2_0(100));
	void *next = my_malloc_2_0(100);

	my_free_2_0(block);
	my_malloc_trim_2_0(0);
	my_free_2_0(block);
	my_free_2_0(next);
}

static void twice_medium(void)
{
	void *block = in_child(my_malloc_2_0(50000));

	my_free_2_0(block);
	my_free_2_0(block);
}

static void *free_in_thread(void *block)
{
	my_free_2_0(block);
	return NULL;
}

/* Once by another thread, whose end brings it home. */
static void twice_by_two_threads(void)
{
	void *block = in_child(my_malloc_2_0(100));
	pthread_t thread;

	if (pthread_create(&thread, NULL, free_in_thread, block) != 0 || pthread_join(thread, NULL) != 0)
		_exit(9);
	my_free_2_0(block);
}

static void realloc_of_freed(void)
{
	void *block = in_child(my_malloc_2_0(100));

	my_free_2_0(block);
	if (my_realloc_2_0(block, 5000) != NULL)
		_exit(9);
}

static void test_freed_twice(void **state)
{
	(void)state;
	assert_noticed(twice_at_once, "is freed twice");
	assert_noticed(twice_after_others, "is freed twice");
	assert_noticed(twice_after_flush, "is freed twice");
	assert_noticed(twice_medium, "is freed twice");
	assert_noticed(twice_by_two_threads, "is freed twice");
	assert_noticed(realloc_of_freed, "is freed twice");
}

/* ---- No block ---- */

static void interior_small(void)
{
	my_free_2_0(in_child((char *)my_malloc_2_0(100) + 16));
}

static void interior_unaligned(void)
{
	my_free_2_0(in_child((char *)my_malloc_2_0(100) + 1));
}

static void interior_medium(void)
{
	my_free_2_0(in_child((char *)my_malloc_2_0(100000) + 4096));
}

static void interior_large(void)
{
	my_free_2_0(in_child((char *)my_malloc_2_0(9 * MIB) + 5 * MIB));
}

static void interior_large_near(void)
{
	my_free_2_0(in_child((char *)my_malloc_2_0(9 * MIB) + 64));
}

static void on_stack(void)
{
	char bytes[64];

	my_free_2_0(in_child(bytes + 16));
}

static void in_program(void)
{
	static char bytes[64];

	my_free_2_0(in_child(bytes + 16));
}

static void unmapped(void)
{
	my_free_2_0(in_child((void *)(uintptr_t)0x123456789ab0));
}

static void large_twice(void)
{
	void *block = in_child(my_malloc_2_0(40 * MIB));

	my_free_2_0(block);
	my_free_2_0(block);
}

static void realloc_of_wild(void)
{
	static char bytes[64];

	if (my_realloc_2_0(in_child(bytes + 32), 10) != NULL)
		_exit(9);
}

static void test_no_block(void **state)
{
	(void)state;
	assert_noticed(interior_small, "is not a live block");
	assert_noticed(interior_unaligned, "is not a live block");
	assert_noticed(interior_medium, "is not a live block");
	assert_noticed(interior_large, "is not a live block");
	assert_noticed(interior_large_near, "is not a live block");
	assert_noticed(on_stack, "is not a live block");
	assert_noticed(in_program, "is not a live block");
	assert_noticed(unmapped, "is not a live block");
	assert_noticed(large_twice, "is not a live block");
	assert_noticed(realloc_of_wild, "is not a live block");
}

/* ---- Written to after it was freed ---- */

static void write_to_cached(void)
{
	char *block = in_child(my_malloc_2_0(100));

	my_free_2_0(block);
	memset(block, 0x41, 16);
	for (int i = 0; i < 100; i++)
		if (my_malloc_2_0(100) == NULL)
			_exit(9);
}

static void write_to_free(void)
{
	char *block = in_child(my_malloc_2_0(20000));
	void *next = my_malloc_2_0(20000);

	my_free_2_0(block);
	my_malloc_trim_2_0(0);
	memset(block, 0x41, 8);
	for (int i = 0; i < 1000; i++)
		if (my_malloc_2_0(500) == NULL)
			_exit(9);
	my_free_2_0(next);
}

static void test_written_after_free(void **state)
{
	(void)state;
	assert_noticed(write_to_cached, "was written to after it was freed");
	assert_noticed(write_to_free, "was written to after it was freed");
}

/* A program that keeps to the rules is left alone, whatever its blocks hold. */
static void test_no_false_alarm(void **state)
{
	enum { COUNT = 300 };
	uintptr_t *blocks[COUNT];

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		blocks[i] = my_malloc_2_0(16 + (size_t)i * 7);
		assert_non_null(blocks[i]);
	}
	for (int i = 0; i < COUNT; i++)
		my_free_2_0(blocks[i]);
	for (int i = 0; i < COUNT; i++) {
		blocks[i] = my_malloc_2_0(16 + (size_t)i * 7);
		assert_non_null(blocks[i]);
		/* The words that a freed block has, but for one of them. */
		blocks[i][0] = i % 2 != 0 ? (uintptr_t)blocks[i] : 0;
		blocks[i][1] = (uintptr_t)blocks[i] ^ (i % 2 != 0 ? 0 : (uintptr_t)0x9d27 << 48);
	}
	for (int i = 0; i < COUNT; i++)
		my_free_2_0(blocks[i]);
}

#ifdef HARDENED

static void read_behind_large(void)
{
	volatile char *block = in_child(my_malloc_2_0(3 * MIB + 100));

	block[my_malloc_usable_size_2_0((void *)block)] = 1;
}

static void read_freed_large(void)
{
	volatile char *block = in_child(my_malloc_2_0(3 * MIB + 100));

	my_free_2_0((void *)block);
	block[5000] = 1;
}

static void test_guard_pages(void **state)
{
	char line[256];
	char *block = my_malloc_2_0(3 * MIB + 100);

	(void)state;
	/* The guard is right behind what was asked for, up to the alignment. */
	assert_true(my_malloc_usable_size_2_0(block) < 3 * MIB + 100 + 16);
	memset(block, 1, my_malloc_usable_size_2_0(block));
	my_free_2_0(block);
	assert_int_equal(signal_of(read_behind_large, line, sizeof(line)), SIGSEGV);
	assert_int_equal(signal_of(read_freed_large, line, sizeof(line)), SIGSEGV);
}

static void write_far_into_cached(void)
{
	char *block = in_child(my_malloc_2_0(100));

	my_free_2_0(block);
	block[77] = 1;
	for (int i = 0; i < 100; i++)
		if (my_malloc_2_0(100) == NULL)
			_exit(9);
}

static void test_wiped(void **state)
{
	unsigned char *block = my_malloc_2_0(100);
	int sum = 0;

	(void)state;
	memset(block, 0x77, 100);
	my_free_2_0(block);
	for (int i = 16; i < 100; i++)
		sum |= *(volatile unsigned char *)(block + i);
	assert_int_equal(sum, 0);
	assert_noticed(write_far_into_cached, "was written to after it was freed");
}

static void test_no_order(void **state)
{
	enum { COUNT = 500 };
	char *blocks[COUNT];
	int neighbours = 0;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		blocks[i] = my_malloc_2_0(200);
	for (int i = 1; i < COUNT; i++)
		neighbours += blocks[i] - blocks[i - 1] == 208;
	assert_true(neighbours < COUNT / 2);
	for (int i = 0; i < COUNT; i++)
		my_free_2_0(blocks[i]);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_freed_twice),        cmocka_unit_test(test_no_block),
		cmocka_unit_test(test_written_after_free), cmocka_unit_test(test_no_false_alarm),
#ifdef HARDENED
		cmocka_unit_test(test_guard_pages),        cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_no_order),
#endif
	};

	guilty = mmap(NULL, sizeof(*guilty), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
