/*
 * The mutator of programs for AFL++: a library of its own for AFL_CUSTOM_MUTATOR_LIBRARY, over what libFuzzer is given. There is no
 * afl_custom_post_process: every string of bytes is a program.
 *
 * Compiled with -DMUTATE_THREADS it makes programs for fuzz_threads, else for fuzz_sequence.
 */
#include "mutator.h"

#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2, size_t size2, uint8_t *out,
				 size_t max_size, unsigned seed);

void *afl_custom_init(void *afl, unsigned seed);
void afl_custom_deinit(void *data);
size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t size, uint8_t **out, uint8_t *other, size_t other_size,
		       size_t max_size);

/* As the targets have them. */
#ifdef MUTATE_THREADS
const struct mutator_options mutator_options = {MUTATOR_THREADS};
#else
const struct mutator_options mutator_options = {MUTATOR_SEQUENCE};
#endif

#define INPUT_MAX 4096 /* what libFuzzer is told with -max_len */
#define CROSS_MASK 7   /* of the inputs, those that are mixed with another */

struct state {
	uint64_t random;
	uint8_t bytes[INPUT_MAX];
};

/* SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. */
static uint64_t next_random(struct state *state)
{
	uint64_t z = state->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Called once a fuzzer; NULL makes it stop. */
void *afl_custom_init(void *afl, unsigned seed)
{
	struct state *const state = malloc(sizeof *state);

	(void)afl;
	if (state != NULL)
		state->random = seed;
	return state;
}

void afl_custom_deinit(void *data)
{
	free(data);
}

/* Returns the size of the new input, which stays valid until the next call. */
size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t size, uint8_t **out, uint8_t *other, size_t other_size,
		       size_t max_size)
{
	struct state *const state = data;
	const uint64_t random = next_random(state);
	const size_t most = max_size < sizeof state->bytes ? max_size : sizeof state->bytes;

	*out = state->bytes;
	if (other != NULL && (random >> 32 & CROSS_MASK) == 0)
		return LLVMFuzzerCustomCrossOver(bytes, size, other, other_size, state->bytes, most, (unsigned)random);
	if (size > most)
		size = most;
	memcpy(state->bytes, bytes, size);
	return LLVMFuzzerCustomMutator(state->bytes, size, most, (unsigned)random);
}
