#include <heapstorm/allocator.h>

#include "tlsf.h"

/* clang-format off */
static struct tlsf *pool;

static void start(void *arena, size_t size) { pool = tlsf_create(arena, size); }
static void *pool_malloc(size_t size) { return tlsf_malloc(pool, size); }
static void *pool_realloc(void *block, size_t size) { return tlsf_realloc(pool, block, size); }
static void pool_free(void *block) { tlsf_free(pool, block); }
static size_t usable(void *block) { return tlsf_block_size(block); }

const struct allocator heapstorm_allocator = {
	.name = "tlsf", .arena_size = 256 * 1024, .start = start,
	.malloc = pool_malloc, .realloc = pool_realloc, .free = pool_free, .malloc_usable_size = usable,
	.contract = {.malloc_zero_is_block = CONTRACT_YES, .realloc_zero = REALLOC_ZERO_BLOCK, .thread_safe = CONTRACT_NO,
		     .usable_is_writable = CONTRACT_YES, .whole_when_free = CONTRACT_YES},
};
