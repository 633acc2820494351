#include "tlsf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ALIGNMENT ((size_t)16)
#define SECOND_BITS 3 /* each power of two is divided in so many steps (a power of two) */
#define SECOND (1u << SECOND_BITS)
#define FIRST 40 /* powers of two; the lowest is for all sizes under SMALL */
#define SMALL (ALIGNMENT << SECOND_BITS)
#define SMALL_SHIFT (4 + SECOND_BITS)

enum {
	IS_FREE = 1,     /* this block */
	LEFT_IS_FREE = 2 /* the one before it: then `left` is valid */
};

struct block {
	struct block *left; /* the block before by address, only while that is free */
	size_t size;        /* of the payload, with IS_FREE and LEFT_IS_FREE in it */
	struct block *next; /* from here on the payload; while it is free, others of its class */
	struct block *prev;
};

#define HEADER offsetof(struct block, next)

struct tlsf {
	uint64_t first_map;
	uint32_t second_map[FIRST];
	struct block *free[FIRST][SECOND];
};

static size_t size_of(const struct block *block)
{
	return block->size & ~(size_t)15;
}

static struct block *right_of(struct block *block)
{
	return (struct block *)((char *)block + HEADER + size_of(block));
}

static struct block *block_of(const void *payload)
{
	return (struct block *)((char *)(uintptr_t)payload - HEADER);
}

/* The class that a free block of this size is in. */
static void class_of(size_t size, unsigned *first, unsigned *second)
{
	if (size < SMALL) {
		*first = 0;
		*second = (unsigned)(size / ALIGNMENT);
		return;
	}
	const unsigned top = 63 - (unsigned)__builtin_clzll(size);

	*first = top - SMALL_SHIFT + 1;
	*second = (unsigned)(size >> (top - SECOND_BITS)) & (SECOND - 1);
}

static void insert(struct tlsf *pool, struct block *block)
{
	unsigned first, second;
	struct block **list;

	class_of(size_of(block), &first, &second);
	list = &pool->free[first][second];
	block->next = *list;
	block->prev = NULL;
	if (*list != NULL)
		(*list)->prev = block;
	*list = block;
	pool->first_map |= (uint64_t)1 << first;
	pool->second_map[first] |= 1u << second;
	block->size |= IS_FREE;
	right_of(block)->left = block;
	right_of(block)->size |= LEFT_IS_FREE;
}

static void take(struct tlsf *pool, struct block *block)
{
	unsigned first, second;

	class_of(size_of(block), &first, &second);
	if (block->next != NULL)
		block->next->prev = block->prev;
	if (block->prev != NULL) {
		block->prev->next = block->next;
	} else {
		pool->free[first][second] = block->next;
		if (block->next == NULL) {
			pool->second_map[first] &= ~(1u << second);
			if (pool->second_map[first] == 0)
				pool->first_map &= ~((uint64_t)1 << first);
		}
	}
	block->size &= ~(size_t)IS_FREE;
	right_of(block)->size &= ~(size_t)LEFT_IS_FREE;
}

/* A free block of at least `size` bytes: the first of the lowest class all of whose blocks are large enough. */
static struct block *find(const struct tlsf *pool, size_t size)
{
	unsigned first, second;
	uint32_t seconds;

	if (size >= SMALL) /* up to the start of the next class */
		size += ((size_t)1 << (63 - __builtin_clzll(size) - SECOND_BITS)) - 1;
	class_of(size, &first, &second);
	if (first >= FIRST)
		return NULL;
	seconds = pool->second_map[first] & (~0u << second);
	if (seconds == 0) {
		const uint64_t firsts = first + 1 < 64 ? pool->first_map & (~(uint64_t)0 << (first + 1)) : 0;

		if (firsts == 0)
			return NULL;
		first = (unsigned)__builtin_ctzll(firsts);
		seconds = pool->second_map[first];
	}
	return pool->free[first][__builtin_ctz(seconds)];
}

/* Cuts what is more than `size` off a block that is in use. */
static void trim(struct tlsf *pool, struct block *block, size_t size)
{
	struct block *rest, *right;

	if (size_of(block) - size < HEADER + ALIGNMENT)
		return;
	right = right_of(block);
	rest = (struct block *)((char *)block + HEADER + size);
	rest->size = size_of(block) - size - HEADER;
	block->size = size | (block->size & 15);
	if ((right->size & IS_FREE) != 0) {
		take(pool, right);
		rest->size += HEADER + size_of(right);
	}
	insert(pool, rest);
}

struct tlsf *tlsf_create(void *memory, size_t size)
{
	struct tlsf *const pool = memory;
	const size_t start = (sizeof *pool + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	struct block *all, *end;

	size &= ~(ALIGNMENT - 1);
	if (size < start + 2 * HEADER + ALIGNMENT)
		return NULL;
	memset(pool, 0, sizeof *pool);
	all = (struct block *)((char *)memory + start);
	all->size = size - start - 2 * HEADER;
	end = right_of(all);
	end->size = 0; /* in use for ever: nothing merges with it */
	insert(pool, all);
	return pool;
}

static size_t rounded(size_t size)
{
	return size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

void *tlsf_malloc(struct tlsf *pool, size_t size)
{
	struct block *block;

	if (size > (size_t)1 << 40)
		return NULL;
	size = rounded(size);
	block = find(pool, size);
	if (block == NULL)
		return NULL;
	take(pool, block);
	trim(pool, block, size);
	return &block->next;
}

void tlsf_free(struct tlsf *pool, void *payload)
{
	struct block *block, *right;

	if (payload == NULL)
		return;
	block = block_of(payload);
	if ((block->size & LEFT_IS_FREE) != 0) {
		struct block *const left = block->left;

		take(pool, left);
		left->size += HEADER + size_of(block);
		block = left;
	}
	right = right_of(block);
	if ((right->size & IS_FREE) != 0) {
		take(pool, right);
		block->size += HEADER + size_of(right);
	}
	insert(pool, block);
}

void *tlsf_realloc(struct tlsf *pool, void *payload, size_t size)
{
	struct block *block, *right;
	void *moved;

	if (payload == NULL)
		return tlsf_malloc(pool, size);
	if (size > (size_t)1 << 40)
		return NULL;
	block = block_of(payload);
	right = right_of(block);
	size = rounded(size);
	if (size > size_of(block) && (right->size & IS_FREE) != 0 && size_of(block) + HEADER + size_of(right) >= size) {
		take(pool, right);
		block->size += HEADER + size_of(right);
		right_of(block)->size &= ~(size_t)LEFT_IS_FREE;
	}
	if (size <= size_of(block)) {
		trim(pool, block, size);
		return payload;
	}
	moved = tlsf_malloc(pool, size);
	if (moved != NULL) {
		memcpy(moved, payload, size_of(block));
		tlsf_free(pool, payload);
	}
	return moved;
}

size_t tlsf_block_size(const void *payload)
{
	return payload == NULL ? 0 : size_of(block_of(payload));
}
