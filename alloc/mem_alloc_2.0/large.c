#include "large.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../os.h"
#include "damage.h"
#include "hardened.h"
#include "span.h"

struct large {
	struct Block block; /* size: bytes of the mapping; next: the struct large that follows in the list */
	struct large *previous;
	uintptr_t seal;     /* seal_of(): tells a header from arbitrary memory */
	size_t slack;       /* bytes of the mapping that count as cached */
	uint64_t unused[3]; /* the payload of an ordinary large block is at a cache line */
};
_Static_assert(sizeof(struct large) == 64, "a cache line");

/* Alignments above this put the payload at a multiple of the chunk size. */
#define ALIGNMENT_INSIDE_MAX ((size_t)32 << 10)
_Static_assert(ALIGNMENT_INSIDE_MAX < sizeof(struct chunk), "is_large() must tell");

/* Those that are live, under the lock of the span cache. */
static struct large *first_large;

static uintptr_t seal_of(const struct large *large)
{
	return (uintptr_t)large ^ (uintptr_t)0x325f6567726c616cu;
}

static struct large *next_of(const struct large *large)
{
	return (struct large *)large->block.next;
}

static char *mapping_start(const struct large *large)
{
	uintptr_t payload = (uintptr_t)(large + 1);

	if ((payload & (CHUNK_SIZE - 1)) == 0)
		return (char *)payload - os_page_size();
	return (char *)(payload & -CHUNK_SIZE);
}

static struct large *large_of(void *pointer)
{
	struct large *large = (struct large *)pointer - 1;

	if ((uintptr_t)pointer % GRANULE != 0 || large->seal != seal_of(large))
		ma2_damaged(pointer, "is not a live block");
	return large;
}

/* Under the lock. */
static void list(struct large *large)
{
	large->seal = seal_of(large);
	large->previous = NULL;
	large->block.next = (struct Block *)first_large;
	if (first_large != NULL)
		first_large->previous = large;
	first_large = large;
	ma2_map_add(chunk_of(large + 1));
}

/* Under the lock. */
static void unlist(struct large *large)
{
	struct large *next = next_of(large);

	if (next != NULL)
		next->previous = large->previous;
	if (large->previous != NULL)
		large->previous->block.next = large->block.next;
	else
		first_large = next;
	large->seal = 0;
	ma2_map_remove(chunk_of(large + 1));
}

/* The size of a mapping whose payload of `size` bytes begins at `offset`; both at most PTRDIFF_MAX. 0: too big for any address space. */
static size_t mapping_size(size_t offset, size_t size)
{
	size_t page = os_page_size();

	if (size > PTRDIFF_MAX - page || offset > PTRDIFF_MAX - page - size)
		return 0;
	/* Also a block of no bytes has one of its own: its address would be the next mapping's otherwise. */
	return (offset + size + (size == 0) + page - 1) & -page;
}

/* Maps `length` bytes whose payload, at `offset`, is a multiple of `alignment`, in one of the two layouts. */
static char *map_mapping(size_t length, size_t offset, size_t alignment, bool payload_at_chunk)
{
	size_t skipped;
	char *start;

	if (!payload_at_chunk)
		return os_map(length, CHUNK_SIZE);
	/* The page at `offset` before the second multiple of the alignment is the first that is kept. */
	if (alignment < CHUNK_SIZE)
		alignment = CHUNK_SIZE;
	if (length > PTRDIFF_MAX - alignment)
		return NULL;
	skipped = alignment - offset;
	start = os_map(skipped + length, alignment);
	if (start == NULL)
		return NULL;
	if (!os_unmap(start, skipped)) {
		os_unmap(start, skipped + length);
		return NULL;
	}
	return start + skipped;
}

/* A mapping that is nobody's yet becomes a large block. Returns its payload. */
static void *make_large(char *start, size_t offset, size_t length)
{
	struct large *large = (struct large *)(start + offset) - 1;

	ma2_span_lock();
	large->block.size = length;
	large->slack = 0;
	list(large);
	ma2_span_unlock();
	return large + 1;
}

/* Hardened: the payload ends at the guard page, but for what the alignment takes. */
static void *allocate_guarded(size_t size, size_t alignment, size_t *dirty)
{
	bool payload_at_chunk = alignment > ALIGNMENT_INSIDE_MAX;
	size_t page = os_page_size();
	size_t step = payload_at_chunk || alignment < GRANULE ? GRANULE : alignment;
	size_t offset = payload_at_chunk ? page : step > sizeof(struct large) ? step : sizeof(struct large);
	size_t length = size > PTRDIFF_MAX - step ? 0 : mapping_size(offset, (size + step - 1) & -step);
	char *start;

	if (length == 0) {
		errno = ENOMEM;
		return NULL;
	}
	if (!payload_at_chunk && step <= page)
		offset = length - ((size + step - 1) & -step);
	start = map_mapping(length + page, payload_at_chunk ? page : offset, alignment, payload_at_chunk);
	if (start == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	*dirty = 0;
	/* Where the kernel has no area left for a guard, there is none. */
	os_guard(start + length, page);
	return make_large(start, offset, length);
}

static void free_guarded(struct large *large)
{
	struct span *span = (struct span *)mapping_start(large);
	size_t length = large->block.size;

	ma2_span_lock();
	unlist(large);
	ma2_span_unlock();
	span->block = (struct Block){length + os_page_size(), NULL};
	ma2_span_unmap(span);
}

static void *resize_guarded(void *pointer, size_t size)
{
	size_t usable = ma2_large_usable_size(pointer), dirty;
	void *moved = allocate_guarded(size, GRANULE, &dirty);

	if (moved == NULL)
		return size <= usable ? pointer : NULL;
	memcpy(moved, pointer, size < usable ? size : usable);
	free_guarded(large_of(pointer));
	return moved;
}

void *ma2_large_allocate(size_t size, size_t alignment, size_t *dirty)
{
	bool payload_at_chunk = alignment > ALIGNMENT_INSIDE_MAX;
	size_t offset = payload_at_chunk                   ? os_page_size()
			: alignment > sizeof(struct large) ? alignment
							   : sizeof(struct large);
	size_t length = mapping_size(offset, size);
	struct large *large;
	size_t slack;
	struct span *span;
	char *start = NULL;

	if (HARDENED)
		return allocate_guarded(size, alignment, dirty);
	if (length == 0) {
		errno = ENOMEM;
		return NULL;
	}
	if (!payload_at_chunk) {
		ma2_span_lock();
		span = ma2_span_take_fitting(length, &slack);
		if (span != NULL) {
			length = *dirty = span->block.size;
			large = (struct large *)((char *)span + offset) - 1;
			large->block.size = length;
			large->slack = slack;
			list(large);
			ma2_span_unlock();
			return large + 1;
		}
		ma2_span_unlock();
		start = ma2_span_take(length, dirty);
	}
	if (start != NULL) {
		length = ((struct span *)start)->block.size;
	} else {
		*dirty = 0;
		ma2_span_settle(length);
		start = map_mapping(length, offset, alignment, payload_at_chunk);
		if (start == NULL && ma2_span_release_all())
			start = map_mapping(length, offset, alignment, payload_at_chunk);
	}
	if (start == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	return make_large(start, offset, length);
}

void ma2_large_free(void *pointer)
{
	struct large *large = large_of(pointer);
	char *start = mapping_start(large);
	size_t length = large->block.size;
	struct span *list;

	if (HARDENED) {
		free_guarded(large);
		return;
	}
	ma2_span_lock();
	unlist(large);
	ma2_span_drop_slack(large->slack);
	if ((uintptr_t)start % CHUNK_SIZE == 0) {
		list = ma2_span_put(start, length);
	} else {
		list = (struct span *)start;
		list->block = (struct Block){length, NULL};
	}
	ma2_span_unlock();
	if (list != NULL)
		ma2_span_unmap(list);
}

/*
 * Moves a mapping that is in no list to a larger one. NULL: it is as it was. Room is left behind it: what has to grow once may have to grow on,
 * and can do so in place then.
 */
static char *move_mapping(char *start, size_t old_length, size_t offset, size_t length)
{
	bool payload_at_chunk = ((uintptr_t)(start + offset) & (CHUNK_SIZE - 1)) == 0;
	size_t room = length > PTRDIFF_MAX / 4 ? length : 2 * length;
	char *to = map_mapping(room, offset, CHUNK_SIZE, payload_at_chunk);

	if (to == NULL) {
		room = length;
		to = map_mapping(room, offset, CHUNK_SIZE, payload_at_chunk);
	}
	if (to == NULL)
		return NULL;
	if (room > length && !os_unmap(to + length, room - length))
		length = room;
	if (!os_move(start, old_length, to, length)) {
		memcpy(to, start, old_length);
		((struct span *)start)->block = (struct Block){old_length, NULL};
		ma2_span_unmap((struct span *)start);
	}
	((struct large *)(to + offset) - 1)->block.size = length;
	return to;
}

void *ma2_large_resize(void *pointer, size_t size)
{
	struct large *large = large_of(pointer);
	char *start = mapping_start(large);
	size_t offset = (size_t)((char *)pointer - start);
	size_t old_length = large->block.size;
	size_t length = mapping_size(offset, size);
	char *moved;

	if (HARDENED)
		return resize_guarded(pointer, size);
	if (length == old_length)
		return pointer;
	if (large->slack != 0) {
		ma2_span_lock();
		ma2_span_drop_slack(large->slack);
		large->slack = 0;
		ma2_span_unlock();
	}
	if (length == 0) {
		errno = ENOMEM;
		return NULL;
	}
	if (os_remap(start, old_length, length, false) != NULL) {
		ma2_span_lock();
		large->block.size = length;
		ma2_span_unlock();
		return pointer;
	}
	if (length < old_length)
		return pointer;
	/* Others must not follow a link to the header while it moves. */
	ma2_span_lock();
	unlist(large);
	ma2_span_unlock();
	moved = move_mapping(start, old_length, offset, length);
	if (moved != NULL)
		large = (struct large *)(moved + offset) - 1;
	ma2_span_lock();
	list(large);
	ma2_span_unlock();
	if (moved != NULL)
		return large + 1;
	errno = ENOMEM;
	return NULL;
}

size_t ma2_large_usable_size(void *pointer)
{
	struct large *large = large_of(pointer);

	return large->block.size - (size_t)((char *)pointer - mapping_start(large));
}

static bool visit_large(const struct large *large, region_visitor *visit, void *context)
{
	const char *start = mapping_start(large);
	const char *payload = (const char *)(large + 1);
	size_t size = large->block.size;
	struct region header = {start, (size_t)(payload - start), REGION_META, NULL, start, size};
	struct region block = {payload, size - header.size, REGION_LIVE, payload, start, size};

	return visit(&header, context) && visit(&block, context);
}

bool ma2_large_walk(region_visitor *visit, void *context)
{
	const struct large *large;

	for (large = first_large; large != NULL; large = next_of(large))
		if (!visit_large(large, visit, context))
			return false;
	return true;
}

bool ma2_large_check(char *why, size_t size)
{
	const struct large *previous = NULL;

	for (const struct large *large = first_large; large != NULL; large = next_of(large)) {
		const char *fault = NULL;

		if (large->seal != seal_of(large))
			fault = "the seal is broken";
		else if (large->previous != previous)
			fault = "the back link is wrong";
		else if (large->block.size == 0 || large->block.size % os_page_size() != 0)
			fault = "the size is not one of whole pages";
		if (fault != NULL) {
			snprintf(why, size, "large block %p: %s", (const void *)(large + 1), fault);
			return false;
		}
		previous = large;
	}
	return true;
}
