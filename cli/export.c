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
#include "event_log.h"
#include "output.h"
#include "report.h"
#include "subject.h"
#include "supervisor.h"

#define EXPORT_TIME 180 /* seconds */

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

#define TIMES 5 /* that a repro runs before it is handed over, where an order inside of calls is needed */

struct trial {
	const struct export_allocator *allocator;
	char folder[PATH_MAX]; /* quoted for the shell */
	const char *compiler;
	bool from_source;
	double end;
	char line[1024];                            /* that the program printed first, without the newline */
	char order[1024];                           /* "{0, 3, 17, 1}, ..." if it had to look for one, or "" */
	char error[1024];                           /* of the compiler, or what was no failure */
	enum { UNKNOWN, BUILT, FAILED } objects[3]; /* of the allocator, by sanitizer */
};

static double time_left(const struct trial *trial)
{
	return cli_interrupted ? 0 : trial->end - cli_now();
}

/* Runs a command of the shell; the first line of its output in `line`. Returns its status as of waitpid. */
static int run_command(const char *command, char *line, size_t size, char *second, size_t second_size)
{
	char text[1024];
	unsigned lines = 0;
	FILE *out;

	line[0] = '\0';
	if (second != NULL)
		second[0] = '\0';
	fflush(stdout);
	out = popen(command, "r");
	if (out == NULL)
		return -1;
	while (fgets(text, sizeof text, out) != NULL) {
		text[strcspn(text, "\n")] = '\0';
		if (lines == 0)
			snprintf(line, size, "%s", text);
		if (lines++ == 1 && second != NULL)
			snprintf(second, second_size, "%s", text);
	}
	return pclose(out);
}

static unsigned sanitizer_of(enum export_form form)
{
	return form == EXPORT_TURNS ? 0 : form == EXPORT_TURNS_ASAN ? 1 : 2;
}

/* The allocator, compiled once for each sanitizer, where it is one of sources. False: its words have to do. */
static bool build_object(struct trial *trial, unsigned sanitizer)
{
	static const char *const flags[] = {"", "-fsanitize=address", "-fsanitize=thread"};
	const bool clang = HEAPSTORM_CLANG[0] != '\0';
	char *command;

	if (!trial->from_source)
		return false;
	if (trial->objects[sanitizer] != UNKNOWN)
		return trial->objects[sanitizer] == BUILT;
	if (asprintf(&command, "%s -w -g -O1 %s %s -r -nostdlib -o %s/allocator%u.o %s -pthread 2>&1", trial->compiler,
		     flags[sanitizer], clang && sanitizer != 0 ? "-fno-sanitize-link-runtime" : "", trial->folder,
		     sanitizer, trial->allocator->words) < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	trial->objects[sanitizer] =
		run_command(command, trial->error, sizeof trial->error, NULL, 0) == 0 ? BUILT : FAILED;
	free(command);
	return trial->objects[sanitizer] == BUILT;
}

static bool build(struct trial *trial, enum export_form form)
{
	const unsigned sanitizer = sanitizer_of(form);
	const bool object = build_object(trial, sanitizer);
	static const char *const flags[] = {
		[EXPORT_TURNS] = "",
		[EXPORT_TURNS_ASAN] = "-fsanitize=address",
		[EXPORT_POINTS] = "",
		[EXPORT_LOOP] = "-fsanitize=thread",
	};
	char *command;
	int status;

	if (form == EXPORT_POINTS && !object)
		return false;
	if (object)
		status = asprintf(&command, "%s -w -g -O1 %s -o %s/repro %s/repro.c %s/allocator%u.o -pthread 2>&1",
				  trial->compiler, flags[form], trial->folder, trial->folder, trial->folder, sanitizer);
	else
		status = asprintf(&command, "%s -w -g -O1 %s -o %s/repro %s/repro.c %s -pthread 2>&1", trial->compiler,
				  flags[form], trial->folder, trial->folder, trial->allocator->words);
	if (status < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	status = run_command(command, trial->error, sizeof trial->error, NULL, 0);
	free(command);
	return status == 0;
}

/* AddressSanitizer has the word. */
static enum verdict_kind read_asan(struct trial *trial, const char *folder)
{
	char path[PATH_MAX], text[1024];
	enum verdict_kind kind = VERDICT_CLEAN;
	FILE *file;

	snprintf(path, sizeof path, "%s/stderr", folder);
	file = fopen(path, "r");
	while (file != NULL && fgets(text, sizeof text, file) != NULL) {
		const char *const at = strstr(text, "AddressSanitizer: ");

		if (at != NULL && trial->line[0] == '\0') {
			snprintf(trial->line, sizeof trial->line, "%.*s", (int)strcspn(at, "\n"), at);
			kind = strstr(at, "use-after-poison") != NULL ? VERDICT_TOUCHED_LIVE : VERDICT_CRASH;
		}
	}
	if (file != NULL)
		fclose(file);
	return kind;
}

/* The verdict that the program prints. CLEAN: it does not fail by itself. */
static enum verdict_kind run_repro(struct trial *trial, enum export_form form, const char *folder)
{
	static const char found[] = "found in the order: ";
	char *command, name[32], second[1024], seconds[16];
	const double left = time_left(trial);
	enum verdict_kind kind;
	int status;

	trial->order[0] = '\0';
	if (left < 1)
		return VERDICT_CLEAN;
	/* It may look for an order for some time of its own, and leaves time for others. */
	snprintf(seconds, sizeof seconds, " %.0f", left < 60 ? left / 3 : 20);
	if (asprintf(&command, "exec timeout -s KILL %.0f %s/repro%s 2>%s/stderr", left < 60 ? left / 2 + 1 : 60,
		     trial->folder, form == EXPORT_POINTS ? seconds : "", trial->folder) < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	status = run_command(command, trial->line, sizeof trial->line, second, sizeof second);
	free(command);
	if (strncmp(second, found, sizeof found - 1) == 0)
		snprintf(trial->order, sizeof trial->order, "%s", second + sizeof found - 1);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1) {
		snprintf(trial->error, sizeof trial->error, "%s", trial->line);
		return VERDICT_CLEAN;
	}
	if (form == EXPORT_TURNS_ASAN && strchr(trial->line, ':') == NULL)
		return read_asan(trial, folder);
	snprintf(name, sizeof name, "%.*s", (int)strcspn(trial->line, ":"), trial->line);
	return verdict_from_name(name, &kind) ? kind : VERDICT_CLEAN;
}

static bool write_c(const struct export_request *request, const char *path)
{
	FILE *const file = fopen(path, "w");
	const bool good = file != NULL && (request->form == EXPORT_LOOP ? export_write_loop(request, file)
									: export_write_c(request, file));

	return file != NULL && fclose(file) == 0 && good;
}

/* The order that the program has found by itself becomes the one that it tries first. */
static void take_order(struct export_request *request, const char *text)
{
	unsigned thread, op, point, target;

	request->stop_count = 0;
	for (; (text = strchr(text, '{')) != NULL && request->stop_count < EXPORT_STOPS_MAX; text++)
		if (sscanf(text, "{%u, %u, %u, %u}", &thread, &op, &point, &target) == 4)
			request->stops[request->stop_count++] = (struct export_stop){thread, op, point, target};
}

/* Where an order inside of calls is needed: what the program has found goes into it, and it is run some times. */
static bool prove(struct trial *trial, struct export_request *request, const char *folder, const char *source)
{
	char line[sizeof trial->line];

	memcpy(line, trial->line, sizeof line);
	if (trial->order[0] != '\0') {
		take_order(request, trial->order);
		if (!write_c(request, source) || !build(trial, request->form))
			return false;
	}
	for (unsigned i = 0; i < TIMES && time_left(trial) > 1; i++) {
		request->tried++;
		request->failed +=
			run_repro(trial, request->form, folder) == request->verdict->kind && trial->order[0] == '\0';
	}
	memcpy(trial->line, line, sizeof line);
	return request->failed > 0 && (request->form == EXPORT_LOOP || request->failed == request->tried);
}

void export_schedule(const struct program *program, const char *allocator, const char *runner,
		     const struct run_record *record, struct export_schedule *schedule)
{
	static struct run_record logged;
	struct event_log log;

	*schedule = (struct export_schedule){0};
	cli_run_logged(runner, allocator, false, &log, &logged); /* of the program that was run last */
	export_order_of_log(program, &log, &schedule->turns);
	event_log_close(&log);
	for (uint32_t i = 0; i < record->preemption_count && i < EXPORT_STOPS_MAX; i++)
		schedule->stops[schedule->stop_count++] = (struct export_stop){
			.thread = record->preemptions[i].thread,
			.op = (unsigned)(record->anchors[i] >> 32 & 0x7fffffff),
			.point = (unsigned)record->anchors[i],
			.target = record->preemptions[i].target,
		};
}

/* Whether a form can say what is wrong. */
static bool can_show(const struct export_request *request, bool scheduled, bool from_source)
{
	const enum verdict_kind kind = request->verdict->kind;
	const bool needs_asan = kind == VERDICT_TOUCHED_LIVE || kind == VERDICT_CRASH;

	if (request->form != EXPORT_TURNS && (!from_source || request->allocator->prefix[0] == '\0'))
		return false;
	switch (request->form) {
	case EXPORT_TURNS:
	case EXPORT_TURNS_ASAN:
		/* Turns are an order, in which there is no race, and no call waits for another. */
		return !scheduled || (kind != VERDICT_RACE && kind != VERDICT_DEADLOCK && kind != VERDICT_STUCK &&
				      (request->form == EXPORT_TURNS_ASAN) == needs_asan);
	case EXPORT_POINTS:
		return scheduled && kind != VERDICT_STUCK && kind != VERDICT_TOUCHED_LIVE;
	case EXPORT_LOOP:
		return scheduled && kind == VERDICT_RACE;
	}
	return false;
}

bool export_verified(const struct program *program, const struct verdict *verdict,
		     const struct export_schedule *schedule, const struct export_allocator *allocator,
		     const char *folder, double seconds, const char *path, char *message, size_t message_size)
{
	char source[PATH_MAX], other_line[1024] = "";
	const bool asan_first = verdict->kind == VERDICT_TOUCHED_LIVE || verdict->kind == VERDICT_CRASH;
	const enum export_form forms[] = {asan_first ? EXPORT_TURNS_ASAN : EXPORT_TURNS,
					  asan_first ? EXPORT_TURNS : EXPORT_TURNS_ASAN, EXPORT_POINTS, EXPORT_LOOP};
	struct trial trial = {
		.allocator = allocator,
		.compiler = HEAPSTORM_CLANG[0] != '\0' ? HEAPSTORM_CLANG : "cc",
		.from_source = strstr(allocator->words, ".c") != NULL,
		.end = cli_now() + seconds,
	};
	struct export_request other = {0}, request;

	snprintf(trial.folder, sizeof trial.folder, "%s", cli_quoted(folder));
	snprintf(source, sizeof source, "%s/repro.c", folder);
	for (unsigned try = 0; try < 16 && time_left(&trial) > 1; try++) {
		enum verdict_kind seen;

		request = (struct export_request){.program = program,
						  .verdict = verdict,
						  .allocator = allocator,
						  .form = forms[try / 4],
						  .order = try % 4,
						  .turns = schedule != NULL ? &schedule->turns : NULL};
		if (!can_show(&request, schedule != NULL, trial.from_source) || (request.order > 0 && try >= 8))
			continue;
		if (request.form == EXPORT_POINTS) {
			request.stop_count = schedule->stop_count;
			memcpy(request.stops, schedule->stops, sizeof request.stops);
		}
		if (!write_c(&request, source)) {
			snprintf(message, message_size, "%s: cannot be written: %s", source, strerror(errno));
			return false;
		}
		if (!build(&trial, request.form))
			continue;
		seen = run_repro(&trial, request.form, folder);
		if (seen == verdict->kind && ((request.form != EXPORT_POINTS && request.form != EXPORT_LOOP) ||
					      prove(&trial, &request, folder, source)))
			goto found;
		/* Turns may wait where the schedule does not: that is no failure. */
		if (seen != VERDICT_CLEAN && other.program == NULL && try < 8 &&
		    (schedule == NULL || seen != VERDICT_STUCK)) {
			other = request;
			memcpy(other_line, trial.line, sizeof other_line);
		}
	}
	if (other.program == NULL) {
		snprintf(message, message_size, "the C program does not fail by itself%s%.300s",
			 trial.error[0] != '\0' ? ": " : "", trial.error);
		return false;
	}
	request = other;
	memcpy(trial.line, other_line, sizeof trial.line);
found:
	request.happens = trial.line;
	if (!write_c(&request, path)) {
		snprintf(message, message_size, "%s: cannot be written: %s", path, strerror(errno));
		return false;
	}
	snprintf(message, message_size, "%s", trial.line);
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
		       "is not written, and the exit status is 1.",
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
	const bool scheduled = strcmp(cli_default_variant(name, &program), "sched") == 0;
	struct export_schedule schedule = {0};

	cli_runner_path(name, cli_default_variant(name, &program), runner, sizeof runner);
	cli_run_once(runner, !scheduled, name, &program, arguments.shared.timeout, NULL, &record);
	if (record.verdict.kind == VERDICT_CLEAN)
		cli_die(STATUS_FOUND, "%s does not fail on %s: nothing to export", argv[first], name);
	if (scheduled)
		export_schedule(&program, name, runner, &record, &schedule);
	if (!export_verified(&program, &record.verdict, scheduled ? &schedule : NULL, &allocator,
			     cli_temporary_folder(), EXPORT_TIME, arguments.output, message, sizeof message))
		cli_die(STATUS_FOUND, "%s (%s); nothing was written", message, verdict_name(record.verdict.kind));
	free(schedule.turns.stretches);
	printf("%s\nwritten:   %s\n", message, arguments.output);
	program_destroy(&program);
	return STATUS_CLEAN;
}
