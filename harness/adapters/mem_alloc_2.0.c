#include "mem_alloc_2.0.h"

#include "builtin.h"

extern const struct bundle heapstorm_bundle_mem_alloc_2_0;

static const struct allocator allocator = {
	.name = "mem_alloc_2.0",
	.malloc = my_malloc_2_0,
	.free = my_free_2_0,
	.calloc = my_calloc_2_0,
	.realloc = my_realloc_2_0,
	.reallocarray = my_reallocarray_2_0,
	.aligned_alloc = my_aligned_alloc_2_0,
	.posix_memalign = my_posix_memalign_2_0,
	.memalign = my_memalign_2_0,
	.malloc_usable_size = my_malloc_usable_size_2_0,
	.malloc_trim = my_malloc_trim_2_0,
	.walk = my_walk_2_0,
	.check = my_check_2_0,
	.quiesce = my_quiesce_2_0,
	.stats = my_stats_2_0,
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
			.coalesced_request_max = 256 * 1024,
		},
};

const struct adapter adapter_mem_alloc_2_0 = {&allocator, &heapstorm_bundle_mem_alloc_2_0};
