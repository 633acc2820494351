/*
 * What the hardened build (CMake's MEM_ALLOC_HARDENED) does beyond the checks that are always there: free wipes blocks and malloc looks whether they
 * still are, blocks are handed out in no order, and each large block ends at a guard page and is unmapped when it is freed.
 */
#ifndef MEM_ALLOC_2_0_HARDENED_H
#define MEM_ALLOC_2_0_HARDENED_H

#include <stdbool.h>
#include <stddef.h>

#ifdef MEM_ALLOC_HARDENED
#define HARDENED true
#else
#define HARDENED false
#endif

/* Of so many blocks at the head of a magazine each may be the one that is handed out. A power of two. */
#define HARDENED_CHOICE 16

/* A number that a program cannot easily foresee: xorshift from a seed of the kernel. */
unsigned int ma2_random(void);

/* Wipes all of a block but the node at its start. */
void ma2_wipe(void *block, size_t size);

/* Ends the process if the block is not as ma2_wipe left it. */
void ma2_check_wiped(const void *block, size_t size);

#endif
