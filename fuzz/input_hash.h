/* By the hash of an input a target decides what it does for a share of them: the same for the same input, every time. */
#ifndef HEAPSTORM_FUZZ_INPUT_HASH_H
#define HEAPSTORM_FUZZ_INPUT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* FNV-1a's multiplier on words of 8 bytes, with the length mixed in and the high bits folded down. */
static inline uint64_t input_hash(const uint8_t *data, size_t size)
{
	uint64_t value = size, word;

	for (; size >= sizeof word; data += sizeof word, size -= sizeof word) {
		memcpy(&word, data, sizeof word);
		value = (value ^ word) * UINT64_C(0x100000001b3);
		value ^= value >> 29;
	}
	for (size_t i = 0; i < size; i++)
		value = (value ^ data[i]) * UINT64_C(0x100000001b3);
	return value ^ value >> 29;
}

#endif
