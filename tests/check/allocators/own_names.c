/* The same under libc's own names. */
#define list_malloc malloc
#define list_free free
#define list_calloc calloc
#define list_realloc realloc
#define list_malloc_usable_size malloc_usable_size
#include "list.c"
