/*
 * Two-level segregated fit (Masmano, Ripoll, Crespo, Real: "TLSF: a new dynamic memory allocator for real-time systems", ECRTS 2004): malloc and
 * free in constant time. Each pool is an instance of its own. For one thread at a time.
 */
#ifndef TLSF_H
#define TLSF_H

#include <stddef.h>

struct tlsf;

/* Makes a pool in `size` bytes at `memory`, 16-aligned, of which its bookkeeping takes some. NULL: too few. */
struct tlsf *tlsf_create(void *memory, size_t size);

/* Blocks are 16-aligned. NULL if there is none. */
void *tlsf_malloc(struct tlsf *pool, size_t size);
void *tlsf_realloc(struct tlsf *pool, void *block, size_t size);
void tlsf_free(struct tlsf *pool, void *block);

/* Bytes of a block that its user may have. */
size_t tlsf_block_size(const void *block);

#endif
