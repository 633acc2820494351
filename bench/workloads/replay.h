/* A recording as the worker plays it: a head, then the calls in their order, whichever thread made them. */
#ifndef HEAPSTORM_BENCH_WORKLOADS_REPLAY_H
#define HEAPSTORM_BENCH_WORKLOADS_REPLAY_H

#include <stdint.h>

#define REPLAY_MAGIC UINT64_C(0x31796c7065726268)
#define REPLAY_NONE UINT32_MAX

enum replay_kind {
	REPLAY_MALLOC,
	REPLAY_CALLOC,
	REPLAY_REALLOC,
	REPLAY_FREE,
	REPLAY_ALIGNED,
	REPLAY_USABLE_SIZE,
	REPLAY_TRIM,
};

struct replay_head {
	uint64_t magic;
	uint64_t calls;
	uint64_t labels; /* all labels are below it */
};

struct replay_call {
	uint32_t kind : 8, alignment_log2 : 8;
	uint32_t result, block; /* labels, REPLAY_NONE where there is none */
	uint32_t pad;
	uint64_t size; /* calloc: of all together */
};

#endif
