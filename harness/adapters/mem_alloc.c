#include "mem_alloc.h"

#include "builtin.h"

extern const struct bundle heapstorm_bundle_mem_alloc;

static const struct allocator allocator = {
	.name = "mem_alloc",
	.malloc = my_malloc,
	.free = my_free,
	.calloc = my_calloc,
	.realloc = my_realloc,
	.reallocarray = my_reallocarray,
	.aligned_alloc = my_aligned_alloc,
	.posix_memalign = my_posix_memalign,
	.memalign = my_memalign,
	.malloc_usable_size = my_malloc_usable_size,
	.malloc_trim = my_malloc_trim,
	.walk = my_walk,
	.check = my_check,
	.stats = my_stats,
	.contract =
		{
			.malloc_zero_is_block = CONTRACT_YES,
			.realloc_zero = REALLOC_ZERO_FREES,
			.bad_alignment_fails = CONTRACT_YES,
			.usable_is_writable = CONTRACT_YES,
			.free_keeps_errno = CONTRACT_YES,
			.thread_safe = CONTRACT_YES,
			.null_sets_errno = CONTRACT_YES,
			.small_alignment = 16,
		},
};

const struct adapter adapter_mem_alloc = {&allocator, &heapstorm_bundle_mem_alloc};
