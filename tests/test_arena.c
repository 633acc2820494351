/*
 * The arena against a model of pages: memory is zero when it is mapped and keeps what was written, mappings do not overlap, exactly the
 * chosen calls fail, counts are right, and a reset takes everything back to the start. Built a second time under AddressSanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "sanitizer.h"

void *heapstorm_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t offset);
int heapstorm_munmap(void *start, size_t size);
void *heapstorm_mremap(void *start, size_t old_size, size_t new_size, int flags, ...);
int heapstorm_madvise(void *start, size_t size, int advice);
int heapstorm_mprotect(void *start, size_t size, int protection);
void *heapstorm_sbrk(intptr_t increment);

#define PAGE 4096
#define RW (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static char *map(size_t size)
{
	return heapstorm_mmap(NULL, size, RW, ANONYMOUS, -1, 0);
}

static int set_up(void **state)
{
	(void)state;
	if (sysconf(_SC_PAGESIZE) != PAGE || !arena_use(0))
		return -1;
	arena_reset();
	return 0;
}

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

static void assert_zero(const char *start, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (start[i] != 0)
			fail_msg("byte %zu of %zu at %p is not zero", i, size, (const void *)start);
}

/* ---- The model: for each page of the range whether it is mapped, and what was written to its first and last bytes ---- */

#define MODEL_PAGES 8192

static struct {
	bool mapped;
	uint32_t tag; /* 0: zero */
} model[MODEL_PAGES];

static char *base;

static char *page_at(size_t page)
{
	return base + page * PAGE;
}

static void write_tag(size_t page, uint32_t tag)
{
	model[page].tag = tag;
	memcpy(page_at(page), &tag, sizeof tag);
	memcpy(page_at(page) + PAGE - sizeof tag, &tag, sizeof tag);
}

static void check_page(size_t page)
{
	uint32_t first, last;

	assert_int_equal(arena_is_mapped(page_at(page)), model[page].mapped);
	if (!model[page].mapped)
		return;
	memcpy(&first, page_at(page), sizeof first);
	memcpy(&last, page_at(page) + PAGE - sizeof last, sizeof last);
	if (first != model[page].tag || last != model[page].tag)
		fail_msg("page %zu has %x and %x instead of %x", page, first, last, model[page].tag);
}

/* A mapping has come: it lies where nothing was, and is zero. */
static void take_mapping(char *start, size_t pages)
{
	const size_t page = (size_t)(start - base) / PAGE;

	assert_true(start >= base && page + pages <= MODEL_PAGES && (uintptr_t)start % PAGE == 0);
	for (size_t i = page; i < page + pages; i++) {
		assert_false(model[i].mapped);
		model[i].mapped = true;
		model[i].tag = 0;
		check_page(i);
	}
	assert_zero(start, pages < 4 ? pages * PAGE : PAGE);
}

static void drop_pages(size_t page, size_t pages)
{
	for (size_t i = page; i < page + pages && i < MODEL_PAGES; i++)
		model[i].mapped = false;
}

/* A mapped page and how many are mapped from there on; false if there is none. */
static bool some_mapped(size_t *page, size_t *run)
{
	for (int tries = 0; tries < 200; tries++) {
		*page = random_below(MODEL_PAGES);
		for (*run = 0; *page + *run < MODEL_PAGES && model[*page + *run].mapped && *run < 64; ++*run)
			;
		if (*run > 0)
			return true;
	}
	return false;
}

/* One random program of the arena's calls; returns a hash of all addresses. */
static uint64_t random_run(uint64_t seed, bool with_faults, bool with_protection)
{
	static uint64_t faults[64];
	uint64_t hash = 1, calls = 0, hit = 0;
	size_t page, run, next_fault = 0, mapped = 0, peak = 0;

	random_state = seed * 2654435761u + 88172645463325252u;
	memset(model, 0, sizeof model);
	arena_reset();
	for (size_t i = 0; i < 64; i++)
		faults[i] = (i > 0 ? faults[i - 1] : 0) + 1 + random_below(12);
	if (with_faults)
		arena_set_faults(faults, 64);
	for (unsigned step = 0; step < 1500; step++) {
		const unsigned kind = (unsigned)random_below(100);
		const bool makes_call = kind < 65 || (kind >= 90 && kind < 96);
		bool fails = false;

		if (kind >= 40 && !some_mapped(&page, &run))
			continue;
		if (makes_call && !(kind >= 30 && kind < 40)) {
			calls++;
			while (next_fault < 64 && faults[next_fault] < calls)
				next_fault++;
			fails = with_faults && next_fault < 64 && faults[next_fault] == calls;
			hit += fails;
		}
		if (kind < 30) {
			const size_t pages = 1 + random_below(random_below(8) == 0 ? 100 : 6);
			char *start, *hint = NULL;
			int flags = ANONYMOUS;

			if (random_below(4) == 0 && some_mapped(&page, &run))
				hint = random_below(2) == 0 ? page_at(page) + run * PAGE : page_at(page) - pages * PAGE;
			if (hint != NULL && hint < base)
				hint = NULL;
			if (hint != NULL && random_below(3) == 0)
				flags |= MAP_FIXED;
			if (mapped + pages * PAGE > (size_t)MODEL_PAGES / 4 * PAGE ||
			    (hint != NULL && hint > page_at(MODEL_PAGES - 200))) {
				/* Full enough: not called. */
				calls--;
				hit -= fails;
				continue;
			}
			start = heapstorm_mmap(hint, pages * PAGE - random_below(PAGE), RW, flags, -1, 0);
			if (fails) {
				assert_ptr_equal(start, MAP_FAILED);
				assert_int_equal(errno, ENOMEM);
				continue;
			}
			assert_ptr_not_equal(start, MAP_FAILED);
			if (flags & MAP_FIXED) {
				assert_ptr_equal(start, hint);
				for (size_t i = 0; i < pages; i++)
					mapped -= model[(size_t)(hint - base) / PAGE + i].mapped ? PAGE : 0;
				drop_pages((size_t)(hint - base) / PAGE, pages);
			}
			take_mapping(start, pages);
			mapped += pages * PAGE;
			hash = (hash ^ (uintptr_t)start) * UINT64_C(0x100000001b3);
		} else if (kind < 40) {
			/* A range that may have holes. */
			if (!some_mapped(&page, &run))
				continue;
			size_t pages = 1 + random_below(run + 3);

			while (pages > 1 && !model[page + pages - 1].mapped)
				pages--;
			assert_int_equal(heapstorm_munmap(page_at(page), pages * PAGE), 0);
			for (size_t i = page; i < page + pages; i++)
				mapped -= model[i].mapped ? PAGE : 0;
			drop_pages(page, pages);
		} else if (kind < 55) {
			const size_t old_pages = 1 + random_below(run), new_pages = 1 + random_below(20);
			const bool may_move = random_below(2) == 0;
			char *moved = heapstorm_mremap(page_at(page), old_pages * PAGE, new_pages * PAGE,
						       may_move ? MREMAP_MAYMOVE : 0);
			uint32_t tags[64];

			if (moved == MAP_FAILED) {
				assert_int_equal(errno, ENOMEM);
				assert_true(fails || (!may_move && new_pages > old_pages));
				continue;
			}
			assert_false(fails);
			for (size_t i = 0; i < old_pages; i++)
				tags[i] = model[page + i].tag;
			drop_pages(page, old_pages);
			const size_t to = (size_t)(moved - base) / PAGE;

			for (size_t i = 0; i < new_pages; i++) {
				assert_false(model[to + i].mapped);
				model[to + i].mapped = true;
				model[to + i].tag = i < old_pages ? tags[i] : 0;
				check_page(to + i);
			}
			mapped = mapped + new_pages * PAGE - old_pages * PAGE;
			hash = (hash ^ (uintptr_t)moved) * UINT64_C(0x100000001b3);
		} else if (kind < 65) {
			const size_t pages = 1 + random_below(run);

			assert_int_equal(heapstorm_madvise(page_at(page), pages * PAGE, MADV_DONTNEED), fails ? -1 : 0);
			for (size_t i = page; i < page + pages && !fails; i++) {
				model[i].tag = 0;
				check_page(i);
			}
		} else if (kind < 90) {
			for (size_t i = 0; i < run && i < 8; i++)
				write_tag(page + i, (uint32_t)random_below(UINT32_MAX) | 1);
		} else if (kind < 96) {
			/* Move over another mapping. */
			size_t to, to_run, pages;

			if (!some_mapped(&to, &to_run)) {
				calls--;
				hit -= fails;
				continue;
			}
			pages = 1 + random_below(run < to_run ? run : to_run);
			const bool meets = to < page + pages && page < to + pages;
			char *const moved = heapstorm_mremap(page_at(page), pages * PAGE, pages * PAGE,
							     MREMAP_MAYMOVE | MREMAP_FIXED, page_at(to));

			if (fails || meets) {
				assert_ptr_equal(moved, MAP_FAILED);
				assert_int_equal(errno, fails ? ENOMEM : EINVAL);
				continue;
			}
			assert_ptr_equal(moved, page_at(to));
			for (size_t i = 0; i < pages; i++) {
				model[to + i].tag = model[page + i].tag;
				check_page(to + i);
			}
			drop_pages(page, pages);
			mapped -= pages * PAGE;
		} else if (with_protection) {
			/* What is made inaccessible and unmapped comes back accessible. */
			calls++;
			while (next_fault < 64 && faults[next_fault] < calls)
				next_fault++;
			fails = with_faults && next_fault < 64 && faults[next_fault] == calls;
			hit += fails;
			assert_int_equal(heapstorm_mprotect(page_at(page), run * PAGE, PROT_NONE), fails ? -1 : 0);
			assert_int_equal(heapstorm_munmap(page_at(page), run * PAGE), 0);
			drop_pages(page, run);
			mapped -= run * PAGE;
		}
		peak = mapped > peak ? mapped : peak;
		assert_int_equal(arena_counts()->mapped, mapped);
		assert_true(arena_counts()->mapped_peak >= peak);
		assert_int_equal(arena_counts()->calls, calls);
		assert_int_equal(arena_counts()->faults, hit);
		if (step % 100 == 0)
			for (size_t i = 0; i < MODEL_PAGES; i++)
				check_page(i);
	}
	return hash;
}

static void random_against_a_model(void **state)
{
	uint64_t first[60];

	(void)state;
	base = map(PAGE);
	assert_ptr_not_equal(base, MAP_FAILED);
	for (uint64_t seed = 0; seed < 60; seed++)
		first[seed] = random_run(seed, seed % 3 == 1, seed % 4 == 2);
	/* Whatever ran before, a run is the same again. */
	for (uint64_t seed = 60; seed-- > 0;)
		assert_true(random_run(seed, seed % 3 == 1, seed % 4 == 2) == first[seed]);
	arena_reset();
}

static void range_at_a_fixed_address(void **state)
{
	char *block;

	(void)state;
	for (unsigned domain = 0; domain < ARENA_DOMAINS; domain++) {
		assert_true(arena_use(domain));
		arena_reset();
		block = map(PAGE);
		assert_int_equal((uintptr_t)block, UINT64_C(0x200000000000) + ((uint64_t)domain << 40));
		assert_true(arena_contains(block) && arena_is_mapped(block));
		assert_false(arena_contains(&block));
		assert_false(arena_is_mapped(block + PAGE));
		/* The others are out of reach: one domain is in use at a time. */
		assert_false(
			arena_contains((char *)(uintptr_t)(UINT64_C(0x200000000000) + ((uint64_t)(domain + 1) << 40))));
		arena_reset();
	}
	arena_use(0);
}

/* Domains keep what they hold while another one is in use. */
static void domains_are_apart(void **state)
{
	char *first, *second;

	(void)state;
	first = map(3 * PAGE);
	first[5] = 1;
	arena_use(1);
	arena_reset();
	second = map(PAGE);
	second[5] = 2;
	assert_int_equal(arena_counts()->calls, 1);
	assert_int_equal(arena_counts()->mapped, PAGE);
	arena_reset();
	arena_use(0);
	assert_int_equal(first[5], 1);
	assert_int_equal(arena_counts()->mapped, 3 * PAGE);
	arena_reset();
	assert_int_equal(arena_counts()->mapped, 0);
	assert_int_equal(arena_counts()->calls, 0);
}

static void each_call_can_fail_alone(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 7; n++) {
		uint64_t refused = 0;

		arena_reset();
		arena_set_faults(&n, 1);
		char *const a = map(PAGE);
		refused += a == MAP_FAILED ? 1u << 1 : 0;
		char *const b = map(2 * PAGE);
		refused += b == MAP_FAILED ? 1u << 2 : 0;
		char *const live = a != MAP_FAILED ? a : b;
		refused += heapstorm_mremap(live, PAGE, 40 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? 1u << 3 : 0;
		char *const c = map(PAGE);
		refused += c == MAP_FAILED ? 1u << 4 : 0;
		char *const other = c != MAP_FAILED ? c : b;
		refused += heapstorm_madvise(other, PAGE, MADV_DONTNEED) != 0 ? 1u << 5 : 0;
		refused += heapstorm_mprotect(other, PAGE, RW) != 0 ? 1u << 6 : 0;
		refused += heapstorm_sbrk(PAGE) == (void *)-1 ? 1u << 7 : 0;
		assert_int_equal(refused, 1u << n);
		assert_int_equal(arena_counts()->calls, 7);
		assert_int_equal(arena_counts()->faults, 1);
		/* munmap and sbrk(0) are no mapping calls: giving back cannot fail. */
		assert_int_equal(heapstorm_munmap(other, PAGE), 0);
		assert_ptr_not_equal(heapstorm_sbrk(0), (void *)-1);
		assert_int_equal(arena_counts()->calls, 7);
	}
	arena_reset();
	arena_fail_all(true);
	assert_ptr_equal(map(PAGE), MAP_FAILED);
	assert_ptr_equal(map(PAGE), MAP_FAILED);
	arena_fail_all(false);
	assert_ptr_not_equal(map(PAGE), MAP_FAILED);
	arena_fail_all(true);
	arena_reset();
	assert_ptr_not_equal(map(PAGE), MAP_FAILED);
	arena_reset();
}

static void refusals_are_counted_apart(void **state)
{
	(void)state;
	assert_ptr_equal(map(0), MAP_FAILED);
	assert_int_equal(errno, EINVAL);
	assert_ptr_equal(map(SIZE_MAX / 2), MAP_FAILED);
	assert_int_equal(errno, ENOMEM);
	assert_ptr_equal(map(SIZE_MAX), MAP_FAILED);
	assert_ptr_equal(map((size_t)1 << 46), MAP_FAILED);
	assert_int_equal(arena_counts()->refusals, 4);
	assert_int_equal(arena_counts()->faults, 0);
	assert_int_equal(arena_counts()->mapped, 0);
	char *const block = map(PAGE);

	assert_int_equal(heapstorm_munmap(block + 1, PAGE), -1);
	assert_int_equal(heapstorm_munmap(block, 0), -1);
	assert_int_equal(heapstorm_munmap(block, SIZE_MAX), -1);
	assert_ptr_equal(heapstorm_mremap(block, PAGE, 0, MREMAP_MAYMOVE), MAP_FAILED);
	assert_ptr_equal(heapstorm_mremap(block, PAGE, SIZE_MAX, MREMAP_MAYMOVE), MAP_FAILED);
	assert_int_equal(arena_counts()->mapped, PAGE);
	arena_reset();
}

static void unmapped_addresses_rest(void **state)
{
	(void)state;
	/* Until so much was handed out, no address comes twice. */
	char *last = NULL;

	for (size_t i = 0; i < ARENA_QUARANTINE / (4 * PAGE); i++) {
		char *const block = map(4 * PAGE);

		assert_true(last == NULL || block > last);
		block[0] = block[4 * PAGE - 1] = 1;
		assert_int_equal(heapstorm_munmap(block, 4 * PAGE), 0);
		assert_false(arena_is_mapped(block));
		last = block;
	}
	/* Then they do, and are zero. */
	char *const again = map(4 * PAGE);

	assert_true(again <= last);
	assert_zero(again, 4 * PAGE);
	arena_reset();
}

/* Runs small and large in turn: nothing of one is in the next. */
static void reset_after_any_size(void **state)
{
	static const size_t sizes[] = {PAGE, 17 << 20, 5 * PAGE, 3 << 20, 40 << 20, PAGE, 15 << 20, 100 * PAGE};

	(void)state;
	for (unsigned round = 0; round < 160; round++) {
		const size_t size = sizes[round % 8];
		char *const block = map(size), *second = map(size);

		assert_int_equal((uintptr_t)block, UINT64_C(0x200000000000));
		assert_ptr_equal(second, block + size);
		for (size_t i = 0; i < 2 * size; i += PAGE) {
			assert_int_equal(block[i], 0);
			assert_int_equal(block[i + PAGE - 1], 0);
		}
		for (size_t i = 0; i < 2 * size; i += (1 + i % 3) * PAGE)
			block[i + i / PAGE % PAGE] = block[i] = 1;
		if (round % 3 == 0)
			heapstorm_munmap(block, size);
		arena_reset();
		assert_false(arena_is_mapped(block));
	}
}

static void program_break(void **state)
{
	char *const start = heapstorm_sbrk(0);

	(void)state;
	assert_ptr_equal(heapstorm_sbrk(100), start);
	assert_ptr_equal(heapstorm_sbrk(5 * PAGE), start + 100);
	assert_zero(start, 100 + 5 * PAGE);
	memset(start, 1, 100 + 5 * PAGE);
	assert_true(arena_is_mapped(start + 99) && arena_contains(start));
	assert_false(arena_is_mapped(start + 100 + 5 * PAGE));
	assert_int_equal(arena_counts()->mapped, 100 + 5 * PAGE);
	assert_ptr_equal(heapstorm_sbrk(-3 * PAGE), start + 100 + 5 * PAGE);
	assert_ptr_equal(heapstorm_sbrk(3 * PAGE), start + 100 + 2 * PAGE);
	assert_zero(start + 100 + 2 * PAGE, 3 * PAGE);
	assert_int_equal(start[99 + 2 * PAGE], 1);
	assert_ptr_equal(heapstorm_sbrk(-(intptr_t)(100 + 5 * PAGE + 1)), (void *)-1);
	assert_int_equal(errno, ENOMEM);
	assert_ptr_equal(heapstorm_sbrk((intptr_t)1 << 46), (void *)-1);
	assert_int_equal(arena_counts()->refusals, 2);
	arena_reset();
	assert_ptr_equal(heapstorm_sbrk(0), start);
	assert_ptr_equal(heapstorm_sbrk(6 * PAGE), start);
	assert_zero(start, 6 * PAGE);
	arena_reset();
}

static void reserved_memory_becomes_usable(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		char *const block = heapstorm_mmap(NULL, 32 * PAGE, PROT_NONE, ANONYMOUS, -1, 0);

		assert_int_equal(heapstorm_madvise(block, 8 * PAGE, MADV_DONTNEED), 0);
		assert_int_equal(heapstorm_mprotect(block, 4 * PAGE, RW), 0);
		memset(block, 1, 4 * PAGE);
		assert_int_equal(heapstorm_munmap(block, 32 * PAGE), 0);
		/* The same addresses come back accessible, below the quarantine with a hint. */
		assert_ptr_equal(heapstorm_mmap(block, 32 * PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), block);
		assert_zero(block, 32 * PAGE);
		memset(block, 1, 32 * PAGE);
		assert_ptr_equal(heapstorm_mmap(block, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), MAP_FAILED);
		assert_int_equal(errno, EEXIST);
		arena_reset();
	}
}

/* How a process ends that reads a byte. */
static int status_of_read(const char *address)
{
	int status;
	pid_t child;

	child = fork();
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		close(STDERR_FILENO);
		_exit(*(const volatile char *)address);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void use_after_unmap_is_seen(void **state)
{
	char *const small = map(2 * PAGE), *const large = map(64 * PAGE);

	(void)state;
	assert_int_equal(status_of_read(small), 0);
	assert_int_equal(status_of_read(large + 63 * PAGE), 0);
	heapstorm_munmap(small + PAGE, PAGE);
	heapstorm_munmap(large, 64 * PAGE);
	assert_int_equal(status_of_read(small + PAGE - 1), 0);
	assert_int_not_equal(status_of_read(large), 0);
	assert_int_not_equal(status_of_read(large + 63 * PAGE), 0);
	if (sanitizer_has_asan()) {
		assert_int_not_equal(status_of_read(small + PAGE), 0);
		assert_int_not_equal(status_of_read(small + 2 * PAGE - 1), 0);
	}
	/* Mapped again, in this run or the next, they are open. */
	assert_ptr_equal(heapstorm_mmap(small + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), small + PAGE);
	assert_int_equal(status_of_read(small + PAGE), 0);
	heapstorm_munmap(small, 2 * PAGE);
	arena_reset();
	assert_ptr_equal(map(2 * PAGE), small);
	assert_int_equal(status_of_read(small), 0);
	assert_ptr_equal(map(64 * PAGE), large);
	assert_int_equal(status_of_read(large + PAGE), 0);
	arena_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(range_at_a_fixed_address),
		cmocka_unit_test(domains_are_apart),
		cmocka_unit_test(each_call_can_fail_alone),
		cmocka_unit_test(refusals_are_counted_apart),
		cmocka_unit_test(unmapped_addresses_rest),
		cmocka_unit_test(reset_after_any_size),
		cmocka_unit_test(program_break),
		cmocka_unit_test(reserved_memory_becomes_usable),
		cmocka_unit_test(use_after_unmap_is_seen),
		cmocka_unit_test(random_against_a_model),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
