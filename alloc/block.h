/* The node of every list of blocks, shared by both allocators. */
#ifndef HEAPSTORM_ALLOC_BLOCK_H
#define HEAPSTORM_ALLOC_BLOCK_H

#include <stddef.h>

struct Block {
	size_t size;        /* bytes; what of them counts is said where the list is declared */
	struct Block *next; /* NULL at the end of a list */
};

#endif
