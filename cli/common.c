#define _GNU_SOURCE
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "report.h"
#include "supervisor.h"
#include "target.h"

volatile bool cli_interrupted;

int cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	int index = argc;

	argp_err_exit_status = STATUS_USAGE;
	if (argp_parse(argp, argc, argv, 0, &index, input) != 0)
		exit(STATUS_USAGE);
	return index;
}

void cli_die(int status, const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fputs("heapstorm: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(status);
}

void cli_install_path(const char *relative, char *path, size_t size)
{
	char self[PATH_MAX];
	const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (length < 0)
		cli_die(STATUS_ENVIRONMENT, "/proc is not there: %s", strerror(errno));
	self[length] = '\0';
	for (int up = 0; up < 2; up++) {
		slash = strrchr(self, '/');
		if (slash != NULL)
			*slash = '\0';
	}
	if ((size_t)snprintf(path, size, "%s/%s", self, relative) >= size)
		cli_die(STATUS_ENVIRONMENT, "the path of the installation is too long");
}

void cli_add_word(char *words, size_t size, const char *word, bool plain)
{
	size_t at = strlen(words);

	if (at > 0 && at + 1 < size)
		words[at++] = ' ';
	if (plain) {
		snprintf(words + at, size - at, "%s", word);
		return;
	}
	at += (size_t)snprintf(words + at, size - at, "'");
	for (; *word != '\0' && at + 6 < size; word++)
		at += (size_t)snprintf(words + at, size - at, *word == '\'' ? "'\\''" : "%c", *word);
	snprintf(words + at, size - at, "'");
}

void cli_add_quoted(char *words, size_t size, const char *word)
{
	const bool plain = word[0] != '\0' && word[strcspn(word, " \t'\"\\$`*?[]()<>|&;~#!{}\n")] == '\0';

	cli_add_word(words, size, word, plain);
}

const char *cli_quoted(const char *word)
{
	static char words[PATH_MAX + 8];

	words[0] = '\0';
	cli_add_quoted(words, sizeof words, word);
	return words;
}

void cli_process_path(const char *allocator, const char *process, char *path, size_t size)
{
	struct cli_target *const target = cli_target(allocator, process);
	char why[1024];

	cli_target_use(target);
	if (!cli_target_process(target, process, path, size, why, sizeof why))
		cli_die(STATUS_ENVIRONMENT, "%s on %s: %s", process, target->name, why);
}

void cli_check_version(const char *executable, const struct run_record *record)
{
	if (record->magic == RUN_RECORD_MAGIC && record->size != sizeof *record)
		cli_die(STATUS_ENVIRONMENT, "%s: was built for another version of heapstorm", executable);
}

void cli_check_process(const char *executable, const struct supervised *result)
{
	const struct run_record *const record = result->record;

	cli_check_version(executable, record);
	/* The supervisor's own kills have other verdicts; nothing that a program does ends a process in this way. */
	if (WIFSIGNALED(result->status) && WTERMSIG(result->status) == SIGKILL && !result->stopped &&
	    record->verdict.kind == VERDICT_CRASH && strncmp(record->verdict.message, "killed by signal", 16) == 0)
		cli_die(STATUS_ENVIRONMENT, "%s was killed from outside, as the kernel does when memory is short",
			executable);
}

void cli_runner_path(const char *allocator, const char *variant, char *path, size_t size)
{
	char process[32];

	snprintf(process, sizeof process, "runner-%s", variant);
	cli_process_path(allocator, process, path, size);
}

const char *cli_check_variant(const char *value)
{
	if (strcmp(value, "asan") != 0 && strcmp(value, "plain") != 0 && strcmp(value, "sched") != 0)
		cli_die(STATUS_USAGE, "--variant %s: expected asan, plain or sched", value);
	return value;
}

const char *cli_default_variant(const char *allocator, const struct program *program)
{
	if (program != NULL &&
	    (program->preemption_count > 0 ||
	     (program->has_expect && (program->expect == VERDICT_RACE || program->expect == VERDICT_DEADLOCK))))
		return "sched";
	return cli_target_has_variant(cli_target(allocator, "allocator"), "asan") ? "asan" : "plain";
}

const char *cli_process_argument(const char *allocator)
{
	return cli_target(allocator, "allocator")->argument;
}

void cli_allocator_of(const struct program *program, const char *file, const char *given, char *name, size_t size)
{
	const char *allocator = given != NULL                   ? given
				: program->allocator[0] != '\0' ? program->allocator
								: "mem_alloc_2.0";

	snprintf(name, size, "%s", cli_check_allocator(allocator, given != NULL ? "--allocator" : file));
}

double cli_seconds(const char *text, const char *option)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end != text && strcmp(end, "m") == 0)
		seconds *= 60;
	else if (end != text && strcmp(end, "h") == 0)
		seconds *= 3600;
	else if (end == text || (*end != '\0' && strcmp(end, "s") != 0))
		cli_die(STATUS_USAGE, "%s %s: expected a time such as 90s, 10m or 2h", option, text);
	if (!isfinite(seconds) || seconds <= 0 || seconds > 1e8)
		cli_die(STATUS_USAGE, "%s %s: expected a time above 0", option, text);
	return seconds;
}

unsigned long long cli_number(const char *text, const char *option, unsigned long long least, unsigned long long most)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (end == text || *end != '\0' || errno != 0 || text[0] == '-' || number < least || number > most)
		cli_die(STATUS_USAGE, "%s %s: expected a whole number from %llu to %llu", option, text, least, most);
	return number;
}

/* Leaves of a path the folder that it is in. */
static void cut_to_folder(char *path)
{
	char *const slash = strrchr(path, '/');

	if (slash == NULL)
		strcpy(path, ".");
	else
		slash[slash == path] = '\0';
}

void cli_check_writable(const char *path)
{
	char folder[PATH_MAX];
	struct stat status;

	if (path == NULL || strcmp(path, "-") == 0)
		return;
	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		cli_die(STATUS_USAGE, "%s: is a folder, expected a file to write", path);
	snprintf(folder, sizeof folder, "%s", path);
	cut_to_folder(folder);
	if (access(folder, W_OK) != 0)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", path, strerror(errno));
}

void cli_check_folder(const char *path)
{
	char part[PATH_MAX];
	struct stat status;

	if (path[0] == '\0' || strlen(path) >= sizeof part)
		cli_die(STATUS_USAGE, "'%s': is no name of a folder", path);
	snprintf(part, sizeof part, "%s", path);
	/* The first folder above that is there. */
	while (stat(part, &status) != 0 && errno == ENOENT)
		cut_to_folder(part);
	if (stat(part, &status) != 0 || (!S_ISDIR(status.st_mode) && (errno = ENOTDIR)) || access(part, W_OK) != 0)
		cli_die(STATUS_USAGE, "%s: cannot be created: %s", path, strerror(errno));
}

double cli_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void cli_load(const char *path, struct program *program, enum program_format *format)
{
	char message[512];

	if (!program_load(path, program, format, message, sizeof message))
		cli_die(STATUS_USAGE, "%s", message);
	if (message[0] != '\0') /* a recording that is cut off is read up to the cut */
		fprintf(stderr, "heapstorm: %s\n", message);
}

void cli_make_folder(const char *path)
{
	char part[PATH_MAX];

	snprintf(part, sizeof part, "%s", path);
	for (char *p = part + 1;; p++) {
		const char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(part, 0777) != 0 && errno != EEXIST)
			cli_die(STATUS_USAGE, "%s: cannot be created: %s", part, strerror(errno));
		*p = c;
		if (c == '\0')
			break;
	}
	if (access(path, W_OK) != 0)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", path, strerror(errno));
}

const char *cli_check_allocator(const char *name, const char *where)
{
	return cli_target(name, where)->spec;
}

void cli_check_built_in(const char *name, const char *where)
{
	const enum target_kind kind = cli_target(name, where)->kind;

	if (kind != TARGET_BUILT_IN && kind != TARGET_LIBC)
		cli_die(STATUS_USAGE, "%s: %s is not built in, and has a run of its own", where, name);
}

static char temporary_folder[PATH_MAX];

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status, (void)type, (void)walk;
	return remove(path);
}

void cli_remove_folder(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_temporary_folder(void)
{
	cli_remove_folder(temporary_folder);
}

const char *cli_temporary_folder(void)
{
	const char *const parent = getenv("TMPDIR");

	if (temporary_folder[0] != '\0')
		return temporary_folder;
	snprintf(temporary_folder, sizeof temporary_folder, "%s/heapstorm.XXXXXX", parent != NULL ? parent : "/tmp");
	if (mkdtemp(temporary_folder) == NULL)
		cli_die(STATUS_ENVIRONMENT, "%s: no folder for temporary files: %s", temporary_folder, strerror(errno));
	atexit(remove_temporary_folder);
	return temporary_folder;
}

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	/* The second one ends it at once. */
	if (cli_interrupted)
		_exit(130);
	cli_interrupted = true;
}

void cli_catch_interrupts(void)
{
	const struct sigaction action = {.sa_handler = on_interrupt};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void cli_write_json(const char *path, const cJSON *json)
{
	if (path != NULL && !report_write_json(path, json))
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", path, strerror(errno));
}

void cli_move_fields(cJSON *to, cJSON *from)
{
	while (from->child != NULL) {
		char *const name = strdup(from->child->string);
		cJSON *const field = cJSON_DetachItemViaPointer(from, from->child);

		cJSON_AddItemToObject(to, name, field);
		free(name);
	}
	cJSON_Delete(from);
}

bool cli_is_program(const char *path)
{
	struct stat status;
	char program[PATH_MAX];

	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
		snprintf(program, sizeof program, "%s/program.heap", path);
		return access(program, F_OK) == 0;
	}
	return !cli_target_is_file(path);
}

const char *cli_program_path(const char *path)
{
	struct stat status;
	char *program = NULL;

	if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
		return path;
	if (asprintf(&program, "%s%sprogram.heap", path, path[strlen(path) - 1] == '/' ? "" : "/") < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	if (access(program, F_OK) != 0)
		cli_die(STATUS_USAGE, "%s: is a folder without a program.heap", path);
	return program;
}

const char *cli_base_name(const char *path)
{
	const char *const slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}
