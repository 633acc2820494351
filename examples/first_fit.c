#include "first_fit.h"

#include <stdint.h>

/* Before each block, free or not. */
struct header {
	struct header *next; /* the next free block by address; NULL while in use */
	size_t size;         /* bytes, this header included; a multiple of 8 */
};

static struct header first; /* before all free blocks */

void heap_init(void *memory, size_t size)
{
	struct header *const all = memory;

	all->size = size & ~(size_t)7;
	all->next = NULL;
	first.next = all;
	first.size = 0;
}

void *heap_malloc(size_t size)
{
	const size_t least = sizeof(struct header) + 8;
	size_t wanted = (size + sizeof(struct header) + 7) & ~(size_t)7;

	if (size == 0 || size > SIZE_MAX / 2)
		return NULL;
	for (struct header *before = &first, *block; (block = before->next) != NULL; before = block) {
		if (block->size < wanted)
			continue;
		if (block->size - wanted >= least) {
			struct header *const rest = (struct header *)((char *)block + wanted);

			rest->size = block->size - wanted;
			rest->next = block->next;
			before->next = rest;
			block->size = wanted;
		} else {
			before->next = block->next;
		}
		block->next = NULL;
		return block + 1;
	}
	return NULL;
}

static int touch(const struct header *left, const struct header *right)
{
	return (const char *)left + left->size == (const char *)right;
}

void heap_free(void *address)
{
	struct header *block, *before = &first;

	if (address == NULL)
		return;
	block = (struct header *)address - 1;
	while (before->next != NULL && before->next < block)
		before = before->next;
	block->next = before->next;
	if (block->next != NULL && touch(block, block->next)) {
		block->size += block->next->size;
		block->next = block->next->next;
	}
	if (before != &first && touch(before, block)) {
		before->size += block->size;
		before->next = block->next;
	} else {
		before->next = block;
	}
}
