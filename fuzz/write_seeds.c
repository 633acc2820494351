/*
 * Turns programs into inputs of the fuzz targets: write_seeds TARGET FOLDER FILE... For fuzz_formats an input is the file itself behind the byte
 * that chooses the reader of text; for the others the encoding. Of those fuzz_threads takes programs with threads, fuzz_sequence all.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

static char *print(const struct program *program, size_t *size)
{
	char *text = NULL;
	FILE *const file = open_memstream(&text, size);

	if (file == NULL || fputc(0, file) == EOF || !program_print(program, file) || fclose(file) != 0)
		return NULL;
	return text;
}

static char *encode(const struct program *program, size_t *size)
{
	char *bytes;

	*size = program_encoded_size(program);
	bytes = malloc(*size + 1);
	if (bytes != NULL)
		program_encode(program, (uint8_t *)bytes, *size);
	return bytes;
}

int main(int argc, char **argv)
{
	struct program program;

	if (argc < 3) {
		fprintf(stderr, "usage: %s TARGET FOLDER FILE...\n", argv[0]);
		return 2;
	}
	program_init(&program);
	for (int i = 3; i < argc; i++) {
		const char *const slash = strrchr(argv[i], '/');
		char path[PATH_MAX], message[512];
		enum program_format format;
		char *bytes;
		size_t size;
		FILE *file;

		if (!program_load(argv[i], &program, &format, message, sizeof message)) {
			fprintf(stderr, "%s\n", message);
			return 2;
		}
		if (strcmp(argv[1], "fuzz_threads") == 0 && program.thread_count < 2)
			continue;
		bytes = strcmp(argv[1], "fuzz_formats") == 0 ? print(&program, &size) : encode(&program, &size);
		snprintf(path, sizeof path, "%s/%s", argv[2], slash != NULL ? slash + 1 : argv[i]);
		file = fopen(path, "w");
		if (bytes == NULL || file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
			perror(path);
			return 3;
		}
		free(bytes);
	}
	program_destroy(&program);
	return 0;
}
