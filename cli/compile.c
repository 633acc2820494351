/*
 * Compiles an allocator on the spot, once for each way to look at it, and links it with the engine's archives (lib/heapstorm). What was
 * built is kept in a folder of the user's cache and built again when a source, a header or heapstorm is newer.
 */
#define _GNU_SOURCE
#include "compile.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"

extern char **environ;

#define WORDS_MAX 512

struct words {
	char *word[WORDS_MAX + 1]; /* ended by NULL */
	size_t count;
};

/* A function of the allocator and which one it is. */
struct found {
	char *symbol;
	size_t function; /* of functions[] */
};

struct custom_build {
	struct words sources, libraries, functions;
	char *cflags;
	const char *prefix;
	char name[48];
	char folder[PATH_MAX - 64];
	char script[PATH_MAX];
	bool compiled_only; /* some source is an object */
	bool cxx;
	bool adapter; /* defines heapstorm_allocator */
	bool own_names;
	bool known; /* what it defines */
	struct found found[16];
	size_t found_count;
};

static const struct process {
	const char *name, *variant, *main, *sanitizers;
	bool scheduled;
} processes[] = {
	{"runner-plain", "plain", "runner", "", false},
	{"runner-asan", "asan", "runner", "-fsanitize=address,undefined", false},
	{"search-plain", "plain", "search", "", false},
	{"search-asan", "asan", "search", "-fsanitize=address,undefined", false},
	{"stress-plain", "plain", "stress", "", false},
	{"stress-asan", "asan", "stress", "-fsanitize=address,undefined", false},
	{"stress-tsan", "tsan", "stress", "-fsanitize=thread", false},
	{"runner-sched", "sched", "runner-sched", "", true},
	{"fuzz_sequence", "fuzz", "fuzz_sequence", "-fsanitize=fuzzer,address,undefined", false},
	{"fuzz_threads", "schedfuzz", "fuzz_threads", "-fsanitize=fuzzer,address,undefined", true},
};

/* libc's functions, and how else an allocator with a prefix may call them. */
static const struct {
	const char *function, *others[3];
} functions[] = {
	{"malloc", {"alloc", "allocate", NULL}},
	{"free", {"dealloc", "deallocate", "release"}},
	{"calloc", {NULL}},
	{"realloc", {"reallocate", NULL}},
	{"reallocarray", {NULL}},
	{"aligned_alloc", {NULL}},
	{"posix_memalign", {NULL}},
	{"memalign", {NULL}},
	{"malloc_usable_size", {"usable_size", "msize", NULL}},
	{"malloc_trim", {"trim", NULL}},
};

#define FUNCTIONS (sizeof functions / sizeof functions[0])

/* ---- Words and commands ---- */

static void add(struct words *words, const char *word)
{
	if (words->count == WORDS_MAX)
		cli_die(STATUS_USAGE, "more than %d words for a compiler", WORDS_MAX);
	words->word[words->count] = strdup(word);
	if (words->word[words->count++] == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	words->word[words->count] = NULL;
}

__attribute__((format(printf, 2, 3))) static void add_format(struct words *words, const char *format, ...)
{
	char word[2 * PATH_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(word, sizeof word, format, arguments);
	va_end(arguments);
	add(words, word);
}

static void add_all(struct words *words, const char *text)
{
	while (text != NULL && *(text += strspn(text, " \t\n")) != '\0') {
		const size_t length = strcspn(text, " \t\n");

		add_format(words, "%.*s", (int)length, text);
		text += length;
	}
}

static void forget(struct words *words)
{
	while (words->count > 0)
		free(words->word[--words->count]);
}

/* Runs a command with both outputs in a file (NULL: as they are). Its exit status. */
static int run(struct words *words, const char *output)
{
	posix_spawn_file_actions_t actions;
	int status = -1, error;
	pid_t child;

	fflush(stdout);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (output != NULL) {
		posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
		posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
	}
	error = posix_spawnp(&child, words->word[0], &actions, NULL, words->word, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (error != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: %s", words->word[0], strerror(error));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	forget(words);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void copy_to_stderr(const char *path)
{
	FILE *const file = fopen(path, "r");

	fflush(stdout);
	for (int c; file != NULL && (c = fgetc(file)) != EOF;)
		fputc(c, stderr);
	if (file != NULL)
		fclose(file);
}

/* The line of a compiler's output that says the most: the first error, else the first line. */
static void first_error(const char *path, char *text, size_t size)
{
	FILE *const file = fopen(path, "r");
	char line[1024];

	snprintf(text, size, "it does not compile");
	for (bool first = true; file != NULL && fgets(line, sizeof line, file) != NULL; first = false) {
		line[strcspn(line, "\n")] = '\0';
		if (first || strstr(line, "error") != NULL || strncmp(line, "heapstorm: ", 11) == 0)
			snprintf(text, size, "%s", strncmp(line, "heapstorm: ", 11) == 0 ? line + 11 : line);
		if (strstr(line, "error") != NULL || strncmp(line, "heapstorm: ", 11) == 0)
			break;
	}
	if (file != NULL)
		fclose(file);
}

/* ---- What is given ---- */

static bool ends_in(const char *path, const char *suffix)
{
	const size_t length = strlen(path);

	return length > strlen(suffix) && strcmp(path + length - strlen(suffix), suffix) == 0;
}

static bool is_cxx(const char *path)
{
	return ends_in(path, ".cc") || ends_in(path, ".cpp") || ends_in(path, ".cxx") || ends_in(path, ".C");
}

static bool is_compiled(const char *path)
{
	return ends_in(path, ".o") || ends_in(path, ".a");
}

/* Appends words to a text in memory of its own. */
static char *append(char *text, const char *word)
{
	char *longer = NULL;

	if (asprintf(&longer, "%s%s%s", text, text[0] != '\0' ? " " : "", word) < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	free(text);
	return longer;
}

/* Adds an option of a compile command to those of all sources, with a path from the folder of the command. */
static void take_option(struct custom_build *build, const char *option, const char *value, const char *directory)
{
	char text[2 * PATH_MAX], known[2 * PATH_MAX + 2], *all = NULL;

	if (value[0] != '/' && strncmp(option, "-D", 2) != 0 && strncmp(option, "-U", 2) != 0)
		snprintf(text, sizeof text, "%s%s%s/%s", option, option[2] != '\0' ? " " : "", directory, value);
	else
		snprintf(text, sizeof text, "%s%s%s", option, option[2] != '\0' ? " " : "", value);
	snprintf(known, sizeof known, " %s ", text);
	/* Each option once: all commands of a project have nearly the same. */
	if (asprintf(&all, " %s ", build->cflags) < 0)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	if (strstr(all, known) == NULL)
		build->cflags = append(build->cflags, text);
	free(all);
}

/* The words of a compile command that matter to whoever compiles the source anew. */
static void take_command(struct custom_build *build, const struct words *command, const char *directory)
{
	static const char *const with_value[] = {"-I", "-D", "-U", "-isystem", "-iquote", "-include"};

	for (size_t i = 1; i < command->count; i++) {
		const char *const word = command->word[i];

		if (strncmp(word, "-std=", 5) == 0 && strstr(build->cflags, word) == NULL)
			build->cflags = append(build->cflags, word);
		for (size_t o = 0; o < sizeof with_value / sizeof with_value[0]; o++) {
			const size_t length = strlen(with_value[o]);

			if (strcmp(word, with_value[o]) == 0 && i + 1 < command->count)
				take_option(build, with_value[o], command->word[++i], directory);
			else if (length == 2 && strncmp(word, with_value[o], 2) == 0 && word[2] != '\0')
				take_option(build, with_value[o], word + 2, directory);
			else
				continue;
			break;
		}
	}
}

static const char *text_of(const cJSON *object, const char *name)
{
	const cJSON *const item = cJSON_GetObjectItem(object, name);

	return cJSON_IsString(item) ? item->valuestring : "";
}

/* The sources of a build folder, and their options together. */
static void read_compile_commands(struct custom_build *build, const char *folder)
{
	char path[PATH_MAX], *text = NULL;
	size_t size = 0;
	FILE *file;
	cJSON *commands;
	const cJSON *command, *word;

	snprintf(path, sizeof path, "%s/compile_commands.json", folder);
	file = fopen(path, "r");
	if (file == NULL)
		cli_die(STATUS_USAGE, "%s: %s", path, strerror(errno));
	if (getdelim(&text, &size, '\0', file) < 0)
		text = strdup("");
	fclose(file);
	commands = cJSON_Parse(text);
	free(text);
	if (!cJSON_IsArray(commands))
		cli_die(STATUS_USAGE, "%s: is no list of compile commands", path);
	cJSON_ArrayForEach(command, commands)
	{
		const char *const directory = text_of(command, "directory"), *const source = text_of(command, "file");
		struct words words = {0};
		char full[2 * PATH_MAX];

		snprintf(full, sizeof full, "%s%s%s", source[0] == '/' ? "" : directory, source[0] == '/' ? "" : "/",
			 source);
		if (source[0] == '\0' || access(full, R_OK) != 0)
			continue;
		cJSON_ArrayForEach(word, cJSON_GetObjectItem(command, "arguments"))
		{
			if (cJSON_IsString(word))
				add(&words, word->valuestring);
		}
		add_all(&words, text_of(command, "command"));
		take_command(build, &words, directory);
		forget(&words);
		add(&build->sources, full);
	}
	cJSON_Delete(commands);
	if (build->sources.count == 0)
		cli_die(STATUS_USAGE, "%s: names no source that is there", path);
}

static void take_source(struct custom_build *build, const char *source)
{
	char full[PATH_MAX];
	struct stat status;

	if (realpath(source, full) == NULL || stat(full, &status) != 0 || access(full, R_OK) != 0)
		cli_die(STATUS_USAGE, "%s: %s", source, strerror(errno));
	if (S_ISDIR(status.st_mode))
		read_compile_commands(build, full);
	else
		add(&build->sources, full);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

/* A folder of the user's cache for what is built from the same words, or of the temporary files where there is none. */
static void find_folder(struct custom_build *build)
{
	const char *const cache = getenv("XDG_CACHE_HOME"), *const home = getenv("HOME");
	uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), HEAPSTORM_VERSION);
	char parent[PATH_MAX - 128];

	for (size_t i = 0; i < build->sources.count; i++)
		hash = hash_text(hash, build->sources.word[i]);
	for (size_t i = 0; i < build->libraries.count; i++)
		hash = hash_text(hash, build->libraries.word[i]);
	for (size_t i = 0; i < build->functions.count; i++)
		hash = hash_text(hash, build->functions.word[i]);
	hash = hash_text(hash_text(hash_text(hash, build->cflags), build->prefix), build->script);
	if (cache != NULL && cache[0] == '/')
		snprintf(parent, sizeof parent, "%s/heapstorm", cache);
	else
		snprintf(parent, sizeof parent, "%s/.cache/heapstorm", home != NULL && home[0] == '/' ? home : "");
	snprintf(build->folder, sizeof build->folder, "%s", parent);
	for (char *slash = build->folder; (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
		*slash = '\0';
		mkdir(build->folder, 0777);
	}
	mkdir(build->folder, 0777);
	if (parent[0] != '/' || access(parent, W_OK) != 0)
		snprintf(parent, sizeof parent, "%s", cli_temporary_folder());
	snprintf(build->folder, sizeof build->folder, "%s/%s-%016" PRIx64, parent, build->name, hash);
	cli_make_folder(build->folder);
}

/* The path of a clang: that of the build, or another one, such as a wrapper that caches. */
static const char *compiler(void)
{
	const char *const given = getenv("HEAPSTORM_CC");

	return given != NULL && given[0] != '\0' ? given : HEAPSTORM_CLANG;
}

struct custom_build *custom_build_open(char *const *sources, size_t count, const struct custom_options *options,
				       char *name, size_t name_size)
{
	struct custom_build *const build = calloc(1, sizeof *build);
	const char *base;
	size_t length;

	if (build == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	build->cflags = strdup("");
	build->prefix = options->prefix;
	for (size_t i = 0; i < count; i++)
		take_source(build, sources[i]);
	if (options->cflags != NULL)
		build->cflags = append(build->cflags, options->cflags);
	add_all(&build->libraries, options->libraries);
	add_all(&build->functions, options->functions);
	for (size_t i = 0; i < build->sources.count; i++) {
		build->compiled_only = build->compiled_only || is_compiled(build->sources.word[i]);
		build->cxx = build->cxx || is_cxx(build->sources.word[i]);
	}
	base = cli_base_name(sources[0]);
	length = strcspn(base, ".");
	if (length == 0) /* "." and the like */
		base = "allocator", length = strlen(base);
	snprintf(build->name, sizeof build->name, "%s%.*s", isdigit((unsigned char)base[0]) ? "_" : "", (int)length,
		 base);
	for (char *p = build->name; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	snprintf(name, name_size, "%s", build->name);
	cli_install_path("share/heapstorm/bundle_allocator.sh", build->script, sizeof build->script);
	if (access(build->script, R_OK) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: %s", build->script, strerror(errno));
	if (compiler()[0] == '\0' || access(compiler(), X_OK) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: sources need clang 16 or newer to be examined",
			compiler()[0] != '\0' ? compiler() : "clang");
	find_folder(build);
	return build;
}

bool custom_build_is_compiled(const struct custom_build *build)
{
	return build->compiled_only;
}

/* ---- Functions ---- */

struct symbols {
	struct words defined;
};

/* The functions that an object defines. */
static void read_symbols(const struct custom_build *build, const char *object, struct symbols *symbols)
{
	char path[PATH_MAX], line[1024], symbol[512], type;
	struct words nm = {0};
	FILE *file;

	snprintf(path, sizeof path, "%s/symbols", build->folder);
	add_all(&nm, "nm -P -g --defined-only");
	add(&nm, object);
	if (run(&nm, path) != 0 || (file = fopen(path, "r")) == NULL)
		cli_die(STATUS_ENVIRONMENT, "nm cannot read %s", object);
	while (fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "%511s %c", symbol, &type) == 2 &&
		    (strchr("TWi", type) != NULL || strcmp(symbol, "heapstorm_allocator") == 0) &&
		    symbols->defined.count < WORDS_MAX)
			add(&symbols->defined, symbol);
	fclose(file);
}

static bool defines(const struct symbols *symbols, const char *symbol)
{
	for (size_t i = 0; i < symbols->defined.count; i++)
		if (strcmp(symbols->defined.word[i], symbol) == 0)
			return true;
	return false;
}

/* PREFIXfunctionSUFFIX, if it is defined. */
static bool take_function(struct custom_build *build, const struct symbols *symbols, const char *prefix,
			  const char *spelling, const char *suffix, size_t function)
{
	char symbol[512];

	snprintf(symbol, sizeof symbol, "%s%s%s", prefix, spelling, suffix);
	if (!defines(symbols, symbol))
		return false;
	for (size_t i = 0; i < build->found_count; i++)
		if (strcmp(build->found[i].symbol, symbol) == 0)
			return false;
	build->found[build->found_count++] = (struct found){strdup(symbol), function};
	return true;
}

/* What stands before and after `malloc' in a name that has a `free' to it. False: it is no such name. */
static bool split_name(const struct symbols *symbols, const char *symbol, char *prefix, char *suffix, size_t size)
{
	for (const char *at = symbol; (at = strstr(at, "malloc")) != NULL; at++) {
		char other[1100];

		snprintf(prefix, size, "%.*s", (int)(at - symbol), symbol);
		snprintf(suffix, size, "%s", at + strlen("malloc"));
		snprintf(other, sizeof other, "%sfree%s", prefix, suffix);
		if (defines(symbols, other))
			return true;
	}
	return false;
}

/* Finds the one pair of functions that can be meant. */
static void find_names(const struct custom_build *build, const struct symbols *symbols, char *prefix, char *suffix,
		       size_t size)
{
	char p[512], s[512], candidates[512] = "";
	size_t found = 0;

	snprintf(prefix, size, "%s", build->prefix != NULL ? build->prefix : "");
	suffix[0] = '\0';
	if (defines(symbols, "malloc") && defines(symbols, "free") && prefix[0] == '\0')
		return;
	for (size_t i = 0; i < symbols->defined.count; i++) {
		const char *const symbol = symbols->defined.word[i];
		const size_t length = strlen(candidates);

		if (!split_name(symbols, symbol, p, s, sizeof p) ||
		    (build->prefix != NULL && strcmp(p, build->prefix) != 0))
			continue;
		found++;
		snprintf(candidates + length, sizeof candidates - length, "%s%s", length > 0 ? ", " : "", symbol);
		/* Of several with one prefix the plain one is meant. */
		if (found == 1 || s[0] == '\0') {
			snprintf(prefix, size, "%s", p);
			snprintf(suffix, size, "%s", s);
		}
		if (build->prefix != NULL && s[0] == '\0')
			return;
	}
	if (found > 1)
		cli_die(STATUS_USAGE, "%s: which one is meant? --prefix chooses among %s", build->name, candidates);
}

static void find_functions(struct custom_build *build, const char *object)
{
	static struct symbols symbols;
	char prefix[512], suffix[512];
	bool has_malloc = false, has_free = false;

	build->found_count = 0;
	forget(&symbols.defined);
	read_symbols(build, object, &symbols);
	build->adapter = defines(&symbols, "heapstorm_allocator");
	if (build->adapter)
		return;
	for (size_t i = 0; i < build->functions.count; i++) {
		const char *const word = build->functions.word[i], *const equals = strchr(word, '=');
		size_t f = 0;

		while (f < FUNCTIONS && (equals == NULL || strlen(functions[f].function) != (size_t)(equals - word) ||
					 strncmp(word, functions[f].function, (size_t)(equals - word)) != 0))
			f++;
		if (f == FUNCTIONS)
			cli_die(STATUS_USAGE, "--function %s: expected a function of libc's and its name, malloc=pool_get",
				word);
		if (!take_function(build, &symbols, "", equals + 1, "", f))
			cli_die(STATUS_USAGE, "--function %s: %s defines no function %s", word, build->name, equals + 1);
	}
	find_names(build, &symbols, prefix, suffix, sizeof prefix);
	for (size_t f = 0; f < FUNCTIONS; f++) {
		const char *const function = functions[f].function;
		bool there = false;

		for (size_t i = 0; i < build->found_count; i++)
			there = there || build->found[i].function == f;
		there = there || take_function(build, &symbols, prefix, function, suffix, f);
		for (size_t o = 0; !there && prefix[0] != '\0' && o < 3 && functions[f].others[o] != NULL; o++)
			there = take_function(build, &symbols, prefix, functions[f].others[o], suffix, f);
		has_malloc = has_malloc || (there && strcmp(function, "malloc") == 0);
		has_free = has_free || (there && strcmp(function, "free") == 0);
	}
	if (!has_malloc || !has_free) {
		char list[400] = "";

		for (size_t i = 0; i < symbols.defined.count; i++) {
			const size_t length = strlen(list);

			snprintf(list + length, sizeof list - length, "%s%s", i > 0 ? ", " : "",
				 symbols.defined.word[i]);
		}
		cli_die(STATUS_USAGE, "%s defines no %smalloc and %sfree, but %s: --prefix or --function says more",
			build->name, prefix, prefix, list[0] != '\0' ? list : "nothing");
	}
	build->own_names = prefix[0] != '\0' || suffix[0] != '\0' || build->functions.count > 0;
}

/* Declarations of libc's functions, around their names. */
static const char *const before_name[FUNCTIONS] = {"void *", "void ",  "void *", "void *", "void *",
						   "void *", "int ",   "void *", "size_t ", "int "};
static const char *const after_name[FUNCTIONS] = {
	"(size_t)",         "(void *)",
	"(size_t, size_t)", "(void *, size_t)",
	"(void *, size_t, size_t)", "(size_t, size_t)",
	"(void **, size_t, size_t)", "(size_t, size_t)",
	"(void *)",         "(size_t)",
};

/* The adapter of the functions that were found: one more source. */
static void write_adapter(const struct custom_build *build)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof path, "%s/adapter.c", build->folder);
	file = fopen(path, "w");
	if (file == NULL)
		cli_die(STATUS_ENVIRONMENT, "%s: %s", path, strerror(errno));
	fprintf(file, "#include <heapstorm/allocator.h>\n\n");
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < build->found_count; i++) {
			const size_t f = build->found[i].function;

			if (pass == 0)
				fprintf(file, "%s%s%s;\n", before_name[f], build->found[i].symbol, after_name[f]);
			else
				fprintf(file, "\t.%s = %s,\n", functions[f].function, build->found[i].symbol);
		}
		if (pass == 0)
			fprintf(file, "\nconst struct allocator heapstorm_allocator = {\n\t.name = \"%s\",\n", build->name);
	}
	/* POSIX asks it of functions under its own names only. */
	if (!build->own_names)
		fprintf(file, "\t.contract = {.null_sets_errno = CONTRACT_YES},\n");
	fprintf(file, "};\n");
	if (fclose(file) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: %s", path, strerror(errno));
}

/* ---- Building ---- */

static bool is_older(const char *path, const struct timespec *time)
{
	struct stat status;

	if (stat(path, &status) != 0)
		return false;
	return status.st_mtim.tv_sec < time->tv_sec ||
	       (status.st_mtim.tv_sec == time->tv_sec && status.st_mtim.tv_nsec <= time->tv_nsec);
}

/* Whether the bundle is newer than all that it was made from: its rule of make names them. */
static bool is_fresh(const struct custom_build *build, const char *bundle, const char *rule)
{
	struct stat status;
	FILE *file;
	char word[PATH_MAX];
	bool fresh;

	if (stat(bundle, &status) != 0 || !is_older(build->script, &status.st_mtim))
		return false;
	file = fopen(rule, "r");
	fresh = file != NULL && fscanf(file, "%*s") == 0; /* the target */
	while (fresh && fscanf(file, "%4095s", word) == 1) {
		/* A name with a blank is two words here: then it is built anew each time. */
		if (strcmp(word, "\\") != 0)
			fresh = is_older(word, &status.st_mtim);
	}
	if (file != NULL)
		fclose(file);
	return fresh;
}

/* Runs the script over the sources. `adapter`: with the one that was written, and only it is seen from outside. */
static bool make_bundle(const struct custom_build *build, const char *variant, const char *name, bool adapter,
			const char *log)
{
	char object[PATH_MAX], temporary[PATH_MAX], include[PATH_MAX];
	struct words words = {0};

	snprintf(object, sizeof object, "%s/%s.o", build->folder, name);
	snprintf(temporary, sizeof temporary, "%s/%s.%d.o", build->folder, name, (int)getpid());
	cli_install_path("include", include, sizeof include);
	add(&words, "sh");
	add(&words, build->script);
	add_all(&words, "--name subject --variant");
	add(&words, variant);
	add(&words, "--cc");
	add(&words, compiler());
	add(&words, "--out");
	add(&words, temporary);
	add(&words, "--keep");
	add(&words, adapter ? "heapstorm_allocator" : "*");
	add(&words, "--include");
	add(&words, include);
	add(&words, "--depfile");
	add_format(&words, "%s/%s.d", build->folder, name);
	add(&words, "--cflags");
	/* A calloc that is malloc and memset must not be made a call of calloc. */
	add_format(&words, "-fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free "
			  "-fsanitize-recover=undefined %s",
		   build->cflags);
	add(&words, "--");
	if (adapter && !build->adapter)
		add_format(&words, "%s/adapter.c", build->folder);
	for (size_t i = 0; i < build->sources.count; i++)
		add(&words, build->sources.word[i]);
	if (run(&words, log) == 0 && rename(temporary, object) == 0)
		return true;
	unlink(temporary);
	return false;
}

static void add_archive(struct words *words, const char *name)
{
	char relative[128], path[PATH_MAX];

	snprintf(relative, sizeof relative, "lib/%s.a", name);
	cli_install_path(relative, path, sizeof path);
	if (access(path, R_OK) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: %s", path, strerror(errno));
	add(words, path);
}

static bool link_process(const struct custom_build *build, const struct process *process, const char *bundle,
			 const char *path, char *why, size_t why_size)
{
	char log[PATH_MAX], temporary[PATH_MAX], main_archive[64];
	struct words words = {0};
	struct stat status;
	bool fresh = stat(path, &status) == 0 && is_older(bundle, &status.st_mtim);

	snprintf(log, sizeof log, "%s/%s.log", build->folder, process->name);
	snprintf(temporary, sizeof temporary, "%s/%s.%d", build->folder, process->name, (int)getpid());
	add(&words, compiler());
	add_all(&words, process->sanitizers);
	add_all(&words, "-pthread -o");
	add(&words, temporary);
	if (build->compiled_only)
		add(&words, "-no-pie");
	add(&words, bundle);
	add(&words, "-Wl,--whole-archive");
	snprintf(main_archive, sizeof main_archive, "heapstorm/libheapstorm-%s", process->main);
	add_archive(&words, main_archive);
	add(&words, "-Wl,--no-whole-archive");
	if (process->scheduled)
		add_archive(&words, "libheapstorm_schedule");
	add_archive(&words, "libheapstorm");
	for (size_t i = 0; i < words.count; i++)
		if (ends_in(words.word[i], ".a"))
			fresh = fresh && is_older(words.word[i], &status.st_mtim);
	if (fresh) {
		forget(&words);
		return true;
	}
	add(&words, HEAPSTORM_ZSTD);
	add(&words, HEAPSTORM_CJSON);
	for (size_t i = 0; i < build->libraries.count; i++)
		add(&words, build->libraries.word[i]);
	if (build->cxx || build->compiled_only)
		add_all(&words, "-Wl,--as-needed -lstdc++");
	add_all(&words, "-ldl -lm");
	if (run(&words, log) != 0 || rename(temporary, path) != 0) {
		first_error(log, why, why_size);
		return false;
	}
	return true;
}

static bool is_made(const struct custom_build *build, const char *name)
{
	char object[PATH_MAX], rule[PATH_MAX];

	snprintf(object, sizeof object, "%s/%s.o", build->folder, name);
	snprintf(rule, sizeof rule, "%s/%s.d", build->folder, name);
	return is_fresh(build, object, rule);
}

/* What it defines, so that the adapter is there. What does not compile is shown here, once. */
static void find_out(struct custom_build *build)
{
	char object[PATH_MAX], log[PATH_MAX], adapter[PATH_MAX], stamp[PATH_MAX];
	struct stat status;

	if (build->known)
		return;
	build->known = true;
	snprintf(object, sizeof object, "%s/scan.o", build->folder);
	snprintf(log, sizeof log, "%s/scan.log", build->folder);
	snprintf(adapter, sizeof adapter, "%s/adapter.c", build->folder);
	snprintf(stamp, sizeof stamp, "%s/known", build->folder);
	if (stat(stamp, &status) == 0 && is_older(object, &status.st_mtim) && is_made(build, "scan")) {
		build->adapter = access(adapter, R_OK) != 0;
		return;
	}
	unlink(adapter);
	unlink(stamp);
	if (!make_bundle(build, "plain", "scan", false, log)) {
		copy_to_stderr(log);
		cli_die(STATUS_ENVIRONMENT, "%s does not compile", build->name);
	}
	find_functions(build, object);
	if (!build->adapter)
		write_adapter(build);
	close(open(stamp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
}

bool custom_build_process(struct custom_build *build, const char *name, char *path, size_t size, char *why,
			  size_t why_size)
{
	const struct process *process = processes;
	char bundle[PATH_MAX];

	while (strcmp(process->name, name) != 0)
		process++;
	if (build->compiled_only && strcmp(process->variant, "plain") != 0) {
		snprintf(why, why_size, "an object or library was compiled without %s",
			 process->scheduled                           ? "what a scheduled run needs"
			 : strcmp(process->variant, "tsan") == 0 ? "ThreadSanitizer"
								      : "AddressSanitizer");
		return false;
	}
	find_out(build);
	snprintf(bundle, sizeof bundle, "%s/%s.log", build->folder, process->variant);
	if (!is_made(build, process->variant) && !make_bundle(build, process->variant, process->variant, true, bundle)) {
		first_error(bundle, why, why_size);
		return false;
	}
	snprintf(bundle, sizeof bundle, "%s/%s.o", build->folder, process->variant);
	snprintf(path, size, "%s/%s", build->folder, process->name);
	if (link_process(build, process, bundle, path, why, why_size))
		return true;
	if (strcmp(process->name, "runner-plain") == 0) {
		char log[PATH_MAX];

		snprintf(log, sizeof log, "%s/%s.log", build->folder, process->name);
		copy_to_stderr(log);
		cli_die(STATUS_ENVIRONMENT, "%s cannot be linked: -lLIB names a library that it needs", build->name);
	}
	return false;
}
