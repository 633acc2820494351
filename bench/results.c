/* Medians, geometric means, tables, JSON. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(const struct bench_results *results, size_t workload, size_t peer, enum bench_metric metric)
{
	double values[BENCH_ROUNDS_MAX];
	size_t count = 0;

	for (unsigned round = 0; round < results->rounds; round++) {
		const struct bench_sample *const sample = &results->cells[workload][peer].rounds[round];

		if (sample->valid && !isnan(sample->metric[metric]))
			values[count++] = sample->metric[metric];
	}
	if (count == 0)
		return NAN;
	qsort(values, count, sizeof values[0], by_value);
	return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double bench_ratio(const struct bench_results *results, size_t workload, size_t peer, enum bench_metric metric)
{
	const double mine = bench_median(results, workload, peer, metric);
	const double reference = bench_median(results, workload, results->reference, metric);

	return mine > 0 && reference > 0 ? mine / reference : NAN;
}

double bench_operations(const struct bench_results *results, size_t workload, size_t peer)
{
	for (unsigned round = 0; round < results->rounds; round++)
		if (results->cells[workload][peer].rounds[round].valid)
			return (double)results->cells[workload][peer].rounds[round].operations;
	return 0;
}

double bench_geomean(const struct bench_results *results, size_t peer, enum bench_metric metric)
{
	double sum = 0;
	size_t count = 0;

	for (size_t w = 0; w < results->workload_count; w++) {
		const double r = bench_ratio(results, w, peer, metric);

		if (!isnan(r)) {
			sum += log(r);
			count++;
		}
	}
	return count > 0 ? exp(sum / (double)count) : NAN;
}

static int column_width(const struct bench_peer *peer)
{
	const int width = (int)strlen(peer->name);

	return width < 7 ? 7 : width;
}

static bool is_time(enum bench_metric metric)
{
	return metric == BENCH_WALL || metric == BENCH_CPU;
}

static void print_value(FILE *file, int width, double value, enum bench_metric metric)
{
	if (isnan(value))
		fprintf(file, "  %*s", width, "-");
	else if (is_time(metric))
		fprintf(file, "  %*.3f", width, value);
	else if (metric == BENCH_FAULTS)
		fprintf(file, "  %*.0f", width, value);
	else
		fprintf(file, "  %*.1f", width, value / 1024);
}

static void print_ratio(FILE *file, int width, double value)
{
	if (isnan(value))
		fprintf(file, "  %*s", width, "-");
	else
		fprintf(file, "  %*.2f", width, value);
}

static const char *unit(enum bench_metric metric)
{
	return is_time(metric) ? "s" : metric == BENCH_FAULTS ? "number" : "MiB";
}

void bench_print_table(FILE *file, const struct bench_results *results, enum bench_metric metric, bool absolute)
{
	const char *const reference = results->peers[results->reference].name;

	if (absolute)
		fprintf(file, "\n%s, %s\n", bench_metric_titles[metric], unit(metric));
	else
		fprintf(file, "\n%s: %s in %s, the others as ratios to it (less is better)\n",
			bench_metric_titles[metric], reference, unit(metric));
	fprintf(file, "%-17s", "");
	for (size_t p = 0; p < results->peer_count; p++)
		fprintf(file, "  %*s", column_width(&results->peers[p]), results->peers[p].name);
	fprintf(file, "\n");
	for (size_t w = 0; w < results->workload_count; w++) {
		/* A line with nothing in it is left out. */
		bool any = false;

		for (size_t p = 0; p < results->peer_count; p++)
			any = any || !isnan(bench_median(results, w, p, metric));
		if (!any)
			continue;
		fprintf(file, "%-17s", results->workloads[w].name);
		for (size_t p = 0; p < results->peer_count; p++) {
			const int width = column_width(&results->peers[p]);

			if (absolute || p == results->reference)
				print_value(file, width, bench_median(results, w, p, metric), metric);
			else
				print_ratio(file, width, bench_ratio(results, w, p, metric));
		}
		fprintf(file, "\n");
	}
	if (!absolute && results->workload_count > 1) {
		fprintf(file, "%-17s", "geometric mean");
		for (size_t p = 0; p < results->peer_count; p++)
			print_ratio(file, column_width(&results->peers[p]), bench_geomean(results, p, metric));
		fprintf(file, "\n");
	}
}

/* The workload with the highest ratio. */
static double worst(const struct bench_results *results, size_t peer, enum bench_metric metric, const char **name)
{
	double highest = NAN;

	*name = "";
	for (size_t w = 0; w < results->workload_count; w++) {
		const double r = bench_ratio(results, w, peer, metric);

		if (!isnan(r) && (isnan(highest) || r > highest)) {
			highest = r;
			*name = results->workloads[w].name;
		}
	}
	return highest;
}

void bench_print_summary(FILE *file, const struct bench_results *results)
{
	fprintf(file, "\nGeometric means of the ratios to %s; instructions of a malloc and a free of 32 B\n",
		results->peers[results->reference].name);
	fprintf(file, "%-14s %5s %5s %5s %6s %6s  %-24s %s\n", "", "CPU", "wall", "peak", "faults", "instr.",
		"worst CPU time", "worst peak");
	for (size_t p = 0; p < results->peer_count; p++) {
		const char *slowest, *largest;
		const double time = worst(results, p, BENCH_CPU, &slowest);
		const double peak = worst(results, p, BENCH_PEAK, &largest);
		char slow[40] = "", large[40] = "";

		if (p != results->reference && !isnan(time))
			snprintf(slow, sizeof slow, "%.2f %s", time, slowest);
		if (p != results->reference && !isnan(peak))
			snprintf(large, sizeof large, "%.2f %s", peak, largest);
		fprintf(file, "%-14s", results->peers[p].name);
		for (int i = 0; i < 4; i++) {
			static const enum bench_metric metrics[] = {BENCH_CPU, BENCH_WALL, BENCH_PEAK, BENCH_FAULTS};
			const double mean = bench_geomean(results, p, metrics[i]);

			if (isnan(mean))
				fprintf(file, " %*s", i == 3 ? 6 : 5, "-");
			else
				fprintf(file, " %*.2f", i == 3 ? 6 : 5, mean);
		}
		if (isnan(results->instructions[p]))
			fprintf(file, " %6s", "-");
		else
			fprintf(file, " %6.0f", results->instructions[p]);
		if (p == results->reference)
			fprintf(file, "\n");
		else
			fprintf(file, "  %-24s %s\n", slow, large);
	}
}

static const char *const section_names[BENCH_SECTIONS] = {"own_pair", "own_live", "remote_free", "after_remote"};

void bench_print_steps(FILE *file, const struct bench_results *results)
{
	bool any = false;

	for (size_t p = 0; p < results->peer_count; p++)
		any = any || results->stepped[p];
	if (!any)
		return;
	fprintf(file,
		"\nLocked instructions, and all instructions with those of the loop, counted by single steps:\n"
		"  pair    malloc and free of 32 B           remote  free of a block that another thread made\n"
		"  live    the same in a random live set     after   malloc by a thread whose blocks another freed\n"
		"%-14s %14s %14s %14s %14s\n",
		"", "pair", "live", "remote", "after");
	for (size_t p = 0; p < results->peer_count; p++) {
		fprintf(file, "%-14s", results->peers[p].name);
		for (int s = 0; s < BENCH_SECTIONS; s++) {
			if (results->stepped[p])
				fprintf(file, " %6.3f %7.0f", (double)results->steps[p].locked[s] / BENCH_SECTION_CALLS,
					(double)results->steps[p].instructions[s] / BENCH_SECTION_CALLS);
			else
				fprintf(file, " %6s %7s", "-", "-");
		}
		fprintf(file, "\n");
	}
}

static void add_number(cJSON *object, const char *name, double value)
{
	if (isnan(value))
		cJSON_AddNullToObject(object, name);
	else
		cJSON_AddNumberToObject(object, name, value);
}

/* Names of the JSON carry the unit. */
static const char *const json_names[BENCH_METRICS] = {"wall_s",    "cpu_s",       "peak_kib",
						      "after_kib", "trimmed_kib", "page_faults"};

static cJSON *cell_json(const struct bench_results *results, size_t workload, size_t peer)
{
	const struct bench_cell *const cell = &results->cells[workload][peer];
	cJSON *const object = cJSON_CreateObject();
	cJSON *rounds;

	cJSON_AddStringToObject(object, "workload", results->workloads[workload].name);
	cJSON_AddStringToObject(object, "allocator", results->peers[peer].name);
	if (cell->failure[0] != '\0')
		cJSON_AddStringToObject(object, "failure", cell->failure);
	if (bench_operations(results, workload, peer) > 0)
		cJSON_AddNumberToObject(object, "operations", bench_operations(results, workload, peer));
	for (int m = 0; m < BENCH_METRICS; m++)
		add_number(object, json_names[m], bench_median(results, workload, peer, (enum bench_metric)m));
	rounds = cJSON_AddArrayToObject(object, "rounds");
	for (unsigned round = 0; round < results->rounds; round++) {
		cJSON *const one = cJSON_CreateObject();

		if (cell->rounds[round].valid)
			for (int m = 0; m < BENCH_METRICS; m++)
				add_number(one, json_names[m], cell->rounds[round].metric[m]);
		cJSON_AddItemToArray(rounds, one);
	}
	return object;
}

cJSON *bench_json(const struct bench_results *results)
{
	cJSON *const json = cJSON_CreateObject();
	cJSON *const allocators = cJSON_AddArrayToObject(json, "allocators");
	cJSON *const list = cJSON_AddArrayToObject(json, "results");

	cJSON_AddStringToObject(json, "reference", results->peers[results->reference].name);
	cJSON_AddNumberToObject(json, "rounds", results->rounds);
	cJSON_AddNumberToObject(json, "share", results->share);
	for (size_t p = 0; p < results->peer_count; p++) {
		cJSON *const one = cJSON_CreateObject();
		cJSON *const means = cJSON_CreateObject();

		cJSON_AddStringToObject(one, "name", results->peers[p].name);
		cJSON_AddStringToObject(one, "library", results->peers[p].library);
		add_number(one, "instructions", results->instructions[p]);
		for (int kind = 0; kind < 2 && results->stepped[p]; kind++) {
			const uint64_t *const counts =
				kind == 0 ? results->steps[p].locked : results->steps[p].instructions;
			cJSON *const sections =
				cJSON_AddObjectToObject(one, kind == 0 ? "locked" : "instructions_with_loop");

			for (int s = 0; s < BENCH_SECTIONS; s++)
				add_number(sections, section_names[s], (double)counts[s] / BENCH_SECTION_CALLS);
		}
		for (int m = 0; m < BENCH_METRICS; m++)
			add_number(means, bench_metric_names[m], bench_geomean(results, p, (enum bench_metric)m));
		cJSON_AddItemToObject(one, "geomean", means);
		cJSON_AddItemToArray(allocators, one);
	}
	for (size_t w = 0; w < results->workload_count; w++)
		for (size_t p = 0; p < results->peer_count; p++)
			cJSON_AddItemToArray(list, cell_json(results, w, p));
	return json;
}
