/*
 * Runs a fuzz target on files, without a fuzzer: TARGET FILE... What it is linked with needs a compiler and nothing else, so that the inputs of
 * a corpus can be run anywhere.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		FILE *const file = fopen(argv[i], "rb");
		uint8_t *bytes = NULL;
		size_t size = 0, room = 0;

		if (file == NULL) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 2;
		}
		do {
			if (size == room) {
				uint8_t *const grown = realloc(bytes, room = room * 2 + 4096);

				if (grown == NULL) {
					perror(argv[i]);
					return 3;
				}
				bytes = grown;
			}
			size += fread(bytes + size, 1, room - size, file);
		} while (!feof(file) && !ferror(file));
		if (ferror(file)) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 2;
		}
		fclose(file);
		fprintf(stderr, "%s: %zu bytes\n", argv[i], size);
		LLVMFuzzerTestOneInput(bytes, size);
		free(bytes);
	}
	fprintf(stderr, "%d inputs, nothing found\n", argc - 1);
	return 0;
}
