/* heapstorm show: a program in another format. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

struct arguments {
	const char *output, *allocator;
	const char *to;
	bool html, run;
};

enum { OPTION_HTML = 256, OPTION_RUN };

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	struct arguments *const arguments = state->input;

	switch (key) {
	case 'a':
		arguments->allocator = value;
		return 0;
	case OPTION_HTML:
		arguments->html = true;
		return 0;
	case OPTION_RUN:
		arguments->run = true;
		return 0;
	case 'o':
		arguments->output = value;
		return 0;
	case 't':
		if (strcmp(value, "bytes") != 0 && strcmp(value, "text") != 0)
			cli_die(STATUS_USAGE, "--to %s: expected text or bytes", value);
		arguments->to = value;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool write_bytes(const struct program *program, FILE *file)
{
	const size_t size = program_encoded_size(program);
	uint8_t *const bytes = malloc(size + 1);
	bool good;

	if (bytes == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	good = fwrite(bytes, 1, program_encode(program, bytes, size), file) == size;
	free(bytes);
	return good;
}

/* Finds what runs the program, and on what. True if that is runner-sched. */
static bool find_runner(const struct program *program, const char *file, const struct arguments *arguments,
			char *allocator, char *runner)
{
	cli_allocator_of(program, file, arguments->allocator, allocator, PROGRAM_SPEC_MAX);
	const char *const variant = cli_default_variant(allocator, program);

	cli_runner_path(allocator, variant, runner, PATH_MAX);
	return strcmp(variant, "sched") == 0;
}

/* The terminal's, or else what COLUMNS says by 24 rows. At least 80 columns: lines wrap then. */
static struct screen find_screen(void)
{
	struct winsize size = {0};
	struct screen screen = {
		.columns = 80, .rows = 24, .colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
		screen.columns = size.ws_col;
		screen.rows = size.ws_row;
	} else if (getenv("COLUMNS") != NULL && atoi(getenv("COLUMNS")) > 0) {
		screen.columns = (unsigned)atoi(getenv("COLUMNS"));
	}
	if (screen.columns < 80)
		screen.columns = 80;
	if (screen.columns > 400)
		screen.columns = 400;
	if (screen.rows < 12)
		screen.rows = 12;
	return screen;
}

int cmd_show(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"to", 't', "FORMAT", 0, "text (the default) or bytes, as fuzzers take it", 0},
		{"run", OPTION_RUN, NULL, 0,
		 "Run it and show the last operations, and where it fails a map of the neighbourhood. On a terminal, "
		 "the default of what is expected to fail",
		 0},
		{"html", OPTION_HTML, NULL, 0, "Run it and write a picture of its heap as one HTML page", 0},
		{"allocator", 'a', "NAME", 0, "Run on NAME, whatever the file says (--html, --run)", 0},
		{"output", 'o', "FILE", 0, "Write to FILE", 0},
		{0},
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "FILE",
		.doc = "Prints a program (text, bytes), a .rep trace or a recording as a program in text.",
	};
	struct arguments arguments = {0};
	const int first = cli_parse(&argp, argc, argv, &arguments);
	struct program program;
	enum program_format format;
	char allocator[PROGRAM_SPEC_MAX], runner[PATH_MAX];
	FILE *file = stdout;
	bool scheduled;

	if (argc - first != 1)
		cli_die(STATUS_USAGE, "show takes one file: see heapstorm show --help");
	argv[first] = (char *)cli_program_path(argv[first]);
	program_init(&program);
	cli_load(argv[first], &program, &format);
	if (arguments.html) {
		if (arguments.output == NULL || strcmp(arguments.output, "-") == 0)
			cli_die(STATUS_USAGE, "show --html needs -o FILE for the page");
		cli_check_writable(arguments.output);
		scheduled = find_runner(&program, argv[first], &arguments, allocator, runner);
		cli_write_html(argv[first], &program, allocator, runner, scheduled, arguments.output);
		program_destroy(&program);
		return STATUS_CLEAN;
	}
	if (arguments.run || (isatty(STDOUT_FILENO) && arguments.to == NULL && arguments.output == NULL &&
			      program.has_expect && program.expect != VERDICT_CLEAN)) {
		const struct screen screen = find_screen();

		scheduled = find_runner(&program, argv[first], &arguments, allocator, runner);
		cli_show_run(stdout, &program, allocator, runner, scheduled, &screen);
		program_destroy(&program);
		return STATUS_CLEAN;
	}
	if (arguments.output != NULL && strcmp(arguments.output, "-") != 0) {
		file = fopen(arguments.output, "w");
		if (file == NULL)
			cli_die(STATUS_USAGE, "%s: cannot be written: %s", arguments.output, strerror(errno));
	}
	if (!(arguments.to != NULL && strcmp(arguments.to, "bytes") == 0 ? write_bytes(&program, file)
									 : program_print(&program, file)) ||
	    fflush(file) != 0 || (file != stdout && fclose(file) != 0))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s",
			arguments.output != NULL ? arguments.output : "standard output", strerror(errno));
	program_destroy(&program);
	return STATUS_CLEAN;
}
