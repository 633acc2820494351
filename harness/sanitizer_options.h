/*
 * What a program that runs allocators asks of the runtimes of the sanitizers. Their weak defaults pull nothing out of a library, so each
 * program has the functions in an object of its own.
 */
#ifndef HEAPSTORM_HARNESS_SANITIZER_OPTIONS_H
#define HEAPSTORM_HARNESS_SANITIZER_OPTIONS_H

/*
 * Signals of the allocator become reports with a stack. Leaks are the business of the oracles: LeakSanitizer knows libc's malloc alone,
 * which is not under test here. Its malloc, one of those that are run, refuses a request that is too large with NULL, as C has it, in place of ending the
 * program. `more`: options of this program, each with a colon before it.
 */
#define SANITIZER_DEFAULT_OPTIONS(more)                                                                                \
	const char *__asan_default_options(void);                                                                      \
	const char *__asan_default_options(void)                                                                       \
	{                                                                                                              \
		return "handle_abort=1:handle_sigill=1:handle_sigfpe=1:detect_leaks=0:allocator_may_return_null=1:"    \
		       "detect_stack_use_after_return=0" more;                                                         \
	}                                                                                                              \
	const char *__ubsan_default_options(void);                                                                     \
	const char *__ubsan_default_options(void)                                                                      \
	{                                                                                                              \
		return "print_stacktrace=1";                                                                           \
	}

#endif
