#include "buddy.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define ORDERS 27      /* BUDDY_SMALLEST << (ORDERS - 1) is 2^31 */
#define SMALL_SHIFT 5  /* of BUDDY_SMALLEST */
#define NOT_A_BLOCK 63 /* of a unit that begins no block */
#define IN_USE 64

/* In the memory of a free block. */
struct node {
	struct node *next, *prev;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *base;                       /* of the blocks */
static unsigned char *state;             /* by unit of BUDDY_SMALLEST: the order of the block that begins there */
static struct node *free_blocks[ORDERS]; /* by order */
static unsigned top;                     /* order of the whole pool */

static size_t unit_of(const void *address)
{
	return (size_t)((const char *)address - base) >> SMALL_SHIFT;
}

static void push(void *address, unsigned order)
{
	struct node *const node = address;

	node->next = free_blocks[order];
	node->prev = NULL;
	if (node->next != NULL)
		node->next->prev = node;
	free_blocks[order] = node;
	state[unit_of(address)] = (unsigned char)order;
}

static void take(struct node *node, unsigned order)
{
	if (node->next != NULL)
		node->next->prev = node->prev;
	if (node->prev != NULL)
		node->prev->next = node->next;
	else
		free_blocks[order] = node->next;
	state[unit_of(node)] = NOT_A_BLOCK;
}

/* The states of a pool take the first of its units: these blocks are never free. */
void buddy_init(void *memory, size_t size)
{
	size_t units;

	top = 0;
	while (top + 1 < ORDERS && (size_t)BUDDY_SMALLEST << (top + 1) <= size)
		top++;
	units = (size_t)1 << top;
	base = memory;
	state = memory;
	memset(free_blocks, 0, sizeof free_blocks);
	memset(state, NOT_A_BLOCK, units);
	/* What is left is cut into blocks as they come, from the end down. */
	for (size_t used = (units + BUDDY_SMALLEST - 1) / BUDDY_SMALLEST, at = used; at < units;) {
		const unsigned order = (unsigned)__builtin_ctzll(at);

		push(base + (at << SMALL_SHIFT), order);
		at += (size_t)1 << order;
	}
}

/* The smallest order whose blocks have `size` bytes; `top` + 1 if none has. */
static unsigned order_for(size_t size)
{
	unsigned order = 0;

	while (order <= top && (size_t)BUDDY_SMALLEST << order < size)
		order++;
	return order;
}

static void *allocate(unsigned order)
{
	unsigned from = order;
	struct node *node;

	while (from <= top && free_blocks[from] == NULL)
		from++;
	if (from > top)
		return NULL;
	node = free_blocks[from];
	take(node, from);
	while (from > order) {
		from--;
		push((char *)node + ((size_t)BUDDY_SMALLEST << from), from);
	}
	state[unit_of(node)] = (unsigned char)(order | IN_USE);
	return node;
}

void *buddy_malloc(size_t size)
{
	void *block;

	pthread_mutex_lock(&lock);
	block = allocate(order_for(size));
	pthread_mutex_unlock(&lock);
	if (block == NULL)
		errno = ENOMEM;
	return block;
}

void *buddy_aligned_alloc(size_t alignment, size_t size)
{
	if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > 4096) {
		errno = EINVAL;
		return NULL;
	}
	return buddy_malloc(size > alignment ? size : alignment);
}

void buddy_free(void *address)
{
	size_t unit;
	unsigned order;

	if (address == NULL)
		return;
	pthread_mutex_lock(&lock);
	unit = unit_of(address);
	order = state[unit] & ~IN_USE;
	state[unit] = NOT_A_BLOCK;
	while (order < top) {
		const size_t buddy = unit ^ (size_t)1 << order;

		if (state[buddy] != order)
			break;
		take((struct node *)(base + (buddy << SMALL_SHIFT)), order);
		unit &= ~((size_t)1 << order);
		order++;
	}
	push(base + (unit << SMALL_SHIFT), order);
	pthread_mutex_unlock(&lock);
}
