/* heapstorm VERB ...: finds the verb. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{"check", cmd_check, "examine any allocator in a minute"},
	{"fuzz", cmd_fuzz, "search for bugs, guided by coverage"},
	{"stress", cmd_stress, "random threads at full speed"},
	{"explore", cmd_explore, "search the schedules of programs with threads"},
	{"replay", cmd_replay, "run programs and recordings with every oracle"},
	{"minimize", cmd_minimize, "make a failing program as small as it gets"},
	{"export", cmd_export, "a failing program as standalone C, or as a .rep trace"},
	{"show", cmd_show, "print a program or recording as text"},
	{"record", cmd_record, "capture the allocator calls of a real program"},
	{"bench", cmd_bench, "time and memory of allocators side by side"},
	{"list", cmd_list, "allocators, oracles and operations"},
};

#define VERBS (sizeof verbs / sizeof verbs[0])

static void help(FILE *file)
{
	fprintf(file, "Usage: heapstorm VERB [OPTION...]\n"
		      "Finds the bugs of memory allocators and replays each from one file.\n\n");
	for (size_t i = 0; i < VERBS; i++)
		fprintf(file, "  %-8s  %s\n", verbs[i].name, verbs[i].help);
	fprintf(file, "\nheapstorm VERB --help says more of each.\n"
		      "ALLOCATOR is a name of heapstorm list, or the folder of one that was built with\n"
		      "build_allocator.sh or heapstorm_add_allocator().\n"
		      "Exit status: 0 nothing found, 1 a bug found, 2 bad usage or unreadable input,\n"
		      "3 the machine lacks something.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		help(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0 || strcmp(argv[1], "help") == 0) {
		help(stdout);
		return STATUS_CLEAN;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("heapstorm " HEAPSTORM_VERSION);
		return STATUS_CLEAN;
	}
	/* Stacks of sanitizers name functions and lines. */
	if (HEAPSTORM_SYMBOLIZER[0] != '\0')
		setenv("ASAN_SYMBOLIZER_PATH", HEAPSTORM_SYMBOLIZER, 0);
	for (size_t i = 0; i < VERBS; i++) {
		if (strcmp(argv[1], verbs[i].name) == 0) {
			/* The verb's own messages and help begin with both words. */
			static char name[32];

			snprintf(name, sizeof name, "heapstorm %s", verbs[i].name);
			argv[1] = name;
			return verbs[i].run(argc - 1, argv + 1);
		}
	}
	cli_die(STATUS_USAGE, "no verb is called '%s': see heapstorm --help", argv[1]);
}
