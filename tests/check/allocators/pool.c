/* Blocks of one size out of an array, for one thread: it has so much memory and no more. */
#include <stddef.h>

#define COUNT 256

static union block {
	union block *next;
	_Alignas(16) char bytes[256];
} blocks[COUNT], *free_list;
static int started;

void *pool_get(size_t size)
{
	union block *block;

	if (!started) {
		for (int i = 0; i < COUNT; i++) {
			blocks[i].next = free_list;
			free_list = &blocks[i];
		}
		started = 1;
	}
	block = free_list;
	if (size > sizeof *block || block == NULL)
		return NULL;
	free_list = block->next;
	return block;
}

void pool_put(void *pointer)
{
	union block *const block = pointer;

	if (block == NULL)
		return;
#ifdef PLANT_LIST_INTO_BLOCK
	/* Writes behind the block. */
	block[1].next = free_list;
#endif
	block->next = free_list;
	free_list = block;
}
