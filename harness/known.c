#include "known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor.h"
#include "shrink.h"

bool known_can_be_passed_over(enum verdict_kind kind, const char *message)
{
	switch (kind) {
	case VERDICT_CRASH:
		return strncmp(message, "undefined behaviour at", strlen("undefined behaviour at")) == 0;
	case VERDICT_REALLOC_LOST:
	case VERDICT_NOT_ZEROED:
	case VERDICT_MISALIGNED:
	case VERDICT_UNDERSIZED:
	case VERDICT_CONTRACT:
	case VERDICT_TOUCHED_LIVE:
	case VERDICT_UNCOALESCED:
	case VERDICT_UNRECLAIMED:
	case VERDICT_FORK:
		return true;
	default:
		return false;
	}
}

/* Whether a line of the variable is `text`, or with `prefix` begins with it. */
static bool has_line(const char *text, bool prefix)
{
	const char *line = getenv(KNOWN_ENVIRONMENT);
	const size_t length = strlen(text);

	while (line != NULL && *line != '\0') {
		const size_t end = strcspn(line, "\n");

		if (strncmp(line, text, length) == 0 && (end == length || (prefix && line[length] == ':')))
			return true;
		line += end + (line[end] == '\n');
	}
	return false;
}

uint32_t known_oracles_left(uint32_t oracles)
{
	for (int kind = VERDICT_CLEAN + 1; kind < VERDICT_KINDS; kind++)
		if (kind != VERDICT_CONTRACT && known_can_be_passed_over((enum verdict_kind)kind, "") &&
		    has_line(verdict_name((enum verdict_kind)kind), true))
			oracles &= ~ORACLE(kind);
	return oracles;
}

bool known_failure(enum verdict_kind kind, const char *message)
{
	struct verdict verdict = {.kind = kind};
	char signature[512];

	if (!known_can_be_passed_over(kind, message) || getenv(KNOWN_ENVIRONMENT) == NULL)
		return false;
	snprintf(verdict.message, sizeof verdict.message, "%s", message);
	verdict_signature(&verdict, signature, sizeof signature);
	return has_line(signature, false);
}
