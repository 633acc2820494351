/* The fuzz target that does nothing: how fast libFuzzer itself is. */
#include <stddef.h>
#include <stdint.h>

#include "mutator.h"

/* As fuzz_sequence has them: both make the same programs. */
const struct mutator_options mutator_options = {.ops_max = 200, .threads_max = 3, .faults = true};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)data, (void)size;
	return 0;
}
