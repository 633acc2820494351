/* Reports: the fields of JSON, the program that is kept, and that nothing half written stays behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

static char folder[] = "/tmp/heapstorm report-XXXXXX"; /* a blank in the path */
static struct program program;
static struct run_record record;

static const char text[] = "heapstorm 1\n"
			   "thread main\n"
			   "  a = malloc 24\n"
			   "  spawn t2\n"
			   "  b = calloc 3 8\n"
			   "thread t1\n"
			   "  c = malloc 5\n"
			   "thread t2\n"
			   "  a = realloc a 99\n"
			   "  free b\n"
			   "faults\n"
			   "  map 3\n"
			   "schedule\n"
			   "  t2 @1 -> main\n";

static int set_up(void **state)
{
	struct parse_error error;

	(void)state;
	program_init(&program);
	return mkdtemp(folder) != NULL && program_parse(text, strlen(text), &program, &error) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(folder); /* fails if anything is left */
}

/* An overlap that was seen in operation 1 of t2. */
static void fill_record(void)
{
	memset(&record, 0, sizeof record);
	strcpy(record.allocator, "mem_alloc_2.0");
	record.state = RUN_FINISHED;
	record.operations = 5;
	record.faults_injected = 1;
	record.operations_by_kind[OP_MALLOC] = 2;
	record.checks[VERDICT_OVERLAP] = 3;
	record.verdict = (struct verdict){
		.kind = VERDICT_OVERLAP,
		.thread = 2,
		.op = 0,
		.address = 0x200000000010,
		.block_count = 2,
		.blocks = {{.id = 1, .address = 0x200000000000, .size = 24, .label = 1, .thread = 0, .op = 2},
			   {.id = 2, .address = 0x200000000010, .size = 99, .label = LABEL_NULL, .thread = 2, .op = 0}},
		.message = "the new block overlaps \"b\" <1>",
	};
	record.map_count = 1;
	record.map[0] = (struct map_cell){.start = 0x200000000000, .size = 64, .kind = 0, .label = 1, .guilty = true};
}

static char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static char *read_all(const char *path)
{
	static char content[65536];
	FILE *const file = fopen(path, "r");

	if (file == NULL)
		return NULL;
	content[fread(content, 1, sizeof content - 1, file)] = '\0';
	fclose(file);
	return content;
}

static size_t files_in(const char *path)
{
	DIR *const entries = opendir(path);
	size_t count = 0;

	for (const struct dirent *entry; (entry = readdir(entries)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(entries);
	return count;
}

static const char *string_of(const cJSON *object, const char *name)
{
	const cJSON *const item = cJSON_GetObjectItemCaseSensitive(object, name);

	assert_true(cJSON_IsString(item));
	return item->valuestring;
}

static double number_of(const cJSON *object, const char *name)
{
	const cJSON *const item = cJSON_GetObjectItemCaseSensitive(object, name);

	assert_true(cJSON_IsNumber(item));
	return item->valuedouble;
}

static void fields_of_json(void **state)
{
	char *const path = path_of("result.json");
	cJSON *json;
	const cJSON *blocks, *block;

	(void)state;
	fill_record();
	json = report_json("a \"file\".heap", "asan", &program, &record);
	assert_true(report_write_json(path, json));
	cJSON_Delete(json);
	assert_int_equal(files_in(folder), 1);
	json = cJSON_Parse(read_all(path));
	assert_non_null(json);
	assert_string_equal(string_of(json, "file"), "a \"file\".heap");
	assert_string_equal(string_of(json, "allocator"), "mem_alloc_2.0");
	assert_string_equal(string_of(json, "variant"), "asan");
	assert_string_equal(string_of(json, "verdict"), "overlap");
	assert_string_equal(string_of(json, "message"), record.verdict.message);
	assert_string_equal(string_of(json, "thread"), "t2");
	assert_int_equal(number_of(json, "operation"), 1);
	assert_string_equal(string_of(json, "text"), "a = realloc a 99");
	assert_string_equal(string_of(json, "address"), "0x200000000010");
	assert_int_equal(number_of(json, "operations"), 5);
	assert_int_equal(number_of(json, "faults"), 1);
	assert_int_equal(number_of(cJSON_GetObjectItem(json, "checks"), "overlap"), 3);
	assert_int_equal(number_of(cJSON_GetObjectItem(json, "checks"), "corruption"), 0);
	assert_int_equal(number_of(cJSON_GetObjectItem(json, "operations_by_kind"), "malloc"), 2);
	blocks = cJSON_GetObjectItem(json, "blocks");
	assert_int_equal(cJSON_GetArraySize(blocks), 2);
	block = cJSON_GetArrayItem(blocks, 0);
	assert_string_equal(string_of(block, "name"), "b");
	assert_int_equal(number_of(block, "size"), 24);
	assert_string_equal(string_of(block, "address"), "0x200000000000");
	assert_string_equal(string_of(block, "thread"), "main");
	assert_int_equal(number_of(block, "operation"), 3);
	assert_string_equal(string_of(block, "text"), "b = calloc 3 8");
	assert_null(cJSON_GetObjectItem(cJSON_GetArrayItem(blocks, 1), "name"));
	cJSON_Delete(json);
	unlink(path);
	/* A clean run names no place. */
	record.verdict.kind = VERDICT_CLEAN;
	json = report_json(NULL, NULL, &program, &record);
	assert_string_equal(string_of(json, "verdict"), "clean");
	assert_null(cJSON_GetObjectItem(json, "message"));
	assert_null(cJSON_GetObjectItem(json, "blocks"));
	assert_null(cJSON_GetObjectItem(json, "file"));
	cJSON_Delete(json);
}

/* The program that is kept is the one that ran, with the verdict to expect, the allocator, and one comment at the operation. */
static void the_kept_program(void **state)
{
	static const struct {
		uint32_t thread;
		uint64_t op;
		const char *line;
	} places[] = {
		{0, 0, "  a = malloc 24  # <-- overlap: "}, {0, 2, "  b = calloc 3 8  # <-- overlap: "},
		{1, 0, "  c = malloc 5  # <-- overlap: "},  {2, 0, "  a = realloc a 99  # <-- overlap: "},
		{2, 1, "  free b  # <-- overlap: "},        {0, NO_OP, "\n# <-- at the end of the program: overlap: "},
	};
	char *const path = path_of("program.heap");

	(void)state;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct program again;
		enum program_format format;
		char message[512];
		const char *content;

		fill_record();
		record.verdict.thread = places[i].thread;
		record.verdict.op = places[i].op;
		assert_true(report_write_program(path, &program, &record, "mem_alloc_2.0"));
		content = read_all(path);
		if (strstr(content, places[i].line) == NULL)
			fail_msg("no line '%s' in\n%s", places[i].line, content);
		assert_ptr_equal(strstr(content, "<--"), strstr(strstr(content, places[i].line), "<--"));
		assert_null(strstr(strstr(content, "<--") + 1, "<--"));
		program_init(&again);
		if (!program_load(path, &again, &format, message, sizeof message))
			fail_msg("%s", message);
		assert_int_equal(format, FORMAT_TEXT);
		assert_true(again.has_expect);
		assert_int_equal(again.expect, VERDICT_OVERLAP);
		assert_string_equal(again.allocator, "mem_alloc_2.0");
		again.allocator[0] = '\0';
		again.has_expect = false;
		again.expect = program.expect;
		assert_true(program_equal(&again, &program));
		program_destroy(&again);
		assert_int_equal(files_in(folder), 1);
		/* The program itself was not touched. */
		assert_false(program.has_expect);
		assert_string_equal(program.allocator, "");
	}
	unlink(path);
}

static void nothing_half_written(void **state)
{
	cJSON *json;
	struct stat status;
	char *path;

	(void)state;
	fill_record();
	json = report_json("f", "plain", &program, &record);
	/* A folder that is not there, one that is a file, one that cannot be written by anybody. */
	assert_false(report_write_json("/nonexistent/x.json", json));
	assert_int_equal(errno, ENOENT);
	assert_false(report_write_json("/dev/null/x.json", json));
	assert_int_equal(errno, ENOTDIR);
	assert_false(report_write_json("/proc/x.json", json));
	assert_false(report_write_program("/proc/x.heap", &program, &record, "a"));
	assert_false(report_write_program("/nonexistent/x.heap", &program, &record, "a"));
	/* A full disk is told, and a device is written, not replaced. Through links: a mistake here must not cost the machine its devices. */
	path = path_of("full");
	assert_int_equal(symlink("/dev/full", path), 0);
	assert_false(report_write_json(path, json));
	assert_int_equal(errno, ENOSPC);
	assert_false(report_write_program(path, &program, &record, "a"));
	assert_int_equal(stat(path, &status), 0);
	assert_true(S_ISCHR(status.st_mode));
	unlink(path);
	path = path_of("null");
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_true(report_write_json(path, json));
	assert_int_equal(stat(path, &status), 0);
	assert_true(S_ISCHR(status.st_mode));
	unlink(path);
	/* A file that is there is replaced as a whole; a folder is not. */
	path = path_of("old.json");
	FILE *const old = fopen(path, "w");

	fputs("an old result", old);
	fclose(old);
	assert_true(report_write_json(path, json));
	assert_non_null(strstr(read_all(path), "overlap"));
	assert_null(strstr(read_all(path), "an old result"));
	unlink(path);
	assert_false(report_write_json(folder, json));
	/* What a link leads to is written, and the link stays. */
	char target[256];

	snprintf(target, sizeof target, "%s", path_of("target.json"));
	path = path_of("link.json");
	assert_int_equal(symlink(target, path), 0);
	assert_true(report_write_json(path, json));
	assert_int_equal(lstat(path, &status), 0);
	assert_true(S_ISLNK(status.st_mode));
	assert_non_null(strstr(read_all(target), "overlap"));
	unlink(path);
	unlink(target);
	assert_int_equal(files_in(folder), 0);
	cJSON_Delete(json);
}

static void print_for_people(void **state)
{
	char *printed = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&printed, &size);

	(void)state;
	fill_record();
	report_print(file, &program, &record, NULL);
	fclose(file);
	assert_non_null(strstr(printed, "overlap on mem_alloc_2.0: the new block overlaps"));
	assert_non_null(strstr(printed, "no byte belongs to two live blocks"));
	assert_non_null(strstr(printed, "t2, operation 1: a = realloc a 99"));
	assert_non_null(strstr(printed, "main, operation 3: b = calloc 3 8"));
	assert_non_null(strstr(printed, "> 0x200000000000"));
	free(printed);
	/* Clean: nothing. */
	file = open_memstream(&printed, &size);
	record.verdict.kind = VERDICT_CLEAN;
	report_print(file, &program, &record, NULL);
	fclose(file);
	assert_int_equal(size, 0);
	free(printed);
	/* Tables: no line is wider than a terminal, what never ran is marked. */
	file = open_memstream(&printed, &size);
	for (int i = VERDICT_OVERLAP; i < VERDICT_CONTRACT; i++)
		record.checks[i] = 999999999999;
	for (int i = 0; i < OP_KINDS; i++)
		record.operations_by_kind[i] = 999999999999;
	report_checks(file, &record);
	report_operations(file, &record);
	assert_true(report_checks_brief(file, &record, "\n") >= 1);
	fclose(file);
	assert_non_null(strstr(printed, "never ran"));
	for (char *line = strtok(printed, "\n"); line != NULL; line = strtok(NULL, "\n"))
		if (strlen(line) > 80)
			fail_msg("%zu columns: %s", strlen(line), line);
	free(printed);
}

/* The name of a failure: the same where only addresses differ, another one for another kind of bug or operation. */
static void names_of_failures(void **state)
{
	char first[64], second[64];

	(void)state;
	fill_record();
	strcpy(record.verdict.message, "byte 3 of a (24 bytes at 0x200000000010) changed");
	report_failure_name(&program, &record.verdict, NULL, first, sizeof first);
	strcpy(record.verdict.message, "byte 3 of a (24 bytes at 0x2000003bcde0) changed");
	report_failure_name(&program, &record.verdict, NULL, second, sizeof second);
	assert_string_equal(first, second);
	assert_memory_equal(first, "overlap-realloc-", 16);
	record.verdict.kind = VERDICT_CORRUPTION;
	report_failure_name(&program, &record.verdict, NULL, second, sizeof second);
	assert_string_not_equal(first, second);
	record.verdict.op = NO_OP;
	report_failure_name(&program, &record.verdict, NULL, second, sizeof second);
	assert_memory_equal(second, "corruption-end-", 15);
	assert_null(strpbrk(second, "/ "));
}

/* Where the allocator's functions are known, they name the failure, whatever the operation; of something that hangs they are a sample. */
static void names_by_stack(void **state)
{
	cJSON *const stacks = cJSON_Parse("[{\"frames\":[{\"function\":\"unlink<a>/b\"},{\"function\":\"my_free\"}]}]");
	char first[64], second[64], signature[REPORT_SIGNATURE_MAX];

	(void)state;
	fill_record();
	record.verdict.kind = VERDICT_CRASH;
	report_failure_name(&program, &record.verdict, stacks, first, sizeof first);
	assert_memory_equal(first, "crash-unlink_a__b-", 18);
	report_failure_signature(&program, &record.verdict, stacks, signature, sizeof signature);
	assert_string_equal(signature, "crash: unlink<a>/b < my_free");
	record.verdict.op = NO_OP;
	strcpy(record.verdict.message, "something else");
	report_failure_name(&program, &record.verdict, stacks, second, sizeof second);
	assert_string_equal(first, second);
	record.verdict.kind = VERDICT_STUCK;
	report_failure_signature(&program, &record.verdict, stacks, signature, sizeof signature);
	assert_string_equal(signature, "stuck: end: something else");
	report_failure_signature(&program, &record.verdict, stacks, signature, 8);
	assert_string_equal(signature, "stuck: ");
	cJSON_Delete(stacks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_of_json),       cmocka_unit_test(the_kept_program),
		cmocka_unit_test(nothing_half_written), cmocka_unit_test(print_for_people),
		cmocka_unit_test(names_of_failures),    cmocka_unit_test(names_by_stack),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
