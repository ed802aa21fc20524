/* tests/fuzz/corpus.c: runs a fuzz target on every file of the folders that are named, and on the empty input. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_BYTES = 1 << 20 };

static int run_file(const char *folder, const char *name) {
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = malloc(MOST_BYTES);
	if (file == NULL || bytes == NULL) return fprintf(stderr, "cannot read %s\n", path), exit(2), 0;
	size_t count = fread(bytes, 1, MOST_BYTES, file);
	fclose(file);
	LLVMFuzzerTestOneInput(bytes, count);
	free(bytes);
	return 1;
}

int main(int count, char **words) {
	int files = 0;
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < count; i++) {
		DIR *folder = opendir(words[i]);
		if (folder == NULL) return fprintf(stderr, "cannot open %s\n", words[i]), 2;
		for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
			if (entry->d_name[0] != '.') files += run_file(words[i], entry->d_name);
		closedir(folder);
	}
	printf("%d files\n", files);
	return files > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
