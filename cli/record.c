/* heapstorm record: captures the allocator calls of a real program. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "collector.h"
#include "hub.h"
#include "trace.h"

#define LIBRARY "lib/libheapstorm_record.so"

enum { KEY_MAX_OPERATIONS = 256, KEY_CHILDREN };

struct arguments {
	const char *output;
	char **program;
	uint64_t operations_max;
	bool follow_children;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->err_stream = NULL; /* what is wrong is said in one line, without a hint at --help behind it */
		return 0;
	case 'o':
		arguments->output = argument;
		return 0;
	case KEY_MAX_OPERATIONS:
		arguments->operations_max = cli_number(argument, "--max-operations", 1, UINT64_MAX);
		return 0;
	case KEY_CHILDREN:
		if (strcmp(argument, "follow") != 0 && strcmp(argument, "ignore") != 0)
			cli_die(STATUS_USAGE, "--children %s: expected follow or ignore", argument);
		arguments->follow_children = strcmp(argument, "follow") == 0;
		return 0;
	case ARGP_KEY_ARG:
		/* The program: all that follows is its own. */
		arguments->program = &state->argv[state->next - 1];
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->output)
			cli_die(STATUS_USAGE, "record: -o FILE is missing");
		if (!arguments->program)
			cli_die(STATUS_USAGE, "record: PROGRAM is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"output", 'o', "FILE", 0, "Write the recording to FILE, those of other processes to FILE.PID", 0},
	{"max-operations", KEY_MAX_OPERATIONS, "N", 0, "Stop each recording after N operations; the program goes on",
	 0},
	{"children", KEY_CHILDREN, "follow|ignore", 0, "Record processes that PROGRAM starts, too (default: follow)",
	 0},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "-o FILE -- PROGRAM [ARGUMENT...]",
	.doc = "Runs PROGRAM and records its calls of malloc, free and their kin, with their threads and the order "
	       "between them. Exits with the exit status of PROGRAM (128 + N if signal N ended it).\vheapstorm replay "
	       "FILE runs a recording.",
};

static volatile sig_atomic_t caught;

static void on_signal(int signal)
{
	caught = signal;
}

/* In the child: becomes the program, or says through `failure` why not. */
static _Noreturn void become(const struct arguments *arguments, struct collector *collector, const char *library,
			     int failure)
{
	const char *others = getenv("LD_PRELOAD");
	char *preload = NULL;
	int error;

	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	collector_set_main(collector, getpid());
	if (asprintf(&preload, "%s%s%s", library, others && *others ? ":" : "", others ? others : "") < 0 ||
	    setenv("LD_PRELOAD", preload, 1) != 0 || setenv(HUB_ENVIRONMENT, collector_environment(collector), 1) != 0)
		error = ENOMEM;
	else
		execvp(arguments->program[0], arguments->program), error = errno;
	if (write(failure, &error, sizeof(error)) != sizeof(error))
		abort();
	_exit(STATUS_USAGE);
}

/* Starts the program. Returns its pid, or -1 with errno set. */
static pid_t start(const struct arguments *arguments, struct collector *collector, const char *library)
{
	int failure[2], error = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(failure, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid == 0)
		become(arguments, collector, library, failure[1]);
	close(failure[1]);
	if (pid > 0) {
		do
			got = read(failure[0], &error, sizeof(error));
		while (got < 0 && errno == EINTR);
		if (got == sizeof(error)) {
			waitpid(pid, NULL, 0);
			pid = -1;
		}
	} else {
		error = errno;
	}
	close(failure[0]);
	errno = error;
	return pid;
}

/* Takes in what the program does until it and all that it started has ended. Returns the exit status of the program. */
static int attend(struct collector *collector, pid_t pid)
{
	int status = 0, idle = 0;
	bool ended = false;

	for (;;) {
		bool was_ended = ended;
		bool any = collector_poll(collector);

		if (!ended && !any)
			ended = waitpid(pid, &status, WNOHANG) == pid;
		if (caught != 0) {
			/* A terminal interrupts the program, too; what is sent to heapstorm alone is passed on. */
			if (!ended && (caught == SIGTERM || caught == SIGHUP))
				kill(pid, caught);
			else if (ended)
				break;
			caught = 0;
		}
		if (was_ended && !any && collector_live(collector) == 0)
			break;
		idle = any ? 0 : idle + 1;
		if (!any)
			collector_wait(collector, idle < 100 ? 1 : 5);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void print_bytes(FILE *to, uint64_t bytes)
{
	if (bytes < 10000)
		fprintf(to, "%" PRIu64 " bytes", bytes);
	else if (bytes < 10000000)
		fprintf(to, "%.1f kB", (double)bytes / 1e3);
	else
		fprintf(to, "%.1f MB", (double)bytes / 1e6);
}

#define REPORTED_MAX 16 /* lines for other processes */

static void report_recording(const struct recording *r, bool with_command)
{
	fprintf(stderr, "heapstorm: %s: %" PRIu64 " operations, %" PRIu64 " thread%s, peak live %" PRIu64 " blocks of ",
		r->path, r->operations, r->threads, r->threads == 1 ? "" : "s", r->peak_blocks);
	print_bytes(stderr, r->peak_bytes);
	fputs(", ", stderr);
	print_bytes(stderr, r->bytes);
	fputs(" written", stderr);
	if (r->stopped)
		fputs(", stopped there", stderr);
	if (r->totals.dropped > 0)
		fprintf(stderr, ", %" PRIu64 " calls on unknown blocks left out", r->totals.dropped);
	if (r->totals.unseen > 0)
		fprintf(stderr, ", %" PRIu64 " frees not seen", r->totals.unseen);
	if (r->totals.lost > 0)
		fprintf(stderr, ", %" PRIu64 " calls lost", r->totals.lost);
	if (with_command)
		fprintf(stderr, " (%s%.60s)", r->forked ? "fork of " : "", r->command);
	fputc('\n', stderr);
}

static int by_operations(const void *a, const void *b)
{
	const struct recording *x = *(const struct recording *const *)a, *y = *(const struct recording *const *)b;

	return (x->operations < y->operations) - (x->operations > y->operations);
}

/* One line for each file, PROGRAM's first, the others by size. False: a file is not whole. */
static bool report(const struct collector *collector, const struct arguments *arguments)
{
	size_t count, others = 0;
	const struct recording *recordings = collector_recordings(collector, &count);
	const struct recording **sorted = calloc(count + 1, sizeof(const struct recording *));
	bool good = true, has_main = false;

	if (!sorted)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct recording *r = &recordings[i];
		bool is_main = strcmp(r->path, arguments->output) == 0;

		has_main |= is_main;
		if (r->error != 0) {
			fprintf(stderr, "heapstorm: %s: %s\n", r->path, strerror(r->error));
			good = false;
		} else if (is_main) {
			report_recording(r, count > 1);
		} else {
			sorted[others++] = r;
		}
	}
	qsort(sorted, others, sizeof(const struct recording *), by_operations);
	for (size_t i = 0; i < others && i < REPORTED_MAX; i++)
		report_recording(sorted[i], true);
	if (others > REPORTED_MAX)
		fprintf(stderr, "heapstorm: and %zu smaller recordings of other processes\n", others - REPORTED_MAX);
	free(sorted);
	if (collector_left_out(collector) > 0)
		fprintf(stderr, "heapstorm: %" PRIu32 " processes were not recorded: more than %d at one time\n",
			collector_left_out(collector), HUB_SLOTS);
	if (!has_main) {
		struct trace_writer *writer = trace_writer_open(arguments->output, 0, arguments->program[0],
								strlen(arguments->program[0]) + 1);

		if (!writer || !trace_writer_close(writer, &(struct trace_totals){0}, NULL)) {
			fprintf(stderr, "heapstorm: %s: %s\n", arguments->output, strerror(errno));
			return false;
		}
		fprintf(stderr, "heapstorm: %s: no operations: %s made no call that can be captured\n",
			arguments->output, arguments->program[0]);
	}
	return good;
}

int cmd_record(int argc, char **argv)
{
	struct arguments arguments = {.follow_children = true};
	char library[PATH_MAX];
	struct collector *collector;
	struct sigaction action = {.sa_handler = on_signal};
	pid_t pid;
	int status;

	argp_err_exit_status = STATUS_USAGE;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &arguments) != 0)
		return STATUS_USAGE;
	cli_check_writable(arguments.output);
	cli_install_path(LIBRARY, library, sizeof(library));
	if (access(library, R_OK) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: %s", library, strerror(errno));
	if (strpbrk(library, " :")) {
		/* Blanks and colons part the names in LD_PRELOAD. This one has none and lasts while heapstorm does. */
		int file = open(library, O_RDONLY | O_CLOEXEC);

		if (file < 0)
			cli_die(STATUS_ENVIRONMENT, "%s: %s", library, strerror(errno));
		snprintf(library, sizeof(library), "/proc/%ld/fd/%d", (long)getpid(), file);
	}
	collector = collector_create(arguments.output, arguments.operations_max, arguments.follow_children);
	if (!collector)
		cli_die(STATUS_ENVIRONMENT, "no shared memory: %s", strerror(errno));
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGQUIT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	pid = start(&arguments, collector, library);
	if (pid < 0) {
		fprintf(stderr, "heapstorm: %s: %s\n", arguments.program[0], strerror(errno));
		collector_destroy(collector);
		return STATUS_USAGE;
	}
	status = attend(collector, pid);
	collector_finish(collector);
	if (!report(collector, &arguments) && status == 0)
		status = STATUS_ENVIRONMENT;
	collector_destroy(collector);
	return status;
}
