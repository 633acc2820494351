/*
 * The shadow: which live block every byte of the address space belongs to.
 *
 * One 32-bit slot for each granule of 16 bytes, in a two-level table that grows with the addresses seen, names a block. Blocks that
 * share a granule (allocators may align small blocks to less than 16) are chained through `struct shadow_span`, so that the answer is exact
 * to the byte. A page of 4 KiB that one block has for itself is named in a slot of its own, and its granules are left alone. Claim and
 * release touch each slot once.
 *
 * There is no lock: a claim reads, then writes, and a release finds out when another thread had claimed the same bytes at the same
 * moment. No order between threads comes from here that could hide a race of the allocator.
 */
#ifndef HEAPSTORM_HARNESS_SHADOW_H
#define HEAPSTORM_HARNESS_SHADOW_H

#include <stddef.h>
#include <stdint.h>

/* A claimed range. Spans live in an array of the caller's; a span is named by its index there, never 0. */
struct shadow_span {
	uintptr_t start;
	size_t size;      /* bytes, not 0 */
	uint32_t link[2]; /* next span of the granule chain: [0] in the first granule, [1] in the last */
};

/* Bytes of a granule, and how often a span array's elements repeat: see shadow_attach. */
#define SHADOW_GRANULE 16

/* Spans are found at `spans + index * stride` bytes. Called once, before any claim. */
void shadow_attach(void *spans, size_t stride);

/*
 * Claims [start, start + size) for span `index` and fills it in. Returns 0, or the index of a live span that it overlaps: nothing
 * is claimed then.
 */
uint32_t shadow_claim(uint32_t index, uintptr_t start, size_t size);

/* Gives the span's bytes back. Returns 0, or the index of another span (UINT32_MAX: none) found where the span's own should be. */
uint32_t shadow_release(uint32_t index);

/* The span that owns the byte at `address`, 0 if none does. */
uint32_t shadow_find(uintptr_t address);

#endif
