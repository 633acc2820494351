/* Options that many verbs have, and results for machines. */
#ifndef HEAPSTORM_CLI_OUTPUT_H
#define HEAPSTORM_CLI_OUTPUT_H

#include <argp.h>

#include <cjson/cJSON.h>

struct shared_options {
	double timeout;                   /* --timeout, in seconds; the verb's default before parsing */
	const char *json, *junit, *sarif; /* files, NULL: not asked for, "-": standard output */
	const char *out;                  /* --out: the folder for failures; NULL where there is no such option */
};

/*
 * Children for a verb's struct argp. Their input is a struct shared_options, which the verb's parser hands over at ARGP_KEY_INIT: in
 * state->child_inputs[0], or by output_give_options.
 */
extern const struct argp_child timeout_children[]; /* --timeout */
extern const struct argp_child shared_children[];  /* --timeout, --json, --junit, --sarif */
extern const struct argp_child keeping_children[]; /* those of shared_children, --out */

/* Hands `options` over to all of shared_children or keeping_children. */
void output_give_options(struct argp_state *state, struct shared_options *options);

/* Ends the process with status 2 if one of the files cannot be created, before any work is done for it. */
void output_check(const struct shared_options *options);

/*
 * Writes the files that were asked for: `results` is an array of results (docs/json.md), or one such object. `verb` names the whole. Ends the
 * process with status 2 if that fails.
 */
void output_write(const struct shared_options *options, const char *verb, const cJSON *results);

/* One JUnit test suite, and one SARIF 2.1.0 log; `results` is an array. */
void output_write_junit(const char *path, const char *suite, const cJSON *results);
void output_write_sarif(const char *path, const char *verb, const cJSON *results);

/* The text of a field, "" if there is none. */
const char *output_text(const cJSON *object, const char *name);

#endif
