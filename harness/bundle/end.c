/* The last object of a bundle: see begin.c. */
#define BRACKET __attribute__((used))

BRACKET char heapstorm_data_end[1] = {1};
BRACKET char heapstorm_bss_end[1];
BRACKET __thread char heapstorm_tdata_end[1] = {1};
BRACKET __thread char heapstorm_tbss_end[1];
