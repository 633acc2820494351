/*
 * Size classes. All sizes inside the heap are counted in granules of 16 bytes.
 *
 * A class is one granule wide up to 64 granules, above that there are 8 to each doubling, so that rounding up to a class costs at most
 * 12.5 %. The same scale indexes the magazines of a thread and the bins of its heap.
 */
#ifndef MEM_ALLOC_2_0_SIZE_CLASS_H
#define MEM_ALLOC_2_0_SIZE_CLASS_H

#include <stddef.h>

#define GRANULE 16
#define EXACT_GRANULES 64 /* up to here every size is a class */

/* Granules of a block for `size` bytes; at most PTRDIFF_MAX. */
static inline size_t granules_of(size_t size)
{
	return size == 0 ? 1 : (size + GRANULE - 1) / GRANULE;
}

/* The highest class that is not above `granules`, which is not 0. */
static inline unsigned int class_floor(size_t granules)
{
	unsigned int log;

	if (granules < EXACT_GRANULES)
		return (unsigned int)granules;
	log = 63 - (unsigned int)__builtin_clzl(granules);
	return EXACT_GRANULES + (log - 6) * 8 + (unsigned int)(granules >> (log - 3) & 7);
}

/* The lowest class that is not below `granules`, which is not 0. */
static inline unsigned int class_ceil(size_t granules)
{
	return granules <= EXACT_GRANULES ? (unsigned int)granules : class_floor(granules - 1) + 1;
}

/* The lowest size of a class. */
static inline size_t class_granules(unsigned int cls)
{
	if (cls < EXACT_GRANULES)
		return cls;
	return (size_t)(8 + cls % 8) << ((cls - EXACT_GRANULES) / 8 + 3);
}

#endif
