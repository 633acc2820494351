/*
 * The process in which a program runs: runner-VARIANT [--deep] [--repeat N] [--batch] [--fork-timeout MS]
 *     [--log FILE] [--walks N] [--stop THREAD:OPERATION|end] ALLOCATOR FILE
 * or runner-VARIANT --probe ALLOCATOR, which writes the functions that it has and the contract that it follows.
 *
 * With --batch the file has many programs (batch.h); they run one after another until
 * one has a verdict, and record->candidate says which.
 *
 * Started by the supervisor; what it finds is in the run record. Exit status: 0 clean, 1 a verdict, 2 unreadable input or no such
 * allocator, 3 the OS lacks something.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "event_log.h"
#include "executor.h"
#include "probe.h"
#include "sanitizer.h"
#include "sanitizer_options.h"
#include "supervisor.h"

SANITIZER_DEFAULT_OPTIONS(":abort_on_error=0:exitcode=1:allow_user_segv_handler=1")

/* Runs the programs of a batch until one has a verdict. */
static int run_batch(const char *path, struct executor *executor, const struct subject *subject,
		     const struct run_options *options, struct run_record *record)
{
	static struct program program;
	FILE *const file = fopen(path, "re");
	enum batch_result result;

	if (file == NULL) {
		fprintf(stderr, "heapstorm: %s cannot be read\n", path);
		return 2;
	}
	program_init(&program);
	for (uint64_t i = 0; (result = batch_read(file, &program)) == BATCH_PROGRAM; i++) {
		record->candidate = i;
		if (executor_run(executor, subject, &program, options) != VERDICT_CLEAN)
			_Exit(1);
	}
	fclose(file);
	if (result == BATCH_CUT_OFF)
		fprintf(stderr, "heapstorm: %s is cut off\n", path);
	return result == BATCH_CUT_OFF ? 2 : 0;
}

/* Two lines: names of functions, and the contract as the environment of other processes takes it. */
static int probe(const char *name)
{
	static struct allocator asked;
	struct subject subject;
	char message[512];

	if (!subject_open(name, &subject, message, sizeof message) ||
	    !subject_ask(&subject, &asked, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	const struct allocator *const allocator = subject.allocator;
	const struct {
		const char *name;
		bool there;
	} functions[] = {
		{"malloc", allocator->malloc != NULL},
		{"free", allocator->free != NULL},
		{"calloc", allocator->calloc != NULL},
		{"realloc", allocator->realloc != NULL},
		{"reallocarray", allocator->reallocarray != NULL},
		{"aligned_alloc", allocator->aligned_alloc != NULL},
		{"posix_memalign", allocator->posix_memalign != NULL},
		{"memalign", allocator->memalign != NULL},
		{"malloc_usable_size", allocator->malloc_usable_size != NULL},
		{"malloc_trim", allocator->malloc_trim != NULL},
		{"walk", allocator->walk != NULL},
		{"check", allocator->check != NULL},
	};

	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
		if (functions[i].there)
			printf("%s%s", i > 0 ? " " : "", functions[i].name);
	printf("\n");
	contract_print(stdout, &allocator->contract, subject_has_arena(&subject));
	printf("\n");
	return fflush(stdout) == 0 ? 0 : 3;
}

int main(int argc, char **argv)
{
	static struct program program;
	struct run_options options = {.oracles = ORACLES_ALL};
	struct run_record *const record = run_record_open();
	struct subject subject;
	struct executor *executor;
	enum program_format format;
	char message[512];
	unsigned long repeat = 1;
	bool batch = false;
	const char *log_path = NULL, *stop = NULL;
	size_t walks = 0;
	struct event_log log;
	int at = 1;

	if (argc == 3 && strcmp(argv[1], "--probe") == 0)
		return probe(argv[2]);
	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "--deep") == 0)
			options.deep = true;
		else if (strcmp(argv[at], "--repeat") == 0 && at + 1 < argc)
			repeat = strtoul(argv[++at], NULL, 10);
		else if (strcmp(argv[at], "--batch") == 0)
			batch = true;
		else if (strcmp(argv[at], "--log") == 0 && at + 1 < argc)
			log_path = argv[++at];
		else if (strcmp(argv[at], "--stop") == 0 && at + 1 < argc)
			stop = argv[++at];
		else if (strcmp(argv[at], "--walks") == 0 && at + 1 < argc)
			walks = strtoul(argv[++at], NULL, 10);
		else if (strcmp(argv[at], "--fork-timeout") == 0 && at + 1 < argc)
			options.fork_timeout_milliseconds = (unsigned)strtoul(argv[++at], NULL, 10);
		else
			break;
	}
	if (argc - at != 2) {
		fprintf(stderr, "usage: %s [--deep] [--repeat N] [--batch] [--fork-timeout MS] ALLOCATOR FILE\n",
			argv[0]);
		return 2;
	}
	program_init(&program);
	if ((!batch && !program_load(argv[at + 1], &program, &format, message, sizeof message)) ||
	    !subject_open(argv[at], &subject, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	if (log_path != NULL) {
		if (!event_log_open(log_path, program_op_count(&program), walks, &log)) {
			perror(log_path);
			return 3;
		}
		if (stop != NULL && !event_log_stop_at(&log, stop))
			return 2;
		options.log = &log;
	}
	executor = executor_create(record);
	if (executor == NULL) {
		perror("heapstorm: no memory for the executor");
		return 3;
	}
	executor_watch(executor, !sanitizer_has_asan());
	if (batch)
		return run_batch(argv[at + 1], executor, &subject, &options, record);
	for (unsigned long i = 0; i < repeat; i++)
		if (executor_run(executor, &subject, &program, &options) != VERDICT_CLEAN)
			_Exit(1);
	return 0;
}
