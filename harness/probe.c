#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"

#define SECONDS_MAX 3 /* for all questions that are asked in one child */
#define ERRNO_UNTOUCHED 4095

struct answers {
	struct contract contract;
	bool counted;
	unsigned asked; /* questions */
};

static void keep(const void *pointer)
{
	/* The compiler must not drop a malloc whose block is not used. */
	__asm__ volatile("" ::"r"(pointer) : "memory");
}

static void ask_malloc_zero(const struct allocator *allocator, struct answers *answers)
{
	void *const a = allocator->malloc(0), *const b = allocator->malloc(0);
	bool block = a != NULL && b != NULL && a != b;

	/* Each function has the choice. */
	if (allocator->aligned_alloc != NULL)
		block = block && allocator->aligned_alloc(64, 0) != NULL;
	if (allocator->memalign != NULL)
		block = block && allocator->memalign(64, 0) != NULL;
	answers->contract.malloc_zero_is_block = block ? CONTRACT_YES : CONTRACT_NO;
}

static void ask_realloc_zero(const struct allocator *allocator, struct answers *answers)
{
	void *block;

	if (allocator->realloc == NULL)
		return;
	block = allocator->malloc(24);
	keep(block);
	if (block == NULL)
		return;
	errno = 0;
	block = allocator->realloc(block, 0);
	if (block != NULL)
		answers->contract.realloc_zero = REALLOC_ZERO_BLOCK;
	else if (errno != ENOMEM) /* or else the block is still there */
		answers->contract.realloc_zero = REALLOC_ZERO_FREES;
}

static void ask_bad_alignment(const struct allocator *allocator, struct answers *answers)
{
	static const size_t alignments[] = {0, 3, 24, 48, 4097};
	bool all = true;

	if (allocator->aligned_alloc == NULL && allocator->memalign == NULL)
		return;
	for (size_t i = 0; i < sizeof alignments / sizeof alignments[0]; i++) {
		errno = 0;
		if (allocator->aligned_alloc != NULL && allocator->aligned_alloc(alignments[i], 96) != NULL)
			all = false;
		if (allocator->memalign != NULL && allocator->memalign(alignments[i], 96) != NULL)
			all = false;
		all = all && errno == EINVAL;
	}
	/* What takes some of them does not look at them: what comes of that is nobody's business. */
	if (all)
		answers->contract.bad_alignment_fails = CONTRACT_YES;
}

static void ask_errno(const struct allocator *allocator, struct answers *answers)
{
	void *block;

	errno = ERRNO_UNTOUCHED;
	block = allocator->malloc((size_t)PTRDIFF_MAX - 65536);
	keep(block);
	if (block == NULL)
		answers->contract.null_sets_errno = errno == ENOMEM ? CONTRACT_YES : CONTRACT_NO;
}

/* Refuses it what the OS would give? */
static void ask_bounded(const struct allocator *allocator, struct answers *answers)
{
	static const size_t sizes[] = {2048, 65536, (size_t)1 << 20, (size_t)8 << 20};
	static void *blocks[1024];
	const uint64_t refusals = arena_counts()->refusals;
	bool refused = false;

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		void *const block = allocator->malloc(sizes[i]);

		refused = refused || block == NULL;
		keep(block);
		if (block != NULL)
			allocator->free(block);
	}
	/* 48 MiB, what a program of the fuzzer may have. */
	for (size_t i = 0; i < 768 && !refused; i++) {
		blocks[i] = allocator->malloc(65536);
		refused = blocks[i] == NULL;
	}
	answers->contract.bounded =
		refused && arena_counts()->refusals == refusals ? CONTRACT_YES : CONTRACT_NO;
}

static void ask_counted(const struct allocator *allocator, struct answers *answers)
{
	const uint64_t calls = arena_counts()->calls;

	for (int i = 0; i < 8; i++)
		keep(allocator->malloc((size_t)16 << 20));
	answers->counted = arena_counts()->calls > calls;
}

static void (*const questions[])(const struct allocator *, struct answers *) = {
	ask_malloc_zero, ask_realloc_zero, ask_bad_alignment, ask_errno, ask_bounded, ask_counted,
};

#define QUESTIONS (sizeof questions / sizeof questions[0])

/* ---- Fields ---- */

static const char *const choices[] = {[CONTRACT_OPEN] = "open", [CONTRACT_YES] = "yes", [CONTRACT_NO] = "no"};
static const char *const zeros[] = {
	[REALLOC_ZERO_OPEN] = "open", [REALLOC_ZERO_FREES] = "frees", [REALLOC_ZERO_BLOCK] = "block"};

#define CHOICE(field)                                                                                                  \
	{                                                                                                              \
		#field, offsetof(struct contract, field)                                                               \
	}

static const struct {
	const char *name;
	size_t offset;
} fields[] = {
	CHOICE(malloc_zero_is_block), CHOICE(bad_alignment_fails), CHOICE(usable_is_writable), CHOICE(free_keeps_errno),
	CHOICE(thread_safe),          CHOICE(null_sets_errno),          CHOICE(bounded),
};

#define FIELDS (sizeof fields / sizeof fields[0])

static enum contract_choice *field_of(struct contract *contract, size_t field)
{
	return (enum contract_choice *)((char *)contract + fields[field].offset);
}

/* ---- Asking ---- */

/* In the child. What an allocator or a sanitizer writes to say that it dies is nobody's business. */
__attribute__((noreturn)) static void ask_from(const struct allocator *allocator, struct answers *answers)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM};
	const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	dup2(null, STDERR_FILENO);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		signal(signals[i], SIG_DFL);
	alarm(SECONDS_MAX);
	while (answers->asked < QUESTIONS) {
		const unsigned question = answers->asked++;

		questions[question](allocator, answers);
	}
	_exit(0);
}

/* What is declared is as it is declared. */
static void take(struct contract *contract, const struct contract *found)
{
	for (size_t i = 0; i < FIELDS; i++)
		if (*field_of(contract, i) == CONTRACT_OPEN)
			*field_of(contract, i) = *field_of((struct contract *)found, i);
	if (contract->realloc_zero == REALLOC_ZERO_OPEN)
		contract->realloc_zero = found->realloc_zero;
}

void probe_contract(struct allocator *allocator, bool *counted)
{
	struct answers *const answers =
		mmap(NULL, sizeof *answers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (answers == MAP_FAILED)
		return;
	while (answers->asked < QUESTIONS) {
		const unsigned before = answers->asked;
		const pid_t child = fork();

		if (child == 0)
			ask_from(allocator, answers);
		if (child < 0)
			break;
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		if (answers->asked == before)
			break;
	}
	take(&allocator->contract, &answers->contract);
	*counted = answers->counted;
	munmap(answers, sizeof *answers);
}

/* ---- As text ---- */

void contract_print(FILE *file, const struct contract *contract, bool counted)
{
	struct contract copy = *contract;

	fprintf(file, "realloc_zero=%s", zeros[contract->realloc_zero]);
	for (size_t i = 0; i < FIELDS; i++)
		fprintf(file, " %s=%s", fields[i].name, choices[*field_of(&copy, i)]);
	fprintf(file, " os_calls=%s", choices[counted ? CONTRACT_YES : CONTRACT_NO]);
}

/* The index of a word among `count`, `count` if it is none. */
static size_t index_of(const char *word, size_t length, const char *const *words, size_t count)
{
	size_t i = 0;

	while (i < count && (strlen(words[i]) != length || strncmp(word, words[i], length) != 0))
		i++;
	return i;
}

bool contract_parse(const char *text, struct contract *contract, bool *counted)
{
	while (*(text += strspn(text, " \n")) != '\0') {
		const size_t length = strcspn(text, " \n"), name = strcspn(text, "=");
		const char *const value = text + name + 1;
		const size_t value_length = name < length ? length - name - 1 : 0;
		const size_t choice = index_of(value, value_length, choices, 3);
		bool good = false;

		if (name == strlen("realloc_zero") && strncmp(text, "realloc_zero", name) == 0) {
			const size_t zero = index_of(value, value_length, zeros, 3);

			good = zero < 3;
			if (good)
				contract->realloc_zero = (enum realloc_zero)zero;
		} else if (name == strlen("os_calls") && strncmp(text, "os_calls", name) == 0) {
			good = choice < 3;
			*counted = choice == CONTRACT_YES;
		}
		for (size_t i = 0; i < FIELDS && !good; i++) {
			if (strlen(fields[i].name) != name || strncmp(text, fields[i].name, name) != 0 || choice >= 3)
				continue;
			*field_of(contract, i) = (enum contract_choice)choice;
			good = true;
		}
		if (!good)
			return false;
		text += length;
	}
	return true;
}
