/* Instructions of the fast path, as callgrind counts them: the same figure every time. */
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "config.h"

extern char **environ;

#define PAIRS 20000

/* valgrind gives up on debug information that is newer than itself: it gets copies without. */
static bool strip_debug(const char *from, const char *to)
{
	const char *const arguments[] = {HEAPSTORM_OBJCOPY, "--strip-debug", from, to, NULL};
	pid_t child;
	int status = -1;

	if (posix_spawn(&child, arguments[0], NULL, NULL, (char *const *)arguments, environ) != 0)
		return false;
	waitpid(child, &status, 0);
	return status == 0;
}

/* Instructions of a whole process that makes and frees `pairs` blocks, with functions that do nothing where `none`. 0: not counted. */
static double count(const char *output, const char *worker, const char *library, bool none, unsigned pairs, char *why,
		    size_t why_size)
{
	char preload[PATH_MAX + 16], share[16], line[512];
	const char *const arguments[] = {
		"env",
		preload,
		"valgrind",
		"--tool=callgrind",
		"--callgrind-out-file=/dev/null",
		worker,
		none ? "instructions-none" : "instructions-32",
		share,
		NULL,
	};
	posix_spawn_file_actions_t actions;
	double instructions = 0;
	FILE *file;
	pid_t child;
	int status = -1, error;

	snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
	snprintf(share, sizeof share, "%u", pairs);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_addopen(&actions, 4, "/dev/null", O_WRONLY, 0);
	error = posix_spawnp(&child, arguments[0], &actions, NULL, (char *const *)arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (error == 0)
		waitpid(child, &status, 0);
	file = fopen(output, "re");
	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		const char *const figure = strstr(line, "Collected : ");

		if (figure != NULL)
			instructions = strtod(figure + strlen("Collected : "), NULL);
	}
	if (file != NULL)
		fclose(file);
	if (status != 0 || instructions == 0) {
		snprintf(why, why_size, "the process does not end well under valgrind");
		return 0;
	}
	return instructions;
}

double bench_instructions(const struct bench_paths *paths, const struct bench_peer *peer, char *why, size_t why_size)
{
	char output[PATH_MAX + 16], worker[PATH_MAX + 16], library[PATH_MAX + 16] = "";
	double figures[2][2];

	if (system("command -v valgrind >/dev/null 2>&1") != 0) {
		snprintf(why, why_size, "valgrind is not installed");
		return NAN;
	}
	snprintf(output, sizeof output, "%s/callgrind", paths->work);
	snprintf(worker, sizeof worker, "%s/worker", paths->work);
	if (peer->library[0] != '\0')
		snprintf(library, sizeof library, "%s/library.so", paths->work);
	if (!strip_debug(paths->worker, worker) || (library[0] != '\0' && !strip_debug(peer->library, library))) {
		snprintf(why, why_size, "%s failed", HEAPSTORM_OBJCOPY);
		return NAN;
	}
	/* The difference of two lengths is free of what start and end cost, that of two functions of the loop. */
	for (int none = 0; none < 2; none++) {
		for (int twice = 0; twice < 2; twice++) {
			figures[none][twice] = count(output, worker, library, none, PAIRS << twice, why, why_size);
			if (figures[none][twice] == 0)
				return NAN;
		}
	}
	/* Each function that does nothing is one instruction, its return. */
	return ((figures[0][1] - figures[0][0]) - (figures[1][1] - figures[1][0])) / PAIRS + 2;
}
