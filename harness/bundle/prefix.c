/*
 * The adapter of an allocator whose functions have libc's names with a prefix: what is not there is not exercised, and what the standards leave
 * open is not looked at. PREFIX and NAME (a string) are given to the compiler.
 */
#include <heapstorm/allocator.h>

#define JOIN(prefix, name) JOIN_WORDS(prefix, name)
#define JOIN_WORDS(prefix, name) prefix##name
#define OWN(name) JOIN(PREFIX, name)

void *OWN(malloc)(size_t);
void OWN(free)(void *);
__attribute__((weak)) void *OWN(calloc)(size_t, size_t);
__attribute__((weak)) void *OWN(realloc)(void *, size_t);
__attribute__((weak)) void *OWN(reallocarray)(void *, size_t, size_t);
__attribute__((weak)) void *OWN(aligned_alloc)(size_t, size_t);
__attribute__((weak)) int OWN(posix_memalign)(void **, size_t, size_t);
__attribute__((weak)) void *OWN(memalign)(size_t, size_t);
__attribute__((weak)) size_t OWN(malloc_usable_size)(void *);
__attribute__((weak)) int OWN(malloc_trim)(size_t);

const struct allocator heapstorm_allocator = {
	.name = NAME,
	.malloc = OWN(malloc),
	.free = OWN(free),
	.calloc = OWN(calloc),
	.realloc = OWN(realloc),
	.reallocarray = OWN(reallocarray),
	.aligned_alloc = OWN(aligned_alloc),
	.posix_memalign = OWN(posix_memalign),
	.memalign = OWN(memalign),
	.malloc_usable_size = OWN(malloc_usable_size),
	.malloc_trim = OWN(malloc_trim),
};
