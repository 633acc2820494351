/* Runs a pattern freely, under ThreadSanitizer: pattern_free_NAME [RUNS]. Each run is a process; prints how many of them raced. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

#define RACE_STATUS 66 /* TSAN_OPTIONS=exitcode=66 is what it is by default */

void pattern_failed(const char *what)
{
	(void)what;
	_exit(1);
}

int main(int argc, char **argv)
{
	const int runs = argc > 1 ? atoi(argv[1]) : 50;
	int races = 0, failures = 0, hung = 0;

	for (int i = 0; i < runs; i++) {
		int status;
		const pid_t child = fork();

		if (child == 0) {
			alarm(2);
			pattern_run();
			exit(0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 3;
		if (WIFEXITED(status) && WEXITSTATUS(status) == RACE_STATUS)
			races++;
		else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
			hung++;
		else if (status != 0)
			failures++;
	}
	printf("races %d, failures %d, hung %d of %d\n", races, failures, hung, runs);
	return races > 0;
}
