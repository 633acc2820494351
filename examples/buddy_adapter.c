#include <heapstorm/allocator.h>

#include "buddy.h"

const struct allocator heapstorm_allocator = {
	.name = "buddy",
	.arena_size = 256 * 1024,
	.start = buddy_init,
	.malloc = buddy_malloc,
	.aligned_alloc = buddy_aligned_alloc,
	.free = buddy_free,
	.contract = {.malloc_zero_is_block = CONTRACT_YES,
		     .bad_alignment_fails = CONTRACT_YES,
		     .thread_safe = CONTRACT_YES,
		     .fork_safe = CONTRACT_NO,
		     .null_sets_errno = CONTRACT_YES,
		     .whole_when_free = CONTRACT_YES},
};
