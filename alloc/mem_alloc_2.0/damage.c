#include "damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void ma2_damaged(const void *pointer, const char *what)
{
	char line[120];
	int length = snprintf(line, sizeof(line), "mem_alloc_2.0: %p %s\n", pointer, what);

	/* Nothing can be done about a write that fails on the way to abort. */
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		abort();
	abort();
}
