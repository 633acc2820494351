#include "shadow.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A leaf covers 256 MiB of addresses with 64 MiB of slots, which the OS fills in as they are touched. */
#define LEAF_SHIFT 28
#define LEAF_GRANULES ((size_t)1 << (LEAF_SHIFT - 4))
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

static uint32_t *slots_at(uintptr_t address)
{
	uint32_t **entry = &root[address >> LEAF_SHIFT];
	uint32_t *leaf = __atomic_load_n(entry, __ATOMIC_ACQUIRE);

	if (leaf == NULL) {
		uint32_t *fresh = reserve(LEAF_GRANULES * sizeof *fresh);

		if (__atomic_compare_exchange_n(entry, &leaf, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return fresh + ((address >> 4) & (LEAF_GRANULES - 1));
		munmap(fresh, LEAF_GRANULES * sizeof *fresh);
	}
	return leaf + ((address >> 4) & (LEAF_GRANULES - 1));
}

static uint32_t slot_load(const uint32_t *slot)
{
	return __atomic_load_n(slot, __ATOMIC_RELAXED);
}

static void slot_store(uint32_t *slot, uint32_t value)
{
	__atomic_store_n(slot, value, __ATOMIC_RELAXED);
}

/* Runs of slots that lie in one leaf: most blocks need one. */
static size_t run_length(uintptr_t granule, size_t granules)
{
	const size_t room = LEAF_GRANULES - (granule & (LEAF_GRANULES - 1));

	return granules < room ? granules : room;
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

uint32_t shadow_claim(uint32_t index, uintptr_t start, size_t size)
{
	struct shadow_span *const span = span_at(index);
	const uintptr_t first = start / SHADOW_GRANULE, end = start + size;
	const size_t granules = (end - 1) / SHADOW_GRANULE - first + 1;

	for (size_t done = 0; done < granules;) {
		const uintptr_t granule = first + done;
		const size_t run = run_length(granule, granules - done);
		const uint32_t *slots = slots_at(granule * SHADOW_GRANULE);
		uint32_t any = 0;

		for (size_t i = 0; i < run; i++)
			any |= slots[i];
		for (size_t i = 0; any != 0 && i < run; i++) {
			const uint32_t other = chain_overlap(slot_load(&slots[i]), granule + i, start, end);

			if (other != 0)
				return other;
		}
		done += run;
	}
	*span = (struct shadow_span){.start = start, .size = size};
	for (size_t done = 0; done < granules;) {
		const uintptr_t granule = first + done;
		const size_t run = run_length(granule, granules - done);
		uint32_t *slots = slots_at(granule * SHADOW_GRANULE);

		/* Only the first and the last granule can have other spans in them. */
		if (done == 0)
			span->link[0] = slot_load(&slots[0]);
		if (done + run == granules && granules > 1)
			span->link[1] = slot_load(&slots[run - 1]);
		/* Plain stores, as the compiler makes vectors of these; each slot is still written whole. */
		for (size_t i = 0; i < run; i++)
			slots[i] = index;
		done += run;
	}
	return 0;
}

/* Takes `index` out of the chain of an end granule. Returns what shadow_release does. */
static uint32_t unchain(uint32_t index, uintptr_t granule)
{
	uint32_t *const slot = slots_at(granule * SHADOW_GRANULE);
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

uint32_t shadow_release(uint32_t index)
{
	const struct shadow_span *const span = span_at(index);
	const uintptr_t first = span->start / SHADOW_GRANULE;
	const uintptr_t last = (span->start + span->size - 1) / SHADOW_GRANULE;
	uint32_t found = unchain(index, first);

	for (uintptr_t granule = first + 1; granule < last;) {
		const size_t run = run_length(granule, last - granule);
		uint32_t *slots = slots_at(granule * SHADOW_GRANULE);
		uint32_t other = 0;

		for (size_t i = 0; i < run; i++) {
			other |= slots[i] ^ index;
			slots[i] = 0;
		}
		/* The difference names no span by itself: it is enough to know that there was one. */
		if (other != 0 && found == 0)
			found = UINT32_MAX;
		granule += run;
	}
	if (last != first) {
		const uint32_t at_end = unchain(index, last);

		if (found == 0)
			found = at_end;
	}
	return found;
}

uint32_t shadow_find(uintptr_t address)
{
	const uintptr_t granule = address / SHADOW_GRANULE;

	if (root == NULL || address >> 48 != 0)
		return 0;
	if (__atomic_load_n(&root[address >> LEAF_SHIFT], __ATOMIC_ACQUIRE) == NULL)
		return 0;
	return chain_overlap(slot_load(slots_at(address)), granule, address, address + 1);
}
