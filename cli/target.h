/*
 * Targets: whatever can be examined, by its spelling in an `allocator` line of a program or on the command line:
 *
 *   mem_alloc, mem_alloc_2.0, system                                            one that is built in
 *   jemalloc, mimalloc, tcmalloc, tbbmalloc, scudo                              an installed one
 *   /path/folder                                                                the processes that cmake/build_allocator.sh made
 *   /path/libfoo.so [--prefix P]                                                a shared object
 *   a.c b.cc [--prefix P] [--cflags '...'] [--function malloc=f]... [-lLIB]...  sources, objects, static libraries
 */
#ifndef HEAPSTORM_CLI_TARGET_H
#define HEAPSTORM_CLI_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "program.h"

enum target_kind { TARGET_BUILT_IN, TARGET_LIBC, TARGET_SHARED, TARGET_FOLDER, TARGET_CUSTOM };

struct custom_build;

struct cli_target {
	enum target_kind kind;
	char spec[PROGRAM_SPEC_MAX];    /* for an allocator line: paths are absolute */
	char name[64];                  /* in reports */
	char argument[PATH_MAX + 128];  /* what the processes are told */
	char functions[256];            /* that it has, separated by blanks */
	char contract[512];             /* contract_print; both are filled in by cli_target_use */
	bool single_thread;             /* as its contract says */
	struct custom_build *build;
};

/*
 * Ends the process with status 2 if there is no such thing; `where` is what gave it: an option, a file, a verb. The same spelling gives the same
 * target, which lives as long as the process. Nothing is compiled yet.
 */
struct cli_target *cli_target(const char *spec, const char *where);

/* Adds a word to a spelling, quoted where it has to be. */
void cli_target_add_word(char *spec, size_t size, const char *word);

/*
 * Prepares the environment for processes that run this target; at the first use of one without a declared contract that is found out. Ends the
 * process with status 3 if it cannot be loaded or compiled.
 */
void cli_target_use(struct cli_target *target);

/* Whether it is, or can be, compiled for a variant: "asan", "tsan", "fuzz", "sched". */
bool cli_target_has_variant(const struct cli_target *target, const char *variant);

/* Whether a word is a source, object, static or shared library, or a build folder. */
bool cli_target_is_file(const char *word);

/* The path of a process: "runner-plain", "stress-tsan", ... False with one line in `why` if there is none for this target. */
bool cli_target_process(const struct cli_target *target, const char *process, char *path, size_t size, char *why,
			size_t why_size);

#endif
