#define _GNU_SOURCE
#include "output.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

enum { OPTION_JSON = 1024, OPTION_JUNIT, OPTION_SARIF, OPTION_TIMEOUT, OPTION_OUT };

static error_t parse_shared(int key, char *value, struct argp_state *state)
{
	struct shared_options *const options = state->input;

	switch (key) {
	case OPTION_JSON:
		options->json = value;
		return 0;
	case OPTION_JUNIT:
		options->junit = value;
		return 0;
	case OPTION_SARIF:
		options->sarif = value;
		return 0;
	case OPTION_TIMEOUT:
		options->timeout = cli_seconds(value, "--timeout");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_keeping(int key, char *value, struct argp_state *state)
{
	struct shared_options *const options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		options->out = "heapstorm-failures";
		state->child_inputs[0] = options;
		return 0;
	case OPTION_OUT:
		options->out = value;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Not every verb has the same default. */
static char *fill_in_default(int key, const char *text, void *input)
{
	const struct shared_options *const options = input;
	char *filled = NULL;

	if (key != OPTION_TIMEOUT || options == NULL ||
	    asprintf(&filled, "%s (default %gs)", text, options->timeout) < 0)
		return (char *)text;
	return filled;
}

static const struct argp_option timeout_options[] = {
	{"timeout", OPTION_TIMEOUT, "TIME", 0, "Without progress for TIME it is stuck", 0},
	{0},
};

static const struct argp_option results_options[] = {
	{"json", OPTION_JSON, "FILE", 0, "Write the results as JSON", 0},
	{"junit", OPTION_JUNIT, "FILE", 0, "Write the results as JUnit XML", 0},
	{"sarif", OPTION_SARIF, "FILE", 0, "Write the results as SARIF", 0},
	{0},
};

static const struct argp_option keeping_options[] = {
	{"out", OPTION_OUT, "DIR", 0, "Keep failures in DIR (default heapstorm-failures)", 0},
	{0},
};

static const struct argp timeout_argp = {
	.options = timeout_options, .parser = parse_shared, .help_filter = fill_in_default};
static const struct argp results_argp = {.options = results_options, .parser = parse_shared};
static const struct argp_child results_children[] = {{&results_argp, 0, NULL, 0}, {0}};
static const struct argp keeping_argp = {
	.options = keeping_options, .parser = parse_keeping, .children = results_children};
const struct argp_child timeout_children[] = {{&timeout_argp, 0, NULL, 0}, {0}};
const struct argp_child shared_children[] = {{&timeout_argp, 0, NULL, 0}, {&results_argp, 0, NULL, 0}, {0}};
const struct argp_child keeping_children[] = {{&timeout_argp, 0, NULL, 0}, {&keeping_argp, 0, NULL, 0}, {0}};

void output_give_options(struct argp_state *state, struct shared_options *options)
{
	state->child_inputs[0] = options;
	state->child_inputs[1] = options;
}

void output_check(const struct shared_options *options)
{
	cli_check_writable(options->json);
	cli_check_writable(options->junit);
	cli_check_writable(options->sarif);
}

const char *output_text(const cJSON *object, const char *name)
{
	const char *const text = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));

	return text != NULL ? text : "";
}

void output_write(const struct shared_options *options, const char *verb, const cJSON *results)
{
	cJSON *const list = cJSON_CreateArray();

	if (!cJSON_IsArray(results))
		cJSON_AddItemReferenceToArray(list, (cJSON *)results);
	cli_write_json(options->json, results);
	output_write_junit(options->junit, verb, cJSON_IsArray(results) ? results : list);
	output_write_sarif(options->sarif, verb, cJSON_IsArray(results) ? results : list);
	cJSON_Delete(list);
}
