#include "batch.h"

#include <stdlib.h>

bool batch_write(const char *path, const struct program *programs, size_t count)
{
	FILE *const file = fopen(path, "we");
	uint8_t *bytes = NULL;
	bool good = file != NULL;

	for (size_t i = 0; good && i < count; i++) {
		const uint32_t size = (uint32_t)program_encoded_size(&programs[i]);
		uint8_t *const grown = realloc(bytes, size + 1);

		good = grown != NULL;
		if (!good)
			break;
		bytes = grown;
		good = program_encode(&programs[i], bytes, size) == size && fwrite(&size, sizeof size, 1, file) == 1 &&
		       fwrite(bytes, 1, size, file) == size;
	}
	free(bytes);
	if (file != NULL && fclose(file) != 0)
		good = false;
	return good;
}

enum batch_result batch_read(FILE *file, struct program *program)
{
	uint32_t size;
	uint8_t *bytes;
	bool good;

	if (fread(&size, sizeof size, 1, file) != 1)
		return BATCH_END;
	bytes = malloc((size_t)size + 1);
	good = bytes != NULL && fread(bytes, 1, size, file) == size;
	if (good)
		program_decode(bytes, size, program);
	free(bytes);
	return good ? BATCH_PROGRAM : BATCH_CUT_OFF;
}
