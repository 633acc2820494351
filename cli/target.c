/* What can be examined, found by its spelling. */
#define _GNU_SOURCE
#include "target.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "compile.h"
#include "probe.h"
#include "shared_object.h"
#include "subject.h"
#include "supervisor.h"

#define TARGETS_MAX 64
#define WORDS_MAX 128
#define PROBE_SECONDS 60

static struct cli_target *targets[TARGETS_MAX];
static char *spellings[TARGETS_MAX];
static size_t target_count;

/* ---- Words ---- */

void cli_target_add_word(char *spec, size_t size, const char *word)
{
	cli_add_word(spec, size, word, word[0] != '\0' && word[strcspn(word, " \t'\"\\#")] == '\0');
}

/* Splits a spelling into words as a shell does with ' " and \. */
static size_t split(const char *text, char *words[WORDS_MAX + 1], const char *where)
{
	size_t count = 0;

	while (*(text += strspn(text, " \t")) != '\0') {
		char *const word = malloc(strlen(text) + 1), *to = word;
		char quote = '\0';

		if (word == NULL || count == WORDS_MAX)
			cli_die(STATUS_USAGE, "%s: too many words", where);
		for (; *text != '\0' && (quote != '\0' || (*text != ' ' && *text != '\t')); text++) {
			if (*text == quote)
				quote = '\0';
			else if (quote == '\0' && (*text == '\'' || *text == '"'))
				quote = *text;
			else if (*text == '\\' && quote != '\'' && text[1] != '\0')
				*to++ = *++text;
			else
				*to++ = *text;
		}
		if (quote != '\0')
			cli_die(STATUS_USAGE, "%s: a quote (%c) is not closed", where, quote);
		*to = '\0';
		words[count++] = word;
	}
	words[count] = NULL;
	return count;
}

/* ---- Kinds ---- */

static bool is_shared_object(const char *word)
{
	const size_t length = strlen(word);

	return strstr(word, ".so.") != NULL || (length > 3 && strcmp(word + length - 3, ".so") == 0);
}

static bool is_source(const char *word)
{
	static const char *const suffixes[] = {".c", ".cc", ".cpp", ".cxx", ".C", ".i", ".o", ".a"};
	const char *const dot = strrchr(word, '.');
	struct stat status;

	for (size_t i = 0; dot != NULL && i < sizeof suffixes / sizeof suffixes[0]; i++)
		if (strcmp(dot, suffixes[i]) == 0)
			return true;
	return stat(word, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool find_built_in(const char *name, struct cli_target *target)
{
	if (strcmp(name, "libc") == 0)
		name = "system";
	for (size_t i = 0; heapstorm_adapters[i] != NULL; i++) {
		const struct adapter *const adapter = heapstorm_adapters[i];

		if (strcmp(name, adapter->allocator->name) != 0)
			continue;
		target->kind = adapter->bundle != NULL ? TARGET_BUILT_IN : TARGET_LIBC;
		snprintf(target->spec, sizeof target->spec, "%s", name);
		snprintf(target->name, sizeof target->name, "%s", name);
		snprintf(target->argument, sizeof target->argument, "%s", name);
		return true;
	}
	return false;
}

static bool find_installed(const char *name, struct cli_target *target, const char *where)
{
	struct bench_peer peer;
	char lib[PATH_MAX], why[256];
	bool known;

	cli_install_path("lib", lib, sizeof lib);
	if (bench_peer_find(name, lib, &peer, &known, why, sizeof why)) {
		target->kind = TARGET_SHARED;
		snprintf(target->spec, sizeof target->spec, "%s", name);
		snprintf(target->name, sizeof target->name, "%s", name);
		snprintf(target->argument, sizeof target->argument, "%s", peer.library);
		return true;
	}
	if (known)
		cli_die(STATUS_ENVIRONMENT, "%s: %s is %s", where, name, why);
	return false;
}

static void open_shared(char *const *words, size_t count, struct cli_target *target, const char *where)
{
	char path[PATH_MAX];

	if (realpath(words[0], path) == NULL || access(path, R_OK) != 0)
		cli_die(STATUS_USAGE, "%s: %s: %s", where, words[0], strerror(errno));
	if (strlen(path) + 64 >= sizeof target->spec)
		cli_die(STATUS_USAGE, "%s: %s: the path is too long", where, path);
	target->kind = TARGET_SHARED;
	shared_object_name(path, target->name, sizeof target->name);
	cli_target_add_word(target->spec, sizeof target->spec, path);
	snprintf(target->argument, sizeof target->argument, "%s", path);
	for (size_t i = 1; i < count; i++) {
		const size_t length = strlen(target->argument);

		if (strcmp(words[i], "--single-thread") == 0) {
			target->single_thread = true;
			cli_target_add_word(target->spec, sizeof target->spec, words[i]);
			continue;
		}
		if (strcmp(words[i], "--prefix") != 0 || i + 1 == count)
			cli_die(STATUS_USAGE, "%s: %s: of a shared object only --prefix and --single-thread can be said", where, words[i]);
		i++;
		cli_target_add_word(target->spec, sizeof target->spec, "--prefix");
		cli_target_add_word(target->spec, sizeof target->spec, words[i]);
		snprintf(target->argument + length, sizeof target->argument - length, " --prefix %s", words[i]);
	}
}

/* A folder of processes. Its path is one word as it is, blanks included. */
static bool find_folder(const char *spec, struct cli_target *target, const char *where)
{
	char path[PATH_MAX], process[PATH_MAX + 16];
	struct stat status;

	if (stat(spec, &status) != 0 || !S_ISDIR(status.st_mode) || realpath(spec, path) == NULL)
		return false;
	snprintf(process, sizeof process, "%s/runner-plain", path);
	if (access(process, X_OK) != 0) {
		snprintf(process, sizeof process, "%s/compile_commands.json", path);
		if (access(process, R_OK) == 0)
			return false;
		cli_die(STATUS_USAGE, "%s: %s is no folder of an allocator built for heapstorm, and has no compile_commands.json",
			where, spec);
	}
	if (strlen(path) >= sizeof target->spec)
		cli_die(STATUS_USAGE, "%s: %s: the path is too long", where, path);
	target->kind = TARGET_FOLDER;
	memcpy(target->spec, path, strlen(path) + 1);
	snprintf(target->name, sizeof target->name, "%.63s", cli_base_name(path));
	snprintf(target->argument, sizeof target->argument, "%s", path);
	return true;
}

static char *join(char *text, const char *word)
{
	char *longer = NULL;

	if (asprintf(&longer, "%s%s%s", text != NULL ? text : "", text != NULL ? " " : "", word) < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	free(text);
	return longer;
}

static void open_custom(char **words, size_t count, struct cli_target *target, const char *where)
{
	static const char *const with_value[] = {"--prefix", "--cflags", "--function"};
	char *sources[WORDS_MAX], *values[3] = {NULL}, *libraries = NULL;
	char spec[4 * PATH_MAX] = "";
	size_t source_count = 0;

	for (size_t i = 0; i < count; i++) {
		char path[PATH_MAX];
		size_t option = 0;

		while (option < 3 && strcmp(words[i], with_value[option]) != 0)
			option++;
		if (option < 3) {
			if (i + 1 == count)
				cli_die(STATUS_USAGE, "%s: %s needs a value", where, words[i]);
			cli_target_add_word(spec, sizeof spec, words[i]);
			i++;
			values[option] = option == 0 ? strdup(words[i]) : join(values[option], words[i]);
		} else if (strncmp(words[i], "-l", 2) == 0 || strncmp(words[i], "-L", 2) == 0) {
			libraries = join(libraries, words[i]);
		} else if (strcmp(words[i], "--single-thread") == 0) {
			target->single_thread = true;
		} else if (words[i][0] == '-') {
			cli_die(STATUS_USAGE,
				"%s: %s: expected sources, --prefix, --cflags, --function, -l or -L", where, words[i]);
		} else {
			if (!is_source(words[i]))
				cli_die(STATUS_USAGE, "%s: %s: is no source, object, static library or build folder",
					where, words[i]);
			sources[source_count++] = words[i];
			if (realpath(words[i], path) == NULL)
				cli_die(STATUS_USAGE, "%s: %s: %s", where, words[i], strerror(errno));
			cli_target_add_word(spec, sizeof spec, path);
			continue;
		}
		cli_target_add_word(spec, sizeof spec, words[i]);
	}
	if (strlen(spec) >= sizeof target->spec)
		cli_die(STATUS_USAGE, "%s: more than %zu bytes of sources and options: a build folder or a library is shorter",
			where, sizeof target->spec - 1);
	snprintf(target->spec, sizeof target->spec, "%s", spec);
	target->kind = TARGET_CUSTOM;
	const struct custom_options options = {
		.prefix = values[0], .cflags = values[1], .functions = values[2], .libraries = libraries};

	target->build = custom_build_open(sources, source_count, &options, target->name, sizeof target->name);
	snprintf(target->argument, sizeof target->argument, "%s", target->name);
}

struct cli_target *cli_target(const char *spec, const char *where)
{
	char *words[WORDS_MAX + 1];
	struct cli_target *target;
	size_t count;

	for (size_t i = 0; i < target_count; i++)
		if (strcmp(spellings[i], spec) == 0)
			return targets[i];
	target = calloc(1, sizeof *target);
	if (target == NULL || target_count == TARGETS_MAX)
		cli_die(STATUS_ENVIRONMENT, "out of memory for allocators");
	count = find_folder(spec, target, where) ? 0 : split(spec, words, where);
	if (target->kind == TARGET_FOLDER) {
		;
	} else if (count == 1 && find_built_in(words[0], target)) {
		;
	} else if (count > 0 && is_shared_object(words[0])) {
		open_shared(words, count, target, where);
	} else if (count > 0 && is_source(words[0])) {
		open_custom(words, count, target, where);
	} else if (count != 1 || !find_installed(words[0], target, where)) {
		cli_die(STATUS_USAGE, "%s: no allocator is called '%s': see heapstorm list", where, spec);
	}
	while (count > 0)
		free(words[--count]);
	spellings[target_count] = strdup(spec);
	targets[target_count++] = target;
	return target;
}

bool cli_target_is_file(const char *word)
{
	return is_shared_object(word) || is_source(word);
}

/* ---- Processes ---- */

bool cli_target_has_variant(const struct cli_target *target, const char *variant)
{
	if (strcmp(variant, "plain") == 0)
		return true;
	if (target->kind == TARGET_FOLDER) {
		char process[PATH_MAX + 32];

		snprintf(process, sizeof process,
			 strcmp(variant, "fuzz") == 0   ? "%s/fuzz_sequence"
			 : strcmp(variant, "tsan") == 0 ? "%s/stress-tsan"
			 : strcmp(variant, "asan") == 0 ? "%s/runner-asan"
							: "%s/runner-sched",
			 target->argument);
		return access(process, X_OK) == 0;
	}
	if (target->kind == TARGET_CUSTOM)
		return !custom_build_is_compiled(target->build);
	/* libc runs in any process, but is compiled for none. */
	return target->kind == TARGET_BUILT_IN || (target->kind == TARGET_LIBC && strcmp(variant, "asan") == 0);
}

/* `given`: a runner that takes the place of those of the installation, or NULL. */
static bool find_process(const struct cli_target *target, const char *process, const char *given, char *path,
			 size_t size, char *why, size_t why_size)
{
	char relative[64];

	if (target->kind == TARGET_CUSTOM)
		return custom_build_process(target->build, process, path, size, why, why_size);
	if (target->kind == TARGET_SHARED && strstr(process, "-plain") == NULL) {
		snprintf(why, why_size, "a shared object is as it was compiled");
		return false;
	}
	snprintf(relative, sizeof relative, "libexec/heapstorm/%s", process);
	if (given != NULL && given[0] != '\0' && strncmp(process, "runner-", 7) == 0)
		snprintf(path, size, "%s", given);
	else if (target->kind == TARGET_FOLDER)
		snprintf(path, size, "%s/%s", target->argument, process);
	else
		cli_install_path(relative, path, size);
	/* In a build the fuzz targets are beside the command. */
	if (access(path, X_OK) != 0 && strncmp(process, "fuzz_", 5) == 0) {
		snprintf(relative, sizeof relative, "bin/%s", process);
		cli_install_path(relative, path, size);
	}
	if (access(path, X_OK) == 0)
		return true;
	snprintf(why, why_size, "%s: %s", path, strerror(errno));
	return false;
}

bool cli_target_process(const struct cli_target *target, const char *process, char *path, size_t size, char *why,
			size_t why_size)
{
	return find_process(target, process, getenv("HEAPSTORM_RUNNER"), path, size, why, why_size);
}

static void take_line(FILE *file, char *line, size_t size)
{
	if (file == NULL || fgets(line, (int)size, file) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

/* Asks the allocator in a process of its own. */
static void probe(struct cli_target *target)
{
	char runner[PATH_MAX], output[PATH_MAX], why[1024];
	char *argv[] = {runner, "--probe", target->argument, NULL};
	const struct supervision supervision = {.argv = argv, .output = output, .timeout_seconds = PROBE_SECONDS};
	struct supervised result;
	FILE *file;

	/* What HEAPSTORM_RUNNER names may be a scheduled runner, which cannot be asked. */
	if (!find_process(target, "runner-plain", NULL, runner, sizeof runner, why, sizeof why))
		cli_die(STATUS_ENVIRONMENT, "%s: %s", target->name, why);
	snprintf(output, sizeof output, "%s/probe", cli_temporary_folder());
	if (!supervise(&supervision, &result))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be started: %s", runner, strerror(errno));
	supervised_release(&result);
	file = fopen(output, "r");
	take_line(file, target->functions, sizeof target->functions);
	take_line(file, target->contract, sizeof target->contract);
	if (file != NULL)
		fclose(file);
	if (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 0) {
		if (strncmp(target->functions, "heapstorm: ", 11) == 0)
			cli_die(STATUS_ENVIRONMENT, "%s", target->functions + 11);
		cli_die(STATUS_ENVIRONMENT, "%s ends before it is called: %s", target->name,
			target->functions[0] != '\0' ? target->functions : "no more is known");
	}
	/* The last word of the two counts. */
	if (target->single_thread)
		strncat(target->contract, " thread_safe=no", sizeof target->contract - strlen(target->contract) - 1);
	target->single_thread = strstr(target->contract, "thread_safe=no") != NULL;
}

/* Libraries of the initial-exec TLS model find room in a process that is told of them when it starts. */
static void make_room_for_tls(void)
{
	const char *const given = getenv("GLIBC_TUNABLES");
	char tunables[1024];

	if (given != NULL && strstr(given, "optional_static_tls") != NULL)
		return;
	snprintf(tunables, sizeof tunables, "%s%s%s", given != NULL ? given : "", given != NULL ? ":" : "",
		 STATIC_TLS_TUNABLE);
	setenv("GLIBC_TUNABLES", tunables, 1);
}

void cli_target_use(struct cli_target *target)
{
	unsetenv(CONTRACT_ENVIRONMENT);
	if (target->kind == TARGET_SHARED)
		make_room_for_tls();
	if (target->contract[0] == '\0')
		probe(target);
	/* What is built in declares its own. */
	if (target->kind != TARGET_BUILT_IN && target->kind != TARGET_LIBC)
		setenv(CONTRACT_ENVIRONMENT, target->contract, 1);
}
