/* The program model, its two spellings, .rep traces, and telling them apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

/* ---- Helpers ---- */

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t below(uint64_t limit)
{
	return next_random() % limit;
}

/* Mostly small, sometimes at a limit, sometimes anything. */
static uint64_t random_number(void)
{
	static const uint64_t limits[] = {
		0, 63, 64, 4095, 4096, UINT32_MAX, 1ull << 60, (1ull << 60) - 1, INT64_MAX, UINT64_MAX};

	switch (below(3)) {
	case 0:
		return below(100);
	case 1:
		return limits[below(sizeof(limits) / sizeof(limits[0]))];
	default:
		return next_random() >> below(64);
	}
}

static uint32_t random_label(void)
{
	static const uint64_t limits[] = {
		0, 25, 26, 62, 63, 64, 701, 702, LABEL_SPELT_NULL - 1, LABEL_SPELT_NULL + 1, LABEL_COUNT - 1};

	switch (below(3)) {
	case 0:
		return (uint32_t)below(30);
	case 1:
		return (uint32_t)limits[below(sizeof(limits) / sizeof(limits[0]))];
	default:
		return label_nth(below(LABEL_COUNT - 1));
	}
}

static struct op random_op(void)
{
	struct op op = {.kind = (uint8_t)below(OP_KINDS)};
	unsigned operands = op_operands(op.kind);

	op.result = random_label();
	op.block = below(5) == 0 ? LABEL_NULL : random_label();
	op.size = random_number();
	op.count = random_number();
	if (operands & OPERAND_THREAD)
		op.thread = below(PROGRAM_THREADS_MAX);
	if (operands & OPERAND_EVENT)
		op.event = below(PROGRAM_EVENTS_MAX);
	return op;
}

static uint64_t from_one(void)
{
	uint64_t n = random_number();

	return n ? n : 1;
}

static void random_program(struct program *p, size_t threads)
{
	static const char *const allocators[] = {"", "system", "my alloc.c --prefix my_ --cflags -DX#1",
						 "mem_alloc_2.0"};
	const char *allocator = allocators[below(4)];

	program_clear(p);
	program_set_allocator(p, allocator, strlen(allocator));
	if (below(2)) {
		p->has_expect = true;
		p->expect = (enum verdict_kind)below(VERDICT_KINDS);
	}
	for (size_t i = below(30); i > 0; i--)
		program_append(p, below(threads), random_op());
	if (threads > 1 && below(4) == 0)
		program_require_thread(p, below(PROGRAM_THREADS_MAX));
	for (size_t i = below(5); i > 0; i--)
		program_add_fault(p, from_one());
	for (size_t i = below(5); i > 0; i--)
		program_add_preemption(p, (struct preemption){.thread = (uint32_t)below(PROGRAM_THREADS_MAX),
							      .target = (uint32_t)below(PROGRAM_THREADS_MAX),
							      .point = from_one()});
}

/* What program_print writes. To be freed. */
static char *printed(const struct program *p)
{
	char *text = NULL;
	size_t length;
	FILE *file = open_memstream(&text, &length);

	assert_non_null(file);
	assert_true(program_print(p, file));
	assert_int_equal(fclose(file), 0);
	assert_int_equal(strlen(text), length);
	return text;
}

static void parse_good(const char *text, struct program *p)
{
	struct parse_error error;

	if (!program_parse(text, strlen(text), p, &error))
		fail_msg("%zu:%zu: %s", error.line, error.column, error.message);
}

#define BYTES_MAX 65536

static const char whole_text[] = "heapstorm 1\n"
				 "allocator my_alloc.c --prefix my_ --cflags -DFAST\n"
				 "expect realloc-lost\n"
				 "thread main\n"
				 "  a = malloc 24\n"
				 "  b = calloc 3 40\n"
				 "  a = realloc a 18446744073709551615\n"
				 "  z = reallocarray null 0 7\n"
				 "  aa = aligned_alloc 64 1000\n"
				 "  nulk = posix_memalign 3 1\n"
				 "  zzzzz = memalign 4096 4096\n"
				 "  usable_size zzzzz\n"
				 "  trim 4096\n"
				 "  touch aa\n"
				 "  free null\n"
				 "  spawn t1\n"
				 "  join t255\n"
				 "  signal 4095\n"
				 "  wait 0\n"
				 "  fork\n"
				 "  free = malloc 1\n"
				 "  free free\n"
				 "thread t1\n"
				 "  free b\n"
				 "  exit\n"
				 "thread t4\n"
				 "faults\n"
				 "  map 3\n"
				 "  map 18446744073709551615\n"
				 "schedule\n"
				 "  t1 @17 -> main\n"
				 "  main @2 -> t4\n"
				 "  t1 @17 -> t4\n";

/* ---- The model ---- */

static void labels_are_named_in_bijective_base_26(void **state)
{
	static const struct {
		uint32_t label;
		const char *name;
	} cases[] = {{0, "a"},
		     {25, "z"},
		     {26, "aa"},
		     {51, "az"},
		     {52, "ba"},
		     {701, "zz"},
		     {702, "aaa"},
		     {LABEL_SPELT_NULL - 1, "nulk"},
		     {LABEL_SPELT_NULL + 1, "nulm"},
		     {LABEL_COUNT - 1, "zzzzz"},
		     {LABEL_NULL, "null"}};
	char name[8];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		label_name(cases[i].label, name);
		assert_string_equal(name, cases[i].name);
	}
	label_name(LABEL_SPELT_NULL, name);
	assert_string_equal(name, "null");
	assert_int_equal(label_nth(0), 0);
	assert_int_equal(label_nth(LABEL_SPELT_NULL - 1), LABEL_SPELT_NULL - 1);
	assert_int_equal(label_nth(LABEL_SPELT_NULL), LABEL_SPELT_NULL + 1);
	assert_int_equal(label_nth(LABEL_COUNT - 2), LABEL_COUNT - 1);
	assert_int_equal(label_nth(LABEL_COUNT - 1), LABEL_NULL);
	assert_int_equal(label_nth(UINT64_MAX), LABEL_NULL);
}

static void operations_print_like_snprintf(void **state)
{
	struct op op = {.kind = OP_REALLOCARRAY, .result = 0, .block = LABEL_NULL, .count = 3, .size = UINT64_MAX};
	const char *whole = "a = reallocarray null 3 18446744073709551615";
	char text[64];

	(void)state;
	assert_int_equal(op_print(&op, text, sizeof(text)), strlen(whole));
	assert_string_equal(text, whole);
	assert_int_equal(op_print(&op, text, 6), strlen(whole));
	assert_string_equal(text, "a = r");
	assert_int_equal(op_print(&op, NULL, 0), strlen(whole));
}

static void faults_stay_ascending_and_unique(void **state)
{
	static const uint64_t given[] = {7, 3, 7, UINT64_MAX, 1, 3, 5};
	static const uint64_t kept[] = {1, 3, 5, 7, UINT64_MAX};
	struct program p;

	(void)state;
	program_init(&p);
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		program_add_fault(&p, given[i]);
	assert_int_equal(p.fault_count, 5);
	assert_memory_equal(p.faults, kept, sizeof(kept));
	program_destroy(&p);
}

static void fields_that_a_kind_does_not_use_do_not_count(void **state)
{
	struct program p, q;

	(void)state;
	program_init(&p);
	program_init(&q);
	program_append(&p, 0, (struct op){.kind = OP_FREE, .block = 3, .result = 9, .size = 1});
	program_append(&q, 0, (struct op){.kind = OP_FREE, .block = 3});
	assert_true(program_equal(&p, &q));
	assert_int_equal(p.threads[0].ops[0].result, LABEL_NULL);
	q.threads[0].ops[0].size = 99;
	assert_true(program_equal(&p, &q));
	q.threads[0].ops[0].block = 4;
	assert_false(program_equal(&p, &q));
	program_destroy(&p);
	program_destroy(&q);
}

static void every_difference_makes_programs_unequal(void **state)
{
	struct program p, q;

	(void)state;
	program_init(&p);
	program_init(&q);
	for (int i = 0; i < 11; i++) {
		parse_good(whole_text, &p);
		program_copy(&q, &p);
		assert_true(program_equal(&p, &q));
		switch (i) {
		case 0:
			q.allocator[0] = 'x';
			break;
		case 1:
			q.has_expect = false;
			break;
		case 2:
			q.expect = VERDICT_CLEAN;
			break;
		case 3:
			q.threads[0].ops[0].kind = OP_TRIM;
			break;
		case 4:
			q.threads[0].ops[0].result = 1;
			break;
		case 5:
			q.threads[0].ops[1].count++;
			break;
		case 6:
			program_remove(&q, 1, 0, 1);
			break;
		case 7:
			program_require_thread(&q, 5);
			break;
		case 8:
			program_add_fault(&q, 4);
			break;
		case 9:
			q.schedule[1].point++;
			break;
		default:
			q.schedule[2].target = 0;
		}
		assert_false(program_equal(&p, &q));
		assert_false(program_equal(&q, &p));
	}
	program_destroy(&p);
	program_destroy(&q);
}

static void clearing_keeps_the_memory(void **state)
{
	struct program p;
	struct op *ops;
	uint8_t bytes[BYTES_MAX];
	size_t length;

	(void)state;
	program_init(&p);
	parse_good(whole_text, &p);
	length = program_encode(&p, bytes, sizeof(bytes));
	ops = p.threads[1].ops;
	program_clear(&p);
	assert_int_equal(program_op_count(&p), 0);
	assert_int_equal(p.thread_count, 1);
	assert_int_equal(p.fault_count + p.preemption_count, 0);
	assert_string_equal(p.allocator, "");
	assert_false(p.has_expect);
	program_decode(bytes, length, &p);
	assert_ptr_equal(p.threads[1].ops, ops);
	program_destroy(&p);
}

static void operations_are_inserted_and_removed_in_place(void **state)
{
	static const struct op two[] = {{.kind = OP_TOUCH, .block = 1}, {.kind = OP_TOUCH, .block = 2}};
	struct program p;
	char *text;

	(void)state;
	program_init(&p);
	program_insert(&p, 1, 0, two, 2);
	program_insert(&p, 1, 1, two, 2);
	program_insert(&p, 1, 4, two, 1);
	program_remove(&p, 1, 0, 1);
	program_remove(&p, 1, 2, 0);
	text = printed(&p);
	assert_string_equal(text, "heapstorm 1\nthread main\nthread t1\n  touch b\n  touch c\n  touch c\n  touch b\n");
	free(text);
	program_destroy(&p);
}

static void the_label_limit_is_above_every_label(void **state)
{
	struct program p;

	(void)state;
	program_init(&p);
	assert_int_equal(program_label_limit(&p), 0);
	program_append(&p, 0, (struct op){.kind = OP_FREE, .block = LABEL_NULL});
	program_append(&p, 0, (struct op){.kind = OP_EXIT, .block = 77, .result = 78});
	assert_int_equal(program_label_limit(&p), 0);
	program_append(&p, 3, (struct op){.kind = OP_MALLOC, .result = 4});
	assert_int_equal(program_label_limit(&p), 5);
	program_append(&p, 2, (struct op){.kind = OP_FREE, .block = 9});
	assert_int_equal(program_label_limit(&p), 10);
	program_destroy(&p);
}

/* ---- Text ---- */

static void canonical_text_prints_as_it_was(void **state)
{
	struct program p;
	char *text;

	(void)state;
	program_init(&p);
	parse_good(whole_text, &p);
	text = printed(&p);
	assert_string_equal(text, whole_text);
	assert_int_equal(program_op_count(&p), 20);
	assert_int_equal(p.thread_count, 5);
	free(text);
	program_destroy(&p);
}

static void text_is_read_liberally(void **state)
{
	static const char loose[] = "# what it is for\r\n"
				    "\r\n"
				    "\theapstorm\t1   # version\r\n"
				    "expect clean#\r\n"
				    "allocator  \t system   # of libc\r\n"
				    "schedule\r\n"
				    "main@0x11->t1\r\n"
				    "thread t1\n"
				    "\t\t  a=malloc 0X1f\n"
				    "      free a# gone\n"
				    "faults\n"
				    "map 2\n"
				    "map 1\n"
				    "map 2\n"
				    "thread main\n"
				    "spawn t1";
	static const char canonical[] = "heapstorm 1\n"
					"allocator system\n"
					"expect clean\n"
					"thread main\n"
					"  spawn t1\n"
					"thread t1\n"
					"  a = malloc 31\n"
					"  free a\n"
					"faults\n"
					"  map 1\n"
					"  map 2\n"
					"schedule\n"
					"  main @17 -> t1\n";
	struct program p;
	char *text;

	(void)state;
	program_init(&p);
	parse_good(loose, &p);
	text = printed(&p);
	assert_string_equal(text, canonical);
	free(text);
	program_destroy(&p);
}

#define HEAD "heapstorm 1\nthread main\n"

static void errors_say_where_and_what(void **state)
{
	static const struct {
		const char *text;
		size_t line, column;
		const char *message;
	} cases[] = {
		{"", 1, 1, "expected the first line, `heapstorm 1', found the end of the text"},
		{"# only this\n", 2, 1, "expected the first line, `heapstorm 1', found the end of the text"},
		{"# only this", 1, 12, "expected the first line, `heapstorm 1', found the end of the text"},
		{"heapstrom 1\n", 1, 1, "expected the first line, `heapstorm 1', found `heapstrom'"},
		{"heapstorm 2\n", 1, 11, "expected version 1 of the format, found `2'"},
		{"heapstorm\n", 1, 10, "expected version 1 of the format, found the end of the line"},
		{"heapstorm 1 x\n", 1, 13, "expected the end of the line, found `x'"},
		{"heapstorm 1\na = malloc 1\n", 2, 1,
		 "expected allocator, expect or a section (thread, faults, schedule), found `a'"},
		{"heapstorm 1\nallocator  # none\n", 2, 12,
		 "expected an allocator, its name or what to load and how, found the end of the line"},
		{"heapstorm 1\nallocator a\nallocator b\n", 3, 1,
		 "expected `allocator' once, found it again (the first is in line 2)"},
		{"heapstorm 1\nexpect no-such\n", 2, 8, "expected a verdict, like clean or overlap, found `no-such'"},
		{"heapstorm 1\nexpect\n", 2, 7, "expected a verdict, like clean or overlap, found the end of the line"},
		{HEAD "expect clean\n", 3, 1, "expected `expect' before the first section, found it after one"},
		{HEAD "  a = malloc x7\n", 3, 14,
		 "expected a size, a number of bytes from 0 to 18446744073709551615, found `x7'"},
		{HEAD "  a = malloc -1\n", 3, 14,
		 "expected a size, a number of bytes from 0 to 18446744073709551615, found `-1'"},
		{HEAD "  a = malloc 0x\n", 3, 14,
		 "expected a size, a number of bytes from 0 to 18446744073709551615, found `0x'"},
		{HEAD "  a = malloc\n", 3, 13,
		 "expected a size, a number of bytes from 0 to 18446744073709551615, found the end of the line"},
		{HEAD "  a = malloc 18446744073709551616\n", 3, 14,
		 "expected a size, a number of bytes from 0 to 18446744073709551615, found `18446744073709551616', "
		 "which is too large"},
		{HEAD "  a = malloc 0x10000000000000000\n", 3, 14,
		 "expected a size, a number of bytes from 0 to 18446744073709551615, found `0x10000000000000000', "
		 "which is too large"},
		{HEAD "  a = malloc 1 2\n", 3, 16, "expected the end of the line, found `2'"},
		{HEAD "  a = calloc y 2\n", 3, 14,
		 "expected a count, a number from 0 to 18446744073709551615, found `y'"},
		{HEAD "  a = memalign y 2\n", 3, 16,
		 "expected an alignment, a number of bytes from 0 to 18446744073709551615, found `y'"},
		{HEAD "  malloc 24\n", 3, 3, "expected a name for the block that malloc makes: `NAME = malloc SIZE'"},
		{HEAD "  a = free b\n", 3, 7,
		 "expected an operation that makes a block, found `free', which makes none: `free BLOCK'"},
		{HEAD "  a = mallok 1\n", 3, 7,
		 "expected an operation that makes a block, like malloc or realloc, found `mallok'"},
		{HEAD "  a =\n", 3, 6,
		 "expected an operation that makes a block, like malloc or realloc, found the end of the line"},
		{HEAD "  null = malloc 1\n", 3, 3,
		 "expected the name of a block, found `null', which is the NULL pointer and names none"},
		{HEAD "  A = malloc 1\n", 3, 3, "expected the name of a block, 1 to 5 lower-case letters, found `A'"},
		{HEAD "  toolong = malloc 1\n", 3, 3,
		 "expected the name of a block, 1 to 5 lower-case letters, found `toolong'"},
		{HEAD "  free\n", 3, 7,
		 "expected a block, a name of 1 to 5 lower-case letters or null, found the end of the line"},
		{HEAD "  free b7\n", 3, 8, "expected a block, a name of 1 to 5 lower-case letters or null, found `b7'"},
		{HEAD "  spawn t256\n", 3, 9, "expected a thread, main or t1 to t255, found `t256'"},
		{HEAD "  spawn t0\n", 3, 9, "expected a thread, main or t1 to t255, found `t0'"},
		{HEAD "  join\n", 3, 7, "expected a thread, main or t1 to t255, found the end of the line"},
		{HEAD "  wait 4096\n", 3, 8,
		 "expected an event, a number from 0 to 4095, found `4096', which is too large"},
		{HEAD "  jump\n", 3, 3,
		 "expected an operation, like `a = malloc 24' or `free a', or a section (thread, faults, schedule), "
		 "found `jump'"},
		{HEAD "  abcdefghijklmnopqrstuvwxyz\n", 3, 3,
		 "expected an operation, like `a = malloc 24' or `free a', or a section (thread, faults, schedule), "
		 "found `abcdefghijklmnopqrstuvwx...'"},
		{HEAD "thread t1\nthread main\n", 4, 8,
		 "expected the section of main once, found it again (the first is in line 2)"},
		{HEAD "thread one\n", 3, 8, "expected a thread, main or t1 to t255, found `one'"},
		{HEAD "faults\nmap 0\n", 4, 5,
		 "expected the number of a mapping call, from 1 to 18446744073709551615, found `0', which is too "
		 "small"},
		{HEAD "faults\nunmap 1\n", 4, 1, "expected a fault, `map N', or another section, found `unmap'"},
		{HEAD "faults\nfaults\n", 4, 1, "expected `faults' once, found it again (the first is in line 3)"},
		{HEAD "schedule\nmap 1\n", 4, 1,
		 "expected a preemption, `THREAD @POINT -> THREAD', or another section, found `map'"},
		{HEAD "schedule\nt1 17 -> main\n", 4, 4,
		 "expected `@' and the number of a scheduling point, found `17'"},
		{HEAD "schedule\nt1 @0 -> main\n", 4, 5,
		 "expected the number of a scheduling point, from 1 to 18446744073709551615, found `0', which is too "
		 "small"},
		{HEAD "schedule\nt1 @1 main\n", 4, 7, "expected `->' and the thread that runs next, found `main'"},
		{HEAD "schedule\nt1 @1 ->\n", 4, 9, "expected a thread, main or t1 to t255, found the end of the line"},
		{HEAD "schedule\nschedule\n", 4, 1,
		 "expected `schedule' once, found it again (the first is in line 3)"},
		{HEAD "  free a\x01\n", 3, 9, "expected text, found the control character 0x01"},
		{HEAD "  free a\r  \n", 3, 9, "expected text, found the control character 0x0d"},
		{HEAD "  # \xc3\xa4\n", 3, 5, "expected ASCII text, found the byte 0xc3"},
		{"\xef\xbb\xbfheapstorm 1\n", 1, 1, "expected ASCII text, found the byte 0xef"},
	};
	struct parse_error error;
	struct program p;

	(void)state;
	program_init(&p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (program_parse(cases[i].text, strlen(cases[i].text), &p, &error))
			fail_msg("no error: %s", cases[i].text);
		assert_string_equal(error.message, cases[i].message);
		if (error.line != cases[i].line || error.column != cases[i].column)
			fail_msg("%zu:%zu instead of %zu:%zu: %s", error.line, error.column, cases[i].line,
				 cases[i].column, error.message);
	}
	assert_false(program_parse("heapstorm 1\n\0\n", 14, &p, &error));
	assert_string_equal(error.message, "expected text, found a NUL byte");
	assert_int_equal(error.line, 2);
	assert_int_equal(error.column, 1);
	program_destroy(&p);
}

static void an_allocator_may_be_long_but_not_too_long(void **state)
{
	char text[PROGRAM_SPEC_MAX + 64] = "heapstorm 1\nallocator ";
	size_t head = strlen(text);
	struct parse_error error;
	struct program p;

	(void)state;
	program_init(&p);
	memset(text + head, 'x', PROGRAM_SPEC_MAX);
	assert_false(program_parse(text, head + PROGRAM_SPEC_MAX, &p, &error));
	assert_string_equal(error.message, "expected an allocator in at most 511 characters, found 512");
	assert_int_equal(error.column, 11);
	assert_true(program_parse(text, head + PROGRAM_SPEC_MAX - 1, &p, &error));
	assert_int_equal(strlen(p.allocator), PROGRAM_SPEC_MAX - 1);
	program_destroy(&p);
}

static void random_programs_survive_both_spellings(void **state)
{
	static uint8_t bytes[BYTES_MAX], again[BYTES_MAX];
	struct program p, q;
	char *text, *text_again;
	size_t length;

	(void)state;
	program_init(&p);
	program_init(&q);
	for (random_state = 1; random_state < 4000;) {
		uint64_t seed = random_state;

		random_state = seed * 0x9e3779b97f4a7c15u;
		random_program(&p, 1 + below(5));
		text = printed(&p);
		parse_good(text, &q);
		assert_true(program_equal(&p, &q));
		text_again = printed(&q);
		assert_string_equal(text, text_again);
		free(text_again);
		length = program_encode(&p, bytes, sizeof(bytes));
		assert_int_equal(length, program_encoded_size(&p));
		program_decode(bytes, length, &q);
		assert_true(program_equal(&p, &q));
		assert_int_equal(program_encode(&q, again, sizeof(again)), length);
		assert_memory_equal(bytes, again, length);
		text_again = printed(&q);
		assert_string_equal(text, text_again);
		free(text_again);
		free(text);
		random_state = seed + 1;
	}
	program_destroy(&p);
	program_destroy(&q);
}

/* ---- Bytes ---- */

static void canonical_text_survives_the_bytes(void **state)
{
	static uint8_t bytes[BYTES_MAX];
	struct program p, q;
	char *text;

	(void)state;
	program_init(&p);
	program_init(&q);
	parse_good(whole_text, &p);
	program_decode(bytes, program_encode(&p, bytes, sizeof(bytes)), &q);
	text = printed(&q);
	assert_string_equal(text, whole_text);
	free(text);
	program_destroy(&p);
	program_destroy(&q);
}

/* These bytes are a promise: saved inputs must go on meaning the same. */
static void the_encoding_is_as_documented(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		const char *text; /* after HEAD */
	} cases[] = {
		{"\x80\x00\x18", 3, "  a = malloc 24\n"},
		{"\x80\x00\x58\x01", 4, "  a = malloc 88\n"},
		{"\x81\x01\x03\x28", 4, "  b = calloc 3 40\n"},
		{"\x82\x00\x01\x10", 4, "  a = realloc a 16\n"},
		{"\x83\x00\x00\x02\x08", 5, "  a = reallocarray null 2 8\n"},
		{"\x84\x02", 2, "  free b\n"},
		{"\x85\x00\x10\x20", 4, "  a = aligned_alloc 16 32\n"},
		{"\x86\x00\x10\x20", 4, "  a = posix_memalign 16 32\n"},
		{"\x87\x00\x10\x20", 4, "  a = memalign 16 32\n"},
		{"\x88\x01", 2, "  usable_size a\n"},
		{"\x89\x05", 2, "  trim 5\n"},
		{"\x8a\x01", 2, "  touch a\n"},
		{"\x8b\x01", 2, "  spawn t1\n"},
		{"\x8c\x01", 2, "  join t1\n"},
		{"\x8d", 1, "  exit\n"},
		{"\x8e\x03", 2, "  signal 3\n"},
		{"\x8f\x03", 2, "  wait 3\n"},
		{"\x90", 1, "  fork\n"},
		{"\x91\x01\x84\x01", 4, "thread t1\n  free a\n"},
		{"\x92\x03", 2, "faults\n  map 3\n"},
		{"\x93\x01\x11\x00", 4, "schedule\n  t1 @17 -> main\n"},
		/* Missing operands are 0, surplus ones and those before the first record are skipped. */
		{"", 0, ""},
		{"\x05\x40\x7f", 3, ""},
		{"\x07\x84\x01\x02\x03\x8d", 6, "  free a\n  exit\n"},
		{"\x80", 1, "  a = malloc 0\n"},
		{"\x83", 1, "  a = reallocarray null 0 0\n"},
		{"\x84", 1, "  free null\n"},
		{"\x92", 1, "faults\n  map 1\n"},
		{"\x93", 1, "schedule\n  main @1 -> main\n"},
		/* A number ends with its record, even where it promised to go on. */
		{"\x80\x00\x58\x8d", 4, "  a = malloc 24\n  exit\n"},
		/* Bits beyond 64 are dropped. */
		{"\x89\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x01", 14, "  trim 18446744073709551615\n"},
		/* What is out of range is folded: thread 257, event 4099, the label of `null`, the label beyond zzzzz. */
		{"\x8b\x41\x04", 3, "  spawn t1\n"},
		{"\x8e\x43\x40\x01", 4, "  signal 3\n"},
		{"\x80\x67\x67\x3f\x08", 5, "  nulm = malloc 8\n"},
		{"\x84\x68\x67\x3f", 4, "  free null\n"},
		{"\x80\x56\x70\x48\x2f\x08", 6, "  a = malloc 8\n"},
		{"\x84\x56\x70\x48\x2f", 5, "  free zzzzz\n"},
		{"\x84\x57\x70\x48\x2f", 5, "  free null\n"},
	};
	struct program p;

	(void)state;
	program_init(&p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[128] = HEAD;
		char *text;

		strcat(expected, cases[i].text);
		program_decode((const uint8_t *)cases[i].bytes, cases[i].length, &p);
		text = printed(&p);
		if (strcmp(text, expected) != 0)
			fail_msg("case %zu: %s instead of %s", i, text, expected);
		free(text);
	}
	program_destroy(&p);
}

static void header_characters_are_made_fit_for_the_text(void **state)
{
	static const uint8_t bytes[] = "\x94 \x09my\x01 x#y #z\x95overlap\x95nothing";
	struct program p;

	(void)state;
	program_init(&p);
	program_decode(bytes, sizeof(bytes) - 1, &p);
	assert_string_equal(p.allocator, "my? x#y");
	assert_true(p.has_expect);
	assert_int_equal(p.expect, VERDICT_OVERLAP);
	program_destroy(&p);
}

/* Each byte from 0x80 begins a record, and random ones are often those that matter. */
static void random_bytes_are_mostly_operations(void **state)
{
	struct program p;
	size_t by_kind[OP_KINDS] = {0}, total = 0;

	(void)state;
	program_init(&p);
	for (unsigned byte = 0x80; byte <= 0xff; byte++) {
		uint8_t bytes[] = {(uint8_t)byte};

		program_decode(bytes, 1, &p);
		if (program_op_count(&p) == 1)
			by_kind[p.threads[0].ops[0].kind]++;
		total += program_op_count(&p);
	}
	assert_true(total >= 120);
	for (int kind = 0; kind < OP_KINDS; kind++)
		assert_true(by_kind[kind] >= 1);
	assert_true(by_kind[OP_MALLOC] + by_kind[OP_CALLOC] + by_kind[OP_REALLOC] + by_kind[OP_FREE] >= 90);
	assert_true(by_kind[OP_FREE] >= 30 && by_kind[OP_MALLOC] >= 30);
	program_destroy(&p);
}

static void any_bytes_are_a_program(void **state)
{
	static uint8_t bytes[512], encoded[BYTES_MAX];
	struct program p, q;
	char *text;

	(void)state;
	program_init(&p);
	program_init(&q);
	random_state = 77;
	for (int i = 0; i < 5000; i++) {
		size_t length = below(sizeof(bytes));

		for (size_t j = 0; j < length; j++)
			bytes[j] = (uint8_t)next_random();
		program_decode(bytes, length, &p);
		program_decode(encoded, program_encode(&p, encoded, sizeof(encoded)), &q);
		assert_true(program_equal(&p, &q));
		text = printed(&p);
		parse_good(text, &q);
		assert_true(program_equal(&p, &q));
		free(text);
	}
	program_destroy(&p);
	program_destroy(&q);
}

static bool same_op(const struct op *a, const struct op *b)
{
	struct op x = op_normalized(*a), y = op_normalized(*b);

	return x.kind == y.kind && x.result == y.result && x.block == y.block && x.size == y.size && x.count == y.count;
}

/* All operations, thread after thread. */
static size_t flatten(const struct program *p, struct op *ops)
{
	size_t count = 0;

	for (size_t i = 0; i < p->thread_count; i++)
		for (size_t j = 0; j < p->threads[i].count; j++)
			ops[count++] = p->threads[i].ops[j];
	return count;
}

static void a_truncated_encoding_is_a_shorter_program(void **state)
{
	static uint8_t bytes[BYTES_MAX], cut[BYTES_MAX];
	struct op whole[64], part[64];
	struct program p, q;

	(void)state;
	program_init(&p);
	program_init(&q);
	random_state = 5;
	for (int i = 0; i < 300; i++) {
		size_t length, whole_count, part_count, before = 0;

		random_program(&p, 1 + below(4));
		length = program_encode(&p, bytes, sizeof(bytes));
		whole_count = flatten(&p, whole);
		for (size_t keep = 0; keep <= length; keep++) {
			size_t written;

			program_decode(bytes, keep, &q);
			part_count = flatten(&q, part);
			assert_true(part_count <= whole_count && part_count >= before && part_count <= before + 1);
			/* All but the last one, which may have been cut, are as they were. */
			for (size_t j = 0; j + 1 < part_count; j++)
				assert_true(same_op(&part[j], &whole[j]));
			before = part_count;

			/* The encoder stops between records. */
			memset(cut, 0xaa, length + 1);
			written = program_encode(&p, cut, keep);
			assert_true(written <= keep);
			assert_memory_equal(cut, bytes, written);
			assert_int_equal(cut[written], 0xaa);
			assert_true(written == length || bytes[written] >= 0x80);
		}
		assert_true(program_equal(&p, &q));
	}
	program_destroy(&p);
	program_destroy(&q);
}

/* One byte changed, inserted or deleted changes the operation it is in; that may vanish or become two, all others stay. */
static void an_edit_stays_in_its_operation(void **state)
{
	static uint8_t bytes[BYTES_MAX], edited[BYTES_MAX];
	struct op whole[64], part[128];
	struct program p, q;
	size_t edits = 0;

	(void)state;
	program_init(&p);
	program_init(&q);
	random_state = 99;
	for (int i = 0; i < 400; i++) {
		size_t length, count, record = 0, first = 0;

		random_program(&p, 1);
		p.allocator[0] = '\0'; /* characters take what follows them */
		p.has_expect = false;
		p.thread_count = 1;
		length = program_encode(&p, bytes, sizeof(bytes));
		count = flatten(&p, whole);
		/* The records of the operations are the last ones. */
		for (size_t at = length, seen = 0; seen < count;)
			if (bytes[--at] >= 0x80 && ++seen == count)
				first = at;
		if (count == 0)
			continue;
		for (size_t at = first; at < length; at++) {
			record += bytes[at] >= 0x80 && at > first;
			for (int way = 0; way < 3; way++) {
				size_t size = length, part_count, after;

				memcpy(edited, bytes, length);
				if (way == 0) {
					edited[at] = (uint8_t)next_random();
				} else if (way == 1) {
					memmove(edited + at + 1, edited + at, length - at);
					edited[at] = (uint8_t)next_random();
					size++;
				} else {
					memmove(edited + at, edited + at + 1, length - at - 1);
					size--;
				}
				program_decode(edited, size, &q);
				part_count = flatten(&q, part);
				assert_true(part_count + 1 >= count && part_count <= count + 1);
				for (size_t j = 0; j < record; j++)
					assert_true(same_op(&part[j], &whole[j]));
				after = count - record - 1;
				assert_true(part_count >= record + after);
				for (size_t j = 0; j < after; j++)
					assert_true(same_op(&part[part_count - 1 - j], &whole[count - 1 - j]));
				edits++;
			}
		}
	}
	assert_true(edits > 10000);
	program_destroy(&p);
	program_destroy(&q);
}

/* ---- .rep ---- */

static void rep_traces_are_read(void **state)
{
	static const char text[] = "20000\n3\n6\n1\na 0 512\r\na 1 128\nr 0 640\nf 1\nf -1\nf 2\n";
	struct parse_error error;
	struct program p;
	char *canonical;

	(void)state;
	program_init(&p);
	assert_true(program_is_rep(text, strlen(text)));
	if (!program_parse_rep(text, strlen(text), &p, &error))
		fail_msg("%zu:%zu: %s", error.line, error.column, error.message);
	canonical = printed(&p);
	assert_string_equal(
		canonical,
		HEAD "  a = malloc 512\n  b = malloc 128\n  a = realloc a 640\n  free b\n  free null\n  free c\n");
	free(canonical);
	program_destroy(&p);
}

static void rep_errors_say_where_and_what(void **state)
{
	static const struct {
		const char *text;
		size_t line, column;
		const char *message;
	} cases[] = {
		{"", 1, 1, "expected the suggested heap size, a number of at most 64 bits, found the end of the trace"},
		{"1\n2\nx\n", 3, 1, "expected the number of operations, a number of at most 64 bits, found `x'"},
		{"1 2 3", 1, 6, "expected the weight, a number of at most 64 bits, found the end of the trace"},
		{"1 99999999 1 1", 1, 3, "expected the number of ids, at most 12356629, found `99999999'"},
		{"1 1 1 1\nb 0 1\n", 2, 1, "expected an operation, `a ID SIZE', `r ID SIZE' or `f ID', found `b'"},
		{"1 1 1 1\na 1 1\n", 2, 3, "expected an id from 0 to 0, as the header declares, found `1'"},
		{"1 0 1 1\nf 0\n", 2, 3, "expected no operation with an id, as the header declares 0 ids, found `0'"},
		{"1 1 1 1\na 0 -1\n", 2, 5, "expected a size in bytes, a number of at most 64 bits, found `-1'"},
		{"1 1 1 1\na 0 18446744073709551616\n", 2, 5,
		 "expected a size in bytes, a number of at most 64 bits, found `18446744073709551616'"},
		{"1 1 2 1\na 0 1\n", 3, 1,
		 "expected 2 operations, as the header declares, and found 1, found the end of the trace"},
		{"1 1 1 1\na 0 1\n  f 0\n", 3, 3,
		 "expected the end after 1 operations, as the header declares, found `f'"},
		{"1 1 1 1\n\xff\x01", 2, 1,
		 "expected an operation, `a ID SIZE', `r ID SIZE' or `f ID', found `?"
		 "?'"},
	};
	struct parse_error error;
	struct program p;

	(void)state;
	program_init(&p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (program_parse_rep(cases[i].text, strlen(cases[i].text), &p, &error))
			fail_msg("no error: %s", cases[i].text);
		assert_string_equal(error.message, cases[i].message);
		if (error.line != cases[i].line || error.column != cases[i].column)
			fail_msg("%zu:%zu instead of %zu:%zu: %s", error.line, error.column, cases[i].line,
				 cases[i].column, error.message);
	}
	program_destroy(&p);
}

/* ---- Any file ---- */

static void files_are_told_by_content(void **state)
{
	static const struct {
		const char *name;
		const char *content;
		bool good;
		enum program_format format;
		const char *message; /* after the name of the file */
	} cases[] = {
		{"input", "\x80\x01\x02", true, FORMAT_BYTES, NULL},
		{"empty", "", true, FORMAT_BYTES, NULL},
		{"notes", "heap of things", true, FORMAT_BYTES, NULL},
		{"program", "# for a test\n\nheapstorm 1\nthread main\n", true, FORMAT_TEXT, NULL},
		{"wrong", "heapstorm 1\nfoo\n", false, FORMAT_TEXT,
		 ":2:1: expected allocator, expect or a section (thread, faults, schedule), found `foo'"},
		{"typo.heap", "heapstrom 1\n", false, FORMAT_TEXT,
		 ":1:1: expected the first line, `heapstorm 1', found `heapstrom'"},
		{"trace", "1 1 1 1\na 0 5\n", true, FORMAT_REP, NULL},
		{"bad", "1 1 1 1\na 1 5\n", false, FORMAT_REP,
		 ":2:3: expected an id from 0 to 0, as the header declares, found `1'"},
		{"short.rep", "1 1\n", false, FORMAT_REP,
		 ":2:1: expected the number of operations, a number of at most 64 bits, found the end of the trace"},
	};
	char directory[] = "/tmp/heapstorm-test-XXXXXX";
	char path[128], message[512], expected[512];
	enum program_format format;
	struct program p;

	(void)state;
	program_init(&p);
	assert_non_null(mkdtemp(directory));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", directory, cases[i].name);
		file = fopen(path, "w");
		assert_non_null(file);
		fputs(cases[i].content, file);
		fclose(file);
		assert_int_equal(program_load(path, &p, &format, message, sizeof(message)), cases[i].good);
		assert_int_equal(format, cases[i].format);
		expected[0] = '\0';
		if (cases[i].message)
			snprintf(expected, sizeof(expected), "%s%s", path, cases[i].message);
		assert_string_equal(message, expected);
		unlink(path);
	}
	assert_false(program_load(directory, &p, &format, message, sizeof(message)));
	snprintf(expected, sizeof(expected), "%s: Is a directory", directory);
	assert_string_equal(message, expected);
	assert_false(program_load("/no/such/file", &p, &format, message, sizeof(message)));
	assert_string_equal(message, "/no/such/file: No such file or directory");
	rmdir(directory);
	program_destroy(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_are_named_in_bijective_base_26),
		cmocka_unit_test(operations_print_like_snprintf),
		cmocka_unit_test(faults_stay_ascending_and_unique),
		cmocka_unit_test(fields_that_a_kind_does_not_use_do_not_count),
		cmocka_unit_test(every_difference_makes_programs_unequal),
		cmocka_unit_test(clearing_keeps_the_memory),
		cmocka_unit_test(operations_are_inserted_and_removed_in_place),
		cmocka_unit_test(the_label_limit_is_above_every_label),
		cmocka_unit_test(canonical_text_prints_as_it_was),
		cmocka_unit_test(text_is_read_liberally),
		cmocka_unit_test(errors_say_where_and_what),
		cmocka_unit_test(an_allocator_may_be_long_but_not_too_long),
		cmocka_unit_test(random_programs_survive_both_spellings),
		cmocka_unit_test(canonical_text_survives_the_bytes),
		cmocka_unit_test(the_encoding_is_as_documented),
		cmocka_unit_test(header_characters_are_made_fit_for_the_text),
		cmocka_unit_test(random_bytes_are_mostly_operations),
		cmocka_unit_test(any_bytes_are_a_program),
		cmocka_unit_test(a_truncated_encoding_is_a_shorter_program),
		cmocka_unit_test(an_edit_stays_in_its_operation),
		cmocka_unit_test(rep_traces_are_read),
		cmocka_unit_test(rep_errors_say_where_and_what),
		cmocka_unit_test(files_are_told_by_content),
	};

	return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
