/* heapstorm list: what there is. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "generator.h"
#include "subject.h"

static const char *hooks(const struct allocator *allocator)
{
	if (allocator->walk != NULL && allocator->check != NULL)
		return "heap walk and check";
	return allocator->walk != NULL ? "heap walk" : "from outside";
}

int cmd_list(int argc, char **argv)
{
	const struct argp argp = {.doc = "Lists the allocators, the scenarios of stress, the strategies of explore, "
					 "the oracles (each names a "
					 "verdict) and the operations of programs."};

	if (cli_parse(&argp, argc, argv, NULL) < argc)
		cli_die(STATUS_USAGE, "list takes no arguments");
	printf("Allocators\n");
	for (size_t i = 0; heapstorm_adapters[i] != NULL; i++)
		printf("  %-14s  %s\n", heapstorm_adapters[i]->allocator->name,
		       hooks(heapstorm_adapters[i]->allocator));
	printf("\nScenarios of stress: what threads do\n");
	for (size_t i = 0; scenarios[i].name != NULL; i++)
		printf("  %-17s  %s\n", scenarios[i].name, scenarios[i].description);
	printf("\nStrategies of explore: which schedules are run\n");
	for (const struct strategy *strategy = cli_strategies; strategy->name != NULL; strategy++)
		printf("  %-7s  %s\n", strategy->name, strategy->description);
	printf("\nOracles: what must hold\n");
	for (int i = VERDICT_CLEAN + 1; i < VERDICT_KINDS; i++)
		printf("  %-14s  %s\n", verdict_name((enum verdict_kind)i), verdict_meaning((enum verdict_kind)i));
	printf("\nOperations\n ");
	for (int i = 0, width = 1; i < OP_KINDS; i++) {
		const char *const name = op_kind_name((enum op_kind)i);

		width += (int)strlen(name) + 1;
		if (width > 78) {
			printf("\n ");
			width = 2 + (int)strlen(name);
		}
		printf(" %s", name);
	}
	printf("\n");
	return STATUS_CLEAN;
}
