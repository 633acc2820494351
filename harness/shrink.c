#include "shrink.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH_MAX 256        /* candidates that are made at a time */
#define BATCH_OPS_MAX 500000 /* and operations in them */
#define PAIRS_OPS_MAX 40     /* programs up to so many operations are tried without each two of them */
#define VALUES_MAX 160
#define ROUNDS_MAX 20
#define ORDERS_TRIED 60 /* of the threads, for each candidate that has other operations */
#define ORDERS_FEW 8    /* for each that has other numbers */

struct shrinker {
	const struct shrink_oracle *oracle;
	struct program *best;
	struct program confirmed;
	struct program batch[BATCH_MAX];
	size_t indices[BATCH_MAX];
	struct shrink_figures figures;
	double start;
	unsigned orders; /* to try for each candidate */
};

/* Makes candidate `index` out of a copy of the best program. False: there is none, or it would be no change. */
typedef bool make_candidate(struct program *candidate, size_t index, const void *argument);

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool stopped(const struct shrinker *shrinker)
{
	const struct shrink_oracle *const oracle = shrinker->oracle;

	return (oracle->interrupted != NULL && *oracle->interrupted) ||
	       (oracle->seconds > 0 && now() - shrinker->start > oracle->seconds);
}

/* Tries the candidates from `first` to `count` in order and takes the first that fails. Returns its index, or `count`. */
static size_t try_candidates(struct shrinker *shrinker, make_candidate *make, const void *argument, size_t first,
			     size_t count)
{
	const size_t ops = program_op_count(shrinker->best) + 1;
	const size_t most = shrinker->oracle->candidates_max != 0 ? shrinker->oracle->candidates_max : BATCH_MAX;
	const size_t limit = BATCH_OPS_MAX / ops < most ? BATCH_OPS_MAX / ops + 1 : most;
	/* A first failing candidate makes the rest of its batch useless work: batches grow. */
	size_t batch_limit = limit < 8 ? limit : 8;

	while (first < count && !stopped(shrinker)) {
		size_t made = 0, found;

		for (; first < count && made < batch_limit; first++) {
			struct program *const candidate = &shrinker->batch[made];

			program_copy(candidate, shrinker->best);
			if (!make(candidate, first, argument))
				continue;
			shrinker->indices[made++] = first;
		}
		if (made == 0)
			continue;
		shrinker->figures.candidates += made;
		found = shrinker->oracle->first_failing(shrinker->oracle->context, shrinker->batch, made,
							shrinker->orders);
		if (found < made) {
			program_copy(shrinker->best, &shrinker->batch[found]);
			shrinker->figures.accepted++;
			if (shrinker->oracle->progress != NULL)
				shrinker->oracle->progress(shrinker->oracle->context, shrinker->best);
			return shrinker->indices[found];
		}
		batch_limit = batch_limit * 4 < limit ? batch_limit * 4 : limit;
	}
	return count;
}

/* ---- What is done to a program ---- */

/* The thread of an operation that is counted through all threads; `*index` becomes its place there. */
static size_t locate(const struct program *program, size_t *index)
{
	size_t thread = 0;

	while (thread + 1 < program->thread_count && *index >= program->threads[thread].count)
		*index -= program->threads[thread++].count;
	return thread;
}

static void remove_ops(struct program *program, size_t from, size_t count)
{
	while (count > 0) {
		size_t place = from, here;
		const size_t thread = locate(program, &place);

		here = program->threads[thread].count - place;
		if (here == 0)
			return;
		if (here > count)
			here = count;
		program_remove(program, thread, place, here);
		count -= here;
	}
}

/* Keeps the operations for which `keep` says so. True if any was dropped. */
static bool filter(struct program *program, bool (*keep)(const struct op *, uint64_t), uint64_t argument)
{
	bool changed = false;

	for (size_t t = 0; t < program->thread_count; t++) {
		struct thread_program *const thread = &program->threads[t];
		size_t kept = 0;

		for (size_t i = 0; i < thread->count; i++)
			if (keep(&thread->ops[i], argument))
				thread->ops[kept++] = thread->ops[i];
		changed = changed || kept != thread->count;
		thread->count = kept;
	}
	return changed;
}

static bool not_of_block(const struct op *op, uint64_t label)
{
	return !(op_makes_block(op->kind) && op->result == label) && !(op_takes_block(op->kind) && op->block == label);
}

static bool not_of_event(const struct op *op, uint64_t event)
{
	return !(op_operands(op->kind) & OPERAND_EVENT) || op->event != event;
}

static bool not_of_thread(const struct op *op, uint64_t thread)
{
	return !(op_operands(op->kind) & OPERAND_THREAD) || op->thread != thread;
}

/* Takes a thread out: its operations, what speaks of it, its number. Its preemptions go with it. */
static void drop_thread(struct program *program, size_t thread)
{
	struct thread_program gone = program->threads[thread];
	size_t kept = 0;

	filter(program, not_of_thread, thread);
	/* Its memory stays in use, as the place behind the last thread. */
	memmove(&program->threads[thread], &program->threads[thread + 1],
		(program->thread_count - thread - 1) * sizeof gone);
	gone.count = 0;
	program->threads[--program->thread_count] = gone;
	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++) {
			struct op *const op = &program->threads[t].ops[i];

			if (op_operands(op->kind) & OPERAND_THREAD && op->thread > thread)
				op->thread--;
		}
	for (size_t i = 0; i < program->preemption_count; i++) {
		struct preemption preemption = program->schedule[i];

		if (preemption.thread == thread || preemption.target == thread)
			continue;
		preemption.thread -= preemption.thread > thread;
		preemption.target -= preemption.target > thread;
		program->schedule[kept++] = preemption;
	}
	program->preemption_count = kept;
}

/* ---- Candidates ---- */

static bool make_without_faults(struct program *candidate, size_t index, const void *argument)
{
	(void)argument;
	if (candidate->fault_count == 0)
		return false;
	if (index == 0) {
		candidate->fault_count = 0;
		return true;
	}
	if (--index >= candidate->fault_count)
		return false;
	memmove(&candidate->faults[index], &candidate->faults[index + 1],
		(--candidate->fault_count - index) * sizeof candidate->faults[0]);
	return true;
}

struct range {
	size_t at, size;
	size_t variants; /* of each removal: faults move down by as many */
};

/* All numbers of faults less by `down`. False if one has no number left. */
static bool lower_faults(struct program *program, size_t down)
{
	if (down > 0 && (program->fault_count == 0 || program->faults[0] <= down))
		return false;
	for (size_t i = 0; i < program->fault_count; i++)
		program->faults[i] -= down;
	return true;
}

static bool make_without_preemptions(struct program *candidate, size_t index, const void *argument)
{
	const struct range *const range = argument;
	const size_t from = range->at + index * range->size;
	size_t size = range->size;

	if (from >= candidate->preemption_count)
		return false;
	if (size > candidate->preemption_count - from)
		size = candidate->preemption_count - from;
	memmove(&candidate->schedule[from], &candidate->schedule[from + size],
		(candidate->preemption_count - from - size) * sizeof candidate->schedule[0]);
	candidate->preemption_count -= size;
	return true;
}

static bool make_without_ops(struct program *candidate, size_t index, const void *argument)
{
	const struct range *const range = argument;
	const size_t from = range->at + index / range->variants * range->size;

	if (from >= program_op_count(candidate) || !lower_faults(candidate, index % range->variants))
		return false;
	remove_ops(candidate, from, range->size);
	return true;
}

static bool make_without_pair(struct program *candidate, size_t index, const void *argument)
{
	const size_t ops = program_op_count(candidate), variants = *(const size_t *)argument;
	const size_t down = index % variants;
	const size_t first = index / variants / ops, second = index / variants % ops;

	if (first >= second || !lower_faults(candidate, down))
		return false;
	remove_ops(candidate, second, 1);
	remove_ops(candidate, first, 1);
	return true;
}

static bool make_without_block(struct program *candidate, size_t index, const void *argument)
{
	(void)argument;
	return filter(candidate, not_of_block, index);
}

static bool make_without_event(struct program *candidate, size_t index, const void *argument)
{
	(void)argument;
	return filter(candidate, not_of_event, index);
}

static bool make_without_thread(struct program *candidate, size_t index, const void *argument)
{
	(void)argument;
	drop_thread(candidate, index);
	return true;
}

/* The operations of a thread in the place of its spawn. */
static bool make_inlined_thread(struct program *candidate, size_t index, const void *argument)
{
	const struct thread_program *const thread = &candidate->threads[index];
	size_t count = 0;
	struct op *ops;

	(void)argument;
	while (count < thread->count && thread->ops[count].kind != OP_EXIT)
		count++;
	for (size_t t = 0; t < candidate->thread_count; t++)
		for (size_t i = 0; t != index && i < candidate->threads[t].count; i++) {
			const struct op *const op = &candidate->threads[t].ops[i];

			if (op->kind != OP_SPAWN || op->thread != index)
				continue;
			ops = malloc((count + 1) * sizeof *ops);
			if (ops == NULL)
				return false;
			memcpy(ops, thread->ops, count * sizeof *ops);
			program_insert(candidate, t, i, ops, count);
			free(ops);
			drop_thread(candidate, index);
			return true;
		}
	return false;
}

/* Simpler operations for the same purpose. */
static bool make_simpler_kind(struct program *candidate, size_t index, const void *argument)
{
	size_t place = index / 3;
	struct op *const op = &candidate->threads[locate(candidate, &place)].ops[place];
	const size_t choice = index % 3;
	const struct op before = *op;
	uint64_t product;

	(void)argument;
	switch (before.kind) {
	case OP_CALLOC:
	case OP_REALLOCARRAY:
		if (choice == 2)
			return false;
		if (__builtin_mul_overflow(before.count, before.size, &product))
			product = before.size;
		op->size = product;
		op->kind = before.kind == OP_CALLOC || choice == 0 ? OP_MALLOC : OP_REALLOC;
		if (before.kind == OP_CALLOC && choice == 1) {
			/* The same in one count. */
			op->kind = OP_CALLOC;
			op->count = 1;
			return before.count != 1;
		}
		break;
	case OP_REALLOC:
		if (choice != 0)
			return false;
		op->kind = OP_MALLOC;
		break;
	case OP_ALIGNED_ALLOC:
	case OP_POSIX_MEMALIGN:
	case OP_MEMALIGN:
		if (choice == 2 || (choice == 1 && before.kind == OP_ALIGNED_ALLOC))
			return false;
		op->kind = choice == 0 ? OP_MALLOC : OP_ALIGNED_ALLOC;
		break;
	default:
		return false;
	}
	if (op->kind == OP_MALLOC)
		op->block = LABEL_NULL;
	*op = op_normalized(*op);
	return true;
}

/* A number of a program: of one operation, or one that several have. */
enum field { FIELD_SIZE, FIELD_COUNT, FIELD_ALIGNMENT, FIELD_FAULT };

struct slot {
	enum field field;
	size_t index; /* operation through all threads, or fault */
	bool all;     /* all operations that have this number there */
	uint64_t value;
	size_t count;
	uint64_t simpler[VALUES_MAX];
};

static uint64_t *field_of(struct op *op, enum field field)
{
	static const unsigned operands[] = {OPERAND_SIZE, OPERAND_COUNT, OPERAND_ALIGNMENT};

	if (!(op_operands(op->kind) & operands[field]))
		return NULL;
	return field == FIELD_SIZE ? &op->size : &op->count;
}

static bool make_simpler_value(struct program *candidate, size_t index, const void *argument)
{
	const struct slot *const slot = argument;
	const uint64_t value = slot->simpler[index];
	size_t place = slot->index;

	switch (slot->field) {
	case FIELD_FAULT:
		for (size_t i = 0; i < candidate->fault_count; i++)
			if (candidate->faults[i] == value)
				return false;
		make_without_faults(candidate, place + 1, NULL);
		program_add_fault(candidate, value);
		return true;
	default:
		break;
	}
	if (!slot->all) {
		const size_t thread = locate(candidate, &place);

		*field_of(&candidate->threads[thread].ops[place], slot->field) = value;
		return true;
	}
	for (size_t t = 0; t < candidate->thread_count; t++)
		for (size_t i = 0; i < candidate->threads[t].count; i++) {
			uint64_t *const field = field_of(&candidate->threads[t].ops[i], slot->field);

			if (field != NULL && *field == slot->value)
				*field = value;
		}
	return true;
}

/* Adds a number if it is smaller than the one that is there. */
static void offer(struct slot *slot, uint64_t value)
{
	/* Between what is quick to fill and what no machine has, each try would take its time. */
	if (slot->field <= FIELD_COUNT && slot->value >> 32 != 0 && value >> 22 != 0 && value >> 45 == 0)
		return;
	if (value < slot->value && slot->count < VALUES_MAX)
		slot->simpler[slot->count++] = value;
}

/* What to try for a number: round ones from the smallest on, then what is a little less. */
static void fill_slot(struct slot *slot)
{
	static const uint64_t small[] = {2, 8, 16, 24, 32, 40, 48, 64, 100};

	slot->count = 0;
	if (slot->field == FIELD_SIZE)
		offer(slot, 0);
	offer(slot, 1);
	if (slot->field == FIELD_ALIGNMENT) {
		for (uint64_t power = 2; power != 0 && power < slot->value; power *= 2)
			offer(slot, power);
		return;
	}
	for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
		offer(slot, small[i]);
	for (uint64_t power = 128; power != 0 && power < slot->value; power *= 2)
		offer(slot, power);
	for (uint64_t less = slot->value / 2; less > 0; less /= 2)
		offer(slot, slot->value - less);
}

/* ---- Passes ---- */

/* Shorter and shorter stretches of operations. */
static bool reduce_ops(struct shrinker *shrinker)
{
	bool changed = false;

	for (size_t size = (program_op_count(shrinker->best) + 1) / 2; size > 0; size /= 2) {
		struct range range = {.size = size};

		while (range.at < program_op_count(shrinker->best)) {
			range.variants = shrinker->best->fault_count > 0 && size <= 4 ? 4 : 1;
			const size_t count =
				((program_op_count(shrinker->best) - range.at + size - 1) / size) * range.variants;
			const size_t found = try_candidates(shrinker, make_without_ops, &range, 0, count);

			if (found == count)
				break;
			changed = true;
			range.at += found / range.variants * size;
		}
	}
	return changed;
}

/* Another order altogether, then the one that there is without some of its entries. */
static bool reduce_schedule(struct shrinker *shrinker)
{
	const struct shrink_oracle *const oracle = shrinker->oracle;
	bool changed = false;

	if (oracle->fewer_preemptions != NULL && shrinker->best->preemption_count > 0 && !stopped(shrinker)) {
		program_copy(&shrinker->batch[0], shrinker->best);
		changed = oracle->fewer_preemptions(oracle->context, &shrinker->batch[0]);
		if (changed)
			program_copy(shrinker->best, &shrinker->batch[0]);
	}
	shrinker->orders = 0;
	for (size_t size = shrinker->best->preemption_count; size > 0; size /= 2) {
		struct range range = {.size = size};

		while (range.at < shrinker->best->preemption_count) {
			const size_t count = (shrinker->best->preemption_count - range.at + size - 1) / size;
			const size_t found = try_candidates(shrinker, make_without_preemptions, &range, 0, count);

			if (found == count)
				break;
			changed = true;
			range.at += found * size;
		}
	}
	shrinker->orders = ORDERS_TRIED;
	return changed;
}

/* Tries each index in turn, from the one that was taken on. `shrinks`: what follows a taken one comes to its place. */
static bool reduce_each(struct shrinker *shrinker, make_candidate *make, const void *argument, size_t first,
			size_t count, bool shrinks)
{
	bool changed = false;

	for (;;) {
		const size_t found = try_candidates(shrinker, make, argument, first, count);

		if (found >= count)
			return changed;
		changed = true;
		first = shrinks ? found : found + 1;
		count -= shrinks;
	}
}

static bool reduce_pairs(struct shrinker *shrinker)
{
	bool changed = false;

	while (program_op_count(shrinker->best) <= PAIRS_OPS_MAX) {
		const size_t ops = program_op_count(shrinker->best);
		const size_t variants = shrinker->best->fault_count > 0 ? 3 : 1;

		if (try_candidates(shrinker, make_without_pair, &variants, 0, ops * ops * variants) ==
		    ops * ops * variants)
			break;
		changed = true;
	}
	return changed;
}

static bool simplify_slot(struct shrinker *shrinker, struct slot *slot)
{
	bool changed = false;

	for (;;) {
		size_t found;

		fill_slot(slot);
		found = try_candidates(shrinker, make_simpler_value, slot, 0, slot->count);
		if (found >= slot->count)
			return changed;
		changed = true;
		slot->value = slot->simpler[found];
	}
}

static bool simplify_values(struct shrinker *shrinker, bool all)
{
	bool changed = false;
	struct slot *const slot = malloc(sizeof *slot);

	if (slot == NULL)
		return false;
	for (size_t i = 0; i < program_op_count(shrinker->best) && !stopped(shrinker); i++)
		for (enum field field = FIELD_SIZE; field <= FIELD_ALIGNMENT; field++) {
			size_t place = i;
			const size_t thread = locate(shrinker->best, &place);
			const uint64_t *const value = field_of(&shrinker->best->threads[thread].ops[place], field);

			if (value == NULL)
				continue;
			*slot = (struct slot){.field = field, .index = i, .all = all, .value = *value};
			changed = simplify_slot(shrinker, slot) || changed;
		}
	for (size_t i = 0; !all && i < shrinker->best->fault_count; i++) {
		*slot = (struct slot){.field = FIELD_FAULT, .index = i, .value = shrinker->best->faults[i]};
		changed = simplify_slot(shrinker, slot) || changed;
	}
	free(slot);
	return changed;
}

/* Names in the order in which they come up; the same program, but for who looks at it. */
static bool make_named(struct program *candidate, size_t index, const void *argument)
{
	const size_t labels = program_label_limit(candidate), events = program_event_limit(candidate);
	uint32_t *const names = malloc((labels + 1) * sizeof *names), *const numbers =
									      calloc(events + 1, sizeof *numbers);
	uint32_t next = 0, next_event = 0;
	bool changed = false;

	(void)index, (void)argument;
	for (size_t i = 0; names != NULL && i < labels; i++)
		names[i] = LABEL_NULL;
	for (size_t t = 0; names != NULL && numbers != NULL && t < candidate->thread_count; t++)
		for (size_t i = 0; i < candidate->threads[t].count; i++) {
			struct op *const op = &candidate->threads[t].ops[i];
			uint32_t *const operands[] = {op_takes_block(op->kind) ? &op->block : NULL,
						      op_makes_block(op->kind) ? &op->result : NULL};

			for (size_t k = 0; k < 2; k++) {
				if (operands[k] == NULL || *operands[k] == LABEL_NULL)
					continue;
				if (names[*operands[k]] == LABEL_NULL)
					names[*operands[k]] = label_nth(next++);
				changed = changed || *operands[k] != names[*operands[k]];
				*operands[k] = names[*operands[k]];
			}
			if (op_operands(op->kind) & OPERAND_EVENT) {
				if (numbers[op->event] == 0)
					numbers[op->event] = ++next_event;
				changed = changed || op->event != numbers[op->event] - 1;
				op->event = numbers[op->event] - 1;
			}
		}
	free(names);
	free(numbers);
	return changed;
}

/* Names that belong to no live block at that place are NULL; threads with no operations that nobody speaks of are not there. */
static bool make_without_idle_threads(struct program *candidate, size_t index, const void *argument)
{
	bool changed = false;

	(void)index, (void)argument;
	for (size_t thread = candidate->thread_count; thread-- > 1;) {
		if (candidate->threads[thread].count > 0)
			continue;
		drop_thread(candidate, thread);
		changed = true;
	}
	return changed;
}

/* What was taken since the last confirmation stands, or all of it is taken back. */
static bool confirm(struct shrinker *shrinker)
{
	if (program_equal(shrinker->best, &shrinker->confirmed))
		return true;
	if (shrinker->oracle->confirm(shrinker->oracle->context, shrinker->best)) {
		program_copy(&shrinker->confirmed, shrinker->best);
		return true;
	}
	program_copy(shrinker->best, &shrinker->confirmed);
	return false;
}

static bool run_round(struct shrinker *shrinker)
{
	bool changed = false;

	shrinker->orders = ORDERS_TRIED;
	changed |= reduce_each(shrinker, make_without_thread, NULL, 1, shrinker->best->thread_count, true);
	changed |= reduce_schedule(shrinker);
	changed |= reduce_each(shrinker, make_without_faults, NULL, 0, shrinker->best->fault_count + 1, false);
	changed |= reduce_ops(shrinker);
	changed |= reduce_each(shrinker, make_without_idle_threads, NULL, 0, 1, false);
	changed |= reduce_each(shrinker, make_without_block, NULL, 0, program_label_limit(shrinker->best), false);
	changed |= reduce_each(shrinker, make_without_event, NULL, 0, program_event_limit(shrinker->best), false);
	changed |= reduce_each(shrinker, make_inlined_thread, NULL, 1, shrinker->best->thread_count, true);
	confirm(shrinker);
	changed |= reduce_pairs(shrinker);
	changed |= reduce_schedule(shrinker);
	shrinker->orders = ORDERS_FEW;
	changed |= reduce_each(shrinker, make_simpler_kind, NULL, 0, 3 * program_op_count(shrinker->best), false);
	changed |= simplify_values(shrinker, true);
	changed |= simplify_values(shrinker, false);
	changed |= reduce_schedule(shrinker);
	shrinker->orders = 0;
	changed |= reduce_each(shrinker, make_named, NULL, 0, 1, false);
	return confirm(shrinker) && changed;
}

bool shrink(struct program *program, const struct shrink_oracle *oracle, struct shrink_figures *figures)
{
	struct shrinker *const shrinker = calloc(1, sizeof *shrinker);
	bool fails;

	if (shrinker == NULL)
		return false;
	shrinker->oracle = oracle;
	shrinker->best = program;
	shrinker->start = now();
	program_init(&shrinker->confirmed);
	for (size_t i = 0; i < BATCH_MAX; i++)
		program_init(&shrinker->batch[i]);
	program_copy(&shrinker->confirmed, program);
	fails = oracle->confirm(oracle->context, program);
	while (fails && shrinker->figures.rounds < ROUNDS_MAX && !stopped(shrinker)) {
		shrinker->figures.rounds++;
		if (!run_round(shrinker)) {
			shrinker->figures.complete = !stopped(shrinker);
			break;
		}
	}
	if (fails)
		confirm(shrinker);
	shrinker->figures.seconds = now() - shrinker->start;
	if (figures != NULL)
		*figures = shrinker->figures;
	for (size_t i = 0; i < BATCH_MAX; i++)
		program_destroy(&shrinker->batch[i]);
	program_destroy(&shrinker->confirmed);
	free(shrinker);
	return fails;
}
