/* A failing program under gdb: stopped at the failing operation, with the commands of gdb.py. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "report.h"

void cli_check_debugger(void)
{
	if (system("command -v gdb >/dev/null") != 0)
		cli_die(STATUS_ENVIRONMENT, "--gdb needs gdb, which is not installed (apt-get install gdb)");
}

void cli_debug(const char *runner, bool deep, const char *allocator, const struct program *program,
	       const struct verdict *verdict)
{
	char script[PATH_MAX], path[PATH_MAX], log[PATH_MAX], stop[48], text[256];
	char *argv[32] = {"gdb", "-q", "-iex", "set debuginfod enabled off", "-x", script, "-ex", "run", "--args"};
	int argc = 9, status;
	FILE *file;
	pid_t child;

	cli_install_path("libexec/heapstorm/gdb.py", script, sizeof script);
	snprintf(path, sizeof path, "%s/program.heap", cli_temporary_folder());
	snprintf(log, sizeof log, "%s/log", cli_temporary_folder());
	file = fopen(path, "w");
	if (file == NULL || !program_print(program, file) || fclose(file) != 0)
		cli_die(STATUS_ENVIRONMENT, "%s: cannot be written: %s", path, strerror(errno));
	if (verdict->op == NO_OP)
		strcpy(stop, "end");
	else
		snprintf(stop, sizeof stop, "%" PRIu32 ":%" PRIu64, verdict->thread, verdict->op);
	report_place(program, verdict->thread, verdict->op, text, sizeof text);
	setenv("HEAPSTORM_PROGRAM", path, 1);
	setenv("HEAPSTORM_STOP_PLACE", verdict->op == NO_OP ? "the end of the program" : text, 1);
	argv[argc++] = (char *)runner;
	argv[argc++] = "--log";
	argv[argc++] = log;
	argv[argc++] = "--stop";
	argv[argc++] = stop;
	if (deep)
		argv[argc++] = "--deep";
	argv[argc++] = (char *)cli_process_argument(allocator);
	argv[argc++] = path;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (child < 0)
		cli_die(STATUS_ENVIRONMENT, "gdb cannot be started: %s", strerror(errno));
	/* An interrupt is gdb's, which lives on. */
	signal(SIGINT, SIG_IGN);
	waitpid(child, &status, 0);
	cli_catch_interrupts();
}
