/* What the verbs share. */
#ifndef HEAPSTORM_CLI_CLI_H
#define HEAPSTORM_CLI_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "program.h"
#include "verdict.h"

/* Exit statuses. */
enum {
	STATUS_CLEAN = 0,
	STATUS_FOUND = 1,       /* a bug was found */
	STATUS_USAGE = 2,       /* bad usage or unreadable input: nothing was written */
	STATUS_ENVIRONMENT = 3, /* the machine lacks something; the message says what */
};

/* How explore chooses schedules; ended by a NULL name. */
struct strategy {
	const char *name, *description;
};
extern const struct strategy cli_strategies[];

int cmd_check(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_explore(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_fuzz(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_minimize(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_stress(int argc, char **argv);

/* Parses with argp; what is wrong with the arguments ends the process with status 2. Returns the index of the first word left. */
int cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Ends the process with one line on standard error. */
__attribute__((noreturn, format(printf, 2, 3))) void cli_die(int status, const char *format, ...);

/* The path of a file of the installation: `relative` to the folder above the executable's, "libexec/heapstorm/runner-asan". */
void cli_install_path(const char *relative, char *path, size_t size);

/*
 * A process that runs an allocator, such as stress-tsan: one of the installation, of the folder that
 * cmake/build_allocator.sh made for it, or one that is linked with it on the spot. Ends the process with
 * status 3 if there is none, and prepares the environment for it (target.h).
 */
void cli_process_path(const char *allocator, const char *process, char *path, size_t size);

/* The process runner-VARIANT, or what the environment variable HEAPSTORM_RUNNER names: one that is linked with another build of the allocators. */
void cli_runner_path(const char *allocator, const char *variant, char *path, size_t size);

/* The value of --variant of a verb that runs programs. Ends the process with status 2 if there is no such runner. */
const char *cli_check_variant(const char *value);

/*
 * The variant in which a program is best seen to fail: sched for one with a schedule, else asan, or plain where the allocator is not compiled for
 * it. `program` may be NULL.
 */
const char *cli_default_variant(const char *allocator, const struct program *program);

/* What these processes are told for the allocator: its name, or a path. */
const char *cli_process_argument(const char *allocator);

/* Adds a word after a blank, in single quotes unless it is plain; a ' in it becomes '\''. What is longer than `size` is cut off. */
void cli_add_word(char *words, size_t size, const char *word, bool plain);

/* Adds a word to a command line, quoted where a shell needs it. */
void cli_add_quoted(char *words, size_t size, const char *word);

/* A word as a shell takes it; kept until the next call. */
const char *cli_quoted(const char *word);

struct supervised;

/* Ends the process with status 3 if the executable that wrote the record has another idea of it. */
void cli_check_version(const char *executable, const struct run_record *record);

/* The same, and if the process was killed by someone else. Not where what it was at would be lost: fuzz. */
void cli_check_process(const char *executable, const struct supervised *result);

/* The allocator that a program is for: `given` if not NULL, else what its `allocator` line names, else mem_alloc_2.0. Checked. */
void cli_allocator_of(const struct program *program, const char *file, const char *given, char *name, size_t size);

/* Runs a program once in a process of its own and copies the record; its standard error goes to `output` unless NULL. */
void cli_run_once(const char *runner, bool deep, const char *allocator, const struct program *program, double timeout,
		  const char *output, struct run_record *record);

/* "90", "90s", "10m", "2h" in seconds. Ends the process with status 2 for anything else. */
double cli_seconds(const char *text, const char *option);

/* A whole number in a range. Ends the process with status 2 for anything else. */
unsigned long long cli_number(const char *text, const char *option, unsigned long long least, unsigned long long most);

/* Ends the process with status 2 if the file cannot be created, before any work is done for it. */
void cli_check_writable(const char *path);

/* Ends the process with status 2 if the folder is not there and cannot be created either. Creates nothing. */
void cli_check_folder(const char *path);

/* Seconds on a clock that only goes forward. */
double cli_now(void);

/*
 * The program of a failure's folder, DIR/program.heap, where `path` is a folder; else `path` itself. Lives as long as the process. Ends the process with
 * status 2 if there is none in it.
 */
const char *cli_program_path(const char *path);

/* Whether a path is that of a program or recording rather than of an allocator: no folder without a program.heap, no source, no library. */
bool cli_is_program(const char *path);

/* Loads a program or ends the process with status 2 and the line that says what is wrong with it. */
void cli_load(const char *path, struct program *program, enum program_format *format);

/*
 * Ends the process with status 2 if there is no such allocator: a name, or sources and options in one text (target.h). `where` is what gave it: an
 * option, a file, a verb. Returns it with absolute paths, as programs name it; stays.
 */
const char *cli_check_allocator(const char *name, const char *where);

/* The same for one of those that are always there. */
void cli_check_built_in(const char *name, const char *where);

/* Creates a folder and those above it. Ends the process with status 2 if that cannot be. */
void cli_make_folder(const char *path);

/* Removes a folder and all that is in it. */
void cli_remove_folder(const char *path);

/* A new folder for temporary files, removed with all that is in it when the process exits. */
const char *cli_temporary_folder(void);

/* True once an interrupt (SIGINT, SIGTERM) has come; cli_catch_interrupts makes them set it. */
extern volatile bool cli_interrupted;
void cli_catch_interrupts(void);

/* What follows the last slash. */
const char *cli_base_name(const char *path);

/* Prints the stacks of a record, with the functions and lines of the executable that ran. */
void cli_print_stacks(FILE *file, const char *executable, const struct run_record *record);

/*
 * Stacks of a verdict as JSON (docs/json.md), only the functions of the allocator, the innermost first: those of the record, or those in what a
 * sanitizer wrote (may be NULL). Empty where an oracle found it later. The caller deletes it.
 */
cJSON *cli_stacks_json(const char *executable, const struct run_record *record, const char *sanitizer_output);

/* Adds `stacks` and `signature` (report_failure_signature) to the result of a run that was not clean. */
void cli_add_stacks(cJSON *result, const struct program *program, const struct run_record *record,
		    const char *executable, const char *sanitizer_output);

/*
 * Runs the program that cli_run_once ran last once more and reads its history, with walks of the heap if asked for: event_log_close. False if a walk was
 * the end of it.
 */
struct event_log;
bool cli_run_logged(const char *runner, const char *allocator, bool walks, struct event_log *log,
		    struct run_record *record);

/* What a terminal has. */
struct screen {
	unsigned columns, rows; /* rows: for the last operations */
	bool colour;
};

/* Runs a program and prints what happened for a person. `scheduled`: the runner is runner-sched. */
void cli_show_run(FILE *file, const struct program *program, const char *allocator, const char *runner, bool scheduled,
		  const struct screen *screen);

/* Ends the process with status 3 if there is no gdb. */
void cli_check_debugger(void);

/* Runs a failing program under gdb, on the terminal, until the user ends it. `deep` is for runner-asan alone. */
void cli_debug(const char *runner, bool deep, const char *allocator, const struct program *program,
	       const struct verdict *verdict);

/* Runs a program and writes the picture of its heap as one HTML page. `scheduled`: the runner is runner-sched. */
void cli_write_html(const char *file, const struct program *program, const char *allocator, const char *runner,
		    bool scheduled, const char *path);

/* Moves all fields of an object to another one and deletes it. */
void cli_move_fields(cJSON *to, cJSON *from);

/* Writes JSON or ends the process with status 2. */
void cli_write_json(const char *path, const cJSON *json);

#endif
