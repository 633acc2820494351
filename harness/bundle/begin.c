/* The first object of a bundle: its variables open .data, .bss, .tdata and .tbss, which end.c closes. See bundle.ld. */
#include "bundle.h"

#ifndef BUNDLE_NAME
#error "BUNDLE_NAME: the name of the bundle"
#endif
#define TEXT(name) TEXT_OF(name)
#define TEXT_OF(name) #name
#define DESCRIPTOR(name) DESCRIPTOR_OF(name)
#define DESCRIPTOR_OF(name) heapstorm_bundle_##name

/* Each as large as the alignment that it forces on the section's start, so that no gap opens before the allocator's data. */
#define BRACKET __attribute__((used, aligned(64)))

BRACKET char heapstorm_data_begin[64] = {1};
BRACKET char heapstorm_bss_begin[64];
BRACKET __thread char heapstorm_tdata_begin[64] = {1};
BRACKET __thread char heapstorm_tbss_begin[64];

extern char heapstorm_data_end[], heapstorm_bss_end[];
extern __thread char heapstorm_tdata_end[], heapstorm_tbss_end[];

static void thread_local_ranges(struct bundle_range *tdata, struct bundle_range *tbss)
{
	*tdata = (struct bundle_range){heapstorm_tdata_begin, heapstorm_tdata_end};
	*tbss = (struct bundle_range){heapstorm_tbss_begin, heapstorm_tbss_end};
}

extern const struct bundle DESCRIPTOR(BUNDLE_NAME);
const struct bundle DESCRIPTOR(BUNDLE_NAME) = {
	.name = TEXT(BUNDLE_NAME),
	.data = {heapstorm_data_begin, heapstorm_data_end},
	.bss = {heapstorm_bss_begin, heapstorm_bss_end},
	.thread_local_ranges = thread_local_ranges,
};
