/*
 * Standalone C for a race that is none of two accesses at the same time, but a missing order of memory: threads run freely under ThreadSanitizer, again and
 * again in fresh processes until it reports it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "export.h"
#include "export_parts.h"

/* The part that is the same in each file. */
__asm__(".pushsection .rodata\n"
	"loop_runtime:\n"
	".incbin \"" LOOP_RUNTIME "\"\n"
	".byte 0\n"
	".popsection\n");
extern const char loop_runtime[];

/* The calls alone: what they return is looked at by nobody but ThreadSanitizer. */
static void write_op(FILE *file, const struct program *program, const struct op *op)
{
	char one[16], two[16];
	const char *const result = op_makes_block(op->kind) ? export_name_of(op->result, one) : "";
	const char *const block = op_takes_block(op->kind) ? export_name_of(op->block, two) : "";

	switch ((enum op_kind)op->kind) {
	case OP_MALLOC:
		fprintf(file, "	keep(&%s, A(malloc)(%" PRIu64 "u));\n", result, op->size);
		break;
	case OP_CALLOC:
		fprintf(file, "	keep(&%s, A(calloc)(%" PRIu64 "u, %" PRIu64 "u));\n", result, op->count, op->size);
		break;
	case OP_REALLOC:
	case OP_REALLOCARRAY:
		fprintf(file,
			"	{\n		void *const old = atomic_exchange(&%s, NULL);\n		void *const p "
			"= A(%s)(old, ",
			block, op_kind_name(op->kind));
		if (op->kind == OP_REALLOCARRAY)
			fprintf(file, "%" PRIu64 "u, ", op->count);
		fprintf(file,
			"%" PRIu64 "u);\n\n		if (p != NULL)\n			keep(&%s, p);\n	"
			"	else if (%d)\n"
			"			keep(&%s, old);\n	}\n",
			op->size, result, op->size != 0, block);
		break;
	case OP_FREE:
		fprintf(file, "	A(free)(atomic_exchange(&%s, NULL));\n", block);
		break;
	case OP_ALIGNED_ALLOC:
	case OP_MEMALIGN:
		fprintf(file, "	keep(&%s, A(%s)(%" PRIu64 "u, %" PRIu64 "u));\n", result, op_kind_name(op->kind),
			op->alignment, op->size);
		break;
	case OP_POSIX_MEMALIGN:
		fprintf(file,
			"	{\n		void *p = NULL;\n\n		if (A(posix_memalign)(&p, %" PRIu64
			"u, %" PRIu64 "u) == 0)\n			keep(&%s, p);\n	}\n",
			op->alignment, op->size, result);
		break;
	case OP_TRIM:
		fprintf(file, "	A(malloc_trim)(%" PRIu64 "u);\n", op->size);
		break;
	case OP_USABLE_SIZE:
	case OP_TOUCH:
		fprintf(file,
			"	{\n		void *const p = atomic_exchange(&%s, NULL);\n\n		if (p != NULL) "
			"{\n",
			block);
		if (op->kind == OP_USABLE_SIZE)
			fprintf(file, "			A(malloc_usable_size)(p);\n");
		fprintf(file, "			keep(&%s, p);\n		}\n	}\n", block);
		break;
	case OP_SPAWN:
		if (export_names_thread(program, op))
			fprintf(file, "	spawn(%" PRIu64 ", thread_%" PRIu64 ");\n", op->thread, op->thread);
		break;
	case OP_JOIN:
		if (export_names_thread(program, op))
			fprintf(file, "	__atomic_store_n(&go, 1, __ATOMIC_RELAXED);\n	join(%" PRIu64 ");\n",
				op->thread);
		break;
	case OP_WAIT:
		fprintf(file, "	__atomic_store_n(&go, 1, __ATOMIC_RELAXED);\n	await(%" PRIu64 ");\n", op->event);
		break;
	case OP_SIGNAL:
		fprintf(file, "	sem_post(&events[%" PRIu64 "]);\n", op->event);
		break;
	case OP_FORK:
		fprintf(file, "	in_child();\n");
		break;
	default:
		break;
	}
}

static void write_thread(FILE *file, const struct program *program, size_t thread)
{
	const struct thread_program *const code = &program->threads[thread];
	size_t spawns = 0;

	export_begin_thread(file, thread);
	if (thread != 0)
		fprintf(file, "	begin(%zu);\n", thread);
	for (size_t i = 0; i < code->count; i++)
		if (code->ops[i].kind == OP_SPAWN)
			spawns = i + 1;
	for (size_t i = 0; i < code->count && (thread == 0 || code->ops[i].kind != OP_EXIT); i++) {
		if (i > 0 && i >= spawns)
			fprintf(file, "	jitter();\n");
		write_op(file, program, &code->ops[i]);
		if (thread == 0 && i + 1 == spawns)
			fprintf(file, "	__atomic_store_n(&go, 1, __ATOMIC_RELAXED);\n	begin(0);\n");
	}
	export_end_thread(file, thread);
}

static const char fork_runtime[] = "__attribute__((unused)) static void in_child(void)\n"
				   "{\n"
				   "	const pid_t child = fork();\n"
				   "\n"
				   "	if (child == 0) {\n"
				   "		alarm(5);\n"
				   "		A(free)(A(malloc)(24));\n"
				   "		_exit(0);\n"
				   "	}\n"
				   "	waitpid(child, NULL, 0);\n"
				   "}\n"
				   "\n";

bool export_write_loop(const struct export_request *request, FILE *file)
{
	const struct program *const program = request->program;
	const uint32_t labels = program_label_limit(program);
	uint8_t *const used = export_used_labels(program);
	char name[16];

	if (used == NULL)
		return false;
	export_write_head(request, file);
	export_write_includes(request, file);
	fprintf(file,
		"#define THREADS %zu\n#define EVENTS %zu\n#define SECONDS %d\n#define RUNS 20 /* in a process */\n\n",
		program->thread_count, program_event_limit(program), REPRO_SECONDS);
	fputs(loop_runtime, file);
	fputs(fork_runtime, file);
	fprintf(file, "static name none __attribute__((unused)); /* NULL */\n");
	for (uint32_t label = 0; label < labels; label++)
		if (used[label])
			fprintf(file, "static name %s;\n", export_name_of(label, name));
	fprintf(file, "\n/* What is left. */\nstatic void forget(void)\n{\n");
	for (uint32_t label = 0; label < labels; label++)
		if (used[label])
			fprintf(file, "	A(free)(atomic_exchange(&%s, NULL));\n", export_name_of(label, name));
	fprintf(file, "}\n\n");
	for (size_t t = program->thread_count; t-- > 1;)
		fprintf(file, "static void *thread_%zu(void *unused);\n", t);
	for (size_t t = program->thread_count; t-- > 0;)
		write_thread(file, program, t);
	free(used);
	return ferror(file) == 0;
}
