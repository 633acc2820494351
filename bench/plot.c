#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const char *const colours[] = {"#555555", "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e",
				      "#17becf", "#8c564b", "#e377c2", "#bcbd22", "#7f7f7f"};

static const char *colour(size_t peer)
{
	return colours[peer % (sizeof colours / sizeof colours[0])];
}

/* Ours stand out. */
static bool stands_out(const struct bench_results *results, size_t peer)
{
	return strncmp(results->peers[peer].name, "mem_alloc", 9) == 0;
}

/* Between single quotes of gnuplot. */
static void print_quoted(FILE *file, const char *text)
{
	fputc('\'', file);
	for (; *text != '\0'; text++)
		fputs(*text == '\'' ? "''" : (char[]){*text, '\0'}, file);
	fputc('\'', file);
}

static void print_number(FILE *file, double value)
{
	if (isnan(value))
		fputs(" NaN", file);
	else
		fprintf(file, " %.6g", value);
}

static const char *const kinds[] = {"png", "svg"};

static void open_picture(FILE *plot, const char *kind, const char *prefix, const char *name, int width, int height)
{
	fprintf(plot, "reset\nset encoding utf8\nset datafile missing 'NaN'\n");
	if (strcmp(kind, "png") == 0)
		fprintf(plot, "set terminal pngcairo size %d,%d font 'DejaVu Sans,10' background rgb 'white'\n", width,
			height);
	else
		fprintf(plot, "set terminal svg size %d,%d font 'DejaVu Sans,12' background rgb 'white'\n", width,
			height);
	fprintf(plot, "set output ");
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s-%s.%s", prefix, name, kind);
	print_quoted(plot, path);
	fprintf(plot, "\nset grid lc rgb '#dddddd' lw 1\nset border 3 lc rgb '#666666'\nset tics nomirror\n");
}

/* CPU time against peak memory, geometric means. */
static void plot_overview(FILE *plot, const struct bench_results *results, const char *kind, const char *prefix)
{
	open_picture(plot, kind, prefix, "overview", 900, 640);
	fprintf(plot, "$points << END\n");
	for (size_t p = 0; p < results->peer_count; p++) {
		print_number(plot, bench_geomean(results, p, BENCH_CPU));
		print_number(plot, bench_geomean(results, p, BENCH_PEAK));
		fprintf(plot, " \"%s\"\n", results->peers[p].name);
	}
	fprintf(plot,
		"END\nset title 'CPU time and peak of memory, geometric means over %zu workloads, %s = 1' noenhanced\n"
		"set xlabel 'CPU time (less is better)'\nset ylabel 'peak of resident memory (less is better)'\n"
		"set logscale xy 2\nset offsets graph 0.06, graph 0.16, graph 0.08, graph 0.08\nunset key\n"
		"set format xy '%%.2g'\nset xtics (0.25,0.35,0.5,0.6,0.7,0.85,1,1.2,1.5,2,3,4,6,8)\n"
		"set ytics (0.5,0.6,0.7,0.85,1,1.2,1.5,2,2.5,3,4,6,8)\n"
		"set arrow from graph 0, first 1 to graph 1, first 1 nohead dt 2 lc rgb '#999999'\n"
		"set arrow from first 1, graph 0 to first 1, graph 1 nohead dt 2 lc rgb '#999999'\nplot ",
		results->workload_count, results->peers[results->reference].name);
	for (size_t p = 0; p < results->peer_count; p++)
		fprintf(plot,
			"%s$points every ::%zu::%zu using 1:2 with points pt 7 ps %s lc rgb '%s', "
			"'' every ::%zu::%zu using 1:2:3 with labels left offset 1,0.4 noenhanced tc rgb '%s'",
			p > 0 ? ", " : "", p, p, stands_out(results, p) ? "2" : "1.4", colour(p), p, p, colour(p));
	fprintf(plot, "\nunset output\n");
}

/* A line a workload, a mark an allocator, for CPU time and memory. */
static void plot_workloads(FILE *plot, const struct bench_results *results, const char *kind, const char *prefix)
{
	static const enum bench_metric metrics[] = {BENCH_CPU, BENCH_PEAK};
	const size_t lines = results->workload_count;

	open_picture(plot, kind, prefix, "workloads", 1300, 150 + 20 * (int)lines);
	fprintf(plot, "$ratios << END\n");
	for (size_t w = 0; w < lines; w++) {
		fprintf(plot, "%zu", lines - w);
		for (size_t m = 0; m < 2; m++)
			for (size_t p = 0; p < results->peer_count; p++)
				print_number(plot, bench_ratio(results, w, p, metrics[m]));
		fprintf(plot, "\n");
	}
	fprintf(plot,
		"END\nset multiplot layout 1,2\nset logscale x 2\nset format x '%%g'\nset yrange [0:%zu]\nset ytics (",
		lines + 1);
	for (size_t w = 0; w < lines; w++) {
		fprintf(plot, "%s", w > 0 ? ", " : "");
		print_quoted(plot, results->workloads[w].name);
		fprintf(plot, " %zu", lines - w);
	}
	fprintf(plot, ") noenhanced\nset xrange [0.125:8]\nset xtics (0.125,0.25,0.5,1,2,4,8)\nset key outside bottom "
		      "center horizontal\n"
		      "set arrow from first 1, graph 0 to first 1, graph 1 nohead lw 2 lc rgb '#999999'\n");
	for (size_t m = 0; m < 2; m++) {
		fprintf(plot, "set title '%s, ratio to %s (what is beyond stands on the edge)' noenhanced\nplot ",
			bench_metric_titles[metrics[m]], results->peers[results->reference].name);
		bool first = true;

		for (int front = 0; front < 2; front++) { /* ours on top */
			for (size_t p = 0; p < results->peer_count; p++) {
				if (p == results->reference || stands_out(results, p) != (front == 1))
					continue;
				fprintf(plot,
					"%s$ratios using ($%zu > 8 ? 8 : $%zu < 0.125 ? 0.125 : $%zu):1 with points pt "
					"7 ps %s "
					"lc rgb '%s' title '%s' noenhanced",
					first ? "" : ", ", 2 + m * results->peer_count + p,
					2 + m * results->peer_count + p, 2 + m * results->peer_count + p,
					front == 1 ? "1.5" : "0.9", colour(p), results->peers[p].name);
				first = false;
			}
		}
		if (first) /* libc alone */
			fprintf(plot, "1/0 notitle");
		fprintf(plot, "\n");
	}
	fprintf(plot, "unset multiplot\nunset output\n");
}

/* The bytes of pairs-64 or pairs-16k, 0 for other workloads. */
static double pair_size(const char *name)
{
	char *end;
	double size;

	if (strncmp(name, "pairs-", 6) != 0)
		return 0;
	size = strtod(name + 6, &end);
	return *end == 'k' ? size * 1024 : size;
}

static void plot_sizes(FILE *plot, const struct bench_results *results, const char *kind, const char *prefix)
{
	open_picture(plot, kind, prefix, "sizes", 1000, 640);
	fprintf(plot, "$times << END\n");
	for (size_t w = 0; w < results->workload_count; w++) {
		const double size = pair_size(results->workloads[w].name);

		if (size == 0)
			continue;
		fprintf(plot, "%g", size);
		for (size_t p = 0; p < results->peer_count; p++) {
			const double operations = bench_operations(results, w, p);

			print_number(plot,
				     operations > 0 ? bench_median(results, w, p, BENCH_CPU) * 2e9 / operations : NAN);
		}
		fprintf(plot, "\n");
	}
	fprintf(plot,
		"END\nset title 'A block is made and freed at once: CPU time over the size'\n"
		"set logscale x 2\nset logscale y 10\nset xlabel 'block size'\nset ylabel 'ns per malloc and free'\n"
		"set xtics ('16 B' 16, '64 B' 64, '256 B' 256, '1 KiB' 1024, '4 KiB' 4096, '16 KiB' 16384, '64 KiB' "
		"65536, '200 KiB' 204800)\nset offsets graph 0.03, graph 0.03, 0, 0\nset yrange [1:*]\n"
		"set key top left Left reverse\nplot ");
	for (size_t p = 0; p < results->peer_count; p++)
		fprintf(plot,
			"%s$times using 1:%zu with linespoints pt 7 ps 0.8 lw %s lc rgb '%s' title '%s' noenhanced",
			p > 0 ? ", " : "", p + 2, stands_out(results, p) ? "3" : "1.5", colour(p),
			results->peers[p].name);
	fprintf(plot, "\nunset output\n");
}

bool bench_plot(const struct bench_results *results, const char *prefix, char *why, size_t why_size)
{
	size_t sizes = 0;
	FILE *plot;
	int status;

	if (system("command -v gnuplot >/dev/null 2>&1") != 0) {
		snprintf(why, why_size, "gnuplot is not installed");
		return false;
	}
	for (size_t w = 0; w < results->workload_count; w++)
		sizes += pair_size(results->workloads[w].name) > 0;
	plot = popen("gnuplot", "we");
	if (plot == NULL) {
		snprintf(why, why_size, "gnuplot cannot be started");
		return false;
	}
	for (size_t k = 0; k < 2; k++) {
		plot_overview(plot, results, kinds[k], prefix);
		plot_workloads(plot, results, kinds[k], prefix);
		if (sizes > 1)
			plot_sizes(plot, results, kinds[k], prefix);
	}
	status = pclose(plot);
	if (status != 0)
		snprintf(why, why_size, "gnuplot failed");
	return status == 0;
}
