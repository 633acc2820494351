/* heapstorm show: a program in another format. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct arguments {
	const char *output, *allocator;
	bool bytes, html;
};

enum { OPTION_HTML = 256 };

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
	case 'o':
		arguments->output = value;
		return 0;
	case 't':
		if (strcmp(value, "bytes") != 0 && strcmp(value, "text") != 0)
			cli_die(STATUS_USAGE, "--to %s: expected text or bytes", value);
		arguments->bytes = strcmp(value, "bytes") == 0;
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

int cmd_show(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"to", 't', "FORMAT", 0, "text (the default) or bytes, as fuzzers take it", 0},
		{"html", OPTION_HTML, NULL, 0, "Run it and write a picture of its heap as one HTML page", 0},
		{"allocator", 'a', "NAME", 0, "Run on NAME, whatever the file says (--html)", 0},
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

	if (argc - first != 1)
		cli_die(STATUS_USAGE, "show takes one file: see heapstorm show --help");
	argv[first] = (char *)cli_program_path(argv[first]);
	program_init(&program);
	cli_load(argv[first], &program, &format);
	if (arguments.html) {
		if (arguments.output == NULL || strcmp(arguments.output, "-") == 0)
			cli_die(STATUS_USAGE, "show --html needs -o FILE for the page");
		cli_check_writable(arguments.output);
		cli_allocator_of(&program, argv[first], arguments.allocator, allocator, sizeof allocator);
		cli_runner_path(allocator, cli_variant_of(&program), runner, sizeof runner);
		cli_write_html(argv[first], &program, allocator, runner, strcmp(cli_variant_of(&program), "sched") == 0,
			       arguments.output);
		program_destroy(&program);
		return STATUS_CLEAN;
	}
	if (arguments.output != NULL && strcmp(arguments.output, "-") != 0) {
		file = fopen(arguments.output, "w");
		if (file == NULL)
			cli_die(STATUS_USAGE, "%s: cannot be written: %s", arguments.output, strerror(errno));
	}
	if (!(arguments.bytes ? write_bytes(&program, file) : program_print(&program, file)) || fflush(file) != 0 ||
	    (file != stdout && fclose(file) != 0))
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s",
			arguments.output != NULL ? arguments.output : "standard output", strerror(errno));
	program_destroy(&program);
	return STATUS_CLEAN;
}
