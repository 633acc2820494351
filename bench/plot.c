#include "bench.h"
bool bench_plot(const struct bench_results *results, const char *prefix, char *why, size_t why_size)
{
	(void)results, (void)prefix;
	snprintf(why, why_size, "todo");
	return false;
}
