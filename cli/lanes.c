/* A run for a terminal: the verdict, a map of the neighbourhood, the last operations with a lane for each thread. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocator.h"
#include "cli.h"
#include "event_log.h"
#include "report.h"

#define GUTTER 9    /* columns for the number of an operation and its mark */
#define LANE_MIN 21 /* three in 80 columns */
#define RED "\033[1;31m"
#define PLAIN "\033[m"

/* An operation as it ran. */
struct step {
	uint32_t thread;
	uint64_t op;
};

/* What a process wrote that may have gone wrong: only operations that there are. */
static size_t read_steps(const struct event_log *log, const struct program *program, struct step **steps)
{
	size_t count = 0;

	*steps = malloc((log->count + 1) * sizeof **steps);
	if (*steps == NULL)
		cli_die(STATUS_ENVIRONMENT, "out of memory");
	for (size_t i = 0; i < log->count; i++) {
		const struct event *const event = &log->events[i];

		if (event->kind == EVENT_STEP && event->thread < program->thread_count &&
		    event->op < program->threads[event->thread].count)
			(*steps)[count++] = (struct step){event->thread, event->op};
	}
	return count;
}

/* ---- The map ---- */

static char map_symbol(const struct map_cell *cell)
{
	char name[8];

	switch (cell->kind) {
	case REGION_LIVE:
		if (cell->label == LABEL_NULL)
			return '*';
		label_name(cell->label, name);
		return name[0];
	case REGION_CACHED:
		return '-';
	case REGION_FREE:
		return '.';
	case REGION_META:
		return '#';
	default:
		return '?';
	}
}

/* One line of memory: what is larger is longer, by its logarithm; `|` between neighbours, a blank where other memory lies between. */
static void print_map(FILE *file, const struct run_record *record, unsigned columns, bool colour)
{
	char marks[512] = "";
	double weights[MAP_CELLS_MAX], sum = 0;
	const double room = columns - 6 - record->map_count;
	size_t at = 0;
	bool guilty = false;

	if (record->map_count == 0)
		return;
	for (uint32_t i = 0; i < record->map_count; i++)
		sum += weights[i] = 1 + log2(1 + (double)record->map[i].size / 16);
	fprintf(file, "  map:\n    ");
	for (uint32_t i = 0; i < record->map_count; i++) {
		const struct map_cell *const cell = &record->map[i];
		const bool joined = i > 0 && record->map[i - 1].start + record->map[i - 1].size == cell->start;
		const int length = sum <= room ? (int)weights[i] : 1 + (int)((weights[i] - 1) * room / sum);

		if (i > 0 && at + 1 < sizeof marks) {
			fputc(joined ? '|' : ' ', file);
			marks[at++] = ' ';
		}
		if (colour && cell->guilty)
			fputs(RED, file);
		for (int k = 0; k < length && at + 1 < sizeof marks; k++) {
			fputc(map_symbol(cell), file);
			marks[at++] = cell->guilty ? '^' : ' ';
		}
		if (colour && cell->guilty)
			fputs(PLAIN, file);
		guilty = guilty || cell->guilty;
	}
	while (at > 0 && marks[at - 1] == ' ')
		at--;
	marks[at] = '\0';
	if (guilty)
		fprintf(file, "\n    %s", marks);
	fprintf(file, "\n    # bookkeeping  . free  - cached  a, b, ... live blocks  * live, nameless\n");
}

/* ---- The lanes ---- */

/* The threads of these steps, each once, ascending. */
static uint32_t find_lanes(const struct step *steps, size_t count, uint32_t *lanes)
{
	bool present[PROGRAM_THREADS_MAX] = {false};
	uint32_t lane_count = 0;

	for (size_t i = 0; i < count; i++)
		present[steps[i].thread] = true;
	for (uint32_t thread = 0; thread < PROGRAM_THREADS_MAX; thread++)
		if (present[thread])
			lanes[lane_count++] = thread;
	return lane_count;
}

static void print_lanes(FILE *file, const struct program *program, const struct verdict *verdict,
			const struct step *steps, size_t count, unsigned columns, unsigned rows, bool colour)
{
	const size_t first = count > rows ? count - rows : 0;
	uint32_t lanes[PROGRAM_THREADS_MAX];
	uint32_t lane_count = find_lanes(steps + first, count - first, lanes);
	/* Where they do not fit beside each other they share one lane, and each line says whose it is. */
	const bool shared = lane_count * (LANE_MIN + 2) > columns - GUTTER;
	const int width = shared || lane_count == 0 ? (int)columns - GUTTER : (int)((columns - GUTTER) / lane_count) - 2;
	char name[16], text[160], cell[192];

	if (count == 0)
		return;
	fprintf(file, "\n%*s", shared ? 0 : GUTTER, "");
	for (uint32_t lane = 0; !shared && lane < lane_count; lane++) {
		thread_name(lanes[lane], name);
		if (lane + 1 < lane_count)
			fprintf(file, "%-*s| ", width, name);
		else
			fputs(name, file);
	}
	if (!shared)
		fputc('\n', file);
	if (first > 0)
		fprintf(file, "%*s... %zu operations before\n", GUTTER, "", first);
	for (size_t i = first; i < count; i++) {
		const struct step *const step = &steps[i];
		const bool bad = verdict->kind != VERDICT_CLEAN && step->thread == verdict->thread && step->op == verdict->op;

		op_print(&program->threads[step->thread].ops[step->op], text, sizeof text);
		thread_name(step->thread, name);
		if (shared)
			snprintf(cell, sizeof cell, "%-5s %s", name, text);
		else
			snprintf(cell, sizeof cell, "%s", text);
		fprintf(file, "%s%c%6zu  ", bad && colour ? RED : "", bad ? '>' : ' ', i + 1);
		for (uint32_t lane = 0; !shared && lanes[lane] != step->thread; lane++)
			fprintf(file, "%*s| ", width, "");
		/* The lanes to its right are empty. */
		if (shared || step->thread == lanes[lane_count - 1] || bad)
			fprintf(file, "%.*s", width, cell);
		else
			fprintf(file, "%-*.*s|", width, width, cell);
		for (uint32_t lane = 1; !shared && !bad && lane + 1 < lane_count; lane++)
			if (lanes[lane] > step->thread)
				fprintf(file, " %*s|", width, "");
		if (bad)
			fprintf(file, "  <-- %s%s", verdict_name(verdict->kind), colour ? PLAIN : "");
		fputc('\n', file);
	}
	if (verdict->kind != VERDICT_CLEAN && verdict->op == NO_OP)
		fprintf(file, "%s>%*send of the program  <-- %s%s\n", colour ? RED : "", GUTTER - 1, "",
			verdict_name(verdict->kind), colour ? PLAIN : "");
}

void cli_show_run(FILE *file, const struct program *program, const char *allocator, const char *runner, bool scheduled,
		  const struct screen *screen)
{
	static struct run_record record, logged;
	char output[PATH_MAX];
	struct event_log log;
	struct step *steps;
	size_t count;

	snprintf(output, sizeof output, "%s/output", cli_temporary_folder());
	cli_run_once(runner, !scheduled, allocator, program, 10, output, &record);
	cli_run_logged(runner, allocator, false, &log, &logged);
	count = read_steps(&log, program, &steps);
	if (record.verdict.kind == VERDICT_CLEAN)
		fprintf(file, "clean on %s: nothing was found\n", allocator);
	report_print(file, program, &record, output);
	print_map(file, &record, screen->columns, screen->colour);
	cli_print_stacks(file, runner, &record);
	print_lanes(file, program, &record.verdict, steps, count, screen->columns, screen->rows, screen->colour);
	free(steps);
	event_log_close(&log);
}
