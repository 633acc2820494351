#include "heap_check.h"

#include <stdio.h>
#include <string.h>

#include "program.h"

struct walk {
	const struct allocator *allocator;
	struct blocks *blocks;
	bool quiesced;
	uint32_t oracles, number; /* `number` marks the blocks this walk met */
	struct finding *finding;
	bool failed;
	struct heap_summary summary;
	uint32_t live_count;
	const char *arena, *arena_end; /* of the last region */
	const char *end;               /* where the last region ended */
	enum region_kind last_kind;
	size_t last_size;
};

static const char *const kind_names[] = {"live", "cached", "free", "bookkeeping"};

static bool fail(struct walk *walk, enum verdict_kind kind, const void *address, uint32_t victim, const char *message)
{
	if ((walk->oracles & ORACLE(kind)) == 0)
		return true;
	walk->failed = true;
	walk->finding->kind = kind;
	walk->finding->address = (uintptr_t)address;
	walk->finding->victim = victim;
	walk->finding->other = 0;
	snprintf(walk->finding->message, sizeof walk->finding->message, "%s", message);
	return false;
}

/* The walk must go through each arena from its first byte to its last. */
static bool check_tiling(struct walk *walk, const struct region *region)
{
	char message[256];

	if (region->arena != walk->arena) {
		if (walk->arena != NULL && walk->end != walk->arena_end) {
			snprintf(message, sizeof message,
				 "the heap walk leaves out %zu bytes at the end of the arena at %p",
				 (size_t)(walk->arena_end - walk->end), (const void *)walk->arena);
			return fail(walk, VERDICT_LOST_MEMORY, walk->end, 0, message);
		}
		walk->arena = walk->end = region->arena;
		walk->arena_end = walk->arena + region->arena_size;
		walk->last_kind = REGION_META;
		walk->summary.arenas++;
	}
	if (region->start != walk->end || region->size == 0 || region->size > (size_t)(walk->arena_end - walk->end)) {
		snprintf(message, sizeof message,
			 "the heap walk reports a %s region of %zu bytes at %p where one had to begin at %p",
			 kind_names[region->kind], region->size, region->start, (const void *)walk->end);
		return fail(walk, VERDICT_LOST_MEMORY, region->start, 0, message);
	}
	walk->end += region->size;
	return true;
}

/* A block without a byte that is its own is not in the shadow. */
static uint32_t find_empty(const struct blocks *blocks, const void *address)
{
	for (uint32_t i = 1; i < blocks->limit; i++)
		if (blocks->records[i].address == address && address != NULL && blocks->records[i].span.size == 0)
			return i;
	return 0;
}

static bool check_live(struct walk *walk, const struct region *region)
{
	uint32_t index = shadow_find((uintptr_t)region->payload);
	char message[256];

	if (index == 0)
		index = find_empty(walk->blocks, region->payload);
	struct block *const block = index != 0 ? &walk->blocks->records[index] : NULL;

	walk->live_count++;
	if (block == NULL || block->address != region->payload) {
		snprintf(message, sizeof message,
			 "the heap holds a live region of %zu bytes at %p that belongs to no live block", region->size,
			 region->payload);
		return fail(walk, VERDICT_LOST_MEMORY, region->payload, index, message);
	}
	if ((const char *)block->address + block->size > (const char *)region->start + region->size ||
	    (const char *)region->payload < (const char *)region->start) {
		snprintf(message, sizeof message, "the heap holds %zu bytes at %p for a live block of %zu bytes at %p",
			 region->size, region->start, block->size, block->address);
		return fail(walk, VERDICT_LOST_MEMORY, block->address, index, message);
	}
	if (block->walk == walk->number)
		return fail(walk, VERDICT_LOST_MEMORY, block->address, index,
			    "the heap walk reports a live block twice");
	block->walk = walk->number;
	return true;
}

static bool visit(const struct region *region, void *context)
{
	struct walk *const walk = context;
	char message[256];

	if (!check_tiling(walk, region))
		return false;
	if (region->kind == REGION_FREE && walk->last_kind == REGION_FREE) {
		snprintf(message, sizeof message,
			 "two neighbouring regions are free: %zu bytes at %p and %zu bytes at %p", walk->last_size,
			 (const void *)((const char *)region->start - walk->last_size), region->size, region->start);
		if (!fail(walk, VERDICT_UNCOALESCED, region->start, 0, message))
			return false;
	}
	walk->last_kind = region->kind;
	walk->last_size = region->size;
	switch (region->kind) {
	case REGION_LIVE:
		walk->summary.live += region->size;
		return check_live(walk, region);
	case REGION_CACHED:
		walk->summary.cached += region->size;
		if (walk->quiesced)
			return fail(walk, VERDICT_UNCOALESCED, region->start, 0,
				    "a freed block is still kept apart after the caches were brought home");
		return true;
	case REGION_FREE:
		walk->summary.free += region->size;
		if (region->size > walk->summary.largest_free)
			walk->summary.largest_free = region->size;
		return true;
	case REGION_META:
		return true;
	}
	return true;
}

/* The live block that a walk did not meet. */
static bool report_unmet(struct walk *walk)
{
	char text[160], message[256];

	for (uint32_t i = 1; i < walk->blocks->limit; i++) {
		const struct block *const block = &walk->blocks->records[i];

		if (block->address == NULL || block->walk == walk->number || block->span.size == 0)
			continue;
		block_describe(block, text, sizeof text);
		snprintf(message, sizeof message, "the heap does not hold the live block %s as live", text);
		return fail(walk, VERDICT_LOST_MEMORY, block->address, i, message);
	}
	return true;
}

static bool run_walk(struct walk *walk, struct run_record *record)
{
	walk->number = ++walk->blocks->walks;
	record->checks[VERDICT_LOST_MEMORY]++;
	record->checks[VERDICT_UNCOALESCED]++;
	if (!walk->allocator->walk(visit, walk)) {
		if (!walk->failed)
			return fail(walk, VERDICT_LOST_MEMORY, NULL, 0, "the heap walk gave up by itself");
		return false;
	}
	if (walk->arena != NULL && walk->end != walk->arena_end)
		return fail(walk, VERDICT_LOST_MEMORY, walk->end, 0, "the heap walk ends before the last arena does");
	return walk->live_count >= walk->blocks->live || report_unmet(walk);
}

bool heap_check(const struct allocator *allocator, struct blocks *blocks, bool quiesced, uint32_t oracles,
		struct run_record *record, struct heap_summary *summary, struct finding *finding)
{
	struct walk walk = {
		.allocator = allocator,
		.blocks = blocks,
		.quiesced = quiesced,
		.oracles = oracles,
		.finding = finding,
	};
	char why[256] = "";
	bool good = true;

	if (allocator->check != NULL && (oracles & ORACLE(VERDICT_INVARIANT)) != 0) {
		record->checks[VERDICT_INVARIANT]++;
		if (!allocator->check(why, sizeof why))
			good = fail(&walk, VERDICT_INVARIANT, NULL, 0, why);
	}
	if (good && allocator->walk != NULL &&
	    (oracles & (ORACLE(VERDICT_LOST_MEMORY) | ORACLE(VERDICT_UNCOALESCED))) != 0)
		good = run_walk(&walk, record);
	if (summary != NULL)
		*summary = walk.summary;
	return good;
}

/* ---- The map of a report ---- */

struct map {
	const struct blocks *blocks;
	const struct finding *finding;
	struct run_record *record;
	bool passed;     /* the cell with the address is in */
	unsigned behind; /* cells after it */
};

static bool map_add(struct map *map, uint64_t start, uint64_t size, uint8_t kind, uint32_t label)
{
	struct run_record *const record = map->record;
	const uint64_t address = map->finding->address;
	const bool guilty = address >= start && address < start + size;

	if (record->map_count == MAP_CELLS_MAX) {
		if (map->passed)
			return false;
		/* The neighbourhood is what comes last before the address. */
		memmove(record->map, record->map + 1, (MAP_CELLS_MAX - 1) * sizeof record->map[0]);
		record->map_count--;
	}
	record->map[record->map_count++] =
		(struct map_cell){.start = start, .size = size, .kind = kind, .label = label, .guilty = guilty};
	if (map->passed && ++map->behind >= MAP_CELLS_MAX / 2)
		return false;
	if (guilty)
		map->passed = true;
	return true;
}

static bool map_visit(const struct region *region, void *context)
{
	struct map *const map = context;
	uint32_t label = LABEL_NULL;

	if (region->kind == REGION_LIVE) {
		const uint32_t index = shadow_find((uintptr_t)region->payload);

		if (index != 0)
			label = map->blocks->records[index].label;
	}
	return map_add(map, (uintptr_t)region->start, region->size, (uint8_t)region->kind, label);
}

/* The live blocks around the address, by address. */
static void map_from_blocks(struct map *map)
{
	uint64_t last = 0;

	for (;;) {
		const struct block *next = NULL;
		uint64_t start = UINT64_MAX;

		for (uint32_t i = 1; i < map->blocks->limit; i++) {
			const struct block *const block = &map->blocks->records[i];

			if (block->address != NULL && (uintptr_t)block->address > last &&
			    (uintptr_t)block->address < start) {
				next = block;
				start = (uintptr_t)block->address;
			}
		}
		if (next == NULL || !map_add(map, start, next->size, REGION_LIVE, next->label))
			return;
		last = start;
	}
}

void heap_map(const struct allocator *allocator, const struct blocks *blocks, const struct finding *finding,
	      struct run_record *record)
{
	struct map map = {.blocks = blocks, .finding = finding, .record = record};

	record->map_count = 0;
	if (finding->address == 0)
		return;
	/* Where the allocator stopped in the middle of a call, it may hold the lock that a walk takes. */
	const bool walkable = finding->kind < VERDICT_RACE && finding->kind != VERDICT_TOUCHED_LIVE &&
			      finding->kind != VERDICT_INVARIANT;

	if (allocator->walk != NULL && walkable)
		allocator->walk(map_visit, &map);
	if (!map.passed) {
		map = (struct map){.blocks = blocks, .finding = finding, .record = record};
		record->map_count = 0;
		if (blocks->live < 4096)
			map_from_blocks(&map);
	}
}
