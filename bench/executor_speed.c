/*
 * What the oracles cost: programs run on mem_alloc_2.0 with all oracles beside the bare calls, and beside the calls of a program that uses its
 * memory (writes every byte once, reads it once), from the same untouched heap.
 *
 * executor_speed FILE... (recordings or programs, of which the main thread is run), or executor_speed --random N OPERATIONS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "executor.h"
#include "mutator.h"
#include "supervisor.h"

#define ROUNDS 7
#define SECONDS_A_ROUND 0.3

static struct subject subject;
static struct executor *executor;
static void **blocks; /* by label */
static size_t *sizes; /* of these blocks; kept where memory is used */

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Reads a block as a program does before it lets go of it. */
static void read_block(uint32_t label)
{
	const char *const bytes = blocks[label];
	uint64_t sum = 0, word;

	for (size_t i = 0; bytes != NULL && i + sizeof word <= sizes[label]; i += sizeof word) {
		memcpy(&word, bytes + i, sizeof word);
		sum += word;
	}
	__asm__ volatile("" : : "r"(sum));
}

static void run_calls(const struct program *program, bool use)
{
	const struct allocator *const a = subject.allocator;
	const struct thread_program *const code = &program->threads[0];
	const uint32_t limit = program_label_limit(program);

	subject_reset(&subject);
	for (size_t i = 0; i < code->count; i++) {
		const struct op *const op = &code->ops[i];
		void *const block = op->block == LABEL_NULL ? NULL : blocks[op->block];
		size_t size = op->size;
		void *result = NULL;

		if (op->kind == OP_CALLOC || op->kind == OP_REALLOCARRAY)
			size *= op->count;
		if (use && op->block != LABEL_NULL && op->kind != OP_USABLE_SIZE)
			read_block(op->block);
		switch (op->kind) {
		case OP_MALLOC:
			result = a->malloc(op->size);
			break;
		case OP_CALLOC:
			result = a->calloc(op->count, op->size);
			break;
		case OP_REALLOC:
		case OP_REALLOCARRAY:
			if (op->block != LABEL_NULL)
				blocks[op->block] = NULL;
			result = op->kind == OP_REALLOC ? a->realloc(block, op->size)
							: a->reallocarray(block, op->count, op->size);
			break;
		case OP_FREE:
			if (op->block != LABEL_NULL)
				blocks[op->block] = NULL;
			a->free(block);
			continue;
		case OP_ALIGNED_ALLOC:
			result = a->aligned_alloc(op->alignment, op->size);
			break;
		case OP_MEMALIGN:
			result = a->memalign(op->alignment, op->size);
			break;
		case OP_POSIX_MEMALIGN:
			if (a->posix_memalign(&result, op->alignment, op->size) != 0)
				result = NULL;
			break;
		case OP_USABLE_SIZE:
			a->malloc_usable_size(block);
			continue;
		default:
			continue;
		}
		if (op->result != LABEL_NULL)
			blocks[op->result] = result;
		if (use && op->result != LABEL_NULL) {
			sizes[op->result] = result != NULL ? size : 0;
			if (result != NULL)
				memset(result, (int)i, size);
		}
	}
	for (uint32_t label = 0; label < limit; label++) {
		if (use)
			read_block(label);
		a->free(blocks[label]);
		blocks[label] = NULL;
	}
}

/* The calls alone. */
static void run_bare(const struct program *program)
{
	run_calls(program, false);
}

static void run_using(const struct program *program)
{
	run_calls(program, true);
}

static void run_oracles(const struct program *program)
{
	const struct run_options options = {.oracles = ORACLES_ALL};

	if (executor_run(executor, &subject, program, &options) != VERDICT_CLEAN) {
		fprintf(stderr, "executor_speed: the program has a verdict; replay it\n");
		exit(1);
	}
}

/* Operations a second over all programs. */
static double speed(void (*run)(const struct program *), const struct program *programs, size_t count)
{
	const double start = now();
	double operations = 0;

	do {
		for (size_t i = 0; i < count; i++) {
			run(&programs[i]);
			operations += (double)programs[i].threads[0].count;
		}
	} while (now() - start < SECONDS_A_ROUND);
	return operations / (now() - start);
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, const struct program *programs, size_t count)
{
	double bare[ROUNDS], using[ROUNDS], oracles[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		bare[round] = speed(run_bare, programs, count);
		using[round] = speed(run_using, programs, count);
		oracles[round] = speed(run_oracles, programs, count);
	}
	qsort(bare, ROUNDS, sizeof *bare, by_value);
	qsort(using, ROUNDS, sizeof *using, by_value);
	qsort(oracles, ROUNDS, sizeof *oracles, by_value);
	printf("%-24s %10.2f %10.2f %10.2f %10.2f %10.2f\n", name, bare[ROUNDS / 2] / 1e6, using[ROUNDS / 2] / 1e6,
	       oracles[ROUNDS / 2] / 1e6, bare[ROUNDS / 2] / oracles[ROUNDS / 2],
	       using[ROUNDS / 2] / oracles[ROUNDS / 2]);
	fflush(stdout);
}

/* Threads, forks and faults are no part of what is measured. */
static void keep_main(struct program *program)
{
	struct thread_program *const code = &program->threads[0];
	size_t kept = 0;

	for (size_t i = 0; i < code->count; i++) {
		const uint8_t kind = code->ops[i].kind;

		if (kind != OP_SPAWN && kind != OP_JOIN && kind != OP_WAIT && kind != OP_SIGNAL && kind != OP_FORK &&
		    kind != OP_TRIM && kind != OP_TOUCH)
			code->ops[kept++] = code->ops[i];
	}
	code->count = kept;
	program->thread_count = 1;
	program->fault_count = 0;
}

int main(int argc, char **argv)
{
	char message[512];
	enum program_format format;

	if (argc < 2 || !subject_open("mem_alloc_2.0", &subject, message, sizeof message)) {
		fprintf(stderr, "usage: %s FILE... | --random N OPERATIONS\n", argv[0]);
		return 2;
	}
	executor = executor_create(run_record_open());
	blocks = mmap(NULL, LABEL_COUNT * sizeof *blocks, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	sizes = mmap(NULL, LABEL_COUNT * sizeof *sizes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	printf("%-24s %10s %10s %10s %10s %10s\n", "Mops/s", "bare", "using", "oracles", "bare/or.", "using/or.");
	if (argc == 4 && strcmp(argv[1], "--random") == 0) {
		const size_t count = strtoul(argv[2], NULL, 10), ops = strtoul(argv[3], NULL, 10);
		struct program *const programs = calloc(count, sizeof *programs);

		for (size_t i = 0; i < count; i++) {
			program_init(&programs[i]);
			mutator_random_program(i + 1, ops, &programs[i]);
			keep_main(&programs[i]);
		}
		measure("random", programs, count);
		return 0;
	}
	for (int i = 1; i < argc; i++) {
		struct program program;
		const char *const slash = strrchr(argv[i], '/');

		program_init(&program);
		if (!program_load(argv[i], &program, &format, message, sizeof message)) {
			fprintf(stderr, "executor_speed: %s\n", message);
			return 2;
		}
		keep_main(&program);
		measure(slash != NULL ? slash + 1 : argv[i], &program, 1);
		program_destroy(&program);
	}
	return 0;
}
