/* What a measured process tells the driver: two records on pipes, in the layout of the machine. */
#ifndef HEAPSTORM_BENCH_RECORD_H
#define HEAPSTORM_BENCH_RECORD_H

#include <stdint.h>

#define BENCH_MAGIC UINT64_C(0x31686362656e6368)

enum {
	BENCH_SPAWN_FD = 3,  /* struct bench_process, from bench-spawn */
	BENCH_WORKER_FD = 4, /* struct bench_worker, from bench-worker */
};

/* Of a whole process and the children it waited for, from start to end. */
struct bench_process {
	uint64_t magic;
	int32_t status; /* as wait returns it */
	int32_t timed_out;
	uint64_t wall_ns, cpu_ns;
	uint64_t peak_kib; /* resident, at most */
	uint64_t faults;   /* page faults, minor and major */
};

/* Of a workload: without the start of the process. */
struct bench_worker {
	uint64_t magic;
	uint64_t operations; /* calls of the allocator */
	uint64_t wall_ns, cpu_ns;
	uint64_t base_kib;    /* resident before it began */
	uint64_t peak_kib;    /* resident, at most */
	uint64_t after_kib;   /* resident once it had freed all, or where it says so itself */
	uint64_t trimmed_kib; /* after malloc_trim */
	uint64_t faults;
};

#endif
