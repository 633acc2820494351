/*
 * The process in which a program runs: runner-VARIANT [--deep] [--repeat N] ALLOCATOR FILE
 *
 * Started by the supervisor; what it finds is in the run record. Exit status: 0 clean, 1 a verdict, 2 unreadable input or no such
 * allocator, 3 the OS lacks something.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor.h"
#include "sanitizer.h"
#include "supervisor.h"

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

/* Signals of the allocator become reports with a stack; leaks are the oracles' business. */
const char *__asan_default_options(void)
{
	return "handle_abort=1:handle_sigill=1:handle_sigfpe=1:detect_leaks=0:allocator_may_return_null=1:"
	       "abort_on_error=0:exitcode=1:allow_user_segv_handler=1:detect_stack_use_after_return=0";
}

const char *__ubsan_default_options(void)
{
	return "print_stacktrace=1";
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
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "--deep") == 0)
			options.deep = true;
		else if (strcmp(argv[at], "--repeat") == 0 && at + 1 < argc)
			repeat = strtoul(argv[++at], NULL, 10);
		else
			break;
	}
	if (argc - at != 2) {
		fprintf(stderr, "usage: %s [--deep] [--repeat N] ALLOCATOR FILE\n", argv[0]);
		return 2;
	}
	program_init(&program);
	if (!program_load(argv[at + 1], &program, &format, message, sizeof message) ||
	    !subject_open(argv[at], &subject, message, sizeof message)) {
		fprintf(stderr, "heapstorm: %s\n", message);
		return 2;
	}
	executor = executor_create(record);
	if (executor == NULL) {
		perror("heapstorm: no memory for the executor");
		return 3;
	}
	executor_watch(executor, !sanitizer_has_asan());
	for (unsigned long i = 0; i < repeat; i++)
		if (executor_run(executor, &subject, &program, &options) != VERDICT_CLEAN)
			_Exit(1);
	return 0;
}
