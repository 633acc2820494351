#include "verdict.h"

#include <string.h>

static const struct {
	const char *name, *meaning;
} verdicts[VERDICT_KINDS] = {
	[VERDICT_CLEAN] = {"clean", "nothing was found"},
	[VERDICT_OVERLAP] = {"overlap", "no byte belongs to two live blocks"},
	[VERDICT_CORRUPTION] = {"corruption", "every requested byte keeps its value until the block is freed"},
	[VERDICT_REALLOC_LOST] = {"realloc-lost", "realloc keeps the contents, and the old block when it fails"},
	[VERDICT_NOT_ZEROED] = {"not-zeroed", "memory from calloc is zero"},
	[VERDICT_MISALIGNED] = {"misaligned", "blocks are aligned for any type, or as was asked for"},
	[VERDICT_UNDERSIZED] = {"undersized", "malloc_usable_size is at least the request"},
	[VERDICT_CONTRACT] = {"contract", "results and errno are what C17 and POSIX demand"},
	[VERDICT_TOUCHED_LIVE] = {"touched-live", "the allocator never reads or writes a live block"},
	[VERDICT_INVARIANT] = {"invariant", "the allocator's own check passes"},
	[VERDICT_LOST_MEMORY] = {"lost-memory", "the heap's regions tile it, and its live regions are the live blocks"},
	[VERDICT_UNCOALESCED] = {"uncoalesced", "no two neighbouring regions are free once the heap is quiet"},
	[VERDICT_UNRECLAIMED] = {"unreclaimed", "memory use reaches a plateau when all is freed again and again"},
	[VERDICT_RACE] = {"race", "no two threads access memory without order between them"},
	[VERDICT_DEADLOCK] = {"deadlock", "some thread can run"},
	[VERDICT_STUCK] = {"stuck", "every call ends"},
	[VERDICT_FORK] = {"fork", "the child of a fork can allocate and free"},
	[VERDICT_CRASH] = {"crash", "no fatal signal or sanitizer report"},
	[VERDICT_ABORT] = {"abort", "the allocator does not abort on a correct program"},
};

const char *verdict_name(enum verdict_kind kind)
{
	return kind < VERDICT_KINDS ? verdicts[kind].name : "unknown";
}

const char *verdict_meaning(enum verdict_kind kind)
{
	return kind < VERDICT_KINDS ? verdicts[kind].meaning : "";
}

bool verdict_from_name(const char *name, enum verdict_kind *kind)
{
	for (int i = 0; i < VERDICT_KINDS; i++) {
		if (strcmp(name, verdicts[i].name) == 0) {
			*kind = (enum verdict_kind)i;
			return true;
		}
	}
	return false;
}
