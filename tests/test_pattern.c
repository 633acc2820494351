/* The contents of blocks: filling, finding the first wrong byte, at every length and alignment; and the loops of raw_memory.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "pattern.h"
#include "raw_memory.h"

#define SIZE 400
#define MARGIN 32

static unsigned char memory[SIZE + 2 * MARGIN + 16];

static void fills_exactly_and_byte_by_byte(void **state)
{
	(void)state;
	for (size_t shift = 0; shift < 16; shift++) {
		unsigned char *const block = memory + MARGIN + shift;

		for (size_t size = 0; size < 200; size++) {
			memset(memory, 0x5a, sizeof memory);
			pattern_fill(block, 0, size, 77);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(block[i], pattern_byte(77, i));
			for (size_t i = 0; i < MARGIN; i++) {
				assert_int_equal(block[-1 - (ptrdiff_t)i], 0x5a);
				assert_int_equal(block[size + i], 0x5a);
			}
			assert_int_equal(pattern_mismatch(block, 0, size, 77), size);
		}
	}
}

static void fills_from_any_offset(void **state)
{
	unsigned char *const block = memory + MARGIN;

	(void)state;
	for (size_t from = 0; from < 80; from++) {
		for (size_t size = from; size < 180; size += 3) {
			memset(memory, 0x5a, sizeof memory);
			pattern_fill(block, from, size, UINT64_MAX - 3);
			for (size_t i = 0; i < SIZE; i++)
				assert_int_equal(block[i],
						 i >= from && i < size ? pattern_byte(UINT64_MAX - 3, i) : 0x5a);
		}
	}
}

static void finds_the_first_wrong_byte(void **state)
{
	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		unsigned char *const block = memory + MARGIN + shift;

		for (size_t size = 1; size < 150; size++) {
			for (size_t from = 0; from < size; from += 8) {
				for (size_t bad = 0; bad < size; bad++) {
					pattern_fill(block, 0, size, 9);
					block[size] =
						(unsigned char)~pattern_byte(9, size); /* beyond: does not count */
					block[bad] ^= 1;
					if (bad + 5 < size)
						block[bad + 5] ^= 0x80;
					size_t expected = bad >= from                         ? bad
							  : bad + 5 < size && bad + 5 >= from ? bad + 5
											      : size;

					assert_int_equal(pattern_mismatch(block, from, size, 9), expected);
				}
			}
		}
	}
}

/* Blocks of neighbouring ids differ in nearly every byte, a block moved by some bytes too: a stale or shifted copy is seen at once. */
static void patterns_are_far_apart(void **state)
{
	size_t same = 0, shifted = 0;

	(void)state;
	for (uint64_t id = 1; id < 200; id++) {
		for (size_t i = 0; i < 64; i++) {
			same += pattern_byte(id, i) == pattern_byte(id + 1, i);
			shifted += pattern_byte(id, i) == pattern_byte(id, i + 8);
		}
		/* Some byte of the first eight tells two ids apart. */
		for (uint64_t other = id + 1; other < 200; other++) {
			unsigned char a[8], b[8];

			pattern_fill(a, 0, 8, id);
			pattern_fill(b, 0, 8, other);
			assert_memory_not_equal(a, b, 8);
		}
	}
	/* A random byte is the same once in 256 times. */
	assert_true(same < 199 * 64 / 100);
	assert_true(shifted < 199 * 64 / 50);
}

static void raw_memory_loops(void **state)
{
	static unsigned char to[SIZE + 2 * MARGIN];

	(void)state;
	for (size_t size = 0; size < 300; size++) {
		for (size_t shift = 0; shift < 3; shift++) {
			unsigned char *const block = memory + MARGIN + shift;

			memset(memory, 0xff, sizeof memory);
			raw_zero(block, size);
			assert_int_equal(raw_first_nonzero(block, size), size);
			assert_int_equal(block[-1], 0xff);
			assert_int_equal(block[size], 0xff);
			for (size_t bad = 0; bad < size; bad += 1 + bad / 9) {
				block[bad] = 1;
				assert_int_equal(raw_first_nonzero(block, size), bad);
				block[bad] = 0;
			}
			for (size_t i = 0; i < size; i++)
				block[i] = (unsigned char)(i * 7 + size);
			memset(to, 0xee, sizeof to);
			raw_copy(to + MARGIN, block, size);
			assert_memory_equal(to + MARGIN, block, size);
			assert_int_equal(to[MARGIN - 1], 0xee);
			assert_int_equal(to[MARGIN + size], 0xee);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_exactly_and_byte_by_byte),
		cmocka_unit_test(fills_from_any_offset),
		cmocka_unit_test(finds_the_first_wrong_byte),
		cmocka_unit_test(patterns_are_far_apart),
		cmocka_unit_test(raw_memory_loops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
