/* Writes the standalone C file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"
#include "export_parts.h"
#include "subject.h"

/* What every file has: blocks, their contents, what has to hold of them. */
static const char runtime[] =
	"#if defined(__SANITIZE_ADDRESS__)\n"
	"#define POISON 1\n"
	"#elif defined(__has_feature)\n"
	"#if __has_feature(address_sanitizer)\n"
	"#define POISON 1\n"
	"#endif\n"
	"#endif\n"
	"#ifdef POISON /* the allocator has no business in live blocks: AddressSanitizer reports who has */\n"
	"void __asan_poison_memory_region(void const volatile *, size_t);\n"
	"void __asan_unpoison_memory_region(void const volatile *, size_t);\n"
	"#define CLOSE(p, n) __asan_poison_memory_region((p), (n))\n"
	"#define OPEN(p, n) __asan_unpoison_memory_region((p), (n))\n"
	"#else\n"
	"#define CLOSE(p, n) ((void)(p), (void)(n))\n"
	"#define OPEN(p, n) ((void)(p), (void)(n))\n"
	"#endif\n"
	"\n"
	"struct block {\n"
	"	unsigned char *p; /* NULL: not live */\n"
	"	size_t size;\n"
	"	unsigned seed;\n"
	"	const char *made;\n"
	"};\n"
	"\n"
	"static struct block blocks[BLOCKS + 1];\n"
	"static unsigned block_count;\n"
	"static const char *volatile now = \"start\";\n"
	"static int injected; /* calls that were made to fail */\n"
	"\n"
	"static void say(const char *text)\n"
	"{\n"
	"	if (write(1, text, strlen(text)) < 0)\n"
	"		_exit(3);\n"
	"}\n"
	"\n"
	"__attribute__((noreturn)) static void failed(const char *kind, const char *what)\n"
	"{\n"
	"	say(kind);\n"
	"	say(\": \");\n"
	"	say(what);\n"
	"	say(\" (at: \");\n"
	"	say(now);\n"
	"	say(\")\\n\");\n"
	"	_exit(1);\n"
	"}\n"
	"\n"
	"static void on_signal(int number)\n"
	"{\n"
	"	if (number == SIGALRM)\n"
	"		failed(\"stuck\", \"no progress for \" HANG_TEXT \" seconds\");\n"
	"	failed(number == SIGABRT ? \"abort\" : \"crash\", number == SIGABRT ? \"the allocator aborted\" : "
	"\"fatal signal\");\n"
	"}\n"
	"\n"
	"static unsigned char byte_at(const struct block *b, size_t i)\n"
	"{\n"
	"	return (unsigned char)(b->seed * 197 + i * 31 + (i >> 8) * 7 + 0x35);\n"
	"}\n"
	"\n"
	"static void fill(struct block *b)\n"
	"{\n"
	"	for (size_t i = 0; i < b->size; i++)\n"
	"		b->p[i] = byte_at(b, i);\n"
	"	CLOSE(b->p, b->size);\n"
	"}\n"
	"\n"
	"/* Holds it what was written? */\n"
	"static void verify(struct block *b, size_t size, const char *kind)\n"
	"{\n"
	"	for (size_t i = 0; i < size; i++)\n"
	"		if (b->p[i] != byte_at(b, i))\n"
	"			failed(kind, b->made);\n"
	"}\n"
	"\n"
	"enum { ZERO = 1, MUST_FAIL = 2, BAD_ALIGNMENT = 4 };\n"
	"\n"
	"/* Takes in what a call returned; errno is still its. */\n"
	"__attribute__((unused)) static struct block *took(void *p, size_t size, size_t alignment, int flags)\n"
	"{\n"
	"	const int error = errno;\n"
	"	struct block *b = &blocks[0];\n"
	"\n"
	"	if (p == NULL) {\n"
	"		if (size == 0 && !ZERO_IS_BLOCK && !(flags & (MUST_FAIL | BAD_ALIGNMENT)))\n"
	"			return NULL;\n"
	"		if (flags & BAD_ALIGNMENT ? error != EINVAL && error != ENOMEM : error != ENOMEM && error != "
	"EINVAL)\n"
	"			failed(\"contract\", \"NULL without the errno that is due\");\n"
	"		if (!(flags & (MUST_FAIL | BAD_ALIGNMENT)) && injected == 0 && size <= (size_t)64 << 20 && "
	"alignment <= (size_t)64 << 20)\n"
	"			failed(\"contract\", \"NULL though there is memory\");\n"
	"		return NULL;\n"
	"	}\n"
	"	if (flags & MUST_FAIL)\n"
	"		failed(\"contract\", \"a block for more bytes than any object can have\");\n"
	"	if (flags & BAD_ALIGNMENT)\n"
	"		failed(\"contract\", \"a block for an alignment that is none\");\n"
	"	if (alignment != 0 && (uintptr_t)p % alignment != 0)\n"
	"		failed(\"misaligned\", \"the block is not aligned\");\n"
	"	for (unsigned i = 1; i <= block_count; i++)\n"
	"		if (blocks[i].p != NULL && (unsigned char *)p < blocks[i].p + blocks[i].size &&\n"
	"		    blocks[i].p < (unsigned char *)p + size)\n"
	"			failed(\"overlap\", blocks[i].made);\n"
	"		else if (blocks[i].p == p && ZERO_IS_BLOCK)\n"
	"			failed(\"overlap\", blocks[i].made);\n"
	"		else if (blocks[i].p == NULL && b == &blocks[0])\n"
	"			b = &blocks[i];\n"
	"	if (b == &blocks[0])\n"
	"		b = &blocks[++block_count];\n"
	"	if (flags & ZERO)\n"
	"		for (size_t i = 0; i < size; i++)\n"
	"			if (((unsigned char *)p)[i] != 0)\n"
	"				failed(\"not-zeroed\", \"a byte of calloc's memory is not 0\");\n"
	"	*b = (struct block){p, size, 0, now};\n"
	"	b->seed = (unsigned)(uintptr_t)b->p * 2654435761u + (unsigned)(b - blocks) * 40503u + ++serial;\n"
	"	fill(b);\n"
	"	return b;\n"
	"}\n"
	"\n"
	"/* Gives a block back to the allocator: free or realloc may have it. */\n"
	"__attribute__((unused)) static void *give(struct block **name)\n"
	"{\n"
	"	struct block *b = *name;\n"
	"	void *p;\n"
	"\n"
	"	*name = NULL;\n"
	"	if (b == NULL)\n"
	"		return NULL;\n"
	"	OPEN(b->p, b->size);\n"
	"	verify(b, b->size, \"corruption\");\n"
	"	p = b->p;\n"
	"	b->p = NULL;\n"
	"	return p;\n"
	"}\n"
	"\n"
	"__attribute__((unused)) static void touch(struct block *b)\n"
	"{\n"
	"	if (b == NULL)\n"
	"		return;\n"
	"	OPEN(b->p, b->size);\n"
	"	verify(b, b->size, \"corruption\");\n"
	"	b->seed = ++serial * 77;\n"
	"	fill(b);\n"
	"}\n"
	"\n";

static const char resize_runtime[] =
	"/* What realloc has returned for a block that was given: the smaller of the sizes is kept, or all if there is "
	"none. */\n"
	"static struct block *resized(struct block *old, struct block before, void *p, size_t size, int flags)\n"
	"{\n"
	"	const int error = errno;\n"
	"\n"
	"	if (p == NULL) {\n"
	"		if (size == 0 && !(flags & MUST_FAIL))\n"
	"			return NULL; /* freed */\n"
	"		verify(&before, before.size, \"realloc-lost\");\n"
	"		*old = before;\n"
	"		CLOSE(old->p, old->size);\n"
	"		errno = error;\n"
	"		took(NULL, size, 0, flags);\n"
	"		return old;\n"
	"	}\n"
	"	before.p = p;\n"
	"	if (!(flags & MUST_FAIL))\n"
	"		verify(&before, before.size < size ? before.size : size, \"realloc-lost\");\n"
	"	return took(p, size, 16 > size ? 0 : 16, flags);\n"
	"}\n"
	"\n"
	"#define RESIZE(result, name, call, size, flags)                                                     \\\n"
	"	do {                                                                                        \\\n"
	"		struct block *const old = name, before = old != NULL ? *old : blocks[0];            \\\n"
	"		void *const given = give(&name);                                                    \\\n"
	"		errno = 0;                                                                          \\\n"
	"		void *const p = call;                                                               \\\n"
	"		if (old == NULL) {                                                                  \\\n"
	"			result = took(p, size, 0, flags);                                           \\\n"
	"		} else {                                                                            \\\n"
	"			struct block *const now_there = resized(old, before, p, size, flags);       \\\n"
	"			if (now_there == old && p == NULL)                                          \\\n"
	"				name = old;                                                         \\\n"
	"			else                                                                        \\\n"
	"				result = now_there;                                                 \\\n"
	"		}                                                                                   \\\n"
	"	} while (0)\n"
	"\n";

static const char usable_runtime[] = "static void usable(struct block *b)\n"
				     "{\n"
				     "	if (b == NULL) {\n"
				     "		if (A(malloc_usable_size)(NULL) != 0)\n"
				     "			failed(\"contract\", \"malloc_usable_size(NULL) is not 0\");\n"
				     "		return;\n"
				     "	}\n"
				     "	const size_t size = A(malloc_usable_size)(b->p);\n"
				     "\n"
				     "	if (size < b->size)\n"
				     "		failed(\"undersized\", b->made);\n"
				     "#if USABLE_IS_WRITABLE\n"
				     "	for (unsigned i = 1; i <= block_count; i++)\n"
				     "		if (&blocks[i] != b && blocks[i].p != NULL && b->p < blocks[i].p + "
				     "blocks[i].size && blocks[i].p < b->p + size)\n"
				     "			failed(\"overlap\", blocks[i].made);\n"
				     "	OPEN(b->p, b->size);\n"
				     "	verify(b, b->size, \"corruption\");\n"
				     "	b->size = size;\n"
				     "	fill(b);\n"
				     "#endif\n"
				     "}\n"
				     "\n";

static const char fork_runtime[] = "/* The child of a fork can allocate and free. */\n"
				   "static void in_child(void)\n"
				   "{\n"
				   "	void *p[16];\n"
				   "	int status;\n"
				   "	const pid_t child = fork();\n"
				   "\n"
				   "	if (child == 0) {\n"
				   "		signal(SIGALRM, SIG_DFL);\n"
				   "		alarm(5);\n"
				   "		for (int i = 0; i < 16; i++) {\n"
				   "			p[i] = A(malloc)((size_t)24 << i);\n"
				   "			if (p[i] == NULL)\n"
				   "				_exit(10);\n"
				   "			*(volatile char *)p[i] = 1;\n"
				   "		}\n"
				   "		for (unsigned i = 1; i <= block_count; i++)\n"
				   "			if (blocks[i].p != NULL) {\n"
				   "				OPEN(blocks[i].p, blocks[i].size);\n"
				   "				A(free)(blocks[i].p);\n"
				   "				break;\n"
				   "			}\n"
				   "		for (int i = 0; i < 16; i++)\n"
				   "			A(free)(p[i]);\n"
				   "		_exit(0);\n"
				   "	}\n"
				   "	if (child > 0 && (waitpid(child, &status, 0) != child || !WIFEXITED(status) || "
				   "WEXITSTATUS(status) != 0))\n"
				   "		failed(\"fork\", \"the child hangs or dies in the allocator\");\n"
				   "}\n"
				   "\n";

/* In place of the C library's: the kernel's call, but for those that are to fail. */
static const char fault_runtime[] =
	"static unsigned long mappings; /* calls so far */\n"
	"\n"
	"static int refused(void)\n"
	"{\n"
	"	mappings++;\n"
	"	for (unsigned i = 0; in_program && i < sizeof faults / sizeof faults[0]; i++)\n"
	"		if (faults[i] == mappings) {\n"
	"			injected++;\n"
	"			errno = ENOMEM;\n"
	"			return 1;\n"
	"		}\n"
	"	return 0;\n"
	"}\n"
	"\n"
	"void *mmap(void *p, size_t size, int protection, int flags, int fd, off_t offset)\n"
	"{\n"
	"	return refused() ? MAP_FAILED : (void *)syscall(SYS_mmap, p, size, protection, flags, fd, offset);\n"
	"}\n"
	"\n"
	"void *mremap(void *p, size_t old_size, size_t size, int flags, ...)\n"
	"{\n"
	"	va_list more;\n"
	"	void *to;\n"
	"\n"
	"	va_start(more, flags);\n"
	"	to = flags & 2 ? va_arg(more, void *) : NULL;\n"
	"	va_end(more);\n"
	"	return refused() ? MAP_FAILED : (void *)syscall(SYS_mremap, p, old_size, size, flags, to);\n"
	"}\n"
	"\n"
	"int madvise(void *p, size_t size, int advice)\n"
	"{\n"
	"	return refused() ? -1 : (int)syscall(SYS_madvise, p, size, advice);\n"
	"}\n"
	"\n"
	"int mprotect(void *p, size_t size, int protection)\n"
	"{\n"
	"	return refused() ? -1 : (int)syscall(SYS_mprotect, p, size, protection);\n"
	"}\n"
	"\n";

static const char walk_runtime[] =
	"/* A region of the heap, as the allocator's walk reports it (allocator.h). */\n"
	"enum { LIVE, CACHED, FREE, META };\n"
	"struct region {\n"
	"	const void *start;\n"
	"	size_t size;\n"
	"	int kind;\n"
	"	const void *payload, *arena;\n"
	"	size_t arena_size;\n"
	"};\n"
	"bool A(walk)(bool (*visit)(const struct region *, void *), void *);\n"
	"static unsigned regions_live, last_kind;\n"
	"static const void *last_arena;\n"
	"static int quiet;\n"
	"\n"
	"static bool visit(const struct region *r, void *context)\n"
	"{\n"
	"	(void)context;\n"
	"	if (r->arena != last_arena)\n"
	"		last_kind = META;\n"
	"	if (r->size == 0)\n"
	"		failed(\"lost-memory\", \"a region of the heap has no bytes\");\n"
	"	if (r->kind == FREE && last_kind == FREE)\n"
	"		failed(\"uncoalesced\", \"two neighbouring regions of the heap are free\");\n"
	"	if (r->kind == CACHED && quiet)\n"
	"		failed(\"uncoalesced\", \"a freed block is kept apart after the caches were brought home\");\n"
	"	last_arena = r->arena;\n"
	"	last_kind = (unsigned)r->kind;\n"
	"	if (r->kind == LIVE) {\n"
	"		regions_live++;\n"
	"		for (unsigned i = 1; i <= block_count; i++)\n"
	"			if (blocks[i].p == r->payload)\n"
	"				return true;\n"
	"		failed(\"lost-memory\", \"the heap holds a live region that belongs to no live block\");\n"
	"	}\n"
	"	return true;\n"
	"}\n"
	"\n"
	"static void look(void)\n"
	"{\n"
	"	unsigned live = 0;\n"
	"\n"
	"	for (unsigned i = 1; i <= block_count; i++)\n"
	"		live += blocks[i].p != NULL;\n"
	"	regions_live = 0;\n"
	"	last_arena = NULL;\n"
	"	A(walk)(visit, NULL);\n"
	"	if (regions_live < live)\n"
	"		failed(\"lost-memory\", \"the heap does not hold a live block as live\");\n"
	"}\n"
	"\n";

/* For threads that stop in the middle of calls. */
__asm__(".pushsection .rodata\n"
	"points_runtime:\n"
	".incbin \"" POINTS_RUNTIME "\"\n"
	".byte 0\n"
	".popsection\n");
extern const char points_runtime[];

static bool has_kind(const struct program *program, unsigned kinds)
{
	for (size_t t = 0; t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++)
			if (kinds & 1u << program->threads[t].ops[i].kind)
				return true;
	return false;
}

const char *export_name_of(uint32_t label, char *name)
{
	/* Names of C and of this file are none of a block. */
	if (label == LABEL_NULL)
		return "none";
	label_name(label, name + 2);
	memcpy(name, "b_", 2);
	return name;
}

static bool is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

bool export_names_thread(const struct program *program, const struct op *op)
{
	return op->thread != 0 && op->thread < program->thread_count;
}

void export_begin_thread(FILE *file, size_t thread)
{
	if (thread == 0)
		fprintf(file, "static void run_main(void)\n{\n");
	else
		fprintf(file, "static void *thread_%zu(void *unused)\n{\n", thread);
}

void export_end_thread(FILE *file, size_t thread)
{
	fprintf(file, thread == 0 ? "}\n\n" : "	return unused;\n}\n\n");
}

static void write_op(FILE *file, const struct program *program, const struct op *op, const struct allocator *hooks)
{
	char text[160], one[16], two[16];
	const char *result = NULL, *block = NULL;
	uint64_t total = op->size;
	bool overflow = false;
	const struct contract *const contract = hooks != NULL ? &hooks->contract : NULL;
	const char *flags;

	op_print(op, text, sizeof text);
	fprintf(file, "	now = \"%s\";\n", text);
	if (op_makes_block(op->kind))
		result = export_name_of(op->result, one);
	if (op_takes_block(op->kind))
		block = export_name_of(op->block, two);
	if (op->kind == OP_CALLOC || op->kind == OP_REALLOCARRAY)
		overflow = __builtin_mul_overflow(op->count, op->size, &total);
	flags = overflow || total > PTRDIFF_MAX ? "MUST_FAIL" : "0";
	switch ((enum op_kind)op->kind) {
	case OP_MALLOC:
		fprintf(file,
			"	errno = 0;\n	%s = took(A(malloc)(%" PRIu64 "u), %" PRIu64 "u, NATURAL(%" PRIu64
			"u), %s);\n",
			result, op->size, op->size, op->size, flags);
		break;
	case OP_CALLOC:
		fprintf(file,
			"	errno = 0;\n	%s = took(A(calloc)(%" PRIu64 "u, %" PRIu64 "u), %" PRIu64
			"u, NATURAL(%" PRIu64 "u), ZERO | %s);\n",
			result, op->count, op->size, total, total, flags);
		break;
	case OP_REALLOC:
		fprintf(file, "	RESIZE(%s, %s, A(realloc)(given, %" PRIu64 "u), %" PRIu64 "u, %s);\n", result, block,
			op->size, op->size, flags);
		break;
	case OP_REALLOCARRAY:
		fprintf(file,
			"	RESIZE(%s, %s, A(reallocarray)(given, %" PRIu64 "u, %" PRIu64 "u), %" PRIu64
			"u, %s);\n",
			result, block, op->count, op->size, total, flags);
		break;
	case OP_FREE:
		fprintf(file, "	FREE_BLOCK(%s);\n", block);
		break;
	case OP_ALIGNED_ALLOC:
	case OP_MEMALIGN:
		if (!is_power_of_two(op->alignment) && contract != NULL &&
		    contract->bad_alignment_fails != CONTRACT_YES)
			break;
		if (!is_power_of_two(op->alignment))
			flags = "BAD_ALIGNMENT";
		fprintf(file,
			"	errno = 0;\n	%s = took(A(%s)(%" PRIu64 "u, %" PRIu64 "u), %" PRIu64 "u, %" PRIu64
			"u, %s);\n",
			result, op_kind_name(op->kind), op->alignment, op->size, op->size,
			is_power_of_two(op->alignment) ? op->alignment : 0, flags);
		break;
	case OP_POSIX_MEMALIGN:
		if (!is_power_of_two(op->alignment) || op->alignment % sizeof(void *) != 0)
			flags = "BAD_ALIGNMENT";
		fprintf(file,
			"	{\n		void *p = &blocks;\n		const int error = "
			"A(posix_memalign)(&p, %" PRIu64 "u, %" PRIu64
			"u);\n\n		if (error == 0 && p == &blocks)\n			"
			"failed(\"contract\", \"posix_memalign stored no pointer\");\n"
			"		errno = error;\n		%s = took(error == 0 ? p : NULL, %" PRIu64
			"u, %" PRIu64 "u, %s);\n	}\n",
			op->alignment, op->size, result, op->size, is_power_of_two(op->alignment) ? op->alignment : 0,
			flags);
		break;
	case OP_USABLE_SIZE:
		fprintf(file, "	usable(%s);\n", block);
		break;
	case OP_TRIM:
		fprintf(file, "	A(malloc_trim)(%" PRIu64 "u);\n", op->size);
		break;
	case OP_TOUCH:
		fprintf(file, "	touch(%s);\n", block);
		break;
	case OP_SPAWN:
		if (export_names_thread(program, op))
			fprintf(file, "	spawn(%" PRIu64 ", thread_%" PRIu64 ");\n", op->thread, op->thread);
		break;
	case OP_FORK:
		fprintf(file, "	in_child();\n");
		break;
	default:
		break; /* exit, join, signal, wait: the turns have their order */
	}
}

/* The thread's operations, each after a point of its own. */
static void write_stepping_thread(FILE *file, const struct program *program, size_t thread,
				  const struct allocator *hooks)
{
	const struct thread_program *const code = &program->threads[thread];

	export_begin_thread(file, thread);
	for (size_t i = 0; i < code->count; i++) {
		const struct op *const op = &code->ops[i];

		fprintf(file, "	step();\n");
		write_op(file, program, op, hooks);
		if (op->kind == OP_JOIN && export_names_thread(program, op))
			fprintf(file, "	join(%" PRIu64 ");\n", op->thread);
		else if (op->kind == OP_WAIT)
			fprintf(file, "	wait_event(%" PRIu64 ");\n", op->event);
		else if (op->kind == OP_SIGNAL)
			fprintf(file, "	signal_event(%" PRIu64 ");\n", op->event);
		else if (op->kind == OP_EXIT && thread != 0)
			break;
	}
	export_end_thread(file, thread);
}

/* What the threads of EXPORT_POINTS take from the program. */
static void write_points(const struct export_request *request, FILE *file)
{
	const struct program *const program = request->program;
	size_t ops = 0;

	for (size_t t = 0; t < program->thread_count; t++)
		ops = program->threads[t].count > ops ? program->threads[t].count : ops;
	fprintf(file,
		"#define THREADS %zu\n#define OPS %zu /* of a thread */\n#define EVENTS %zu\n#define FAULTS "
		"%d\n#define WANTED \"%s\"\n#define RACE "
		"%d\n#define SECONDS %d\n/* Each: in its operation number OP, at its point number POINT, THREAD stops "
		"and TARGET "
		"goes on. */\n#define GIVEN ",
		program->thread_count, ops, program_event_limit(program), program->fault_count > 0,
		verdict_name(request->verdict->kind), request->verdict->kind == VERDICT_RACE, REPRO_SECONDS);
	for (size_t i = 0; i < request->stop_count; i++)
		fprintf(file, "{%u, %u, %u, %u}, ", request->stops[i].thread, request->stops[i].op,
			request->stops[i].point, request->stops[i].target);
	fprintf(file, "\n\n");
	fputs(points_runtime, file);
}

/* The thread's stretches, each when it is its turn. */
static void write_thread(FILE *file, const struct program *program, size_t thread, const struct export_order *order,
			 const struct allocator *hooks)
{
	const bool many = order->count > 1;

	export_begin_thread(file, thread);
	for (size_t s = 0; s < order->count; s++) {
		const struct stretch *const stretch = &order->stretches[s];

		if (stretch->thread != thread)
			continue;
		if (many)
			fprintf(file, "	turn(%zu);\n", s);
		if (s > 0 && order->stretches[s - 1].ends && order->stretches[s - 1].thread != 0)
			fprintf(file, "	pthread_join(threads[%u], NULL); /* its destructors have run */\n",
				order->stretches[s - 1].thread);
		for (size_t i = stretch->first; i < stretch->last; i++)
			write_op(file, program, &program->threads[thread].ops[i], hooks);
		if (many)
			fprintf(file, "	pass(%zu);\n", s + 1);
	}
	export_end_thread(file, thread);
}

void export_write_head(const struct export_request *request, FILE *file)
{
	const struct verdict *const verdict = request->verdict;
	const struct export_allocator *const allocator = request->allocator;

	fprintf(file, "// %s in %s.\n//\n// Compile and run:\n//\n", verdict_name(verdict->kind), allocator->name);
	if (request->form == EXPORT_POINTS)
		fprintf(file,
			"//     clang -g -O1 -fsanitize=thread -fno-sanitize-link-runtime -r -nostdlib -o allocator.o "
			"%s\n"
			"//     clang -g -O1 -o repro repro.c allocator.o -pthread\n"
			"//     ./repro\n//\n// (gcc: without -fno-sanitize-link-runtime.) ThreadSanitizer itself is "
			"not used: only the "
			"compiler's calls at each access to memory.\n//\n",
			allocator->words);
	else
		fprintf(file, "//     cc -g -O1%s -o repro repro.c %s -pthread\n//     ./repro\n//\n",
			export_flags(request), allocator->words);
	if (allocator->prefix[0] != '\0' || allocator->suffix[0] != '\0')
		fprintf(file,
			"// The functions under test are called %smalloc%s and so on: -D'A(name)=...' calls others, "
			"for example\n"
			"// -D'A(name)=name' those of the C library, or of what LD_PRELOAD puts in their place.\n//\n",
			allocator->prefix, allocator->suffix);
	else
		fprintf(file, "// An allocator under the names of the C library is also tried with "
			      "LD_PRELOAD=./library.so ./repro\n//\n");
	if (request->form == EXPORT_POINTS)
		fprintf(file,
			"// The failure needs that a thread is stopped in the middle of a call. One thread runs at a "
			"time, and at "
			"the accesses to\n// memory and locks that GIVEN names it waits on a semaphore while another "
			"one goes on. "
			"Compiled in another way the calls\n// may have other points: then those around are tried, for "
			"up to "
			"%d seconds of processor time.\n//\n",
			REPRO_SECONDS);
	if (request->form == EXPORT_LOOP)
		fprintf(file,
			"// The failure is an order that the allocator does not make, so no order of the threads shows "
			"it by "
			"itself: they run freely,\n// again and again for up to %d seconds in processes of their own, "
			"until "
			"ThreadSanitizer sees it.\n//\n",
			REPRO_SECONDS);
	if (request->tried > 0)
		fprintf(file, "// Before it was handed over it was run %u times, and failed %u times.\n//\n",
			request->tried, request->failed);
	if (request->happens != NULL)
		fprintf(file, "// What happens (exit status 1):\n//\n//     %s\n//\n", request->happens);
	fprintf(file, "// heapstorm said: %s\n//\n// What should have happened (no output, exit status 0): %s.\n",
		verdict->message, verdict_meaning(verdict->kind));
}

const char *export_flags(const struct export_request *request)
{
	static const char *const flags[] = {
		[EXPORT_TURNS] = "",
		[EXPORT_TURNS_ASAN] = " -fsanitize=address",
		[EXPORT_POINTS] = " -fsanitize=thread",
		[EXPORT_LOOP] = " -fsanitize=thread",
	};

	return flags[request->form];
}

void export_write_includes(const struct export_request *request, FILE *file)
{
	const struct export_allocator *const allocator = request->allocator;

	fprintf(file, "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n#include <limits.h>\n#include "
		      "<pthread.h>\n#include <semaphore.h>\n#include "
		      "<signal.h>\n"
		      "#include <stdarg.h>\n#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include "
		      "<stdio.h>\n#include <stdlib.h>\n"
		      "#include <malloc.h>\n"
		      "#include <sched.h>\n#include <stdatomic.h>\n#include <time.h>\n#include <string.h>\n#include "
		      "<sys/mman.h>\n#include <sys/resource.h>\n#include "
		      "<sys/syscall.h>\n#include <sys/types.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\n");
	fprintf(file, "#ifndef A\n#define A(name) %s%sname%s%s\n#endif\n", allocator->prefix,
		allocator->prefix[0] != '\0' ? "##" : "", allocator->suffix[0] != '\0' ? "##" : "", allocator->suffix);
	fprintf(file, "void *A(malloc)(size_t);\nvoid A(free)(void *);\nvoid *A(calloc)(size_t, size_t);\nvoid "
		      "*A(realloc)(void *, size_t);\n"
		      "void *A(reallocarray)(void *, size_t, size_t);\nvoid *A(aligned_alloc)(size_t, size_t);\n"
		      "int A(posix_memalign)(void **, size_t, size_t);\nvoid *A(memalign)(size_t, size_t);\n"
		      "size_t A(malloc_usable_size)(void *);\nint A(malloc_trim)(size_t);\n\n");
}

static void write_checks(const struct export_request *request, FILE *file, bool walk, bool invariant)
{
	const struct program *const program = request->program;
	const struct allocator *const hooks = request->allocator->hooks;

	if (has_kind(program, 1u << OP_FORK))
		fputs(fork_runtime, file);
	/* Brings cached blocks home, where there are such. */
	if ((walk || invariant) && hooks->quiesce != NULL)
		fprintf(file, "void A(quiesce)(void);\n#define QUIESCE() A(quiesce)()\n\n");
	else if (walk || invariant)
		fprintf(file, "#define QUIESCE() ((void)0)\n\n");
	if (walk)
		fputs(walk_runtime, file);
	if (invariant)
		fprintf(file, "bool A(check)(char *, size_t);\n\n");
}

uint8_t *export_used_labels(const struct program *program)
{
	uint8_t *const used = calloc(program_label_limit(program) + 1, 1);

	for (size_t t = 0; used != NULL && t < program->thread_count; t++)
		for (size_t i = 0; i < program->threads[t].count; i++) {
			const struct op *const op = &program->threads[t].ops[i];

			if (op_makes_block(op->kind) && op->result != LABEL_NULL)
				used[op->result] = 1;
			if (op_takes_block(op->kind) && op->block != LABEL_NULL)
				used[op->block] = 1;
		}
	return used;
}

bool export_write_c(const struct export_request *request, FILE *file)
{
	const struct program *const program = request->program;
	const struct export_allocator *const allocator = request->allocator;
	const struct allocator *const hooks = allocator->hooks;
	const bool white = hooks != NULL && (allocator->prefix[0] != '\0' || allocator->suffix[0] != '\0');
	const enum verdict_kind kind = request->verdict->kind;
	const bool invariant = white && hooks->check != NULL && kind == VERDICT_INVARIANT;
	const bool walk = white && hooks->walk != NULL && (kind == VERDICT_LOST_MEMORY || kind == VERDICT_UNCOALESCED);
	const bool grows = kind == VERDICT_UNRECLAIMED;
	const bool points = request->form == EXPORT_POINTS;
	const uint32_t labels = program_label_limit(program);
	uint8_t *const used = export_used_labels(program);
	struct export_order order;

	if (used == NULL)
		return false;
	if (request->turns != NULL)
		export_order_copy(request->turns, &order);
	else
		export_order(program, &order);
	export_write_head(request, file);
	export_write_includes(request, file);
	fprintf(file,
		"#define BLOCKS %zu\n#define ROUNDS %d\n#define ORDER %u\n#define HANG_SECONDS 5\n#define HANG_TEXT "
		"\"10\"\n",
		program_op_count(program) + 1,
		grows                         ? 200
		: kind == VERDICT_UNCOALESCED ? 3
					      : 1,
		request->order);
	fprintf(file, "#define ZERO_IS_BLOCK %d\n#define USABLE_IS_WRITABLE %d\n#define FREE_KEEPS_ERRNO %d\n",
		hooks != NULL && hooks->contract.malloc_zero_is_block == CONTRACT_YES,
		hooks != NULL && hooks->contract.usable_is_writable == CONTRACT_YES,
		hooks != NULL && hooks->contract.free_keeps_errno == CONTRACT_YES);
	fprintf(file, "#define NATURAL(size) ((size) >= 16 ? 16 : %zu)\n\nstatic unsigned serial;\n",
		hooks != NULL ? hooks->contract.small_alignment : (size_t)0);
	fputs(runtime, file);
	fprintf(file, "#if FREE_KEEPS_ERRNO\n#define FREE_BLOCK(name) \\\n	do { \\\n		void *const "
		      "given = give(&name); \\\n		errno = 4095; \\\n"
		      "		A(free)(given); \\\n		if (errno != 4095) \\\n			"
		      "failed(\"contract\", \"free changes errno\"); \\\n	} while (0)\n"
		      "#else\n#define FREE_BLOCK(name) A(free)(give(&name))\n#endif\n\n");
	if (has_kind(program, 1u << OP_REALLOC | 1u << OP_REALLOCARRAY))
		fputs(resize_runtime, file);
	if (has_kind(program, 1u << OP_USABLE_SIZE))
		fputs(usable_runtime, file);
	write_checks(request, file, walk, invariant);
	if (program->fault_count > 0) {
		fprintf(file, "static int in_program;\nstatic const unsigned long faults[] = {");
		for (size_t i = 0; i < program->fault_count; i++)
			fprintf(file, "%s%" PRIu64, i > 0 ? ", " : "", program->faults[i]);
		fprintf(file, "}; /* mapping calls that fail, counted from 1 */\n");
		fputs(fault_runtime, file);
	}
	if (grows)
		fprintf(file, "/* Kilobytes of address space. */\nstatic unsigned long mapped(void)\n{\n	"
			      "unsigned long pages = 0;\n	FILE *const f = fopen(\"/proc/self/statm\", \"r\");\n\n"
			      "	if (f == NULL || fscanf(f, \"%%lu\", &pages) != 1)\n		_exit(3);\n	"
			      "fclose(f);\n	return pages * 4;\n}\n\n");
	fprintf(file, "static struct block *none __attribute__((unused)); /* NULL */\n");
	for (uint32_t label = 0; label < labels; label++) {
		char name[16];

		if (used[label])
			fprintf(file, "static struct block *%s;\n", export_name_of(label, name));
	}
	fprintf(file, "\n");
	if (points) {
		write_points(request, file);
	} else if (order.count > 1) {
		fprintf(file,
			"/* One thread runs at a time, in the order that shows the failure. */\n#define TURNS "
			"%zu\nstatic sem_t turns[TURNS + 1];\nstatic int round_now;\nstatic pthread_t "
			"threads[%zu];\n\n",
			order.count, program->thread_count);
		fprintf(file,
			"static void turn(unsigned n)\n{\n	while (sem_wait(&turns[n]) != 0)\n		"
			";\n}\n\n"
			"static void pass(unsigned n)\n{\n	sem_post(&turns[n]);\n}\n\n"
			"__attribute__((unused)) static void spawn(unsigned n, void *(*run)(void *))\n{\n	static "
			"int started[%zu];\n\n	if (started[n] > round_now)\n		return;\n	started[n] = "
			"round_now + 1;\n	if (pthread_create(&threads[n], NULL, run, NULL) != 0)\n	"
			"	_exit(3);\n}\n\n",
			program->thread_count);
	} else {
		fprintf(file, "#define spawn(n, run) ((void)0)\n");
	}
	for (size_t t = program->thread_count; (points || order.count > 1) && t-- > 1;)
		fprintf(file, "static void *thread_%zu(void *unused);\n", t);
	for (size_t t = program->thread_count; t-- > 0;)
		if (points)
			write_stepping_thread(file, program, t, hooks);
		else if (t == 0 || order.count > 1)
			write_thread(file, program, t, &order, hooks);
	fprintf(file,
		"/* What is left, in one of the orders that heaps like or do not. */\nstatic void "
		"free_all(void)\n{\n	const unsigned n = block_count;\n\n	now = \"the end of the program\";\n"
		"	for (unsigned step = 1; step <= n; step++) {\n		unsigned i = step;\n\n		if "
		"(ORDER == 1)\n			i = n + 1 - step;\n"
		"		if (ORDER == 2)\n			i = 2 * step - 1 <= n ? 2 * step - 1 : 2 * "
		"(step - (n + 1) / 2);\n"
		"		if (ORDER == 3)\n			i = 2 * step <= n ? 2 * step : 2 * (step - n / "
		"2) - 1;\n"
		"		if (blocks[i].p != NULL) {\n			struct block *b = "
		"&blocks[i];\n\n			FREE_BLOCK(b);\n		}\n	}\n	block_count = "
		"0;\n}\n\n");
	fprintf(file,
		"%s(void)\n{\n	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, "
		"SIGALRM};\n%s\n	for (unsigned i = 0; i < 6; i++)\n		signal(signals[i], "
		"on_signal);\n",
		points ? "static int program" : "int main", grows ? "	unsigned long before = 0;\n" : "");
	fprintf(file, "	for (int round = 0; round < ROUNDS; round++) {\n		alarm(HANG_SECONDS);\n");
	if (points)
		fprintf(file, "		begin_round();\n");
	else if (order.count > 1)
		fprintf(file, "		round_now = round;\n		for (unsigned i = 0; i <= TURNS; i++)\n	"
			      "		sem_init(&turns[i], 0, i == 0);\n");
	for (uint32_t label = 0; label < labels; label++) {
		char name[16];

		if (used[label])
			fprintf(file, "		%s = NULL;\n", export_name_of(label, name));
	}
	if (program->fault_count > 0)
		fprintf(file, "		mappings = 0;\n		in_program = 1;\n");
	fprintf(file, "		run_main();\n%s", points ? "		end_round();\n" : "");
	if (invariant)
		fprintf(file, "		now = \"the end of the program\";\n		char why[256] = "
			      "\"\";\n\n		if (!A(check)(why, sizeof why))\n			"
			      "failed(\"invariant\", why);\n");
	if (walk)
		fprintf(file, "		now = \"the end of the program\";\n		look();\n%s",
			kind == VERDICT_UNCOALESCED ? "		if (round == 1) {\n			"
						      "QUIESCE();\n			quiet = 1;\n		"
						      "	look();\n			quiet = 0;\n		}\n"
						    : "");
	fprintf(file, "		free_all();\n");
	if (invariant)
		fprintf(file, "		QUIESCE();\n		if (!A(check)(why, sizeof why))\n		"
			      "	failed(\"invariant\", why);\n");
	if (walk)
		fprintf(file, "		QUIESCE();\n		quiet = 1;\n		look();\n		quiet "
			      "= 0;\n");
	if (grows)
		fprintf(file, "		now = \"the end of a round\";\n		if (round == ROUNDS / 2)\n	"
			      "		before = mapped();\n");
	fprintf(file, "	}\n");
	if (grows)
		fprintf(file, "	if (mapped() > before + ROUNDS)\n		failed(\"unreclaimed\", \"with "
			      "everything freed, more is mapped from round to round\");\n");
	fprintf(file, "	return 0;\n}\n");
	free(order.stretches);
	free(used);
	return ferror(file) == 0;
}
