#ifndef HEAPSTORM_TESTS_BUNDLE_SAMPLE_H
#define HEAPSTORM_TESTS_BUNDLE_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

typedef void sample_visitor(const char *name, const void *start, size_t size, void *context);

void sample_change(void);                                    /* every variable gets another value */
uint64_t sample_state(void);                                 /* a hash of all values */
int sample_next(void);                                       /* changes the variables of a function */
void sample_addresses(sample_visitor *visit, void *context); /* every mutable variable outside of functions */
const void *sample_constant(void);                           /* a table that no snapshot is to hold */
void *sample_map(size_t size);                               /* calls mmap */
int sample_unmap(void *start, size_t size);                  /* calls munmap */
int sample_overrun(int index);                               /* reads byte `index` of 300 */

#endif
