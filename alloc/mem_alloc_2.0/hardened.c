#include "hardened.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "../block.h"
#include "damage.h"

unsigned int ma2_random(void)
{
	/* Threads that draw at a time may draw the same. */
	static _Atomic uint64_t state;
	uint64_t x = atomic_load_explicit(&state, memory_order_relaxed);

	if (x == 0) {
		const void *seed = (const void *)getauxval(AT_RANDOM);

		x = 88172645463325252u;
		if (seed != NULL)
			memcpy(&x, seed, sizeof(x));
		x |= 1;
	}
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	atomic_store_explicit(&state, x, memory_order_relaxed);
	return (unsigned int)(x >> 32);
}

void ma2_wipe(void *block, size_t size)
{
	memset((char *)block + sizeof(struct Block), 0, size - sizeof(struct Block));
}

void ma2_check_wiped(const void *block, size_t size)
{
	const uint64_t *words = block;
	uint64_t found = 0;

	for (size_t i = sizeof(struct Block) / sizeof(*words); i < size / sizeof(*words); i++)
		found |= words[i];
	if (found != 0)
		ma2_damaged(block, "was written to after it was freed");
}
