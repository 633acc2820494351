/* The fuzz target that does nothing: how fast libFuzzer itself is. */
#include <stddef.h>
#include <stdint.h>

#include "mutator.h"

/* As fuzz_sequence has them: both make the same programs. */
const struct mutator_options mutator_options = {MUTATOR_SEQUENCE};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)data, (void)size;
	return 0;
}
