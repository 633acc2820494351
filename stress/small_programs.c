#include "small_programs.h"

#include <assert.h>
#include <string.h>

/* Around the borders where allocators change what they do: a small class, one more, beyond a page, mapped by itself. */
static const struct op makers[] = {
	{.kind = OP_MALLOC, .size = 24},
	{.kind = OP_MALLOC, .size = 72},
	{.kind = OP_MALLOC, .size = 1200},
	{.kind = OP_MALLOC, .size = 140000},
	{.kind = OP_CALLOC, .count = 3, .size = 24},
	{.kind = OP_ALIGNED_ALLOC, .alignment = 64, .size = 192},
};
static const size_t resizes[] = {8, 100, 6000};

#define MAKERS ((unsigned)(sizeof makers / sizeof makers[0]))
#define RESIZES ((unsigned)(sizeof resizes / sizeof resizes[0]))

void small_programs_begin(struct small_programs *all)
{
	memset(all, 0, sizeof *all);
}

/* A digit below `bound`: the one of this program, or the first of a new place. */
static unsigned choose(struct small_programs *all, unsigned bound)
{
	const unsigned place = all->used++;

	assert(place < SMALL_OPERATIONS_MAX);
	all->choices[place].bound = bound;
	return all->choices[place].value;
}

/* Counts on: the last digit that is not at its bound grows, those behind it begin again. With all at their bounds programs get longer. */
static void count_on(struct small_programs *all)
{
	while (all->used > 0) {
		all->used--;
		if (all->choices[all->used].value + 1 < all->choices[all->used].bound) {
			all->choices[all->used].value++;
			memset(&all->choices[all->used + 1], 0,
			       (SMALL_OPERATIONS_MAX - all->used - 1) * sizeof all->choices[0]);
			return;
		}
	}
	memset(all->choices, 0, sizeof all->choices);
	if (all->operations < SMALL_OPERATIONS_MAX)
		all->operations++;
}

void small_programs_next(struct small_programs *all, struct program *program)
{
	uint32_t live[SMALL_OPERATIONS_MAX], made = 0;
	unsigned count = 0;

	count_on(all);
	all->used = 0;
	program_clear(program);
	for (unsigned i = 0; i < all->operations; i++) {
		unsigned choice = choose(all, MAKERS + count * (1 + RESIZES));
		struct op op;

		if (choice < MAKERS) {
			op = makers[choice];
			op.block = LABEL_NULL;
			op.result = label_nth(made++);
			live[count++] = op.result;
		} else {
			choice -= MAKERS;
			const unsigned at = choice / (1 + RESIZES), what = choice % (1 + RESIZES);

			op = (struct op){.kind = OP_FREE, .result = LABEL_NULL, .block = live[at]};
			if (what == 0) {
				memmove(&live[at], &live[at + 1], (count - at - 1) * sizeof live[0]);
				count--;
			} else {
				op.kind = OP_REALLOC;
				op.result = op.block;
				op.size = resizes[what - 1];
			}
		}
		program_append(program, 0, op);
	}
}
