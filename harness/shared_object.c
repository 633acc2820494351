#define _GNU_SOURCE
#include "shared_object.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

void shared_object_name(const char *path, char *name, size_t size)
{
	const char *const slash = strrchr(path, '/');
	const char *base = slash != NULL ? slash + 1 : path;

	if (strncmp(base, "lib", 3) == 0 && base[3] != '.')
		base += 3;
	snprintf(name, size, "%.*s", (int)strcspn(base, "."), base);
}

/* A function of the library itself: dlsym also finds those of libraries that it needs, libc's above all. */
static void *find(void *handle, const struct link_map *map, const char *prefix, const char *function)
{
	char symbol[256];
	Dl_info information;
	void *address;

	snprintf(symbol, sizeof symbol, "%s%s", prefix, function);
	address = dlsym(handle, symbol);
	if (address == NULL || dladdr(address, &information) == 0 || information.dli_fbase != (void *)map->l_addr)
		return NULL;
	return address;
}

/* A function pointer from dlsym, without the cast that ISO C does not have. */
#define TAKE(field) (*(void **)&allocator->field = find(handle, map, prefix, #field))

bool shared_object_load(const char *spec, struct allocator *allocator, char *name, size_t name_size,
			char *message, size_t message_size)
{
	static const char option[] = " --prefix ";
	const char *const at = strstr(spec, option), *prefix = at != NULL ? at + sizeof option - 1 : "";
	char path[PATH_MAX];
	struct link_map *map;
	void *handle;

	snprintf(path, sizeof path, "%.*s", (int)(at != NULL ? (size_t)(at - spec) : strlen(spec)), spec);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
		snprintf(message, message_size, "%s", dlerror());
		if (strstr(message, "static TLS") != NULL)
			snprintf(message, message_size,
				 "%s: no room for its thread-local variables: start with GLIBC_TUNABLES=%s", path,
				 STATIC_TLS_TUNABLE);
		return false;
	}
	shared_object_name(path, name, name_size);
	allocator->name = name;
	TAKE(malloc);
	TAKE(free);
	TAKE(calloc);
	TAKE(realloc);
	TAKE(reallocarray);
	TAKE(aligned_alloc);
	TAKE(posix_memalign);
	TAKE(memalign);
	TAKE(malloc_usable_size);
	TAKE(malloc_trim);
	if (prefix[0] == '\0')
		allocator->contract.null_sets_errno = CONTRACT_YES;
	if (allocator->malloc == NULL || allocator->free == NULL) {
		snprintf(message, message_size, "%s: has no %smalloc and %sfree of its own%s", path, prefix, prefix,
			 prefix[0] != '\0' ? "" : ": --prefix says how its functions begin");
		return false;
	}
	return true;
}
