/*
 * A small allocator that is right: one list of free blocks, first fit, split and merged with the neighbours, behind one lock. The macros plant
 * mistakes, one for each test (tests/check/run.sh).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT 16
#define CHUNK ((size_t)1 << 18)
#define LARGE (CHUNK / 2)

/* Before each block. */
struct header {
	size_t size;         /* bytes behind the header */
	struct header *next; /* free: in order of addresses; live and mapped by itself: IS_LARGE */
};

#define HEADER sizeof(struct header)
#define IS_LARGE ((struct header *)1)

void *list_malloc(size_t size);
void list_free(void *block);
void *list_calloc(size_t count, size_t size);
void *list_realloc(void *block, size_t size);
size_t list_malloc_usable_size(void *block);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct header *free_list;

static void lock(void)
{
#ifndef PLANT_RACE
	pthread_mutex_lock(&mutex);
#endif
}

static void unlock(void)
{
#ifndef PLANT_RACE
	pthread_mutex_unlock(&mutex);
#endif
}

#ifndef PLANT_FORK
__attribute__((constructor)) static void survive_forks(void)
{
	pthread_atfork(lock, unlock, unlock);
}
#endif

static struct header *map(size_t size)
{
	void *const memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static struct header *end_of(struct header *block)
{
	return (struct header *)((char *)(block + 1) + block->size);
}

static void insert(struct header *block)
{
	struct header **link = &free_list, *before = NULL;

	while (*link != NULL && *link < block) {
		before = *link;
		link = &before->next;
	}
	block->next = *link;
	*link = block;
	if (block->next == end_of(block)) {
		block->size += HEADER + block->next->size;
		block->next = block->next->next;
	}
	if (before != NULL && end_of(before) == block) {
		before->size += HEADER + block->size;
		before->next = block->next;
	}
}

static struct header *take(size_t size)
{
	for (struct header **link = &free_list; *link != NULL; link = &(*link)->next) {
		struct header *const block = *link;

		if (block->size < size)
			continue;
		if (block->size >= size + HEADER + ALIGNMENT) {
#ifdef PLANT_OVERLAP
			struct header *const rest = (struct header *)((char *)(block + 1) + size - ALIGNMENT);
			rest->size = block->size - size - HEADER + ALIGNMENT;
#else
			struct header *const rest = (struct header *)((char *)(block + 1) + size);
			rest->size = block->size - size - HEADER;
#endif
			rest->next = block->next;
			block->size = size;
			*link = rest;
		} else {
			*link = block->next;
		}
		block->next = NULL;
		return block;
	}
	return NULL;
}

void *list_malloc(size_t size)
{
	struct header *block;

	if (size > PTRDIFF_MAX - CHUNK) {
		errno = ENOMEM;
		return NULL;
	}
#ifdef PLANT_MISALIGNED
	size = size + 8;
#else
	size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + (size == 0 ? ALIGNMENT : 0);
#endif
	if (size >= LARGE) {
		block = map(HEADER + size);
		if (block == NULL)
			return NULL;
		block->size = size;
		block->next = IS_LARGE;
		return block + 1;
	}
	lock();
	block = take(size);
	if (block == NULL) {
		block = map(CHUNK);
		if (block != NULL) {
			block->size = CHUNK - HEADER;
			insert(block);
			block = take(size);
		}
	}
	unlock();
	return block != NULL ? block + 1 : NULL;
}

void list_free(void *address)
{
	struct header *block;

	if (address == NULL)
		return;
	block = (struct header *)address - 1;
	if (block->next == IS_LARGE) {
#ifndef PLANT_LEAK
		munmap(block, HEADER + block->size);
#endif
		return;
	}
	lock();
	insert(block);
	unlock();
}

void *list_calloc(size_t count, size_t size)
{
	size_t bytes;
	void *block;

#ifdef PLANT_OVERFLOW
	bytes = count * size;
#else
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
#endif
	block = list_malloc(bytes);
#ifndef PLANT_NOT_ZEROED
	if (block != NULL)
		memset(block, 0, bytes);
#endif
	return block;
}

void *list_realloc(void *old, size_t size)
{
	void *block;
	size_t kept;

	if (old == NULL)
		return list_malloc(size);
	if (size == 0) {
		list_free(old);
		return NULL;
	}
	block = list_malloc(size);
	if (block == NULL) {
#ifdef PLANT_REALLOC
		list_free(old);
#endif
		return NULL;
	}
	kept = list_malloc_usable_size(old);
	memcpy(block, old, kept < size ? kept : size);
	list_free(old);
	return block;
}

size_t list_malloc_usable_size(void *block)
{
	return block != NULL ? ((struct header *)block)[-1].size : 0;
}
