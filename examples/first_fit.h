/*
 * A first-fit heap in memory that is given, as embedded systems have it: one list of free blocks in address order, neighbours merge when a
 * block is freed. For one thread at a time.
 */
#ifndef FIRST_FIT_H
#define FIRST_FIT_H

#include <stddef.h>

/* Makes the heap in `size` bytes at `memory`, 8-aligned. */
void heap_init(void *memory, size_t size);

/* Blocks are 8-aligned. NULL if none is large enough, or for 0 bytes. */
void *heap_malloc(size_t size);

void heap_free(void *block);

#endif
