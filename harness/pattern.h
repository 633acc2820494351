/*
 * The contents of live blocks: every requested byte follows from a 64-bit block id and the byte's offset, so that a stale copy, a
 * neighbour's write and a twin block at the same address are all seen.
 */
#ifndef HEAPSTORM_HARNESS_PATTERN_H
#define HEAPSTORM_HARNESS_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Writes the first `size` bytes of the pattern of `id`, from byte `from` on. */
void pattern_fill(void *block, size_t from, size_t size, uint64_t id);

/* Offset of the first byte in [from, size) that differs from the pattern of `id`, or `size` if none does. `from` is a multiple of 8. */
size_t pattern_mismatch(const void *block, size_t from, size_t size, uint64_t id);

/* The byte of the pattern at an offset. */
unsigned char pattern_byte(uint64_t id, size_t offset);

#endif
