#include "subject.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "interpose.h"
#include "probe.h"
#include "shared_object.h"

#define SHARED_DOMAIN (ARENA_DOMAINS - 1)

bool subject_has_arena(const struct subject *subject)
{
	return subject->bundle != NULL || subject->counted;
}

static void names(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; heapstorm_adapters[i] != NULL && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
					 heapstorm_adapters[i]->allocator->name);
}

/* Programs must not rely on zeroes where a fixed arena has none. */
#define ARENA_BYTE 0xa5

/* Gives the fixed arena. */
static void start(const struct allocator *allocator)
{
	void *const arena = arena_map(allocator->arena_size);

	if (arena == NULL) {
		fprintf(stderr, "heapstorm: no arena of %zu bytes for %s: %s\n", allocator->arena_size, allocator->name,
			strerror(errno));
		exit(3);
	}
	memset(arena, ARENA_BYTE, allocator->arena_size);
	allocator->start(arena, allocator->arena_size);
}

bool subject_ask(struct subject *subject, struct allocator *allocator, char *message, size_t message_size)
{
	const char *const known = getenv(CONTRACT_ENVIRONMENT);
	bool counted = false;

	*allocator = *subject->allocator;
	subject->allocator = allocator;
	if (known == NULL) {
		subject_reset(subject);
		probe_contract(allocator, &counted);
	} else if (!contract_parse(known, &allocator->contract, &counted)) {
		snprintf(message, message_size, "%s: no contract: %s", CONTRACT_ENVIRONMENT, known);
		return false;
	}
	subject->counted = subject->bundle == NULL && counted;
	return true;
}

static bool open_shared_object(const char *spec, struct subject *subject, char *message, size_t message_size)
{
	static struct allocator allocator, asked;
	static char name[64];

	*subject = (struct subject){.allocator = &allocator, .domain = SHARED_DOMAIN};
	if (!arena_use(subject->domain)) {
		snprintf(message, message_size, "no memory to count the OS calls of %s", spec);
		return false;
	}
	return shared_object_load(spec, &allocator, name, sizeof name, message, message_size) &&
	       subject_ask(subject, &asked, message, message_size);
}

bool subject_open(const char *name, struct subject *subject, char *message, size_t message_size)
{
	if (strchr(name, '/') != NULL && heapstorm_adapters[1] != NULL)
		return open_shared_object(name, subject, message, message_size);
	for (unsigned i = 0; heapstorm_adapters[i] != NULL; i++) {
		const struct adapter *const adapter = heapstorm_adapters[i];

		/* A path is that of the folder with this executable, which has one allocator. */
		if (strcmp(name, adapter->allocator->name) != 0 && strchr(name, '/') == NULL)
			continue;
		if ((adapter->allocator->start != NULL) != (adapter->allocator->arena_size != 0) ||
		    adapter->allocator->malloc == NULL || adapter->allocator->free == NULL) {
			snprintf(message, message_size, "the adapter of %s %s", adapter->allocator->name,
				 adapter->allocator->malloc == NULL || adapter->allocator->free == NULL
					 ? "lacks malloc or free"
					 : "has only one of arena_size and start");
			return false;
		}
		*subject = (struct subject){.allocator = adapter->allocator, .bundle = adapter->bundle, .domain = i};
		interpose_keep();
		if (!arena_use(subject->domain) ||
		    (subject->bundle != NULL && !bundle_snapshot_take(subject->bundle, &subject->snapshot))) {
			snprintf(message, message_size, "no memory for the arena of %s", name);
			return false;
		}
		/* Found out before, in another process. */
		static struct allocator allocator;

		return getenv(CONTRACT_ENVIRONMENT) == NULL || subject_ask(subject, &allocator, message, message_size);
	}
	char known[256];

	names(known, sizeof known);
	snprintf(message, message_size, "no allocator is called '%s': expected one of %s", name, known);
	return false;
}

void subject_reset(const struct subject *subject)
{
	arena_use(subject->domain);
	if (subject->counted)
		arena_restart();
	if (subject->bundle != NULL) {
		arena_reset();
		interpose_reset();
		bundle_snapshot_restore(&subject->snapshot);
	}
	if (subject->allocator->start != NULL)
		start(subject->allocator);
}
