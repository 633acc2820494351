#include "sanitizer.h"

uintptr_t sanitizer_shadow;

void sanitizer_open(void)
{
	size_t scale = 0, offset = 0;

	if (__asan_get_shadow_mapping != NULL)
		__asan_get_shadow_mapping(&scale, &offset);
	sanitizer_shadow = scale == 3 ? offset : 0;
}
