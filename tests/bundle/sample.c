/* An "allocator" that has a variable of every kind a bundle must bracket. */
#include "sample.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int other = 1;
static int number = 42;
static int *pointer = &other;
static char zeroes[300];
int visible_number = 7;
char visible_zeroes[100];
static __thread int thread_number = 5;
static __thread long thread_zeroes[40];
static const char *const names[] = {"first", "second"};
static const char *changing_names[] = {"first", "second"};
static struct {
	int *next;
	char byte;
} record = {&number, 'x'};
static long double wide __attribute__((aligned(128))) = 2.5L;

static int next_of_function(void)
{
	static int inside = 10;
	static int inside_zero;

	inside_zero++;
	return inside++ * 1000 + inside_zero;
}

static int inside_state(int change)
{
	static int calls = 3;

	return change ? ++calls : calls;
}

void sample_change(void)
{
	other++;
	number *= 3;
	pointer = &number;
	memset(zeroes, 0x5a, sizeof(zeroes));
	visible_number += 100;
	memset(visible_zeroes, 0x77, sizeof(visible_zeroes));
	thread_number = -thread_number;
	for (size_t i = 0; i < 40; i++)
		thread_zeroes[i] += (long)i + 1;
	changing_names[1] = names[0];
	record.next = &other;
	record.byte++;
	wide *= 2;
	next_of_function();
	inside_state(1);
}

#define MIX(value) hash = (hash ^ (uint64_t)(value)) * 0x100000001b3u

uint64_t sample_state(void)
{
	uint64_t hash = 0xcbf29ce484222325u;

	MIX(other);
	MIX(number);
	MIX(pointer == &other ? 1 : 2);
	for (size_t i = 0; i < sizeof(zeroes); i++)
		MIX(zeroes[i]);
	MIX(visible_number);
	for (size_t i = 0; i < sizeof(visible_zeroes); i++)
		MIX(visible_zeroes[i]);
	MIX(thread_number);
	for (size_t i = 0; i < 40; i++)
		MIX(thread_zeroes[i]);
	for (size_t i = 0; i < 2; i++) {
		MIX(names[i][0]);
		MIX(changing_names[i][0]);
	}
	MIX(record.next == &number ? 1 : 2);
	MIX(record.byte);
	MIX((int)(wide * 16));
	MIX(inside_state(0));
	return hash;
}

/* What next_of_function would give: asking changes it, so a test restores after it. */
int sample_next(void)
{
	return next_of_function();
}

void sample_addresses(sample_visitor *visit, void *context)
{
	visit("other", &other, sizeof(other), context);
	visit("number", &number, sizeof(number), context);
	visit("pointer", &pointer, sizeof(pointer), context);
	visit("zeroes", zeroes, sizeof(zeroes), context);
	visit("visible_number", &visible_number, sizeof(visible_number), context);
	visit("visible_zeroes", visible_zeroes, sizeof(visible_zeroes), context);
	visit("thread_number", &thread_number, sizeof(thread_number), context);
	visit("thread_zeroes", thread_zeroes, sizeof(thread_zeroes), context);
	visit("changing_names", changing_names, sizeof(changing_names), context);
	visit("record", &record, sizeof(record), context);
	visit("wide", &wide, sizeof(wide), context);
}

const void *sample_constant(void)
{
	return names;
}

void *sample_map(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int sample_unmap(void *start, size_t size)
{
	return munmap(start, size);
}

int sample_overrun(int index)
{
	volatile char *byte = &zeroes[index];

	return *byte;
}
