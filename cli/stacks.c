/* Stacks that a run left in its record, with functions and lines. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "config.h"

static void print_stack(FILE *file, const char *executable, const struct run_stack *stack)
{
	char command[PATH_MAX + 64 + RUN_STACK_MAX * 20], name[16], line[1024];
	size_t used;
	FILE *symbolizer;

	thread_name(stack->thread, name);
	fprintf(file, "  %s %s:\n", name, stack->what);
	if (HEAPSTORM_SYMBOLIZER[0] == '\0') {
		for (uint32_t i = 0; i < stack->count; i++)
			fprintf(file, "    %s+0x%" PRIx64 "\n", executable, stack->calls[i]);
		return;
	}
	used = (size_t)snprintf(command, sizeof command, "'%s' --pretty-print --obj='%s'", HEAPSTORM_SYMBOLIZER,
				executable);
	/* Return addresses: the call is before them. */
	for (uint32_t i = 0; i < stack->count && used < sizeof command; i++)
		used += (size_t)snprintf(command + used, sizeof command - used, " 0x%" PRIx64, stack->calls[i] - 1);
	symbolizer = popen(command, "r");
	while (symbolizer != NULL && fgets(line, sizeof line, symbolizer) != NULL)
		if (line[0] != '\n')
			fprintf(file, "    %s", line);
	if (symbolizer != NULL)
		pclose(symbolizer);
}

void cli_print_stacks(FILE *file, const char *executable, const struct run_record *record)
{
	for (uint32_t i = 0; i < record->stack_count; i++)
		print_stack(file, executable, &record->stacks[i]);
}
