/* heapstorm export: a failing program as standalone C that was seen to fail, or a program as a .rep trace. */
#define _GNU_SOURCE
#include "export.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "output.h"
#include "report.h"
#include "subject.h"
#include "supervisor.h"

struct arguments {
	const char *allocator, *output, *with;
	struct shared_options shared;
	bool c, rep;
};

enum { OPTION_C = 256, OPTION_REP, OPTION_WITH };

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &arguments->shared;
		return 0;
	case 'a':
		arguments->allocator = value;
		return 0;
	case 'o':
		arguments->output = value;
		return 0;
	case OPTION_C:
		arguments->c = true;
		return 0;
	case OPTION_REP:
		arguments->rep = true;
		return 0;
	case OPTION_WITH:
		arguments->with = value;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- The allocator ---- */

/* The sources of one that comes with heapstorm, if they are there, else its library. */
static bool find_own(const char *sources[], const char *library, char *words, size_t size)
{
	char path[PATH_MAX];
	glob_t found = {0};

	words[0] = '\0';
	for (size_t i = 0; sources[i] != NULL; i++) {
		snprintf(path, sizeof path, "%s/alloc/%s", HEAPSTORM_SOURCE, sources[i]);
		if (glob(path, i > 0 ? GLOB_APPEND : 0, NULL, &found) != 0) {
			globfree(&found);
			cli_install_path(library, path, sizeof path);
			cli_add_quoted(words, size, path);
			return access(path, R_OK) == 0;
		}
	}
	snprintf(path, sizeof path, "-I%s/alloc", HEAPSTORM_SOURCE);
	cli_add_quoted(words, size, path);
	for (size_t i = 0; i < found.gl_pathc; i++)
		cli_add_quoted(words, size, found.gl_pathv[i]);
	globfree(&found);
	return true;
}

bool export_find_allocator(const char *name, const char *words, struct export_allocator *allocator)
{
	static const char *first[] = {"os.c", "mem_alloc.c", NULL};
	static const char *second[] = {"os.c", "mem_alloc_2.0/*.c", NULL};
	bool known = true;

	if (words == NULL && getenv("HEAPSTORM_WITH") != NULL)
		words = getenv("HEAPSTORM_WITH");
	*allocator = (struct export_allocator){0};
	snprintf(allocator->name, sizeof allocator->name, "%s", name);
	for (size_t i = 0; heapstorm_adapters[i] != NULL; i++)
		if (strcmp(heapstorm_adapters[i]->allocator->name, name) == 0)
			allocator->hooks = heapstorm_adapters[i]->allocator;
	if (strcmp(name, "mem_alloc") == 0 || strcmp(name, "mem_alloc_2.0") == 0) {
		const bool is_first = strcmp(name, "mem_alloc") == 0;

		strcpy(allocator->prefix, "my_");
		strcpy(allocator->suffix, is_first ? "" : "_2_0");
		if (words == NULL)
			known = find_own(is_first ? first : second,
					 is_first ? "lib/libmem_alloc.a" : "lib/libmem_alloc_2_0.a", allocator->words,
					 sizeof allocator->words);
	}
	if (words != NULL)
		snprintf(allocator->words, sizeof allocator->words, "%s", words);
	return known;
}

/* ---- The program is tried ---- */

/* The verdict that the standalone program prints; its line without the newline. CLEAN: it does not fail by itself. */
static enum verdict_kind try_program(const char *folder, const char *compiler, const char *words, bool sanitized,
				     char *line, size_t size, char *error, size_t error_size)
{
	char *command = NULL, text[1024] = "";
	enum verdict_kind kind = VERDICT_CLEAN;
	FILE *out;
	int status;

	line[0] = '\0';
	if (asprintf(&command,
		     "cd '%s' && %s -w -g -O1%s -o repro repro.c %s -pthread 2>&1 && exec timeout -s KILL 60 ./repro "
		     "2>stderr",
		     folder, compiler, sanitized ? " -fsanitize=address" : "", words) < 0)
		return VERDICT_CLEAN;
	fflush(stdout);
	out = popen(command, "r");
	free(command);
	if (out == NULL)
		return VERDICT_CLEAN;
	while (fgets(text, sizeof text, out) != NULL)
		if (line[0] == '\0')
			snprintf(line, size, "%.*s", (int)strcspn(text, "\n"), text);
	status = pclose(out);
	if (sanitized && WIFEXITED(status) && WEXITSTATUS(status) == 1 && strchr(line, ':') == NULL) {
		/* AddressSanitizer has the word. */
		char path[PATH_MAX];

		snprintf(path, sizeof path, "%s/stderr", folder);
		out = fopen(path, "r");
		while (out != NULL && fgets(text, sizeof text, out) != NULL) {
			const char *const at = strstr(text, "AddressSanitizer: ");

			if (at != NULL && line[0] == '\0') {
				snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
				kind = strstr(at, "use-after-poison") != NULL ? VERDICT_TOUCHED_LIVE : VERDICT_CRASH;
			}
		}
		if (out != NULL)
			fclose(out);
		return kind;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1) {
		snprintf(error, error_size, "%s", line);
		return VERDICT_CLEAN;
	}
	snprintf(text, sizeof text, "%.*s", (int)strcspn(line, ":"), line);
	if (!verdict_from_name(text, &kind)) {
		/* The compiler's exit status is 1 too. */
		snprintf(error, error_size, "%s", line);
		return VERDICT_CLEAN;
	}
	return kind;
}

static bool write_c(const struct export_request *request, const char *path)
{
	FILE *const file = fopen(path, "w");
	const bool good = file != NULL && export_write_c(request, file);

	return file != NULL && fclose(file) == 0 && good;
}

bool export_verified(const struct program *program, const struct verdict *verdict,
		     const struct export_allocator *allocator, const char *folder, const char *path, char *message,
		     size_t message_size)
{
	char line[1024] = "", error[1024] = "", other_line[1024] = "", source[PATH_MAX];
	struct export_request request = {.program = program, .verdict = verdict, .allocator = allocator};
	struct export_request other = {0};
	const bool from_source = strstr(allocator->words, ".c") != NULL;
	const bool needs_asan = verdict->kind == VERDICT_TOUCHED_LIVE || verdict->kind == VERDICT_CRASH;
	const char *const compiler = HEAPSTORM_CLANG[0] != '\0' ? HEAPSTORM_CLANG : "cc";

	snprintf(source, sizeof source, "%s/repro.c", folder);
	for (unsigned try = 0; try < 8; try++) {
		enum verdict_kind seen;

		request.sanitized = needs_asan ? try < 4 : try >= 4;
		request.order = try % 4;
		if (request.sanitized && (!from_source || allocator->prefix[0] == '\0'))
			continue;
		if (!write_c(&request, source)) {
			snprintf(message, message_size, "%s: cannot be written: %s", source, strerror(errno));
			return false;
		}
		seen = try_program(folder, compiler, allocator->words, request.sanitized, line, sizeof line, error,
				   sizeof error);
		if (seen == verdict->kind)
			goto found;
		if (seen != VERDICT_CLEAN && other.program == NULL) {
			other = request;
			memcpy(other_line, line, sizeof line);
		}
	}
	if (other.program == NULL) {
		snprintf(message, message_size, "the C program does not fail by itself%s%.300s",
			 error[0] != '\0' ? ": " : "", error);
		return false;
	}
	request = other;
	memcpy(line, other_line, sizeof line);
found:
	request.happens = line;
	if (!write_c(&request, path)) {
		snprintf(message, message_size, "%s: cannot be written: %s", path, strerror(errno));
		return false;
	}
	snprintf(message, message_size, "%s", line);
	return true;
}

/* ---- .rep ---- */

/* What the format has no word for is left out; what it has is kept in the order in which it runs. */
static bool write_rep(const struct program *program, FILE *file, size_t *left_out)
{
	const uint32_t labels = program_label_limit(program);
	int64_t *const ids = malloc((labels + 1) * sizeof *ids);
	struct export_order order;
	char *text = NULL;
	size_t length, ops = 0, next = 0;
	FILE *const body = open_memstream(&text, &length);

	if (ids == NULL || body == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	memset(ids, -1, (labels + 1) * sizeof *ids);
	export_order(program, &order);
	*left_out = 0;
	for (size_t s = 0; s < order.count; s++)
		for (size_t i = order.stretches[s].first; i < order.stretches[s].last; i++) {
			const struct op *const op = &program->threads[order.stretches[s].thread].ops[i];
			uint64_t size = op->size;
			int64_t id;

			switch ((enum op_kind)op->kind) {
			case OP_CALLOC:
				if (__builtin_mul_overflow(op->count, op->size, &size)) {
					++*left_out;
					break;
				}
				/* fall through */
			case OP_MALLOC:
			case OP_ALIGNED_ALLOC:
			case OP_POSIX_MEMALIGN:
			case OP_MEMALIGN:
				*left_out += op->kind != OP_MALLOC;
				ids[op->result] = (int64_t)next++;
				fprintf(body, "a %" PRId64 " %" PRIu64 "\n", ids[op->result], size);
				ops++;
				break;
			case OP_REALLOCARRAY:
				if (__builtin_mul_overflow(op->count, op->size, &size)) {
					++*left_out;
					break;
				}
				/* fall through */
			case OP_REALLOC:
				id = op->block != LABEL_NULL ? ids[op->block] : -1;
				if (op->block != LABEL_NULL)
					ids[op->block] = -1;
				if (id < 0) {
					id = (int64_t)next++;
					fprintf(body, "a %" PRId64 " %" PRIu64 "\n", id, size);
				} else {
					fprintf(body, "r %" PRId64 " %" PRIu64 "\n", id, size);
				}
				ids[op->result] = id;
				ops++;
				break;
			case OP_FREE:
				id = op->block != LABEL_NULL ? ids[op->block] : -1;
				fprintf(body, "f %" PRId64 "\n", id);
				if (op->block != LABEL_NULL)
					ids[op->block] = -1;
				ops++;
				break;
			default:
				++*left_out;
			}
		}
	fclose(body);
	fprintf(file, "0\n%zu\n%zu\n1\n%s", next, ops, text);
	free(text);
	free(ids);
	free(order.stretches);
	return ferror(file) == 0;
}

static int export_rep(const struct program *program, const struct arguments *arguments)
{
	const bool to_file = arguments->output != NULL && strcmp(arguments->output, "-") != 0;
	FILE *const file = to_file ? fopen(arguments->output, "w") : stdout;
	size_t left_out;

	if (file == NULL)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", arguments->output, strerror(errno));
	if (!write_rep(program, file, &left_out) || (to_file ? fclose(file) : fflush(file)) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s",
			to_file ? arguments->output : "standard output", strerror(errno));
	if (left_out > 0)
		fprintf(stderr,
			"heapstorm: %zu operations are not in the trace as they were: the format has only malloc, "
			"realloc and free\n",
			left_out);
	return STATUS_CLEAN;
}

int cmd_export(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"c", OPTION_C, NULL, 0, "As one C file that needs the allocator, libc and pthreads (the default)", 0},
		{"rep", OPTION_REP, NULL, 0, "As a .rep trace", 0},
		{"output", 'o', "FILE", 0, "Write to FILE (default for C: repro.c)", 0},
		{"allocator", 'a', "NAME", 0, "Run on NAME, whatever the file says", 0},
		{"with", OPTION_WITH, "WORDS", 0,
		 "What brings in the allocator, as words for the C compiler: sources, libraries, -I and -D (default: "
		 "HEAPSTORM_WITH)",
		 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.children = timeout_children,
		.args_doc = "FILE",
		.doc = "Writes a failing program as standalone C. It is compiled and run before: what does not fail by "
		       "itself "
		       "is not written.",
	};
	struct arguments arguments = {.shared.timeout = 10};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	static struct run_record record;
	struct export_allocator allocator;
	struct program program;
	enum program_format format;
	char name[PROGRAM_SPEC_MAX], runner[PATH_MAX], message[2048];

	if (argc - first != 1)
		cli_die(STATUS_USAGE, "export takes one file: see heapstorm export --help");
	if (arguments.c && arguments.rep)
		cli_die(STATUS_USAGE, "--c and --rep are two formats: one at a time");
	if (arguments.output == NULL && !arguments.rep)
		arguments.output = "repro.c";
	cli_check_writable(arguments.output);
	argv[first] = (char *)cli_program_path(argv[first]);
	program_init(&program);
	cli_load(argv[first], &program, &format);
	if (arguments.rep)
		return export_rep(&program, &arguments);
	cli_allocator_of(&program, argv[first], arguments.allocator, name, sizeof name);
	if (!export_find_allocator(name, arguments.with, &allocator))
		cli_die(STATUS_ENVIRONMENT,
			"neither the sources of %s nor its library are there: name them with --with", name);
	cli_runner_path(name, cli_default_variant(name, NULL), runner, sizeof runner);
	cli_run_once(runner, true, name, &program, arguments.shared.timeout, NULL, &record);
	if (record.verdict.kind == VERDICT_CLEAN)
		cli_die(STATUS_FOUND, "%s does not fail on %s: nothing to export", argv[first], name);
	if (!export_verified(&program, &record.verdict, &allocator, cli_temporary_folder(), arguments.output, message,
			     sizeof message))
		cli_die(STATUS_FOUND, "%s (%s); nothing was written", message, verdict_name(record.verdict.kind));
	printf("%s\nwritten:   %s\n", message, arguments.output);
	program_destroy(&program);
	return STATUS_CLEAN;
}
