/* Results as JUnit XML, for continuous integration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "output.h"

static void put_escaped(FILE *file, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", file);
			break;
		case '<':
			fputs("&lt;", file);
			break;
		case '>':
			fputs("&gt;", file);
			break;
		case '"':
			fputs("&quot;", file);
			break;
		default:
			/* Control characters are not allowed in XML at all. */
			fputc((unsigned char)*text < ' ' ? ' ' : *text, file);
		}
	}
}

void output_write_junit(const char *path, const char *suite, const cJSON *results)
{
	const cJSON *result;
	int failures = 0;
	FILE *file;

	if (path == NULL)
		return;
	cJSON_ArrayForEach(result, results) failures += strcmp(output_text(result, "verdict"), "clean") != 0;
	file = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
	if (file == NULL)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", path, strerror(errno));
	fprintf(file, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	fprintf(file, "<testsuite name=\"%s\" tests=\"%d\" failures=\"%d\">\n", suite, cJSON_GetArraySize(results),
		failures);
	cJSON_ArrayForEach(result, results)
	{
		const cJSON *const seconds = cJSON_GetObjectItem(result, "seconds");

		fprintf(file, "  <testcase classname=\"");
		put_escaped(file, output_text(result, "allocator"));
		fprintf(file, "\" name=\"");
		put_escaped(file, output_text(result, "file")[0] != '\0'       ? output_text(result, "file")
				  : output_text(result, "scenario")[0] != '\0' ? output_text(result, "scenario")
									       : suite);
		fprintf(file, "\" time=\"%.3f\"", cJSON_IsNumber(seconds) ? seconds->valuedouble : 0.0);
		if (strcmp(output_text(result, "verdict"), "clean") == 0) {
			fprintf(file, "/>\n");
			continue;
		}
		fprintf(file, ">\n    <failure type=\"");
		put_escaped(file, output_text(result, "verdict"));
		fprintf(file, "\" message=\"");
		put_escaped(file, output_text(result, "message"));
		fprintf(file, "\">");
		put_escaped(file, output_text(result, "text"));
		if (output_text(result, "folder")[0] != '\0') {
			fputc('\n', file);
			put_escaped(file, output_text(result, "folder"));
		}
		fprintf(file, "</failure>\n  </testcase>\n");
	}
	fprintf(file, "</testsuite>\n");
	if (file != stdout && fclose(file) != 0)
		cli_die(STATUS_USAGE, "%s: cannot be written: %s", path, strerror(errno));
}
