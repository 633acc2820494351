#include <heapstorm/allocator.h>

#include "first_fit.h"

const struct allocator heapstorm_allocator = {
	.name = "first_fit",
	.arena_size = 64 * 1024,
	.start = heap_init,
	.malloc = heap_malloc,
	.free = heap_free,
	.contract = {.thread_safe = CONTRACT_NO, .alignment = 8, .whole_when_free = CONTRACT_YES},
};
