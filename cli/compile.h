/* Allocators that are compiled on the spot: from sources to the processes that examine them. */
#ifndef HEAPSTORM_CLI_COMPILE_H
#define HEAPSTORM_CLI_COMPILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* What is said after the sources; each may be NULL. */
struct custom_options {
	const char *prefix;    /* of the functions: "my_" for my_malloc; NULL: found out */
	const char *cflags;    /* for the compiler */
	const char *libraries; /* words for the linker */
	const char *functions; /* "malloc=pool_get free=pool_put": functions that are called otherwise */
};

struct custom_build;

/*
 * Takes sources (C, C++, objects, static libraries; or one folder with compile_commands.json), which have to exist. `name` gets what the allocator
 * is called in reports. Nothing is compiled yet. Ends the process with status 2 for what cannot be read.
 */
struct custom_build *custom_build_open(char *const *sources, size_t count, const struct custom_options *options,
				       char *name, size_t name_size);

/* True if it has objects, which cannot be compiled for a sanitizer any more. */
bool custom_build_is_compiled(const struct custom_build *build);

/*
 * The path of a process ("runner-asan", "stress-tsan", "fuzz_sequence", ...) linked with the allocator; compiled and linked if it was not before from
 * the same. False with one line in `why`: it cannot be had. Where nothing at all can be compiled the process ends with status 3, after what the
 * compiler says.
 */
bool custom_build_process(struct custom_build *build, const char *process, char *path, size_t size, char *why,
			  size_t why_size);

#endif
