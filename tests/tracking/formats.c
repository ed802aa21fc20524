/* Writes one and the same state of the profile in every format into a folder, and the metrics and the trace beside them;
 * what the real tools make of them is compared in tools.py. Prints the live bytes that it knows of. */
#include "tracking/check.h"

#include <hypool/hypool.h>
#include <hypool/pool.h>
#include <hypool/tracking.h>

#include <fcntl.h>
#include <unistd.h>

#if defined(__clang__)
#define OUT_OF_LINE __attribute__((noinline))
#else
#define OUT_OF_LINE __attribute__((noinline, noclone))
#endif

enum { ROWS = 700, ROW_BYTES = 1600, COLUMNS = 90, COLUMN_BYTES = 65536 };
static void *rows[ROWS], *columns[COLUMNS], *cells[ROWS];

OUT_OF_LINE static void make_rows(void) {
	for (int i = 0; i < ROWS; i++) rows[i] = hyp_malloc(ROW_BYTES);
}

OUT_OF_LINE static void make_columns(void) {
	for (int i = 0; i < COLUMNS; i++) columns[i] = hyp_malloc(COLUMN_BYTES);
}

OUT_OF_LINE static void make_cells(hyp_pool *pool) {
	for (int i = 0; i < ROWS; i++) cells[i] = hyp_pool_malloc(pool, ROW_BYTES);
}

OUT_OF_LINE static void pass_by(void) {
	for (int i = 0; i < 5000; i++) hyp_free(hyp_malloc(512));
}

static int open_in(const char *folder, const char *name) {
	char path[512];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0, "%s", path);
	return fd;
}

int main(int argc, char **argv) {
	static const char *const names[] = {"all.hyp", "all.pb.gz", "all.heap", "all.folded", "all.dhat"};
	CHECK(argc == 2, "usage: formats FOLDER");
	CHECK(hyp_tracking_set_level(HYP_TRACKING_DEBUG) == HYP_OK && hyp_profile_start(1) == HYP_OK, "start");
	hyp_pool *pool = NULL;
	CHECK(hyp_pool_create(NULL, &pool) == HYP_OK, "pool");
	make_rows();
	make_columns();
	make_cells(pool);
	pass_by();
	hyp_profile_stop();
	for (int format = 0; format <= HYP_PROFILE_DHAT; format++) {
		int fd = open_in(argv[1], names[format]);
		CHECK(hyp_profile_write(fd, (hyp_profile_format)format) == HYP_OK, "%s", names[format]);
		close(fd);
	}
	int fd = open_in(argv[1], "metrics.txt");
	hyp_metrics_write(fd);
	close(fd);
	fd = open_in(argv[1], "trace.json");
	CHECK(hyp_timeline_write(fd) == HYP_OK, "trace");
	close(fd);
	printf("%d\n", 2 * ROWS * ROW_BYTES + COLUMNS * COLUMN_BYTES);
	return 0;
}
