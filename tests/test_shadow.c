/* The shadow is exact to the byte: against a list of intervals, at the edges of granules and leaves, and where bytes were given twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shadow.h"

#define SPANS 4096
#define BASE ((uintptr_t)0x100000000000)
#define LEAF ((uintptr_t)256 << 20)

/* A stride that is not the size of a span, as in the executor. */
static struct {
	struct shadow_span span;
	uint64_t other[3];
} records[SPANS];

static int attach(void **state)
{
	(void)state;
	shadow_attach(records, sizeof records[0]);
	return 0;
}

static void nothing_at_first(void **state)
{
	(void)state;
	assert_int_equal(shadow_find(BASE), 0);
	assert_int_equal(shadow_find(0), 0);
	assert_int_equal(shadow_find(UINTPTR_MAX), 0);
	assert_int_equal(shadow_find((uintptr_t)1 << 47), 0);
}

static void exact_to_the_byte(void **state)
{
	static const size_t sizes[] = {1, 7, 8, 15, 16, 17, 31, 32, 33, 100, 4096, 70000};

	(void)state;
	for (size_t offset = 0; offset < 33; offset++) {
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			const uintptr_t start = BASE + 4096 + offset, end = start + sizes[i];

			assert_int_equal(shadow_claim(1, start, sizes[i]), 0);
			assert_int_equal(shadow_find(start - 1), 0);
			assert_int_equal(shadow_find(start), 1);
			assert_int_equal(shadow_find(start + sizes[i] / 2), 1);
			assert_int_equal(shadow_find(end - 1), 1);
			assert_int_equal(shadow_find(end), 0);
			/* Neighbours that touch, and those that overlap by one byte at either end. */
			assert_int_equal(shadow_claim(2, start - 3, 4), 1);
			assert_int_equal(shadow_claim(2, end - 1, 4), 1);
			assert_int_equal(shadow_claim(2, start - 3, 3), 0);
			assert_int_equal(shadow_claim(3, end, 3), 0);
			/* The same, containment either way. */
			assert_int_equal(shadow_claim(4, start, sizes[i]), 1);
			assert_int_equal(shadow_claim(4, start + sizes[i] / 2, 1), 1);
			assert_int_not_equal(shadow_claim(4, start - 20, sizes[i] + 40), 0);
			assert_int_equal(shadow_release(1), 0);
			assert_int_equal(shadow_find(start - 1), 2);
			assert_int_equal(shadow_find(start), 0);
			assert_int_equal(shadow_find(end), 3);
			/* The gap fits exactly. */
			assert_int_equal(shadow_claim(5, start, sizes[i]), 0);
			assert_int_equal(shadow_release(5), 0);
			assert_int_equal(shadow_release(2), 0);
			assert_int_equal(shadow_release(3), 0);
			assert_int_equal(shadow_find(start - 1), 0);
			assert_int_equal(shadow_find(end), 0);
		}
	}
}

static void containment_far_from_the_ends(void **state)
{
	(void)state;
	assert_int_equal(shadow_claim(1, BASE + 100000, 1), 0);
	assert_int_equal(shadow_claim(2, BASE, 200000), 1);
	assert_int_equal(shadow_release(1), 0);
	assert_int_equal(shadow_claim(2, BASE, 200000), 0);
	assert_int_equal(shadow_claim(1, BASE + 100000, 1), 2);
	assert_int_equal(shadow_release(2), 0);
}

static void sixteen_blocks_in_a_granule(void **state)
{
	static const unsigned orders[][4] = {{0, 1, 15, 3}, {15, 14, 1, 7}, {5, 10, 15, 11}};

	(void)state;
	for (size_t order = 0; order < 3; order++) {
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(shadow_claim(i + 1, BASE + i, 1), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(shadow_find(BASE + i), i + 1);
		assert_in_range(shadow_claim(20, BASE - 1, 3), 1, 2); /* meets both: one of them is named */
		for (unsigned i = 0; i < 16; i++) {
			const unsigned victim = (orders[order][0] + i * orders[order][3]) % 16;

			assert_int_equal(shadow_release(victim + 1), 0);
			assert_int_equal(shadow_find(BASE + victim), 0);
		}
		assert_int_equal(shadow_claim(20, BASE, 16), 0);
		assert_int_equal(shadow_release(20), 0);
	}
}

/* A span that begins in the middle of a granule and one that ends there share it, and so do tiny ones between. */
static void chains_at_both_ends(void **state)
{
	(void)state;
	assert_int_equal(shadow_claim(1, BASE, 40), 0);       /* ends in granule 2 */
	assert_int_equal(shadow_claim(2, BASE + 40, 8), 0);   /* within it */
	assert_int_equal(shadow_claim(3, BASE + 48, 24), 0);  /* ends in granule 4 */
	assert_int_equal(shadow_claim(4, BASE + 72, 100), 0); /* begins there */
	assert_int_equal(shadow_release(3), 0);
	assert_int_equal(shadow_find(BASE + 71), 0);
	assert_int_equal(shadow_find(BASE + 72), 4);
	assert_int_equal(shadow_find(BASE + 47), 2);
	assert_int_equal(shadow_release(1), 0);
	assert_int_equal(shadow_find(BASE + 39), 0);
	assert_int_equal(shadow_find(BASE + 40), 2);
	assert_int_equal(shadow_claim(5, BASE + 1, 39), 0);
	assert_int_equal(shadow_claim(6, BASE + 48, 24), 0);
	assert_int_equal(shadow_release(4), 0);
	assert_int_equal(shadow_release(2), 0);
	assert_int_equal(shadow_release(6), 0);
	assert_int_equal(shadow_release(5), 0);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(shadow_find(BASE + i), 0);
}

static void leaf_boundaries(void **state)
{
	const uintptr_t edge = BASE + 3 * LEAF;

	(void)state;
	assert_int_equal(shadow_claim(1, edge - 8, 16), 0); /* two granules in two leaves */
	assert_int_equal(shadow_find(edge - 9), 0);
	assert_int_equal(shadow_find(edge - 1), 1);
	assert_int_equal(shadow_find(edge), 1);
	assert_int_equal(shadow_find(edge + 8), 0);
	assert_int_equal(shadow_claim(2, edge - 16, 8), 0);
	assert_int_equal(shadow_claim(3, edge + 8, 8), 0);
	assert_int_equal(shadow_claim(4, edge - 100, 200), 2);
	assert_int_equal(shadow_release(1), 0);
	assert_int_equal(shadow_find(edge - 16), 2);
	assert_int_equal(shadow_find(edge + 8), 3);
	assert_int_equal(shadow_release(2), 0);
	assert_int_equal(shadow_release(3), 0);
	/* Exactly up to the edge, and from it on. */
	assert_int_equal(shadow_claim(1, edge - 64, 64), 0);
	assert_int_equal(shadow_claim(2, edge, 64), 0);
	assert_int_equal(shadow_find(edge - 1), 1);
	assert_int_equal(shadow_find(edge), 2);
	assert_int_equal(shadow_release(1), 0);
	assert_int_equal(shadow_release(2), 0);
	/* A whole leaf and a little on both sides; a stray byte in its middle is met. */
	assert_int_equal(shadow_claim(5, edge + LEAF / 2, 1), 0);
	assert_int_equal(shadow_claim(1, edge - 24, LEAF + 48), 5);
	assert_int_equal(shadow_release(5), 0);
	assert_int_equal(shadow_claim(1, edge - 24, LEAF + 48), 0);
	assert_int_equal(shadow_find(edge + LEAF + 23), 1);
	assert_int_equal(shadow_find(edge + LEAF + 24), 0);
	assert_int_equal(shadow_claim(5, edge + LEAF / 2, 1), 1);
	assert_int_equal(shadow_release(1), 0);
	assert_int_equal(shadow_find(edge + LEAF / 2), 0);
}

static void highest_addresses(void **state)
{
	const uintptr_t end = (uintptr_t)1 << 47;

	(void)state;
	assert_int_equal(shadow_claim(1, end - 24, 24), 0);
	assert_int_equal(shadow_find(end - 1), 1);
	assert_int_equal(shadow_claim(2, end - 1, 1), 1);
	assert_int_equal(shadow_release(1), 0);
	assert_int_equal(shadow_find(end - 1), 0);
}

/* Two threads claimed the same bytes at the same moment: each saw them free, the release finds it out. */
static void release_finds_a_foreign_slot(void **state)
{
	(void)state;
	/* What a race leaves behind: the second claim's slots lie over the first one's. Made by hiding the first one's chain. */
	assert_int_equal(shadow_claim(1, BASE, 160), 0);
	const struct shadow_span first = records[1].span;

	records[1].span.start = BASE + (1 << 20); /* nobody meets it there */
	assert_int_equal(shadow_claim(2, BASE + 32, 64), 0);
	records[1].span = first;
	assert_int_not_equal(shadow_release(1), 0);
	assert_int_not_equal(shadow_release(2), 0);

	/* In one granule, where the winner is named. */
	assert_int_equal(shadow_claim(3, BASE + 4096, 16), 0);
	const struct shadow_span third = records[3].span;

	records[3].span.start = BASE + (1 << 20);
	records[3].span.link[0] = 0;
	assert_int_equal(shadow_claim(4, BASE + 4096, 16), 0);
	records[4].span.link[0] = 0; /* it had read an empty slot */
	records[3].span = third;
	assert_int_equal(shadow_release(3), 4);
	assert_int_equal(shadow_release(4), 0);
	for (unsigned i = 0; i < 4096 + 16; i++)
		assert_int_equal(shadow_find(BASE + i), 0);
}

/* A twin span at the same place released twice is told too. */
static void release_of_what_is_not_there(void **state)
{
	(void)state;
	assert_int_equal(shadow_claim(1, BASE, 16), 0);
	assert_int_equal(shadow_release(1), 0);
	assert_int_not_equal(shadow_release(1), 0);
	assert_int_equal(shadow_claim(1, BASE, 4096), 0);
	assert_int_equal(shadow_release(1), 0);
	assert_int_not_equal(shadow_release(1), 0);
}

static uint64_t random_state = 12345;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

/* Random claims and releases in a small range, so that most of them meet, beside a map of every byte. */
static void random_against_a_byte_map(void **state)
{
	enum { RANGE = 2048, INDEXES = 200 };
	static uint16_t owner[RANGE];
	static bool live[INDEXES + 1];
	static size_t from[INDEXES + 1], length[INDEXES + 1];
	size_t granted = 0, refused = 0;

	(void)state;
	/* Across the boundary of two leaves. */
	const uintptr_t base = BASE + 8 * LEAF - RANGE / 2;

	for (unsigned step = 0; step < 200000; step++) {
		const uint32_t index = 1 + (uint32_t)random_below(INDEXES);

		if (live[index]) {
			assert_int_equal(shadow_release(index), 0);
			memset(&owner[from[index]], 0, length[index] * sizeof owner[0]);
			live[index] = false;
		} else {
			const size_t size = 1 + random_below(random_below(4) == 0 ? 200 : 20);
			const size_t start = random_below(RANGE - size);
			bool met = false, named = false;
			const uint32_t other = shadow_claim(index, base + start, size);

			for (size_t i = start; i < start + size; i++) {
				met |= owner[i] != 0;
				named |= owner[i] == other && other != 0;
			}
			assert_int_equal(other != 0, met);
			assert_int_equal(other != 0, named);
			if (other == 0) {
				for (size_t i = start; i < start + size; i++)
					owner[i] = (uint16_t)index;
				from[index] = start;
				length[index] = size;
				live[index] = true;
				granted++;
			} else {
				refused++;
			}
		}
		const size_t at = random_below(RANGE);

		assert_int_equal(shadow_find(base + at), owner[at]);
		if (step % 5000 == 0)
			for (size_t i = 0; i < RANGE; i++)
				assert_int_equal(shadow_find(base + i), owner[i]);
	}
	assert_true(granted > 10000 && refused > 10000);
	for (uint32_t index = 1; index <= INDEXES; index++)
		if (live[index])
			assert_int_equal(shadow_release(index), 0);
	for (size_t i = 0; i < RANGE; i++)
		assert_int_equal(shadow_find(base + i), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_at_first),
		cmocka_unit_test(exact_to_the_byte),
		cmocka_unit_test(containment_far_from_the_ends),
		cmocka_unit_test(sixteen_blocks_in_a_granule),
		cmocka_unit_test(chains_at_both_ends),
		cmocka_unit_test(leaf_boundaries),
		cmocka_unit_test(highest_addresses),
		cmocka_unit_test(random_against_a_byte_map),
		cmocka_unit_test(release_of_what_is_not_there),
		cmocka_unit_test(release_finds_a_foreign_slot),
	};

	return cmocka_run_group_tests(tests, attach, NULL);
}
