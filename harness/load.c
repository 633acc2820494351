#include "program.h"

#include "trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *program_format_name(enum program_format format)
{
	switch (format) {
	case FORMAT_TEXT:
		return "text";
	case FORMAT_BYTES:
		return "bytes";
	case FORMAT_REP:
		return "rep";
	case FORMAT_TRACE:
		return "trace";
	}
	return "?";
}

/* The whole file; NULL with errno set if it cannot be read. */
static char *read_file(const char *path, size_t *length)
{
	FILE *file = fopen(path, "rbe");
	size_t capacity = 64 << 10;
	char *bytes = NULL;
	int error;

	if (!file)
		return NULL;
	*length = 0;
	do {
		char *grown = realloc(bytes, capacity);

		if (!grown)
			goto failed;
		bytes = grown;
		*length += fread(bytes + *length, 1, capacity - *length, file);
		if (ferror(file))
			goto failed;
		if (*length < capacity)
			break;
		capacity *= 2;
	} while (true);
	fclose(file);
	return bytes;
failed:
	error = errno;
	free(bytes);
	fclose(file);
	errno = error;
	return NULL;
}

/* Whether the first word that is no comment is `heapstorm`. */
static bool is_text(const char *bytes, size_t length)
{
	const char *end = bytes + length;
	size_t word = strlen("heapstorm");

	while (bytes < end) {
		if (*bytes == '#') {
			bytes = memchr(bytes, '\n', (size_t)(end - bytes));
			if (!bytes)
				return false;
		} else if (!strchr(" \t\r\n", *bytes) || *bytes == '\0') {
			break;
		}
		bytes++;
	}
	return (size_t)(end - bytes) >= word && memcmp(bytes, "heapstorm", word) == 0;
}

static bool ends_in(const char *path, const char *suffix)
{
	size_t length = strlen(path);

	return length > strlen(suffix) && strcmp(path + length - strlen(suffix), suffix) == 0;
}

static enum program_format tell_format(const char *path, const char *bytes, size_t length)
{
	if (trace_is_recording(bytes, length))
		return FORMAT_TRACE;
	if (is_text(bytes, length))
		return FORMAT_TEXT;
	if (program_is_rep(bytes, length))
		return FORMAT_REP;
	if (ends_in(path, ".heap"))
		return FORMAT_TEXT;
	return ends_in(path, ".rep") ? FORMAT_REP : FORMAT_BYTES;
}

bool program_load(const char *path, struct program *program, enum program_format *format, char *message,
		  size_t message_size)
{
	struct parse_error error = {.message = ""};
	size_t length;
	char *bytes = read_file(path, &length);
	bool good = true;

	if (!bytes) {
		snprintf(message, message_size, "%s: %s", path, strerror(errno));
		return false;
	}
	*format = tell_format(path, bytes, length);
	switch (*format) {
	case FORMAT_TEXT:
		good = program_parse(bytes, length, program, &error);
		break;
	case FORMAT_REP:
		good = program_parse_rep(bytes, length, program, &error);
		break;
	case FORMAT_TRACE:
		good = trace_read_memory(bytes, length, program, &error);
		break;
	case FORMAT_BYTES:
		program_decode((const uint8_t *)bytes, length, program);
		break;
	}
	free(bytes);
	if (error.message[0] == '\0')
		snprintf(message, message_size, "%s", "");
	else if (*format == FORMAT_TRACE)
		snprintf(message, message_size, "%s: %s", path, error.message);
	else
		snprintf(message, message_size, "%s:%zu:%zu: %s", path, error.line, error.column, error.message);
	return good;
}
