/*
 * Allocators in shared objects. They are loaded into a process that never uses them for itself.
 *
 * A library that was built for the initial-exec TLS model may find no room for its thread-local variables in a running process (`cannot allocate
 * memory in static TLS block'): the process has to be started with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536.
 */
#ifndef HEAPSTORM_HARNESS_SHARED_OBJECT_H
#define HEAPSTORM_HARNESS_SHARED_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "allocator.h"

#define STATIC_TLS_TUNABLE "glibc.rtld.optional_static_tls=65536"

/*
 * Loads "PATH" or "PATH --prefix P" and fills in the functions of `allocator`, whose name goes into `name`. False with one line in `message`:
 * it cannot be loaded, or has no malloc and free. Functions that have libc's own names are held to errno too.
 */
bool shared_object_load(const char *spec, struct allocator *allocator, char *name, size_t name_size,
			char *message, size_t message_size);

/* "libjemalloc.so.2" in any folder -> "jemalloc" */
void shared_object_name(const char *path, char *name, size_t size);

#endif
