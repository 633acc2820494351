#include "pattern.h"

#include "raw_memory.h"

/* An odd constant with no long runs of equal bits: neighbouring words share few bytes. */
#define STEP UINT64_C(0x9e3779b97f4a7c15)

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014): ids are small numbers, patterns must not be. */
static uint64_t mix(uint64_t id)
{
	id = (id ^ (id >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	id = (id ^ (id >> 27)) * UINT64_C(0x94d049bb133111eb);
	return id ^ (id >> 31);
}

static uint64_t word_at(uint64_t base, size_t index)
{
	return base + index * STEP;
}

static unsigned char byte_at(uint64_t base, size_t offset)
{
	return (unsigned char)(word_at(base, offset / 8) >> (8 * (offset % 8)));
}

unsigned char pattern_byte(uint64_t id, size_t offset)
{
	return byte_at(mix(id + STEP), offset);
}

void pattern_fill(void *block, size_t from, size_t size, uint64_t id)
{
	const uint64_t base = mix(id + STEP);
	unsigned char *bytes = block;
	size_t offset = from;

	for (; offset < size && offset % 8 != 0; offset++)
		bytes[offset] = byte_at(base, offset);
	if (offset + 64 <= size) {
		raw_vector words = {word_at(base, offset / 8), word_at(base, offset / 8 + 1)};
		const raw_vector two = {2 * STEP, 2 * STEP};

		for (; offset + 64 <= size; offset += 64) {
			const raw_vector b = words + two, c = b + two, d = c + two;

			*(raw_vector *)(bytes + offset) = words;
			*(raw_vector *)(bytes + offset + 16) = b;
			*(raw_vector *)(bytes + offset + 32) = c;
			*(raw_vector *)(bytes + offset + 48) = d;
			words = d + two;
		}
	}
	for (; offset + 8 <= size; offset += 8)
		*(raw_word *)(bytes + offset) = word_at(base, offset / 8);
	if (offset < size) {
		uint64_t last = word_at(base, offset / 8);

		for (; offset < size; offset++, last >>= 8)
			bytes[offset] = (unsigned char)last;
	}
}

size_t pattern_mismatch(const void *block, size_t from, size_t size, uint64_t id)
{
	const uint64_t base = mix(id + STEP);
	const unsigned char *bytes = block;
	size_t offset = from;

	if (offset + 64 <= size) {
		raw_vector words = {word_at(base, offset / 8), word_at(base, offset / 8 + 1)};
		const raw_vector two = {2 * STEP, 2 * STEP};

		for (; offset + 64 <= size; offset += 64) {
			const raw_vector b = words + two, c = b + two, d = c + two;
			const raw_vector difference = (*(const raw_vector *)(bytes + offset) ^ words) |
						      (*(const raw_vector *)(bytes + offset + 16) ^ b) |
						      (*(const raw_vector *)(bytes + offset + 32) ^ c) |
						      (*(const raw_vector *)(bytes + offset + 48) ^ d);

			if ((difference[0] | difference[1]) != 0)
				break;
			words = d + two;
		}
	}
	for (; offset + 8 <= size; offset += 8)
		if (*(const raw_word *)(bytes + offset) != word_at(base, offset / 8))
			break;
	/* The last bytes together with some before them that are known to be right. */
	if (offset < size && offset + 8 > size && offset >= from + 8) {
		const unsigned shift = size % 8 * 8;
		const uint64_t last = word_at(base, size / 8 - 1) >> shift | word_at(base, size / 8) << (64 - shift);

		if (*(const raw_word *)(bytes + size - 8) == last)
			return size;
	}
	while (offset < size && bytes[offset] == byte_at(base, offset))
		offset++;
	return offset;
}
