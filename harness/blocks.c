#define _GNU_SOURCE
#include "blocks.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include "pattern.h"
#include "program.h"
#include "raw_memory.h"
#include "sanitizer.h"

#define RECORDS_MAX ((size_t)1 << 24)

/* Records that a thread takes at a time where several share them. */
#define BATCH 256

/* Of blocks above SPARSE_MIN, a sparse run looks at both ends and at samples between. */
#define SPARSE_MIN ((size_t)32 << 10)
#define SPARSE_END ((size_t)2 << 10)
#define SPARSE_STEP ((size_t)64 << 10)
#define SPARSE_SAMPLE 64

/* Where a block of `size` bytes is looked at: [*from, *to), the next place after *from. False at the end. */
static bool next_window(const struct blocks *blocks, size_t size, size_t *from, size_t *to)
{
	if (*to >= size)
		return false;
	if (!blocks->sparse || size <= SPARSE_MIN) {
		*from = 0;
		*to = size;
	} else if (*to == 0) {
		*from = 0;
		*to = SPARSE_END;
	} else {
		*from = (*from / SPARSE_STEP + 1) * SPARSE_STEP;
		*to = *from + SPARSE_SAMPLE;
		if (*to >= size - SPARSE_END) {
			*from = (size - SPARSE_END) & ~(size_t)7;
			*to = size;
		}
	}
	return true;
}

static void fill(const struct blocks *blocks, void *address, size_t size, uint64_t id)
{
	for (size_t from = 0, to = 0; next_window(blocks, size, &from, &to);)
		pattern_fill(address, from, to, id);
}

/* Offset of the first byte looked at that is wrong, or `size`. `filled` bytes were filled, of which the first `size` count. */
static size_t mismatch(const struct blocks *blocks, const void *address, size_t filled, size_t size, uint64_t id)
{
	for (size_t from = 0, to = 0; from < size && next_window(blocks, filled, &from, &to);) {
		const size_t end = to < size ? to : size;

		if (from < end) {
			const size_t same = pattern_mismatch(address, from, end, id);

			if (same < end)
				return same;
		}
	}
	return size;
}

static size_t first_nonzero(const struct blocks *blocks, const void *address, size_t size)
{
	for (size_t from = 0, to = 0; next_window(blocks, size, &from, &to);) {
		const size_t zeros = raw_first_nonzero((const char *)address + from, to - from);

		if (zeros < to - from)
			return from + zeros;
	}
	return size;
}

static void *reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

bool blocks_open(struct blocks *blocks)
{
	blocks->records = reserve(RECORDS_MAX * sizeof *blocks->records);
	blocks->labels = reserve(LABEL_COUNT * sizeof *blocks->labels);
	if (blocks->records == NULL || blocks->labels == NULL)
		return false;
	shadow_attach(blocks->records, sizeof *blocks->records);
	blocks->limit = 1;
	blocks->poison = sanitizer_has_asan();
	sanitizer_open();
	blocks_reset(blocks, 0);
	return true;
}

void blocks_reset(struct blocks *blocks, uint32_t label_limit)
{
	for (uint32_t i = 1; i < blocks->limit; i++)
		blocks->records[i].address = NULL;
	for (uint32_t i = 0; i < label_limit; i++)
		blocks->labels[i] = 0;
	blocks->limit = 1;
	blocks->unused = 0;
	blocks->live = 0;
	blocks->live_bytes = 0;
	blocks->next_id = blocks->next_pattern = 1;
}

__attribute__((format(printf, 6, 7))) static bool found(struct finding *finding, enum verdict_kind kind,
							uint64_t address, uint32_t victim, uint32_t other,
							const char *format, ...)
{
	va_list arguments;

	finding->kind = kind;
	finding->address = address;
	finding->victim = victim;
	finding->other = other;
	va_start(arguments, format);
	vsnprintf(finding->message, sizeof finding->message, format, arguments);
	va_end(arguments);
	return false;
}

void block_describe(const struct block *block, char *text, size_t size)
{
	char label[8], thread[16];

	label_name(block->label, label);
	thread_name(block->thread, thread);
	snprintf(text, size, "%s (%zu bytes at %p, from operation %llu of %s)",
		 block->label == LABEL_NULL ? "a block" : label, block->size, block->address,
		 (unsigned long long)block->op + 1, thread);
}

static uint32_t record_new(struct blocks *blocks)
{
	uint32_t index = blocks->unused;

	if (index != 0) {
		blocks->unused = blocks->records[index].next_unused;
	} else if (blocks->shared_limit != NULL) {
		if (blocks->limit == blocks->batch_end) {
			blocks->limit = __atomic_fetch_add(blocks->shared_limit, BATCH, __ATOMIC_RELAXED);
			blocks->batch_end = blocks->limit + BATCH;
		}
		if (blocks->batch_end <= RECORDS_MAX)
			index = blocks->limit++;
	} else if (blocks->limit < RECORDS_MAX) {
		index = blocks->limit++;
	}
	return index;
}

void blocks_share(struct blocks *mine, struct blocks *blocks, uint64_t first_id)
{
	*mine = (struct blocks){
		.records = blocks->records,
		.labels = blocks->labels,
		.shared_limit = &blocks->limit,
		.next_id = first_id,
		.next_pattern = first_id,
		.poison = blocks->poison,
		.sparse = blocks->sparse,
		.untracked = blocks->untracked,
	};
}

void blocks_join(struct blocks *blocks, const struct blocks *mine)
{
	blocks->live += mine->live; /* a thread may free more than it made: the sum is right */
	blocks->live_bytes += mine->live_bytes;
}

static void record_drop(struct blocks *blocks, uint32_t index)
{
	blocks->records[index].address = NULL;
	blocks->records[index].next_unused = blocks->unused;
	blocks->unused = index;
}

static bool claim(struct blocks *blocks, uint32_t index, size_t size, uint32_t oracles, struct finding *finding)
{
	struct block *const block = &blocks->records[index];
	uint32_t other;

	block->span = (struct shadow_span){.start = (uintptr_t)block->address, .size = 0};
	if (size == 0 || blocks->untracked ||
	    (blocks->shared_limit != NULL && (uintptr_t)block->address % SHADOW_GRANULE != 0))
		return true;
	other = shadow_claim(index, (uintptr_t)block->address, size);
	if (other == 0 || (oracles & ORACLE(VERDICT_OVERLAP)) == 0)
		return true;
	const struct block *const victim = &blocks->records[other];
	const uintptr_t from =
		victim->span.start > (uintptr_t)block->address ? victim->span.start : (uintptr_t)block->address;
	char text[160];

	block_describe(victim, text, sizeof text);
	return found(finding, VERDICT_OVERLAP, from, other, index,
		     "the new block, %zu bytes at %p, overlaps the live block %s", block->size, block->address, text);
}

static void close_block(struct blocks *blocks, const struct block *block)
{
	if (blocks->poison && block->size > 0)
		sanitizer_poison_block(block->address, block->size);
}

uint32_t blocks_add(struct blocks *blocks, void *address, size_t size, size_t alignment, bool zeroed, bool claim_empty,
		    uint32_t oracles, struct run_record *record, struct finding *finding)
{
	const uintptr_t start = (uintptr_t)address;
	const uint32_t index = record_new(blocks);
	struct block *const block = &blocks->records[index];

	if (index == 0) {
		fprintf(stderr, "heapstorm: more than %zu live blocks\n", RECORDS_MAX);
		__builtin_trap();
	}
	block->address = address;
	block->requested = block->size = size;
	block->label = LABEL_NULL;
	block->id = blocks->next_id++;
	block->pattern = blocks->next_pattern++;
	block->thread = record->thread;
	block->op = record->op;
	block->walk = 0;
	if ((oracles & ORACLE(VERDICT_MISALIGNED)) != 0) {
		record->checks[VERDICT_MISALIGNED]++;
		if ((start & (alignment - 1)) != 0) {
			found(finding, VERDICT_MISALIGNED, start, index, 0, "%p is not a multiple of %zu", address,
			      alignment);
			return 0;
		}
	}
	if (start >> 47 != 0 || start + size < start || (start + size) >> 47 != 0) {
		found(finding, VERDICT_CONTRACT, start, index, 0, "%p is not an address that a process can have",
		      address);
		return 0;
	}
	record->checks[VERDICT_OVERLAP] += (oracles & ORACLE(VERDICT_OVERLAP)) != 0;
	if (!claim(blocks, index, size == 0 && claim_empty ? 1 : size, oracles, finding))
		return 0;
	if (zeroed && (oracles & ORACLE(VERDICT_NOT_ZEROED)) != 0) {
		const size_t zeros = first_nonzero(blocks, address, size);

		record->checks[VERDICT_NOT_ZEROED]++;
		if (zeros < size) {
			found(finding, VERDICT_NOT_ZEROED, start + zeros, index, 0,
			      "byte %zu of %zu is 0x%02x, not zero", zeros, size, ((unsigned char *)address)[zeros]);
			return 0;
		}
	}
	if ((oracles & ORACLE(VERDICT_CORRUPTION)) != 0)
		fill(blocks, address, size, block->pattern);
	if ((oracles & ORACLE(VERDICT_TOUCHED_LIVE)) != 0) {
		record->checks[VERDICT_TOUCHED_LIVE] += blocks->poison;
		close_block(blocks, block);
	}
	blocks->live++;
	blocks->live_bytes += size;
	return index;
}

bool blocks_verify(struct blocks *blocks, uint32_t index, size_t size, enum verdict_kind kind, uint32_t oracles,
		   struct run_record *record, struct finding *finding)
{
	const struct block *const block = &blocks->records[index];
	size_t same;

	if ((oracles & ORACLE(kind)) == 0 || (oracles & ORACLE(VERDICT_CORRUPTION)) == 0)
		return true;
	record->checks[kind]++;
	same = mismatch(blocks, block->address, block->size, size, block->pattern);
	if (same == size)
		return true;
	char text[160];

	block_describe(block, text, sizeof text);
	return found(finding, kind, (uintptr_t)block->address + same, index, 0,
		     "byte %zu of %s changed from 0x%02x to 0x%02x", same, text, pattern_byte(block->pattern, same),
		     ((unsigned char *)block->address)[same]);
}

bool blocks_release(struct blocks *blocks, uint32_t index, uint32_t oracles, struct finding *finding)
{
	struct block *const block = &blocks->records[index];
	uint32_t other;

	if (blocks->poison && (oracles & ORACLE(VERDICT_TOUCHED_LIVE)) != 0)
		sanitizer_unpoison_block(block->address, block->size);
	if (block->span.size == 0)
		return true;
	other = shadow_release(index);
	if (other == 0 || (oracles & ORACLE(VERDICT_OVERLAP)) == 0)
		return true;
	char text[160];

	block_describe(block, text, sizeof text);
	return found(finding, VERDICT_OVERLAP, block->span.start, index, other == UINT32_MAX ? 0 : other,
		     "bytes of the live block %s were handed out again", text);
}

bool blocks_restore(struct blocks *blocks, uint32_t index, uint32_t oracles, struct finding *finding)
{
	struct block *const block = &blocks->records[index];

	if (!claim(blocks, index, block->span.size, oracles, finding))
		return false;
	if ((oracles & ORACLE(VERDICT_TOUCHED_LIVE)) != 0)
		close_block(blocks, block);
	return true;
}

void blocks_forget(struct blocks *blocks, uint32_t index)
{
	blocks->live--;
	blocks->live_bytes -= blocks->records[index].size;
	record_drop(blocks, index);
}

bool blocks_extend(struct blocks *blocks, uint32_t index, size_t usable, uint32_t oracles, struct run_record *record,
		   struct finding *finding)
{
	struct block *const block = &blocks->records[index];
	const size_t old = block->size;

	/* Verified first, so that nothing is blamed on the new bytes. */
	if (!blocks_verify(blocks, index, old, VERDICT_CORRUPTION, oracles, record, finding) ||
	    !blocks_release(blocks, index, oracles, finding))
		return false;
	block->size = usable;
	blocks->live_bytes += usable - old;
	if (!claim(blocks, index, usable, oracles, finding))
		return false;
	if ((oracles & ORACLE(VERDICT_CORRUPTION)) != 0)
		blocks_rewrite(blocks, index);
	if ((oracles & ORACLE(VERDICT_TOUCHED_LIVE)) != 0)
		close_block(blocks, block);
	return true;
}

void blocks_rewrite(struct blocks *blocks, uint32_t index)
{
	struct block *const block = &blocks->records[index];

	block->pattern = blocks->next_pattern++;
	fill(blocks, block->address, block->size, block->pattern);
}
