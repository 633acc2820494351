/* For an executable with one allocator, whose adapter was compiled with it: cmake/build_allocator.sh. */
#include <stddef.h>

#include "subject.h"

extern const struct allocator heapstorm_allocator;
extern const struct bundle heapstorm_bundle_subject;

static const struct adapter adapter = {&heapstorm_allocator, &heapstorm_bundle_subject};

const struct adapter *const heapstorm_adapters[] = {&adapter, NULL};
