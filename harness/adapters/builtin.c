/* The allocators that are always there. */
#include "builtin.h"

#include <stddef.h>

const struct adapter *const heapstorm_adapters[] = {
	&adapter_mem_alloc,
	&adapter_mem_alloc_2_0,
	&adapter_system,
	NULL,
};
