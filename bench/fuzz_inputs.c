/* fuzz_inputs DIR COUNT OPERATIONS: writes random programs, encoded, as a corpus to measure fuzz targets with. */
#include <stdio.h>
#include <stdlib.h>

#include "mutator.h"

int main(int argc, char **argv)
{
	static uint8_t bytes[1 << 16];
	struct program program;

	if (argc != 4) {
		fprintf(stderr, "usage: %s DIR COUNT OPERATIONS\n", argv[0]);
		return 2;
	}
	program_init(&program);
	for (int i = 0; i < atoi(argv[2]); i++) {
		char path[4096];
		FILE *file;
		size_t size;

		mutator_random_program((uint64_t)i + 1, (size_t)atoi(argv[3]), &program);
		size = program_encode(&program, bytes, sizeof bytes);
		snprintf(path, sizeof path, "%s/%04d", argv[1], i);
		file = fopen(path, "w");
		if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
			perror(path);
			return 3;
		}
	}
	return 0;
}
