#include "mutator.h"

#include <string.h>

const struct mutator_options mutator_options __attribute__((weak)) = {.ops_max = 200, .threads_max = 1, .faults = true};

#define LIVE_BYTES_MAX (64u << 20) /* new blocks are small where this much is live */
#define BLOCK_MAX (4u << 20)       /* of the sizes drawn; beyond are only those that no allocator can serve */
#define ALIGNED_MAPPINGS_MAX 2     /* blocks of a program at multiples of more than 16 KiB */
#define BATCH_MAX 48               /* operations that one mutation adds at most */

/* ---- Random numbers: splitmix64 ---- */

static uint64_t next_random(struct mutator *m)
{
	uint64_t x = m->random += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

uint64_t mutator_below(struct mutator *m, uint64_t limit)
{
	return (uint64_t)(((unsigned __int128)next_random(m) * limit) >> 64);
}

/* From `low` to `high`, both included. */
static uint64_t between(struct mutator *m, uint64_t low, uint64_t high)
{
	return low + mutator_below(m, high - low + 1);
}

/* True `percent` times of 100. */
static bool chance(struct mutator *m, unsigned percent)
{
	return mutator_below(m, 100) < percent;
}

#define PICK(m, array) ((array)[mutator_below((m), sizeof(array) / sizeof((array)[0]))])

/* 0 and up, each next number with half the probability; at most `limit`. */
static unsigned few(struct mutator *m, unsigned limit)
{
	unsigned zeros = (unsigned)__builtin_ctzll(next_random(m) | 1ull << 63);

	return zeros < limit ? zeros : limit;
}

/* ---- What is live at a place of a program ---- */

#define VIEW_LABELS 1024 /* labels from there on are not looked at */
#define VIEW_FREED 8

struct view {
	uint16_t live[VIEW_LABELS];  /* in no order */
	uint16_t place[VIEW_LABELS]; /* 1 + place in `live`, 0: not live */
	uint32_t live_count;
	uint16_t freed[VIEW_FREED]; /* the last ones, a ring */
	uint32_t freed_count;
	uint64_t size[VIEW_LABELS]; /* of live ones */
	uint64_t live_bytes;
};

static void view_clear(struct view *v)
{
	memset(v->place, 0, sizeof(v->place));
	v->live_count = 0;
	v->freed_count = 0;
	v->live_bytes = 0;
}

static void view_drop(struct view *v, uint32_t label)
{
	uint16_t place, last;

	if (label >= VIEW_LABELS || v->place[label] == 0)
		return;
	place = v->place[label];
	last = v->live[--v->live_count];
	v->live[place - 1] = last;
	v->place[last] = place;
	v->place[label] = 0;
	v->live_bytes -= v->size[label];
	v->freed[v->freed_count++ % VIEW_FREED] = (uint16_t)label;
}

static void view_bind(struct view *v, uint32_t label, uint64_t size)
{
	if (label >= VIEW_LABELS)
		return;
	if (v->place[label] == 0) {
		v->live[v->live_count++] = (uint16_t)label;
		v->place[label] = (uint16_t)v->live_count;
		v->size[label] = 0;
	}
	/* A block that loses its name stays live: its bytes stay counted. */
	v->size[label] = size;
	v->live_bytes += size;
}

/* Bytes asked for, UINT64_MAX where no allocator can have them. */
static uint64_t op_bytes(const struct op *op)
{
	uint64_t bytes = op->size;

	if ((op_operands(op->kind) & OPERAND_COUNT) && __builtin_mul_overflow(op->count, op->size, &bytes))
		return UINT64_MAX;
	return bytes >= 1ull << 47 ? UINT64_MAX : bytes;
}

static void view_advance(struct view *v, const struct op *op)
{
	unsigned operands = op_operands(op->kind);
	uint64_t bytes;

	if (op->kind == OP_FREE) {
		view_drop(v, op->block);
	} else if (operands & OPERAND_RESULT) {
		bytes = op_bytes(op);
		if (bytes == UINT64_MAX)
			return; /* fails: realloc leaves its block as it was */
		if (operands & OPERAND_BLOCK)
			view_drop(v, op->block);
		view_bind(v, op->result, bytes);
	}
}

/* Before the operation at `place` of `thread`. Other threads count as far as main has come when it spawns this one. */
static void view_at(struct view *v, const struct program *p, size_t thread, size_t place)
{
	view_clear(v);
	if (thread != 0) {
		const struct thread_program *main = &p->threads[0];

		for (size_t i = 0; i < main->count; i++) {
			if (main->ops[i].kind == OP_SPAWN && main->ops[i].thread == thread)
				break;
			view_advance(v, &main->ops[i]);
		}
	}
	for (size_t i = 0; i < place; i++)
		view_advance(v, &p->threads[thread].ops[i]);
}

/* The lowest label that is not live, so that labels stay small and are used again. */
static uint32_t free_label(const struct view *v)
{
	for (uint32_t label = 0; label < VIEW_LABELS; label++)
		if (v->place[label] == 0)
			return label;
	return 0;
}

/* ---- Sizes and alignments ---- */

enum size_style { STYLE_MIXED, STYLE_FOCUS, STYLE_SMALL, STYLE_CLASSES, STYLE_PAGES, STYLE_TWO, STYLES };

/* A distance from a boundary: allocators put a header of 8, 16 or 32 bytes before a block. */
static int64_t offset(struct mutator *m)
{
	static const int64_t offsets[] = {0, 0, 0, 1, -1, 8, -8, 16, -16, -17, 15, -24, 32, -32, -33, 48, -48, -64};

	return PICK(m, offsets);
}

static uint64_t near(struct mutator *m, uint64_t boundary)
{
	int64_t o = offset(m);

	return o < 0 && boundary < (uint64_t)-o ? boundary : boundary + (uint64_t)o;
}

/* Size classes: 16-byte steps to 1 KiB, then 8 for each doubling. */
static uint64_t class_size(struct mutator *m, unsigned doublings)
{
	unsigned shift;

	if (doublings == 0 || chance(m, 50))
		return 16 * between(m, 1, 64);
	shift = (unsigned)mutator_below(m, doublings);
	return between(m, 8, 16) << (7 + shift);
}

/* Sizes that cannot be had. None lies between: what can be had in part would be paid for in part. */
static uint64_t impossible_size(struct mutator *m)
{
	static const uint64_t sizes[] = {
		UINT64_MAX,      INT64_MAX,         (uint64_t)INT64_MAX + 1, (uint64_t)INT64_MAX - 1,
		UINT64_MAX - 7,  UINT64_MAX - 15,   UINT64_MAX - 16,         UINT64_MAX - 31,
		UINT64_MAX - 63, UINT64_MAX - 4095, UINT64_MAX - 4096,       UINT64_MAX - 65535,
		INT64_MAX - 15,  INT64_MAX - 31,    INT64_MAX - 4095,        INT64_MAX - 4096,
		1ull << 47,

		1ull << 48,      1ull << 62,
	};

	return PICK(m, sizes);
}

static uint64_t mixed_size(struct mutator *m)
{
	unsigned draw = (unsigned)mutator_below(m, 100);

	if (draw < 34)
		return between(m, 1, 320);
	if (draw < 62)
		return near(m, class_size(m, 0));
	if (draw < 76)
		return near(m, class_size(m, 6));
	if (draw < 88)
		return near(m, 4096 * between(m, 1, chance(m, 70) ? 4 : 40));
	if (draw < 92)
		return near(m, (uint64_t)1 << between(m, 10, 17));
	if (draw < 95)
		return near(m, (uint64_t)1 << between(m, 17, 22));
	if (draw < 96)
		return near(m, (512u << 10) * between(m, 1, 8));
	if (draw < 98)
		return 0;
	return between(m, 1, (uint64_t)1 << between(m, 8, 20));
}

static uint64_t draw_size(struct mutator *m)
{
	switch (m->size_style) {
	case STYLE_FOCUS:
		return chance(m, 80) ? m->focus_size : near(m, m->focus_size);
	case STYLE_SMALL:
		return between(m, 1, 128);
	case STYLE_CLASSES:
		return near(m, class_size(m, 5));
	case STYLE_PAGES:
		return near(m, 4096 * between(m, 1, 12));
	case STYLE_TWO:
		return chance(m, 50) ? m->focus_size : 16 * (1 + m->focus_size % 32);
	default:
		return mixed_size(m);
	}
}

/* A size for a block made where `v` is; seldom one that cannot be had. */
static uint64_t new_size(struct mutator *m, const struct view *v)
{
	uint64_t size;

	if (chance(m, 2))
		return impossible_size(m);
	/* The size of a block that is there: what one of them leaves, the other one takes. */
	if (v->live_count > 0 && chance(m, 20))
		size = v->size[v->live[mutator_below(m, v->live_count)]];
	else
		size = draw_size(m);
	if (size > BLOCK_MAX + 64)
		size %= BLOCK_MAX;
	if (v->live_bytes + size > LIVE_BYTES_MAX)
		size %= 1024;
	return size;
}

/* count * size is `bytes` where it can be; with overflow now and then. */
static void factor(struct mutator *m, uint64_t bytes, uint64_t *count, uint64_t *size)
{
	static const uint64_t elements[] = {1, 1, 2, 3, 4, 8, 8, 12, 16, 24, 40, 64, 100};

	if (bytes == 0) {
		*count = chance(m, 50) ? 0 : mixed_size(m);
		*size = *count == 0 ? mixed_size(m) : 0;
	} else if (bytes > BLOCK_MAX + 64) {
		/* Products that pass 64 bits, by a little or to something small, and those that do not but cannot be had. */
		static const uint64_t factors[][2] = {
			{1ull << 32, 1ull << 32},
			{1ull << 63, 2},
			{UINT64_MAX, 2},
			{2, UINT64_MAX},
			{UINT64_MAX / 16 + 1, 16},
			{UINT64_MAX / 16 + 2, 16},
			{UINT64_MAX / 3 + 1, 3},
			{UINT64_MAX / 24 + 1, 24},
			{(1ull << 32) + 1, (1ull << 32) - 1},
			{1ull << 33, 1ull << 31},
			{1ull << 31, 1ull << 31},
			{1ull << 16, 1ull << 32},
			{UINT64_MAX, UINT64_MAX},
			{UINT64_MAX, 1},
			{1ull << 62, 4},
			{(1ull << 62) + 4, 4},
			{INT64_MAX, 2},
			{(1ull << 32) + 5, 1ull << 32},
		};
		size_t i = mutator_below(m, sizeof(factors) / sizeof(factors[0]));
		size_t first = mutator_below(m, 2);

		*count = factors[i][first];
		*size = factors[i][1 - first];
	} else {
		*size = PICK(m, elements);
		if (*size > bytes)
			*size = bytes;
		*count = bytes / *size;
		if (chance(m, 30)) {
			uint64_t swap = *count;

			*count = *size;
			*size = swap;
		}
	}
}

static uint64_t draw_alignment(struct mutator *m)
{
	static const uint64_t bad[] = {0,          3,          24,         48,        100, 4095, 4097, (1ull << 63) + 1,
				       UINT64_MAX, 1ull << 63, 1ull << 47, 1ull << 62};

	if (m->focus_alignment != 0 && chance(m, 60))
		return m->focus_alignment;
	if (chance(m, 5))
		return PICK(m, bad);
	if (chance(m, 80))
		return 1ull << between(m, 3, 9);
	return 1ull << (chance(m, 80) ? between(m, 0, 13) : between(m, 13, 22));
}

/* ---- Making operations ---- */

#define BIT(n) (1u << (n))

/* How often each kind is made where all may be. Those of threads have mutations of their own. */
static const uint8_t kind_weights[OP_KINDS] = {
	[OP_MALLOC] = 36,     [OP_CALLOC] = 9,        [OP_REALLOC] = 14,       [OP_REALLOCARRAY] = 3,
	[OP_FREE] = 40,       [OP_ALIGNED_ALLOC] = 5, [OP_POSIX_MEMALIGN] = 4, [OP_MEMALIGN] = 3,
	[OP_USABLE_SIZE] = 2, [OP_TRIM] = 1,          [OP_TOUCH] = 3,
};
#define KINDS_MAKING                                                                                                   \
	(BIT(OP_MALLOC) | BIT(OP_CALLOC) | BIT(OP_ALIGNED_ALLOC) | BIT(OP_POSIX_MEMALIGN) | BIT(OP_MEMALIGN))

static enum op_kind draw_kind(struct mutator *m, uint32_t among)
{
	unsigned total = 0, draw;

	among &= m->kinds;
	for (unsigned kind = 0; kind < OP_KINDS; kind++)
		if (among & BIT(kind))
			total += kind_weights[kind];
	if (total == 0)
		return OP_MALLOC;
	draw = (unsigned)mutator_below(m, total);
	for (unsigned kind = 0; kind < OP_KINDS; kind++) {
		if (!(among & BIT(kind)))
			continue;
		if (draw < kind_weights[kind])
			return (enum op_kind)kind;
		draw -= kind_weights[kind];
	}
	return OP_MALLOC;
}

static uint32_t draw_block(struct mutator *m, const struct view *v)
{
	if (v->freed_count > 0 && chance(m, 2))
		return v->freed[mutator_below(m, v->freed_count < VIEW_FREED ? v->freed_count : VIEW_FREED)];
	if (v->live_count == 0 || chance(m, 1))
		return LABEL_NULL;
	/* The newest one now and then: blocks are often short-lived. */
	if (chance(m, 15))
		return v->live[v->live_count - 1];
	return v->live[mutator_below(m, v->live_count)];
}

/* What could be had but costs too much is made small. Every change of a size ends here. */
static void settle(struct op *op)
{
	uint64_t bytes = op_bytes(op);

	if (bytes == UINT64_MAX || bytes <= 2 * BLOCK_MAX + 4096)
		return;
	op->size %= BLOCK_MAX / 16;
	if (op_operands(op->kind) & OPERAND_COUNT)
		op->count = op->count % 16 + 1;
}

static void draw_sizes(struct mutator *m, const struct view *v, struct op *op)
{
	unsigned operands = op_operands(op->kind);
	uint64_t bytes = new_size(m, v);

	if (operands & OPERAND_COUNT)
		factor(m, bytes, &op->count, &op->size);
	else if (operands & OPERAND_SIZE)
		op->size = op->kind == OP_TRIM && chance(m, 60) ? 0 : bytes;
	if (operands & OPERAND_ALIGNMENT) {
		op->alignment = draw_alignment(m);
		/* aligned_alloc wants a multiple; both are good tests. */
		if (op->kind == OP_ALIGNED_ALLOC && op->alignment - 1 < 4096 && bytes < BLOCK_MAX && chance(m, 50))
			op->size = (bytes + op->alignment - 1) / op->alignment * op->alignment;
		/* Alignment and size large at once would map far more than the program shows. */
		if (op->alignment > 1u << 16 && op->alignment < 1ull << 40 && bytes < BLOCK_MAX && bytes > 1u << 16)
			op->size = bytes % 4096;
	}
	settle(op);
}

/* A new block of about that size, of a kind that may be made. */
static struct op new_block(struct mutator *m, struct view *v, uint64_t size)
{
	struct op op = {.kind = (uint8_t)draw_kind(m, KINDS_MAKING), .result = free_label(v), .block = LABEL_NULL};

	if (op_operands(op.kind) & OPERAND_COUNT)
		factor(m, size, &op.count, &op.size);
	else
		op.size = size;
	if (op_operands(op.kind) & OPERAND_ALIGNMENT)
		op.alignment = 1ull << between(m, 3, 12);
	settle(&op);
	view_advance(v, &op);
	return op;
}

/* An operation that fits in where `v` is; `v` goes past it. */
static struct op new_op(struct mutator *m, struct view *v, uint32_t among)
{
	struct op op = {.result = LABEL_NULL, .block = LABEL_NULL};

	/* Without blocks only what makes one has something to do. */
	if (v->live_count == 0 && !chance(m, 3))
		among &= KINDS_MAKING;
	op.kind = (uint8_t)draw_kind(m, among);
	draw_sizes(m, v, &op);
	if (op_takes_block(op.kind))
		op.block = draw_block(m, v);
	if (op_makes_block(op.kind))
		op.result =
			op_takes_block(op.kind) && op.block != LABEL_NULL && !chance(m, 10) ? op.block : free_label(v);
	view_advance(v, &op);
	return op;
}

/* ---- Runs of operations ---- */

struct batch {
	struct op ops[BATCH_MAX];
	size_t count;
};

static void batch_add(struct batch *b, struct op op)
{
	if (b->count < BATCH_MAX)
		b->ops[b->count++] = op;
}

static void batch_free(struct batch *b, struct view *v, uint32_t label)
{
	struct op op = {.kind = OP_FREE, .result = LABEL_NULL, .block = label};

	batch_add(b, op);
	view_drop(v, label);
}

static void shuffle(struct mutator *m, uint32_t *labels, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = mutator_below(m, i);
		uint32_t swap = labels[i - 1];

		labels[i - 1] = labels[j];
		labels[j] = swap;
	}
}

/* Forwards, backwards, every second one and then the rest, or in random order. */
static void order_frees(struct mutator *m, uint32_t *labels, size_t count)
{
	uint32_t sorted[BATCH_MAX];
	size_t n = 0;

	switch (mutator_below(m, 4)) {
	case 0:
		break;
	case 1:
		for (size_t i = 0; i < count / 2; i++) {
			uint32_t swap = labels[i];

			labels[i] = labels[count - 1 - i];
			labels[count - 1 - i] = swap;
		}
		break;
	case 2:
		for (size_t i = 0; i < count; i += 2)
			sorted[n++] = labels[i];
		for (size_t i = 1; i < count; i += 2)
			sorted[n++] = labels[i];
		memcpy(labels, sorted, count * sizeof(*labels));
		break;
	default:
		shuffle(m, labels, count);
	}
}

/* Blocks of one size, or of few, then some or all of them freed, then perhaps others in their places. */
static void make_run(struct mutator *m, struct view *v, struct batch *b)
{
	uint32_t labels[BATCH_MAX];
	size_t count = between(m, 2, chance(m, 70) ? 8 : 20);
	size_t freed;
	struct op op = {.kind = (uint8_t)draw_kind(m, KINDS_MAKING), .result = LABEL_NULL, .block = LABEL_NULL};
	bool one_size = chance(m, 75);

	draw_sizes(m, v, &op);
	if (op_bytes(&op) > 64 << 10)
		count = count % 4 + 1;
	for (size_t i = 0; i < count; i++) {
		if (!one_size && i > 0)
			draw_sizes(m, v, &op);
		op.result = labels[i] = free_label(v);
		batch_add(b, op);
		view_bind(v, op.result, op_bytes(&op) == UINT64_MAX ? 0 : op_bytes(&op));
	}
	if (chance(m, 25))
		return;
	order_frees(m, labels, count);
	freed = chance(m, 50) ? count : between(m, 1, count);
	for (size_t i = 0; i < freed; i++)
		batch_free(b, v, labels[i]);
	if (chance(m, 50)) {
		/* Into what was freed: the same sizes, or one that needs several of the places together. */
		size_t again = between(m, 1, 4);
		uint64_t bytes = op_bytes(&op);
		uint64_t together = bytes < BLOCK_MAX ? bytes * between(m, 2, 4) : UINT64_MAX;

		for (size_t i = 0; i < again; i++) {
			if (together <= BLOCK_MAX && chance(m, 30)) {
				batch_add(b, new_block(m, v, together));
				continue;
			}
			op.result = free_label(v);
			batch_add(b, op);
			view_advance(v, &op);
		}
	}
}

/* One block through a chain of sizes: growing, shrinking, to and fro. */
static void make_realloc_chain(struct mutator *m, struct view *v, struct batch *b)
{
	uint32_t among = m->kinds & (BIT(OP_REALLOC) | BIT(OP_REALLOCARRAY));
	struct op op = {.kind = OP_REALLOC};
	size_t count = between(m, 2, 8);
	unsigned way = (unsigned)mutator_below(m, 4);
	bool fence = chance(m, 30);
	uint64_t size;

	if (!among)
		return;
	op.kind = (uint8_t)draw_kind(m, among);
	op.block = draw_block(m, v);
	op.result = op.block == LABEL_NULL ? free_label(v) : op.block;
	size = op.block < VIEW_LABELS && v->place[op.block] != 0 ? v->size[op.block] : draw_size(m);
	for (size_t i = 0; i < count; i++) {
		switch (way) {
		case 0:
			size += between(m, 1, size / 2 + 64);
			break;
		case 1:
			size -= size / 3 + (size > 0);
			break;
		case 2:
			size = i % 2 ? size / 4 : size * 4 + 16;
			break;
		default:
			size = new_size(m, v);
		}
		if (size > BLOCK_MAX && size < 1ull << 46)
			size = BLOCK_MAX - size % 65536;
		if (op.kind == OP_REALLOCARRAY)
			factor(m, size, &op.count, &op.size);
		else
			op.size = size;
		settle(&op);
		batch_add(b, op);
		view_advance(v, &op);
		op.block = op.result;
		/* A neighbour behind it, so that it cannot always grow in place. */
		if (fence && chance(m, 50))
			batch_add(b, new_block(m, v, new_size(m, v)));
	}
}

/* Frees all that is live, or most of it, in one of the orders; then perhaps asks for much at once. */
static void make_free_all(struct mutator *m, struct view *v, struct batch *b)
{
	uint32_t labels[BATCH_MAX];
	size_t count = v->live_count < BATCH_MAX - 4 ? v->live_count : BATCH_MAX - 4;
	uint64_t total = 0;

	for (size_t i = 0; i < count; i++) {
		labels[i] = v->live[i];
		total += v->size[labels[i]];
	}
	order_frees(m, labels, count);
	if (count > 1 && chance(m, 40))
		count -= between(m, 1, count / 2);
	for (size_t i = 0; i < count; i++)
		batch_free(b, v, labels[i]);
	if ((m->kinds & BIT(OP_TRIM)) && chance(m, 50))
		batch_add(b, (struct op){.kind = OP_TRIM, .result = LABEL_NULL, .block = LABEL_NULL});
	if (chance(m, 50) && total <= 2 * BLOCK_MAX)
		batch_add(b, new_block(m, v, near(m, chance(m, 50) ? total : total / 2)));
}

/* A block goes, and its memory is asked for again at once: what it held must not show, and what was noted of it must be gone. */
static void make_again(struct mutator *m, struct view *v, struct batch *b)
{
	uint64_t size;

	if (v->live_count == 0)
		batch_add(b, new_block(m, v, draw_size(m)));
	if (v->live_count == 0)
		return; /* a size that nobody can have */
	const uint32_t label = v->live[mutator_below(m, v->live_count)];

	size = v->size[label];
	batch_free(b, v, label);
	for (size_t i = 1 + few(m, 3); i > 0; i--)
		batch_add(b, new_block(m, v, chance(m, 70) ? size : near(m, size)));
}

/* ---- Mutations ---- */

/* False: this one does not apply here. */
typedef bool mutation(struct mutator *m, struct program *p, struct view *v);

static bool has_room(const struct mutator *m, const struct program *p)
{
	return program_op_count(p) < m->options.ops_max;
}

/* A thread with operations, mostly main; false if there is none. */
static bool draw_thread(struct mutator *m, const struct program *p, size_t *thread)
{
	*thread = p->thread_count > 1 && chance(m, 60) ? mutator_below(m, p->thread_count) : 0;
	return p->threads[*thread].count > 0;
}

/* A place to insert at: anywhere, or at the end. */
static size_t draw_place(struct mutator *m, const struct program *p, size_t thread)
{
	size_t count = p->threads[thread].count;

	return chance(m, 20) ? count : mutator_below(m, count + 1);
}

/* A run of operations in a thread, mostly short. */
static void draw_run(struct mutator *m, const struct thread_program *t, size_t *start, size_t *length)
{
	*start = mutator_below(m, t->count);
	*length = chance(m, 50) ? 1 : between(m, 2, chance(m, 80) ? 6 : BATCH_MAX);
	if (*length > t->count - *start)
		*length = t->count - *start;
}

/* Looks for an operation with one of the operands, from a random one on. */
static bool find_op(struct mutator *m, const struct program *p, unsigned operands, size_t *thread, size_t *place)
{
	size_t count, start;

	if (!draw_thread(m, p, thread))
		return false;
	count = p->threads[*thread].count;
	start = mutator_below(m, count);
	for (size_t i = 0; i < count; i++) {
		*place = start + i < count ? start + i : start + i - count;
		if (op_operands(p->threads[*thread].ops[*place].kind) & operands)
			return true;
	}
	return false;
}

static bool insert_ops(struct mutator *m, struct program *p, struct view *v)
{
	struct batch b = {.count = 0};
	size_t thread, place, count = 1 + few(m, 6);

	if (!has_room(m, p))
		return false;
	draw_thread(m, p, &thread);
	place = draw_place(m, p, thread);
	view_at(v, p, thread, place);
	for (size_t i = 0; i < count; i++)
		batch_add(&b, new_op(m, v, UINT32_MAX));
	/* A fork costs more than all else together: seldom one. */
	if ((m->kinds & BIT(OP_FORK)) && chance(m, 3))
		batch_add(&b, (struct op){.kind = OP_FORK, .result = LABEL_NULL, .block = LABEL_NULL});
	program_insert(p, thread, place, b.ops, b.count);
	return true;
}

static bool insert_pattern(struct mutator *m, struct program *p, struct view *v)
{
	struct batch b = {.count = 0};
	size_t thread, place;

	if (!has_room(m, p))
		return false;
	draw_thread(m, p, &thread);
	place = draw_place(m, p, thread);
	view_at(v, p, thread, place);
	switch (mutator_below(m, 5)) {
	case 0:
		make_realloc_chain(m, v, &b);
		break;
	case 1:
		make_free_all(m, v, &b);
		break;
	case 2:
		make_again(m, v, &b);
		break;
	default:
		make_run(m, v, &b);
	}
	if (b.count == 0)
		return false;
	program_insert(p, thread, place, b.ops, b.count);
	return true;
}

static bool remove_ops(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, start, length;

	(void)v;
	if (!draw_thread(m, p, &thread))
		return false;
	draw_run(m, &p->threads[thread], &start, &length);
	if (length == program_op_count(p))
		length--;
	if (length == 0)
		return false;
	program_remove(p, thread, start, length);
	return true;
}

/*
 * Copies a run to be put where `v` is: the blocks it makes get labels that are free there, and it goes on using these. What it uses from
 * outside stays, or becomes a block that is live there where that one is not.
 */
static void rename_run(struct mutator *m, struct view *v, const struct op *ops, size_t count, struct batch *b)
{
	uint32_t from[BATCH_MAX], to[BATCH_MAX];
	size_t renamed = 0;

	for (size_t i = 0; i < count && i < BATCH_MAX; i++) {
		struct op op = ops[i];

		/* A fork costs more than all else together; there are enough of them. */
		if (op.kind == OP_FORK)
			continue;
		if (op_takes_block(op.kind) && op.block != LABEL_NULL) {
			size_t j = renamed;

			while (j > 0 && from[j - 1] != op.block)
				j--;
			if (j > 0)
				op.block = to[j - 1];
			else if (op.block < VIEW_LABELS && v->place[op.block] == 0)
				op.block = draw_block(m, v);
		}
		if (op_makes_block(op.kind)) {
			from[renamed] = op.result;
			to[renamed] = op_takes_block(op.kind) && op.block != LABEL_NULL && ops[i].result == ops[i].block
					      ? op.block
					      : free_label(v);
			op.result = to[renamed++];
		}
		view_advance(v, &op);
		batch_add(b, op);
	}
}

static bool duplicate_ops(struct mutator *m, struct program *p, struct view *v)
{
	struct batch b = {.count = 0};
	size_t thread, start, length, place;

	if (!has_room(m, p) || !draw_thread(m, p, &thread))
		return false;
	draw_run(m, &p->threads[thread], &start, &length);
	place = chance(m, 50) ? start + length : draw_place(m, p, thread);
	view_at(v, p, thread, place);
	if (chance(m, 75)) {
		rename_run(m, v, p->threads[thread].ops + start, length, &b);
	} else {
		for (size_t i = 0; i < length; i++)
			if (p->threads[thread].ops[start + i].kind != OP_FORK)
				batch_add(&b, p->threads[thread].ops[start + i]);
	}
	program_insert(p, thread, place, b.ops, b.count);
	return b.count > 0;
}

static bool move_ops(struct mutator *m, struct program *p, struct view *v)
{
	struct batch b = {.count = 0};
	size_t thread, start, length, place;

	(void)v;
	if (!draw_thread(m, p, &thread) || p->threads[thread].count < 2)
		return false;
	draw_run(m, &p->threads[thread], &start, &length);
	if (length == p->threads[thread].count)
		length--;
	for (size_t i = 0; i < length; i++)
		batch_add(&b, p->threads[thread].ops[start + i]);
	program_remove(p, thread, start, length);
	place = mutator_below(m, p->threads[thread].count); /* all places but the old one */
	if (place >= start)
		place++;
	program_insert(p, thread, place, b.ops, b.count);
	return true;
}

static bool swap_ops(struct mutator *m, struct program *p, struct view *v)
{
	struct thread_program *t;
	size_t thread, i, j;
	struct op swap;

	(void)v;
	if (!draw_thread(m, p, &thread) || p->threads[thread].count < 2)
		return false;
	t = &p->threads[thread];
	i = mutator_below(m, t->count - 1);
	j = chance(m, 60) ? i + 1 : between(m, i + 1, t->count - 1);
	swap = t->ops[i];
	t->ops[i] = t->ops[j];
	t->ops[j] = swap;
	return true;
}

static bool retarget(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, place;
	struct op *op;
	uint32_t old;

	if (!find_op(m, p, OPERAND_BLOCK, &thread, &place))
		return false;
	op = &p->threads[thread].ops[place];
	view_at(v, p, thread, place);
	old = op->block;
	op->block = draw_block(m, v);
	if (op_makes_block(op->kind) && op->result == old && op->block != LABEL_NULL)
		op->result = op->block;
	return op->block != old;
}

/* A near relative of a size: the next class or page, half, double, one more or less. */
static uint64_t changed_size(struct mutator *m, const struct view *v, uint64_t size)
{
	switch (mutator_below(m, 10)) {
	case 0:
		return size + 1;
	case 1:
		return size > 0 ? size - 1 : 1;
	case 2:
		return size + 16;
	case 3:
		return size >= 16 ? size - 16 : 0;
	case 4:
		return size / 2;
	case 5:
		return size <= BLOCK_MAX / 2 ? size * 2 : size - 1;
	case 6:
		return near(m, (size + 15) & ~15ull);
	case 7:
		return size <= BLOCK_MAX ? near(m, (size + 4095) & ~4095ull) : impossible_size(m);
	default:
		return new_size(m, v);
	}
}

static bool change_size(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, place;
	struct op *op;
	uint64_t bytes;

	if (!find_op(m, p, OPERAND_SIZE, &thread, &place))
		return false;
	op = &p->threads[thread].ops[place];
	view_at(v, p, thread, place);
	if (op_operands(op->kind) & OPERAND_COUNT) {
		bytes = chance(m, 50) ? op_bytes(op) : draw_size(m);
		factor(m, changed_size(m, v, bytes), &op->count, &op->size);
	} else {
		op->size = changed_size(m, v, op->size);
	}
	settle(op);
	return true;
}

/* One size, wherever it stands, becomes another one. */
static bool change_all_sizes(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, place;
	uint64_t old, size;
	unsigned same_shape;

	if (!find_op(m, p, OPERAND_SIZE, &thread, &place))
		return false;
	view_clear(v);
	old = p->threads[thread].ops[place].size;
	size = changed_size(m, v, old);
	same_shape = op_operands(p->threads[thread].ops[place].kind) & OPERAND_COUNT;
	for (size_t i = 0; i < p->thread_count; i++) {
		for (size_t j = 0; j < p->threads[i].count; j++) {
			struct op *op = &p->threads[i].ops[j];
			unsigned operands = op_operands(op->kind);

			if ((operands & OPERAND_SIZE) && (operands & OPERAND_COUNT) == same_shape && op->size == old) {
				op->size = size;
				settle(op);
			}
		}
	}
	return true;
}

static bool change_alignment(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, place;
	struct op *op;

	(void)v;
	if (!find_op(m, p, OPERAND_ALIGNMENT, &thread, &place))
		return false;
	op = &p->threads[thread].ops[place];
	if (chance(m, 30) && op->alignment < 1ull << 20)
		op->alignment = chance(m, 50) ? op->alignment * 2 : op->alignment / 2;
	else
		op->alignment = draw_alignment(m);
	return true;
}

/* Another kind with what it takes: malloc becomes calloc, free becomes realloc, .... */
static bool change_kind(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, place;
	struct op *op, old;
	uint64_t bytes;

	if (!find_op(m, p, OPERAND_RESULT | OPERAND_BLOCK, &thread, &place))
		return false;
	op = &p->threads[thread].ops[place];
	old = *op;
	view_at(v, p, thread, place);
	*op = new_op(m, v, op_takes_block(old.kind) ? ~KINDS_MAKING : KINDS_MAKING);
	if (op_takes_block(old.kind) && op_takes_block(op->kind))
		op->block = old.block;
	if (op_makes_block(op->kind))
		op->result = op_makes_block(old.kind) ? old.result : op->block != LABEL_NULL ? op->block : op->result;
	if (op_makes_block(old.kind) && op_makes_block(op->kind)) {
		bytes = op_bytes(&old);
		if (op_operands(op->kind) & OPERAND_COUNT)
			factor(m, bytes, &op->count, &op->size);
		else
			op->size = bytes;
		settle(op);
	}
	return op->kind != old.kind;
}

/* The order of a run of frees: it decides which neighbours meet when. */
static bool reorder_frees(struct mutator *m, struct program *p, struct view *v)
{
	struct thread_program *t;
	uint32_t labels[BATCH_MAX];
	size_t thread, start, end, count;

	(void)v;
	if (!draw_thread(m, p, &thread))
		return false;
	t = &p->threads[thread];
	start = mutator_below(m, t->count);
	while (start < t->count && t->ops[start].kind != OP_FREE)
		start++;
	end = start;
	while (end < t->count && t->ops[end].kind == OP_FREE)
		end++;
	while (start > 0 && start < t->count && t->ops[start - 1].kind == OP_FREE)
		start--;
	count = end - start < BATCH_MAX ? end - start : BATCH_MAX;
	if (count < 2)
		return false;
	for (size_t i = 0; i < count; i++)
		labels[i] = t->ops[start + i].block;
	if (chance(m, 30)) {
		size_t i = mutator_below(m, count - 1);
		uint32_t swap = labels[i];

		labels[i] = labels[i + 1];
		labels[i + 1] = swap;
	} else {
		order_frees(m, labels, count);
	}
	for (size_t i = 0; i < count; i++)
		t->ops[start + i].block = labels[i];
	return true;
}

/* A free comes earlier or later. */
static bool move_free(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, place, to;
	struct thread_program *t;
	struct op op;

	(void)v;
	if (!find_op(m, p, OPERAND_BLOCK, &thread, &place) || p->threads[thread].ops[place].kind != OP_FREE)
		return false;
	t = &p->threads[thread];
	op = t->ops[place];
	/* Not before the block is made, not after its label is used for another one. */
	if (chance(m, 50)) {
		size_t low = place;

		while (low > 0 && t->ops[low - 1].result != op.block)
			low--;
		if (low == place)
			return false;
		to = low + mutator_below(m, place - low);
	} else {
		size_t high = place + 1;

		while (high < t->count && t->ops[high].result != op.block)
			high++;
		if (high == place + 1)
			return false;
		to = place + 1 + mutator_below(m, high - place - 1);
	}
	program_remove(p, thread, place, 1);
	program_insert(p, thread, to, &op, 1);
	return true;
}

static bool change_faults(struct mutator *m, struct program *p, struct view *v)
{
	size_t i;

	(void)v;
	if (!m->options.faults)
		return false;
	if (p->fault_count == 0 || (p->fault_count < 8 && chance(m, 40))) {
		program_add_fault(p, 1 + (chance(m, 70) ? few(m, 8) : mutator_below(m, 32)));
		return true;
	}
	i = mutator_below(m, p->fault_count);
	if (chance(m, 50)) {
		memmove(p->faults + i, p->faults + i + 1, (p->fault_count - i - 1) * sizeof(*p->faults));
		p->fault_count--;
	} else {
		uint64_t n = p->faults[i];

		memmove(p->faults + i, p->faults + i + 1, (p->fault_count - i - 1) * sizeof(*p->faults));
		p->fault_count--;
		program_add_fault(p, n > 1 && (n == UINT64_MAX || chance(m, 50)) ? n - 1 : n + 1);
	}
	return true;
}

static void insert_op(struct program *p, size_t thread, size_t place, enum op_kind kind, uint64_t operand)
{
	struct op op = {.kind = (uint8_t)kind, .count = operand};

	program_insert(p, thread, place, &op, 1);
}

/* Where main spawns the thread; at a random place it begins to if it did not. Returns the place behind. */
static size_t after_spawn(struct mutator *m, struct program *p, size_t thread)
{
	size_t place;

	for (size_t i = 0; i < p->threads[0].count; i++)
		if (p->threads[0].ops[i].kind == OP_SPAWN && p->threads[0].ops[i].thread == thread)
			return i + 1;
	place = draw_place(m, p, 0);
	insert_op(p, 0, place, OP_SPAWN, thread);
	return place + 1;
}

/* Operations go to another thread; threads are spawned and joined; one waits for another. */
static bool change_threads(struct mutator *m, struct program *p, struct view *v)
{
	size_t threads = m->options.threads_max < PROGRAM_THREADS_MAX ? m->options.threads_max : PROGRAM_THREADS_MAX;
	size_t other, thread, start, length, place;
	struct batch b = {.count = 0};
	uint64_t event;

	if (threads < 2 || !has_room(m, p))
		return false;
	other = 1 + few(m, (unsigned)threads - 2);
	program_require_thread(p, other);
	place = after_spawn(m, p, other);
	switch (mutator_below(m, 4)) {
	case 0: /* a join, or the end of the thread before its operations are done */
		if (chance(m, 60))
			insert_op(p, 0, between(m, place, p->threads[0].count), OP_JOIN, other);
		else
			insert_op(p, other, draw_place(m, p, other), OP_EXIT, 0);
		return true;
	case 1: /* an event from one thread to the other */
		event = few(m, 7);
		insert_op(p, 0, between(m, place, p->threads[0].count), chance(m, 50) ? OP_SIGNAL : OP_WAIT, event);
		insert_op(p, other, draw_place(m, p, other), chance(m, 50) ? OP_WAIT : OP_SIGNAL, event);
		return true;
	case 2: /* new operations */
		view_at(v, p, other, p->threads[other].count);
		for (size_t i = between(m, 1, 6); i > 0; i--)
			batch_add(&b, new_op(m, v, UINT32_MAX));
		program_insert(p, other, p->threads[other].count, b.ops, b.count);
		return true;
	default:
		if (!draw_thread(m, p, &thread) || thread == other)
			thread = 0;
		draw_run(m, &p->threads[thread], &start, &length);
		for (size_t i = 0; i < length; i++)
			if (p->threads[thread].ops[start + i].kind != OP_SPAWN)
				batch_add(&b, p->threads[thread].ops[start + i]);
		if (b.count == 0)
			return true;
		place = draw_place(m, p, other);
		program_insert(p, other, place, b.ops, b.count);
		/* Those that moved are gone from the old thread; a spawn stays. */
		for (size_t i = start + length; i > start; i--)
			if (p->threads[thread].ops[i - 1].kind != OP_SPAWN)
				program_remove(p, thread, i - 1, 1);
		return true;
	}
}

/* Usually where threads met in the last run: the order of other places does not matter. */
static struct preemption draw_preemption(struct mutator *m, const struct program *p)
{
	const struct preemption *known;
	const size_t count = m->options.preemptions != NULL ? m->options.preemptions(&known) : 0;

	if (count > 0 && chance(m, 70)) {
		const struct preemption drawn = known[mutator_below(m, count)];

		if (drawn.thread < p->thread_count && drawn.target < p->thread_count)
			return drawn;
	}
	return (struct preemption){.thread = (uint32_t)mutator_below(m, p->thread_count),
				   .target = (uint32_t)mutator_below(m, p->thread_count),
				   .point = between(m, 1, 1ull << between(m, 2, 12))};
}

static bool change_schedule(struct mutator *m, struct program *p, struct view *v)
{
	struct preemption *preemption;
	size_t i;

	(void)v;
	if (m->options.threads_max < 2 || p->thread_count < 2)
		return false;
	if (p->preemption_count == 0 || (p->preemption_count < 32 && chance(m, 50))) {
		program_add_preemption(p, draw_preemption(m, p));
		return true;
	}
	i = mutator_below(m, p->preemption_count);
	preemption = &p->schedule[i];
	switch (mutator_below(m, 5)) {
	case 0:
		memmove(preemption, preemption + 1, (p->preemption_count - i - 1) * sizeof(*preemption));
		p->preemption_count--;
		break;
	case 1:
		preemption->target = (uint32_t)mutator_below(m, p->thread_count);
		break;
	case 2:
		*preemption = draw_preemption(m, p);
		break;
	default:
		if (chance(m, 50) && preemption->point < UINT64_MAX - 16)
			preemption->point += between(m, 1, 16);
		else
			preemption->point -= mutator_below(m, preemption->point < 16 ? preemption->point : 16);
	}
	return true;
}

static bool cut_tail(struct mutator *m, struct program *p, struct view *v)
{
	size_t thread, keep;

	(void)v;
	if (!draw_thread(m, p, &thread) || p->threads[thread].count < 4)
		return false;
	keep = between(m, p->threads[thread].count / 4 + 1, p->threads[thread].count - 1);
	program_remove(p, thread, keep, p->threads[thread].count - keep);
	return true;
}

static const struct {
	mutation *apply;
	unsigned weight;
} mutations[] = {
	{insert_ops, 14},     {insert_pattern, 9}, {remove_ops, 20},  {duplicate_ops, 8},    {move_ops, 6},
	{swap_ops, 4},        {retarget, 8},       {change_size, 14}, {change_all_sizes, 4}, {change_alignment, 4},
	{change_kind, 6},     {reorder_frees, 6},  {move_free, 6},    {change_faults, 4},    {change_threads, 10},
	{change_schedule, 8}, {cut_tail, 2},
};
#define MUTATIONS (sizeof(mutations) / sizeof(mutations[0]))

static void apply_one(struct mutator *m, struct program *p, struct view *v)
{
	/* Those that do not apply are drawn again, from all of them after some tries; the first one always applies to a program with room. */
	for (unsigned tries = 0; tries < 24; tries++) {
		uint32_t allowed = tries < 16 ? m->mutations : UINT32_MAX;
		unsigned total = 0, draw;
		size_t i;

		for (i = 0; i < MUTATIONS; i++)
			if (allowed & BIT(i))
				total += mutations[i].weight;
		draw = (unsigned)mutator_below(m, total);
		for (i = 0; i < MUTATIONS; i++) {
			if (!(allowed & BIT(i)))
				continue;
			if (draw < mutations[i].weight)
				break;
			draw -= mutations[i].weight;
		}
		if (mutations[i].apply(m, p, v))
			return;
	}
}

/* What a program asks for altogether, impossible requests left out. */
static uint64_t total_bytes(const struct program *program)
{
	uint64_t total = 0;

	for (size_t thread = 0; thread < program->thread_count; thread++) {
		for (size_t i = 0; i < program->threads[thread].count; i++) {
			const uint64_t bytes = op_bytes(&program->threads[thread].ops[i]);

			total += bytes <= 2 * BLOCK_MAX + 4096 ? bytes : 0;
		}
	}
	return total;
}

/*
 * Bytes cost time: they are written, read and mapped. Most programs are made to ask for little, so that many are run; some may ask for
 * what takes the paths of large blocks, a few for anything.
 */
static void lighten(struct mutator *m, struct program *program)
{
	unsigned mappings = 0;

	/* A block at a multiple of more than a page or two is a mapping of its own, or several. */
	for (size_t thread = 0; thread < program->thread_count; thread++) {
		for (size_t i = 0; i < program->threads[thread].count; i++) {
			struct op *const op = &program->threads[thread].ops[i];

			if ((op_operands(op->kind) & OPERAND_ALIGNMENT) && op->alignment > 1u << 14 &&
			    op->alignment < 1ull << 40 && ++mappings > ALIGNED_MAPPINGS_MAX)
				op->alignment = 1ull << between(m, 3, 12);
		}
	}
	const unsigned draw = (unsigned)mutator_below(m, 100);
	const uint64_t budget = draw < 88 ? 48u << 10 : draw < 98 ? 384u << 10 : UINT64_MAX;

	for (uint64_t most = budget / 4; most > 256 && total_bytes(program) > budget; most /= 4) {
		for (size_t thread = 0; thread < program->thread_count; thread++) {
			for (size_t i = 0; i < program->threads[thread].count; i++) {
				struct op *const op = &program->threads[thread].ops[i];
				const uint64_t bytes = op_bytes(op);

				if (bytes <= most || bytes > 2 * BLOCK_MAX + 4096)
					continue;
				op->size = near(m, class_size(m, 2));
				if (op_operands(op->kind) & OPERAND_COUNT) {
					op->count = between(m, 1, 8);
					op->size = between(m, 1, 64);
				}
			}
		}
	}
}

void mutator_mutate(struct mutator *m, struct program *program)
{
	static _Thread_local struct view view; /* scratch, nothing is kept in it */
	unsigned count = 1 + few(m, 5);

	if (program_op_count(program) == 0)
		insert_ops(m, program, &view);
	for (unsigned i = 0; i < count; i++)
		apply_one(m, program, &view);
	lighten(m, program);
}

/* ---- Seeds ---- */

void mutator_seed(struct mutator *m, uint64_t seed, const struct mutator_options *options)
{
	*m = (struct mutator){.random = seed * 0xd1342543de82ef95u + 0x2545f4914f6cdd1du, .options = *options};
	m->kinds = UINT32_MAX;
	m->mutations = UINT32_MAX;
	if (chance(m, 60))
		m->kinds = (uint32_t)next_random(m) | (chance(m, 80) ? BIT(OP_FREE) : 0);
	if (!(m->kinds & KINDS_MAKING))
		m->kinds |= chance(m, 70) ? BIT(OP_MALLOC) : BIT(OP_CALLOC) | BIT(OP_MEMALIGN);
	if (chance(m, 50))
		m->mutations = (uint32_t)next_random(m) | (uint32_t)next_random(m);
	if (!(m->mutations & (BIT(MUTATIONS) - 1)))
		m->mutations = UINT32_MAX;
	m->size_style = chance(m, 50) ? STYLE_MIXED : (unsigned)mutator_below(m, STYLES);
	m->focus_size = near(m, chance(m, 70) ? class_size(m, 4) : 4096 * between(m, 1, 64));
	m->focus_alignment = chance(m, 50) ? 0 : 1ull << between(m, 3, 16);
}

/* ---- Crossover ---- */

/* The first part of one, then the last part of the other. */
static void cross_splice(struct mutator *m, const struct thread_program *b, struct program *to)
{
	struct thread_program *t = &to->threads[0];
	size_t keep = mutator_below(m, t->count + 1);
	size_t from = mutator_below(m, b->count + 1);

	program_remove(to, 0, keep, t->count - keep);
	if (from < b->count)
		program_insert(to, 0, keep, b->ops + from, b->count - from);
}

/* A run of the other one, with labels of its own. */
static void cross_run(struct mutator *m, const struct thread_program *b, struct program *to, struct view *v)
{
	struct batch batch = {.count = 0};
	size_t place = draw_place(m, to, 0);
	size_t start = mutator_below(m, b->count);
	size_t length = between(m, 1, BATCH_MAX);

	if (length > b->count - start)
		length = b->count - start;
	view_at(v, to, 0, place);
	rename_run(m, v, b->ops + start, length, &batch);
	program_insert(to, 0, place, batch.ops, batch.count);
}

/* Both, operation by operation, with labels apart: two heaps in one. */
static void cross_weave(struct mutator *m, const struct thread_program *a, const struct thread_program *b,
			uint32_t limit, struct program *to)
{
	size_t i = 0, j = 0;

	program_remove(to, 0, 0, to->threads[0].count);
	while (i < a->count || j < b->count) {
		size_t length = 1 + few(m, 6);
		bool first = j == b->count || (i < a->count && chance(m, 50));

		for (; length > 0 && (first ? i < a->count : j < b->count); length--) {
			struct op op = first ? a->ops[i++] : b->ops[j++];

			if (!first && op_makes_block(op.kind))
				op.result = label_nth((uint64_t)op.result + limit);
			if (!first && op_takes_block(op.kind) && op.block != LABEL_NULL)
				op.block = label_nth((uint64_t)op.block + limit);
			program_append(to, 0, op);
		}
	}
}

void mutator_cross(struct mutator *m, const struct program *a, const struct program *b, struct program *to)
{
	static _Thread_local struct view view;
	const struct thread_program *other = &b->threads[0];
	uint32_t limit = program_label_limit(a);
	size_t count;

	program_copy(to, a);
	if (other->count == 0)
		return;
	switch (mutator_below(m, 3)) {
	case 0:
		cross_splice(m, other, to);
		break;
	case 1:
		cross_run(m, other, to, &view);
		break;
	default:
		/* Labels of `a` stay below `limit`, and those of `b` must have room above it. */
		if ((uint64_t)limit + program_label_limit(b) < VIEW_LABELS)
			cross_weave(m, &a->threads[0], other, limit, to);
		else
			cross_run(m, other, to, &view);
	}
	count = to->threads[0].count;
	if (count > m->options.ops_max && count > a->threads[0].count)
		program_remove(to, 0, m->options.ops_max, count - m->options.ops_max);
	if (chance(m, 30))
		mutator_mutate(m, to);
}

/* ---- Programs from nothing ---- */

void mutator_random_program(uint64_t seed, size_t ops, struct program *program)
{
	static _Thread_local struct view view;
	struct mutator m;
	struct batch b;
	size_t live_max;

	mutator_seed(&m, seed, &(struct mutator_options){.ops_max = ops, .threads_max = 1, .faults = false});
	m.kinds |= BIT(OP_FREE);
	live_max = 2 + mutator_below(&m, 1ull << between(&m, 2, 8));
	program_clear(program);
	program_reserve(program, 0, ops);
	view_clear(&view);
	while (program->threads[0].count < ops) {
		b.count = 0;
		if (chance(&m, 4))
			make_run(&m, &view, &b);
		else if (chance(&m, 2))
			make_realloc_chain(&m, &view, &b);
		else if (view.live_count > live_max || chance(&m, 1))
			make_free_all(&m, &view, &b);
		else
			batch_add(&b, new_op(&m, &view, UINT32_MAX));
		for (size_t i = 0; i < b.count && program->threads[0].count < ops; i++)
			program_append(program, 0, b.ops[i]);
	}
	lighten(&m, program);
}
