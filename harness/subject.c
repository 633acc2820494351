#include "subject.h"

#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "interpose.h"

bool subject_has_arena(const struct subject *subject)
{
	return subject->bundle != NULL;
}

static void names(char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; heapstorm_adapters[i] != NULL && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
					 heapstorm_adapters[i]->allocator->name);
}

bool subject_open(const char *name, struct subject *subject, char *message, size_t message_size)
{
	for (unsigned i = 0; heapstorm_adapters[i] != NULL; i++) {
		const struct adapter *const adapter = heapstorm_adapters[i];

		if (strcmp(name, adapter->allocator->name) != 0)
			continue;
		*subject = (struct subject){.allocator = adapter->allocator, .bundle = adapter->bundle, .domain = i};
		interpose_keep();
		if (!arena_use(subject->domain) ||
		    (subject->bundle != NULL && !bundle_snapshot_take(subject->bundle, &subject->snapshot))) {
			snprintf(message, message_size, "no memory for the arena of %s", name);
			return false;
		}
		return true;
	}
	char known[256];

	names(known, sizeof known);
	snprintf(message, message_size, "no allocator is called '%s': expected one of %s", name, known);
	return false;
}

void subject_reset(const struct subject *subject)
{
	arena_use(subject->domain);
	if (subject->bundle == NULL)
		return;
	arena_reset();
	interpose_reset();
	bundle_snapshot_restore(&subject->snapshot);
}
