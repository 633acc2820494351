#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raw_memory.h"
#include "sanitizer.h"
#include "unseen_lock.h"

/*
 * Where the ranges lie: far from what the kernel, AddressSanitizer's shadow and PIE images use on x86-64 (47 bits) and aarch64 (48 bits). If
 * something is there already the kernel chooses the place, and addresses differ from machine to machine.
 */
#define BASE UINT64_C(0x200000000000)
#define DOMAIN_SPACING (UINT64_C(1) << 40)

/* ThreadSanitizer lets a program have only parts of the address space; this is in the lowest (where AddressSanitizer has its shadow). */
#define TSAN_BASE UINT64_C(0x1000000000)
#define TSAN_DOMAIN_SPACING (UINT64_C(1) << 36)

#define SIZE_WANTED ((size_t)64 << 30)
#define SIZE_LEAST ((size_t)1 << 30)
#define BREAK_SHARE 8                    /* the last eighth of a range is what sbrk moves in */
#define COMMIT_STEP ((size_t)64 << 20)   /* accessible memory grows in such steps */
#define SMALL_RANGE ((size_t)64 << 10)   /* up to here unmapped ranges are poisoned where there is a sanitizer */
#define ZERO_BY_HAND ((size_t)4 << 20)   /* up to here ranges are zeroed by hand rather than by the kernel */
#define RESET_BY_HAND ((size_t)16 << 20) /* up to such a frontier a reset zeroes by hand */
#define HINT_REACH ((size_t)16 << 20)    /* how far beyond the frontier a hint is followed */
#define COLD_INPUTS 32                   /* a page that stayed zero for so many resets goes back to the kernel */

/* Linux puts mappings of a multiple of this at such multiples, since 6.7. */
#define HUGE_PAGE ((size_t)2 << 20)

#define BINS 40 /* free extents by the power of two of their pages */

/* Arrays by page, all zero at the start. A free extent is described at its first page; its last page holds its length too. */
struct page_tables {
	uint32_t *length;      /* pages of the free extent that begins or ends here, 0 within mapped memory */
	uint32_t *next, *prev; /* bin list, page numbers + 1, 0 for none; at the first page */
	uint8_t *state;        /* PAGE_... bits */
	uint32_t *last_dirty;  /* the reset in which it was last found dirty */
};

enum {
	PAGE_FREE = 1,     /* below the frontier and not mapped */
	PAGE_RESIDENT = 2, /* known to be resident: must be zeroed at a reset */
	PAGE_POISONED = 4,
	PAGE_DIRTY = 8,    /* freed memory that has to be zeroed before it is mapped again */
	PAGE_GUARDED = 16, /* unmapped and inaccessible */
};

struct domain {
	char *base;
	size_t pages;     /* for mappings; the break range follows */
	size_t frontier;  /* pages below it were handed out since the reset */
	size_t committed; /* bytes from base that are accessible */
	char *break_start, *break_now, *break_committed, *break_end;
	struct page_tables table;
	uint32_t bins[BINS]; /* page number + 1 */
	uint64_t bin_mask;
	size_t free_pages;
	size_t highest_frontier_seen; /* residency was looked at up to here */
	uint32_t resets;
	long page_faults_seen;
	bool protection_changed;       /* by the allocator */
	size_t guard_first, guard_end; /* pages: what is guarded lies between */
	bool fail_all;
	const uint64_t *fault_list;
	size_t fault_count, fault_next;
	struct arena_counts counts;
};

static struct domain domains[ARENA_DOMAINS];
static struct domain *current;
static size_t page_size;
static int page_shift;
static uint32_t lock; /* the kernel's own is not seen by ThreadSanitizer either */

static void *reserve(void *hint, size_t size, int protection, int flags)
{
	void *memory = mmap(hint, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static bool domain_open(struct domain *domain, unsigned number)
{
	void *const wanted = (void *)(uintptr_t)(sanitizer_has_tsan() ? TSAN_BASE + number * TSAN_DOMAIN_SPACING
								      : BASE + number * DOMAIN_SPACING);
	size_t size = SIZE_WANTED;
	void *base;

	page_size = (size_t)sysconf(_SC_PAGESIZE);
	page_shift = __builtin_ctzl(page_size);
	do {
		base = reserve(wanted, size, PROT_NONE, MAP_FIXED_NOREPLACE);
		if (base == NULL)
			base = reserve(NULL, size, PROT_NONE, 0);
	} while (base == NULL && (size /= 4) >= SIZE_LEAST);
	if (base == NULL)
		return false;
	domain->base = base;
	domain->break_end = domain->base + size;
	domain->break_start = domain->break_now = domain->break_committed = domain->break_end - size / BREAK_SHARE;
	domain->pages = (size_t)(domain->break_start - domain->base) >> page_shift;
	domain->table.length = reserve(NULL, domain->pages * sizeof(uint32_t), PROT_READ | PROT_WRITE, 0);
	domain->table.next = reserve(NULL, domain->pages * sizeof(uint32_t), PROT_READ | PROT_WRITE, 0);
	domain->table.prev = reserve(NULL, domain->pages * sizeof(uint32_t), PROT_READ | PROT_WRITE, 0);
	domain->table.state = reserve(NULL, domain->pages, PROT_READ | PROT_WRITE, 0);
	domain->table.last_dirty = reserve(NULL, domain->pages * sizeof(uint32_t), PROT_READ | PROT_WRITE, 0);
	return domain->table.length != NULL && domain->table.next != NULL && domain->table.prev != NULL &&
	       domain->table.state != NULL && domain->table.last_dirty != NULL;
}

bool arena_use(unsigned number)
{
	struct domain *domain = &domains[number];

	if (domain->base == NULL && !domain_open(domain, number)) {
		domain->base = NULL;
		errno = ENOMEM;
		return false;
	}
	current = domain;
	return true;
}

void arena_fork_prepare(void)
{
	unseen_lock(&lock);
}

void arena_fork_done(void)
{
	unseen_unlock(&lock);
}

const struct arena_counts *arena_counts(void)
{
	return &current->counts;
}

bool arena_contains(const void *address)
{
	return current != NULL && (const char *)address >= current->base && (const char *)address < current->break_end;
}

static size_t page_of(const struct domain *domain, const void *address)
{
	return (size_t)((const char *)address - domain->base) >> page_shift;
}

static char *page_address(const struct domain *domain, size_t page)
{
	return domain->base + (page << page_shift);
}

const void *arena_range(size_t *size)
{
	*size = (size_t)(current->break_end - current->base);
	return current->base;
}

bool arena_is_mapped(const void *address)
{
	if (!arena_contains(address))
		return false;
	if ((const char *)address >= current->break_start)
		return (const char *)address < current->break_now;
	return page_of(current, address) < current->frontier &&
	       (current->table.state[page_of(current, address)] & PAGE_FREE) == 0;
}

void arena_set_faults(const uint64_t *faults, size_t count)
{
	current->fault_list = faults;
	current->fault_count = count;
	current->fault_next = 0;
}

void arena_fail_all(bool fail)
{
	current->fail_all = fail;
}

/* Counts a mapping call and says whether it has to fail. */
static bool fault_hits(struct domain *domain)
{
	const uint64_t n = ++domain->counts.calls;

	while (domain->fault_next < domain->fault_count && domain->fault_list[domain->fault_next] < n)
		domain->fault_next++;
	if (!domain->fail_all &&
	    (domain->fault_next >= domain->fault_count || domain->fault_list[domain->fault_next] != n))
		return false;
	domain->counts.faults++;
	errno = ENOMEM;
	return true;
}

/* ---- Free extents ---- */

static int bin_of(size_t pages)
{
	return 63 - __builtin_clzl(pages);
}

static void extent_insert(struct domain *domain, size_t page, size_t pages)
{
	struct page_tables *const table = &domain->table;
	const int bin = bin_of(pages);

	table->length[page] = table->length[page + pages - 1] = (uint32_t)pages;
	table->prev[page] = 0;
	table->next[page] = domain->bins[bin];
	if (domain->bins[bin] != 0)
		table->prev[domain->bins[bin] - 1] = (uint32_t)page + 1;
	domain->bins[bin] = (uint32_t)page + 1;
	domain->bin_mask |= UINT64_C(1) << bin;
	domain->free_pages += pages;
}

static void extent_remove(struct domain *domain, size_t page)
{
	struct page_tables *const table = &domain->table;
	const size_t pages = table->length[page];
	const int bin = bin_of(pages);

	if (table->prev[page] != 0)
		table->next[table->prev[page] - 1] = table->next[page];
	else
		domain->bins[bin] = table->next[page];
	if (table->next[page] != 0)
		table->prev[table->next[page] - 1] = table->prev[page];
	if (domain->bins[bin] == 0)
		domain->bin_mask &= ~(UINT64_C(1) << bin);
	table->length[page] = table->length[page + pages - 1] = 0;
	domain->free_pages -= pages;
}

/* Makes [page, page + pages) a free extent, merged with its free neighbours, with more bits of their state. */
static void extent_free(struct domain *domain, size_t page, size_t pages, uint8_t flags)
{
	struct page_tables *const table = &domain->table;

	for (size_t i = page; i < page + pages; i++)
		table->state[i] |= PAGE_FREE | flags;
	if (page > 0 && (table->state[page - 1] & PAGE_FREE) != 0) {
		const size_t before = table->length[page - 1];

		extent_remove(domain, page - before);
		page -= before;
		pages += before;
	}
	if (page + pages < domain->frontier && (table->state[page + pages] & PAGE_FREE) != 0) {
		const size_t after = table->length[page + pages];

		extent_remove(domain, page + pages);
		pages += after;
	}
	extent_insert(domain, page, pages);
}

/* Cuts [page, page + pages) out of the free extent that begins at `extent`. */
static void extent_cut(struct domain *domain, size_t extent, size_t page, size_t pages)
{
	const size_t length = domain->table.length[extent];

	extent_remove(domain, extent);
	if (page > extent)
		extent_insert(domain, extent, page - extent);
	if (page + pages < extent + length)
		extent_insert(domain, page + pages, extent + length - page - pages);
}

/* Gives a range back to the kernel: it reads as zero. */
static void pages_discard(struct domain *domain, size_t page, size_t pages)
{
	if (pages == 0)
		return;
	madvise(page_address(domain, page), pages << page_shift, MADV_DONTNEED);
	for (size_t i = page; i < page + pages; i++)
		domain->table.state[i] &= (uint8_t)~(PAGE_RESIDENT | PAGE_DIRTY);
}

/* Page faults of the process so far. */
static long page_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* Learns which of the pages have become resident. */
static void look_for_resident_pages(struct domain *domain, size_t first, size_t end)
{
	uint8_t *const state = domain->table.state;
	unsigned char resident[1024];

	for (size_t page = first; page < end; page += sizeof resident) {
		size_t pages = end - page;

		if (pages > sizeof resident)
			pages = sizeof resident;
		/* Past AddressSanitizer, which would look at every byte of the answer. */
		if (syscall(SYS_mincore, page_address(domain, page), pages << page_shift, resident) != 0)
			memset(resident, 1, pages);
		for (size_t i = 0; i < pages; i++) {
			if ((resident[i] & 1) != 0 && (state[page + i] & PAGE_RESIDENT) == 0) {
				state[page + i] |= PAGE_RESIDENT;
				domain->table.last_dirty[page + i] = domain->resets;
			}
		}
	}
}

/*
 * Makes a range read as zero. Few pages of a range are resident, and to zero these costs less than the page faults on them would after the
 * kernel has taken them.
 */
static void pages_zero(struct domain *domain, size_t page, size_t pages)
{
	uint8_t *const state = domain->table.state;
	uint8_t all = PAGE_RESIDENT;

	/* Pages may not be accessible: the kernel does not mind. */
	if (pages << page_shift > ZERO_BY_HAND || domain->protection_changed) {
		pages_discard(domain, page, pages);
		return;
	}
	for (size_t i = page; i < page + pages; i++)
		all &= state[i];
	/* Since the last look at all pages none can have become resident without a page fault. */
	if (all == 0 && page_faults() != domain->page_faults_seen)
		look_for_resident_pages(domain, page, page + pages);
	for (size_t i = page; i < page + pages; i++) {
		char *const start = page_address(domain, i);

		if ((state[i] & PAGE_GUARDED) != 0) /* not mapped: when it is, it will be zeroed */
			continue;
		if ((state[i] & PAGE_RESIDENT) != 0) {
			const size_t clean = raw_first_nonzero(start, page_size);

			raw_zero(start + clean, page_size - clean);
		}
		state[i] &= (uint8_t)~PAGE_DIRTY;
	}
}

static bool commit(char *base, size_t *committed, size_t limit, size_t wanted)
{
	size_t grown;

	if (wanted <= *committed)
		return true;
	grown = (wanted + COMMIT_STEP - 1) / COMMIT_STEP * COMMIT_STEP;
	if (grown > limit)
		grown = limit;
	if (wanted > limit || mprotect(base + *committed, grown - *committed, PROT_READ | PROT_WRITE) != 0)
		return false;
	/* Huge pages would make a run depend on the machine's memory. */
	madvise(base + *committed, grown - *committed, MADV_NOHUGEPAGE);
	*committed = grown;
	return true;
}

static bool advance_frontier(struct domain *domain, size_t pages)
{
	if (domain->frontier + pages > domain->pages ||
	    !commit(domain->base, &domain->committed, domain->pages << page_shift,
		    (domain->frontier + pages) << page_shift))
		return false;
	domain->frontier += pages;
	return true;
}

/* The poison of few pages of a large range costs less to lift than that of all. */
static void lift_poison(struct domain *domain, size_t page, size_t pages)
{
	uint8_t *const state = domain->table.state;

	for (size_t i = page; i < page + pages; i++) {
		size_t run = 0;

		for (; i + run < page + pages && (state[i + run] & PAGE_POISONED) != 0; run++)
			state[i + run] &= (uint8_t)~PAGE_POISONED;
		if (run > 0)
			sanitizer_unpoison(page_address(domain, i), run << page_shift);
		i += run;
	}
}

/* Finishes a mapping: the pages are in use, zero and accessible. */
static void *mapped(struct domain *domain, size_t page, size_t pages)
{
	uint8_t *const state = domain->table.state;
	uint8_t any = 0;

	for (size_t i = page; i < page + pages; i++) {
		any |= state[i];
		state[i] &= (uint8_t)~PAGE_FREE;
	}
	/* Whoever unmapped them may have made them inaccessible before. */
	if (domain->protection_changed)
		mprotect(page_address(domain, page), pages << page_shift, PROT_READ | PROT_WRITE);
	if ((any & PAGE_POISONED) != 0)
		lift_poison(domain, page, pages);
	if ((any & PAGE_GUARDED) != 0) {
		mprotect(page_address(domain, page), pages << page_shift, PROT_READ | PROT_WRITE);
		for (size_t i = page; i < page + pages; i++)
			state[i] &= (uint8_t)~PAGE_GUARDED;
	}
	if ((any & PAGE_DIRTY) != 0 && sanitizer_has_tsan()) {
		/* A call that ThreadSanitizer sees: it forgets who used these addresses before. */
		mmap(page_address(domain, page), pages << page_shift, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		for (size_t i = page; i < page + pages; i++)
			state[i] &= (uint8_t)~(PAGE_RESIDENT | PAGE_DIRTY);
	} else if ((any & PAGE_DIRTY) != 0) {
		pages_zero(domain, page, pages);
	}
	domain->counts.mapped += pages << page_shift;
	if (domain->counts.mapped > domain->counts.mapped_peak)
		domain->counts.mapped_peak = domain->counts.mapped;
	return page_address(domain, page);
}

/* A free extent of at least `pages`: the first that fits in the smallest bin that has one. SIZE_MAX if there is none. */
static size_t find_extent(const struct domain *domain, size_t pages)
{
	const int bin = bin_of(pages);
	const uint64_t larger = domain->bin_mask & ~((UINT64_C(2) << bin) - 1);
	int tries = 16;

	for (uint32_t at = domain->bins[bin]; at != 0 && tries > 0; at = domain->table.next[at - 1], tries--)
		if (domain->table.length[at - 1] >= pages)
			return at - 1;
	return larger != 0 ? domain->bins[__builtin_ctzl(larger)] - 1 : SIZE_MAX;
}

static void *map_at(struct domain *domain, size_t page, size_t pages)
{
	uint8_t *const state = domain->table.state;

	if (page >= domain->frontier) {
		const size_t gap = page - domain->frontier, start = domain->frontier;

		/* A hint far ahead is not worth the tables in between. */
		if (gap << page_shift > HINT_REACH || !advance_frontier(domain, gap + pages))
			return NULL;
		if (gap > 0)
			extent_free(domain, start, gap, 0);
		return mapped(domain, page, pages);
	}
	for (size_t i = page; i < page + pages && i < domain->frontier; i++)
		if ((state[i] & PAGE_FREE) == 0)
			return NULL;
	if (page + pages > domain->frontier) {
		const size_t start = domain->frontier;

		if (!advance_frontier(domain, page + pages - start))
			return NULL;
		extent_free(domain, start, page + pages - start, 0);
	}
	/* The extent's first page: walk back over free pages to a page whose length reaches here. */
	size_t extent = page;
	while (extent > 0 && (state[extent - 1] & PAGE_FREE) != 0)
		extent--;
	extent_cut(domain, extent, page, pages);
	return mapped(domain, page, pages);
}

/* The first page from `page` on whose address is a multiple of HUGE_PAGE. */
static size_t align_page(const struct domain *domain, size_t page)
{
	const uintptr_t address = (uintptr_t)page_address(domain, page);

	return page + (size_t)(((HUGE_PAGE - address % HUGE_PAGE) % HUGE_PAGE) >> page_shift);
}

/* A mapping at a multiple of HUGE_PAGE, in a free extent or at the frontier. NULL if there is no room. */
static void *map_aligned(struct domain *domain, size_t pages)
{
	for (int bin = bin_of(pages); bin < BINS && domain->frontier << page_shift >= ARENA_QUARANTINE; bin++) {
		int tries = 16;

		for (uint32_t at = domain->bins[bin]; at != 0 && tries > 0; at = domain->table.next[at - 1], tries--) {
			const size_t page = align_page(domain, at - 1);

			if (page + pages > at - 1 + domain->table.length[at - 1])
				continue;
			extent_cut(domain, at - 1, page, pages);
			return mapped(domain, page, pages);
		}
	}
	return map_at(domain, align_page(domain, domain->frontier), pages);
}

static void *map_anywhere(struct domain *domain, size_t pages)
{
	const size_t frontier = domain->frontier;
	size_t extent;

	if ((pages << page_shift) % HUGE_PAGE == 0) {
		void *const result = map_aligned(domain, pages);

		if (result != NULL)
			return result;
	}
	if (frontier << page_shift < ARENA_QUARANTINE && advance_frontier(domain, pages))
		return mapped(domain, frontier, pages);
	extent = find_extent(domain, pages);
	if (extent != SIZE_MAX) {
		extent_cut(domain, extent, extent, pages);
		return mapped(domain, extent, pages);
	}
	return advance_frontier(domain, pages) ? mapped(domain, frontier, pages) : NULL;
}

/*
 * What still uses unmapped memory must not get away with it: a large range becomes inaccessible, and a very large one goes back to the
 * kernel at once; a small one, for which two calls of the kernel are too much, is poisoned where there is a sanitizer, and zeroed when it is mapped again.
 */
static void unmap_pages(struct domain *domain, size_t page, size_t pages)
{
	char *const start = page_address(domain, page);
	uint8_t flag = 0;

	if (pages << page_shift > SMALL_RANGE) {
		if (pages << page_shift > ZERO_BY_HAND)
			pages_discard(domain, page, pages);
		mprotect(start, pages << page_shift, PROT_NONE);
		if (domain->guard_end == 0 || page < domain->guard_first)
			domain->guard_first = page;
		if (page + pages > domain->guard_end)
			domain->guard_end = page + pages;
		flag = PAGE_GUARDED;
	} else if (sanitizer_has_asan()) {
		sanitizer_poison(start, pages << page_shift);
		flag = PAGE_POISONED;
	}
	domain->counts.mapped -= pages << page_shift;
	extent_free(domain, page, pages, flag | PAGE_DIRTY);
}

/* Like the kernel, takes what is mapped of a range below the frontier and passes over the rest. */
static void unmap_mapped(struct domain *domain, size_t page, size_t end)
{
	while (page < end) {
		size_t run = 0;

		while (page + run < end && (domain->table.state[page + run] & PAGE_FREE) == 0)
			run++;
		if (run > 0)
			unmap_pages(domain, page, run);
		page += run > 0 ? run : 1;
	}
}

/* Pages of [start, start + size) if it lies within mapped or free memory of the domain; false where it does not. */
static bool page_range(const struct domain *domain, const void *start, size_t size, size_t *page, size_t *pages)
{
	if (size == 0 || ((uintptr_t)start & (page_size - 1)) != 0 || (const char *)start < domain->base ||
	    size > (size_t)(domain->break_start - domain->base) ||
	    (const char *)start + size > page_address(domain, domain->frontier))
		return false;
	*page = page_of(domain, start);
	*pages = (size + page_size - 1) >> page_shift;
	return *page + *pages <= domain->frontier;
}

/* ---- Reset ---- */

/* Zeroes what is dirty, and lets go of pages that have not been for long. */
static void zero_resident_pages(struct domain *domain)
{
	uint8_t *const state = domain->table.state;
	const bool drop_cold = domain->resets % COLD_INPUTS == 0;
	size_t cold = 0, cold_end = 0; /* pages to let go of */

	for (size_t page = 0; page < domain->frontier; page += 8) {
		uint64_t eight;

		memcpy(&eight, state + page, sizeof eight); /* the table is longer than any frontier */
		if ((eight & PAGE_RESIDENT * UINT64_C(0x0101010101010101)) == 0)
			continue;
		for (size_t i = page; i < page + 8 && i < domain->frontier; i++) {
			char *const start = page_address(domain, i);
			size_t clean;

			if ((state[i] & PAGE_RESIDENT) == 0)
				continue;
			clean = raw_first_nonzero(start, page_size);
			if (clean < page_size) {
				raw_zero(start + clean, page_size - clean);
				domain->table.last_dirty[i] = domain->resets;
			} else if (drop_cold && domain->resets - domain->table.last_dirty[i] >= COLD_INPUTS) {
				if (i != cold_end) {
					pages_discard(domain, cold, cold_end - cold);
					cold = i;
				}
				cold_end = i + 1;
			}
		}
	}
	pages_discard(domain, cold, cold_end - cold);
}

void arena_reset(void)
{
	struct domain *const domain = current;
	struct page_tables *const table = &domain->table;
	const size_t frontier = domain->frontier;

	domain->resets++;
	if (domain->protection_changed) {
		mprotect(domain->base, domain->committed, PROT_READ | PROT_WRITE);
		mprotect(domain->break_start, (size_t)(domain->break_committed - domain->break_start),
			 PROT_READ | PROT_WRITE);
		domain->protection_changed = false;
	} else if (domain->guard_end != 0) {
		mprotect(page_address(domain, domain->guard_first),
			 (domain->guard_end - domain->guard_first) << page_shift, PROT_READ | PROT_WRITE);
	}
	domain->guard_first = domain->guard_end = 0;
	if (frontier << page_shift > RESET_BY_HAND) {
		/* After a large run no page is kept. */
		lift_poison(domain, 0, frontier);
		madvise(domain->base, frontier << page_shift, MADV_DONTNEED);
		memset(table->state, 0, frontier);
		memset(table->length, 0, frontier * sizeof(uint32_t));
	} else if (frontier > 0) {
		const long page_faults_now = page_faults();

		/* No page fault since the last look: no page can have become resident. */
		if (page_faults_now != domain->page_faults_seen)
			look_for_resident_pages(domain, 0, frontier);
		domain->page_faults_seen = page_faults_now;
		zero_resident_pages(domain);
		/* Poison stays known: mapping the page again lifts it. */
		for (size_t i = 0; i < frontier; i++)
			table->state[i] &= PAGE_RESIDENT | PAGE_POISONED;
		if (domain->bin_mask != 0) {
			memset(table->length, 0, frontier * sizeof(uint32_t));
			memset(domain->bins, 0, sizeof domain->bins);
		}
	}
	if (domain->break_now != domain->break_start) {
		madvise(domain->break_start, (size_t)(domain->break_committed - domain->break_start), MADV_DONTNEED);
		sanitizer_unpoison(domain->break_start, (size_t)(domain->break_committed - domain->break_start));
		domain->break_now = domain->break_start;
	}
	memset(domain->bins, 0, sizeof domain->bins);
	domain->bin_mask = 0;
	domain->free_pages = 0;
	domain->frontier = 0;
	domain->counts = (struct arena_counts){0};
	domain->fail_all = false;
	arena_set_faults(NULL, 0);
}

void arena_restart(void)
{
	const size_t mapped = current->counts.mapped;

	current->counts = (struct arena_counts){.mapped = mapped, .mapped_peak = mapped};
	current->fail_all = false;
	arena_set_faults(NULL, 0);
}

bool arena_foreign_call(void)
{
	bool hit;

	if (current == NULL)
		return false;
	unseen_lock(&lock);
	hit = fault_hits(current);
	unseen_unlock(&lock);
	return hit;
}

void arena_foreign_mapped(ptrdiff_t bytes)
{
	if (current == NULL)
		return;
	unseen_lock(&lock);
	/* What it mapped before the count began may go. */
	if (bytes < 0 && (size_t)-bytes > current->counts.mapped)
		current->counts.mapped = 0;
	else
		current->counts.mapped += (size_t)bytes;
	if (current->counts.mapped > current->counts.mapped_peak)
		current->counts.mapped_peak = current->counts.mapped;
	unseen_unlock(&lock);
}

void arena_foreign_refused(void)
{
	if (current == NULL)
		return;
	unseen_lock(&lock);
	current->counts.refusals++;
	unseen_unlock(&lock);
}

/* ---- The calls ---- */

void *heapstorm_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t offset);
void *heapstorm_mmap64(void *hint, size_t size, int protection, int flags, int fd, off_t offset);
int heapstorm_munmap(void *start, size_t size);
void *heapstorm_mremap(void *start, size_t old_size, size_t new_size, int flags, ...);
int heapstorm_madvise(void *start, size_t size, int advice);
int heapstorm_mprotect(void *start, size_t size, int protection);
void *heapstorm_sbrk(intptr_t increment);
int heapstorm_brk(void *end);

static void *refuse(struct domain *domain, int error)
{
	domain->counts.refusals++;
	errno = error;
	return MAP_FAILED;
}

static void *map_locked(struct domain *domain, void *hint, size_t size, int protection, int flags)
{
	const size_t pages = (size + page_size - 1) >> page_shift;
	void *result = NULL;

	if (fault_hits(domain))
		return MAP_FAILED;
	if (size == 0)
		return refuse(domain, EINVAL);
	if (size > domain->pages << page_shift || pages >= domain->pages) /* the first: rounding may overflow */
		return refuse(domain, ENOMEM);
	if (hint != NULL && (char *)hint >= domain->base && (char *)hint < domain->break_start) {
		size_t page = page_of(domain, hint);

		if ((flags & MAP_FIXED) != 0) /* replaces what is there */
			unmap_mapped(domain, page, page + pages < domain->frontier ? page + pages : domain->frontier);
		result = map_at(domain, page, pages);
	}
	if (result == NULL && (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0)
		return refuse(domain, (flags & MAP_FIXED_NOREPLACE) != 0 ? EEXIST : ENOMEM);
	if (result == NULL)
		result = map_anywhere(domain, pages);
	if (result == NULL)
		return refuse(domain, ENOMEM);
	if (protection != (PROT_READ | PROT_WRITE)) {
		mprotect(result, pages << page_shift, protection);
		domain->protection_changed = true;
	}
	return result;
}

void *heapstorm_mmap(void *hint, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *result;

	/* Files are not the heap. */
	if (fd >= 0 && (flags & MAP_ANONYMOUS) == 0)
		return mmap(hint, size, protection, flags, fd, offset);
	unseen_lock(&lock);
	result = map_locked(current, hint, size, protection, flags);
	unseen_unlock(&lock);
	return result;
}

void *arena_map(size_t size)
{
	void *result;

	unseen_lock(&lock);
	result = map_anywhere(current, (size + page_size - 1) >> page_shift);
	unseen_unlock(&lock);
	return result;
}

void *heapstorm_mmap64(void *hint, size_t size, int protection, int flags, int fd, off_t offset)
{
	return heapstorm_mmap(hint, size, protection, flags, fd, offset);
}

int heapstorm_munmap(void *start, size_t size)
{
	struct domain *const domain = current;
	size_t page, pages;
	int result = -1;

	if (!arena_contains(start))
		return munmap(start, size);
	unseen_lock(&lock);
	if (page_range(domain, start, size, &page, &pages)) {
		unmap_mapped(domain, page, page + pages);
		result = 0;
	} else {
		errno = EINVAL;
	}
	unseen_unlock(&lock);
	return result;
}

/* Grows a mapping where it lies. */
static bool grow_in_place(struct domain *domain, size_t page, size_t old_pages, size_t new_pages)
{
	return map_at(domain, page + old_pages, new_pages - old_pages) != NULL;
}

static void *remap_locked(struct domain *domain, void *start, size_t old_size, size_t new_size, bool may_move)
{
	size_t page, old_pages;
	const size_t new_pages = (new_size + page_size - 1) >> page_shift;
	void *moved;

	if (fault_hits(domain))
		return MAP_FAILED;
	if (!page_range(domain, start, old_size, &page, &old_pages) || new_size == 0)
		return refuse(domain, EINVAL);
	if (new_size > domain->pages << page_shift)
		return refuse(domain, ENOMEM);
	if (new_pages <= old_pages) {
		if (new_pages < old_pages)
			unmap_pages(domain, page + new_pages, old_pages - new_pages);
		return start;
	}
	if (grow_in_place(domain, page, old_pages, new_pages))
		return start;
	moved = may_move && new_pages < domain->pages ? map_anywhere(domain, new_pages) : NULL;
	if (moved == NULL)
		return refuse(domain, ENOMEM);
	raw_copy(moved, start, old_pages << page_shift);
	unmap_pages(domain, page, old_pages);
	return moved;
}

/* Moves a mapping over another one. */
static void *move_locked(struct domain *domain, void *start, size_t old_size, void *to, size_t new_size)
{
	size_t page, pages, to_page, to_pages;

	if (fault_hits(domain))
		return MAP_FAILED;
	if (!page_range(domain, start, old_size, &page, &pages) ||
	    !page_range(domain, to, new_size, &to_page, &to_pages) ||
	    (page < to_page + to_pages && to_page < page + pages))
		return refuse(domain, EINVAL);
	unmap_mapped(domain, to_page, to_page + to_pages);
	map_at(domain, to_page, to_pages);
	raw_copy(to, start, (pages < to_pages ? pages : to_pages) << page_shift);
	unmap_mapped(domain, page, page + pages);
	return to;
}

void *heapstorm_mremap(void *start, size_t old_size, size_t new_size, int flags, ...)
{
	void *result, *to = NULL;

	if ((flags & MREMAP_FIXED) != 0) {
		va_list arguments;

		va_start(arguments, flags);
		to = va_arg(arguments, void *);
		va_end(arguments);
	}
	if (!arena_contains(start) || (to != NULL && (flags & MREMAP_MAYMOVE) == 0)) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	unseen_lock(&lock);
	result = to != NULL ? move_locked(current, start, old_size, to, new_size)
			    : remap_locked(current, start, old_size, new_size, (flags & MREMAP_MAYMOVE) != 0);
	unseen_unlock(&lock);
	return result;
}

int heapstorm_madvise(void *start, size_t size, int advice)
{
	struct domain *const domain = current;
	size_t page, pages;
	int result = -1;

	if (!arena_contains(start))
		return madvise(start, size, advice);
	unseen_lock(&lock);
	if (!fault_hits(domain)) {
		result = 0;
		if (page_range(domain, start, size, &page, &pages)) {
			/* Free memory may go at any moment with MADV_FREE: at once is the strictest reading. */
			if (advice == MADV_DONTNEED || advice == MADV_FREE)
				pages_zero(domain, page, pages);
		} else if ((char *)start < domain->break_start) {
			errno = ENOMEM;
			result = -1;
		} else if (advice == MADV_DONTNEED || advice == MADV_FREE) {
			result = madvise(start, size, MADV_DONTNEED);
		}
	}
	unseen_unlock(&lock);
	return result;
}

int heapstorm_mprotect(void *start, size_t size, int protection)
{
	struct domain *const domain = current;
	int result = -1;

	if (!arena_contains(start))
		return mprotect(start, size, protection);
	unseen_lock(&lock);
	if (!fault_hits(domain)) {
		domain->protection_changed = true;
		result = mprotect(start, size, protection);
	}
	unseen_unlock(&lock);
	return result;
}

void *heapstorm_sbrk(intptr_t increment)
{
	struct domain *const domain = current;
	void *result = (void *)-1;

	unseen_lock(&lock);
	if (increment == 0) {
		result = domain->break_now;
	} else if (!fault_hits(domain)) {
		size_t committed = (size_t)(domain->break_committed - domain->break_start);
		const size_t limit = (size_t)(domain->break_end - domain->break_start);
		const intptr_t wanted = domain->break_now - domain->break_start + increment;

		if (wanted >= 0 && commit(domain->break_start, &committed, limit, (size_t)wanted)) {
			result = domain->break_now;
			domain->break_now += increment;
			domain->break_committed = domain->break_start + committed;
			domain->counts.mapped += (size_t)increment;
			if (domain->counts.mapped > domain->counts.mapped_peak)
				domain->counts.mapped_peak = domain->counts.mapped;
			/* Memory that comes back must read as zero. */
			if (increment < 0)
				raw_zero(domain->break_now, (size_t)-increment);
		} else {
			refuse(domain, ENOMEM);
		}
	}
	unseen_unlock(&lock);
	return result;
}

int heapstorm_brk(void *end)
{
	const intptr_t increment = (char *)end - (char *)heapstorm_sbrk(0);

	return increment == 0 || heapstorm_sbrk(increment) != (void *)-1 ? 0 : -1;
}
