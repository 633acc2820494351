#ifndef HEAPSTORM_HARNESS_ADAPTERS_BUILTIN_H
#define HEAPSTORM_HARNESS_ADAPTERS_BUILTIN_H

#include "subject.h"

extern const struct adapter adapter_mem_alloc, adapter_mem_alloc_2_0, adapter_system;

#endif
