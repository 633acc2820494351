/* What is stepped through: workloads/steps.c. */
#ifndef HEAPSTORM_BENCH_WORKLOADS_STEPS_H
#define HEAPSTORM_BENCH_WORKLOADS_STEPS_H

#define BENCH_SECTION_CALLS 250

enum bench_section {
	BENCH_OWN_PAIR,     /* malloc and free of 32 B, in turns */
	BENCH_OWN_LIVE,     /* free and malloc in a live set of 5,000 blocks of 16 to 512 B */
	BENCH_REMOTE_FREE,  /* free of 32 B that another thread made */
	BENCH_AFTER_REMOTE, /* malloc of 32 B by a thread whose blocks another one freed */
	BENCH_SECTIONS
};

#endif
