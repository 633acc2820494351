#include "shadow.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A leaf covers 256 MiB of addresses with 64 MiB of slots and those of the pages, which the OS fills in as they are touched. */
#define LEAF_SHIFT 28
#define LEAF_GRANULES ((size_t)1 << (LEAF_SHIFT - 4))
#define PAGE_GRANULES ((size_t)256)
#define LEAF_PAGES (LEAF_GRANULES / PAGE_GRANULES)
#define LEAF_SIZE ((LEAF_GRANULES + LEAF_PAGES) * sizeof(uint32_t))

/* A page's slot: 0, no granule of it has a span; PARTS, look at its granules; else the one span that has all of it. */
#define PARTS UINT32_MAX
#define ROOT_SIZE ((size_t)1 << (48 - LEAF_SHIFT))

static uint32_t **root;
static char *span_base;
static size_t span_stride;

static void *reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED) {
		perror("heapstorm: no memory for the shadow");
		exit(3);
	}
	return memory;
}

void shadow_attach(void *spans, size_t stride)
{
	span_base = spans;
	span_stride = stride;
	if (root == NULL)
		root = reserve(ROOT_SIZE * sizeof *root);
}

static struct shadow_span *span_at(uint32_t index)
{
	return (struct shadow_span *)(span_base + index * span_stride);
}

static uint32_t *leaf_at(uintptr_t granule)
{
	uint32_t **entry = &root[granule / LEAF_GRANULES];
	uint32_t *leaf = __atomic_load_n(entry, __ATOMIC_ACQUIRE);

	if (leaf == NULL) {
		uint32_t *fresh = reserve(LEAF_SIZE);

		if (__atomic_compare_exchange_n(entry, &leaf, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return fresh;
		munmap(fresh, LEAF_SIZE);
	}
	return leaf;
}

static uint32_t *slots_in(uint32_t *leaf, uintptr_t granule)
{
	return leaf + (granule & (LEAF_GRANULES - 1));
}

static uint32_t *page_in(uint32_t *leaf, uintptr_t granule)
{
	return leaf + LEAF_GRANULES + (granule / PAGE_GRANULES & (LEAF_PAGES - 1));
}

static uint32_t *page_slot(uintptr_t granule)
{
	return page_in(leaf_at(granule), granule);
}

static uint32_t slot_load(const uint32_t *slot)
{
	return __atomic_load_n(slot, __ATOMIC_RELAXED);
}

static void slot_store(uint32_t *slot, uint32_t value)
{
	__atomic_store_n(slot, value, __ATOMIC_RELAXED);
}

/* The granules of a span: [pages, pages_end) are whole pages, [first, pages) lie before and [pages_end, end) after them. */
struct extent {
	uintptr_t first, pages, pages_end, end;
};

static struct extent extent_of(uintptr_t start, size_t size)
{
	const uintptr_t end = start + size, page = PAGE_GRANULES * SHADOW_GRANULE;
	const uintptr_t pages = (start + page - 1) / page, pages_end = end / page;
	struct extent extent = {.first = start / SHADOW_GRANULE, .end = (end - 1) / SHADOW_GRANULE + 1};

	if (pages < pages_end) {
		extent.pages = pages * PAGE_GRANULES;
		extent.pages_end = pages_end * PAGE_GRANULES;
	} else {
		extent.pages = extent.pages_end = extent.end;
	}
	return extent;
}

/* The end of the run of granules from `first` that lie in one page. */
static uintptr_t run_end(uintptr_t first, uintptr_t end)
{
	const uintptr_t page_end = (first / PAGE_GRANULES + 1) * PAGE_GRANULES;

	return end < page_end ? end : page_end;
}

/* The link by which a span hangs in the chain of a granule. */
static uint32_t *link_in(struct shadow_span *span, uintptr_t granule)
{
	return &span->link[granule == span->start / SHADOW_GRANULE ? 0 : 1];
}

/* The span of the granule's chain that meets [start, end), 0 if none does. */
static uint32_t chain_overlap(uint32_t head, uintptr_t granule, uintptr_t start, uintptr_t end)
{
	for (uint32_t index = head; index != 0; index = *link_in(span_at(index), granule)) {
		const struct shadow_span *span = span_at(index);

		if (span->start < end && start < span->start + span->size)
			return index;
	}
	return 0;
}

/* The span that has bytes of [start, end) in the granules [first, last), 0 if none has. */
static uint32_t overlap(uintptr_t first, uintptr_t last, uintptr_t start, uintptr_t end)
{
	for (uintptr_t granule = first, next; granule < last; granule = next) {
		uint32_t *const leaf = leaf_at(granule);
		const uint32_t page = slot_load(page_in(leaf, granule));

		next = run_end(granule, last);
		if (page == 0)
			continue;
		if (page != PARTS)
			return page;
		const uint32_t *const slots = slots_in(leaf, granule);
		const size_t run = next - granule;
		uint32_t any = 0;

		for (size_t i = 0; i < run; i++)
			any |= slots[i];
		for (size_t i = 0; any != 0 && i < run; i++) {
			const uint32_t other = chain_overlap(slot_load(&slots[i]), granule + i, start, end);

			if (other != 0)
				return other;
		}
	}
	return 0;
}

/* Granules of pages that the span shares with others. */
static void claim_parts(struct shadow_span *span, uint32_t index, uintptr_t first, uintptr_t end)
{
	const uintptr_t span_first = span->start / SHADOW_GRANULE;
	const uintptr_t span_last = (span->start + span->size - 1) / SHADOW_GRANULE;

	for (uintptr_t granule = first, next; granule < end; granule = next) {
		uint32_t *const leaf = leaf_at(granule);
		uint32_t *const page = page_in(leaf, granule), *const slots = slots_in(leaf, granule);
		size_t run;

		next = run_end(granule, end);
		run = next - granule;
		if (slot_load(page) != PARTS)
			slot_store(page, PARTS);
		/* Only the first and the last granule can have other spans in them. */
		if (granule == span_first)
			span->link[0] = slot_load(&slots[0]);
		if (next - 1 == span_last && span_last != span_first)
			span->link[1] = slot_load(&slots[run - 1]);
		/* Plain stores, as the compiler makes vectors of these; each slot is still written whole. */
		for (size_t i = 0; i < run; i++)
			slots[i] = index;
	}
}

uint32_t shadow_claim(uint32_t index, uintptr_t start, size_t size)
{
	struct shadow_span *const span = span_at(index);
	const struct extent extent = extent_of(start, size);
	const uint32_t other = overlap(extent.first, extent.end, start, start + size);

	if (other != 0)
		return other;
	*span = (struct shadow_span){.start = start, .size = size};
	claim_parts(span, index, extent.first, extent.pages);
	for (uintptr_t page = extent.pages; page < extent.pages_end; page += PAGE_GRANULES)
		slot_store(page_slot(page), index);
	claim_parts(span, index, extent.pages_end, extent.end);
	return 0;
}

/* Takes `index` out of the chain of an end granule. Returns what shadow_release does. */
static uint32_t unchain(uint32_t index, uintptr_t granule, uint32_t *slot)
{
	const uint32_t head = slot_load(slot);
	const uint32_t next = *link_in(span_at(index), granule);

	if (head == index) {
		slot_store(slot, next);
		return 0;
	}
	for (uint32_t at = head; at != 0;) {
		uint32_t *link = link_in(span_at(at), granule);

		if (*link == index) {
			*link = next;
			return 0;
		}
		at = *link;
	}
	return head != 0 ? head : UINT32_MAX;
}

/* Granules of pages that the span shares with others. Returns what shadow_release does. */
static uint32_t release_parts(uint32_t index, uintptr_t first, uintptr_t end)
{
	const struct shadow_span *const span = span_at(index);
	const uintptr_t span_first = span->start / SHADOW_GRANULE;
	const uintptr_t span_last = (span->start + span->size - 1) / SHADOW_GRANULE;
	uint32_t found = 0;

	for (uintptr_t granule = first, next; granule < end; granule = next) {
		uint32_t *const leaf = leaf_at(granule), *const slots = slots_in(leaf, granule);
		const uint32_t page = slot_load(page_in(leaf, granule));
		uint32_t other = 0, at_end = 0;

		next = run_end(granule, end);
		/* Whoever claimed the whole page meanwhile has put a name there, or 0 by now. */
		if (page != PARTS && found == 0)
			found = page != 0 ? page : UINT32_MAX;
		size_t from = 0, to = next - granule;

		if (granule == span_first)
			at_end = unchain(index, granule, &slots[from++]);
		if (next - 1 == span_last && span_last != span_first) {
			const uint32_t last = unchain(index, next - 1, &slots[--to]);

			at_end = at_end != 0 ? at_end : last;
		}
		for (size_t i = from; i < to; i++) {
			other |= slots[i] ^ index;
			slots[i] = 0;
		}
		if (found == 0)
			found = at_end;
		/* The difference names no span by itself: it is enough to know that there was one. */
		if (other != 0 && found == 0)
			found = UINT32_MAX;
	}
	return found;
}

uint32_t shadow_release(uint32_t index)
{
	const struct shadow_span *const span = span_at(index);
	const struct extent extent = extent_of(span->start, span->size);
	uint32_t found = release_parts(index, extent.first, extent.pages);

	for (uintptr_t page = extent.pages; page < extent.pages_end; page += PAGE_GRANULES) {
		uint32_t *const slot = page_slot(page);
		const uint32_t other = slot_load(slot);

		/* PARTS stays: who put it there relies on it. */
		if (other == index)
			slot_store(slot, 0);
		else if (found == 0)
			found = other != 0 ? other : UINT32_MAX;
	}
	const uint32_t after = release_parts(index, extent.pages_end, extent.end);

	return found != 0 ? found : after;
}

uint32_t shadow_find(uintptr_t address)
{
	const uintptr_t granule = address / SHADOW_GRANULE;

	if (root == NULL || address >> 48 != 0)
		return 0;
	if (__atomic_load_n(&root[address >> LEAF_SHIFT], __ATOMIC_ACQUIRE) == NULL)
		return 0;
	uint32_t *const leaf = leaf_at(granule);
	const uint32_t page = slot_load(page_in(leaf, granule));

	return page != PARTS ? page : chain_overlap(slot_load(slots_in(leaf, granule)), granule, address, address + 1);
}
