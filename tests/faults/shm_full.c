/*
 * shm_full: shared pools where /dev/shm is smaller than they want (outside.sh shm 2m). Named pools are sparse files: a
 * pool's size is address space, and each page counts when it is first written to.
 *
 * A pool whose records fit is made, serves what fits with HYP_ERR_NO_MEMORY behind it, and is whole afterwards; one whose
 * records do not fit is refused. Nobody is killed by a store to a block that was given out.
 */
#include <hypool/hypool.h>
#include <hypool/shared.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			exit(1); \
		} \
	} while (0)

/* Takes and fills blocks until refused. */
static size_t take_all(hyp_shared *shared) {
	size_t taken = 0;
	hyp_offset offset;
	while (hyp_shared_alloc(shared, 100000, &offset) == HYP_OK) {
		memset(hyp_shared_pointer(shared, offset), 1, 100000);
		taken += 100000;
	}
	return taken;
}

int main(void) {
	struct statvfs room;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (statvfs("/dev/shm", &room) != 0 || room.f_blocks * room.f_frsize > 64 * MIB) {
		puts("SKIPPED: /dev/shm is not small; see outside.sh");
		return 77;
	}
	char name[64];
	snprintf(name, sizeof name, "/hypool-full-%d", (int)getpid());
	hyp_shared *shared = NULL;

	/* One that fits, to its last block. */
	CHECK(hyp_shared_create(name, MIB, &shared) == HYP_OK);
	CHECK(take_all(shared) > MIB / 2);
	CHECK(hyp_shared_check(shared) == NULL);
	hyp_shared_detach(shared);
	CHECK(hyp_shared_remove(name) == HYP_OK);

	/* One that does not: a child goes on until it is refused. */
	CHECK(hyp_shared_create(name, 16 * MIB, &shared) == HYP_OK);
	pid_t child = fork();
	if (child == 0) _exit(take_all(shared) > 0 ? 0 : 1);
	int status;
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	printf("a child that takes all there is: status %d\n", status);
	CHECK(status == 0);
	CHECK(hyp_shared_check(shared) == NULL);
	hyp_shared_stats stats = {.struct_bytes = sizeof stats};
	CHECK(hyp_shared_get_stats(shared, &stats) == HYP_OK && stats.blocks > 0);
	hyp_shared_detach(shared);
	CHECK(hyp_shared_remove(name) == HYP_OK);

	/* Its records alone are more than there is. */
	child = fork();
	if (child == 0) {
		hyp_status refused = hyp_shared_create(name, (size_t)4 << 30, &shared);
		_exit(refused == HYP_OK ? 1 : refused == HYP_ERR_NO_MEMORY || refused == HYP_ERR_OS ? 0 : 2);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	printf("records too big: status %d\n", status);
	if (hyp_shared_remove(name) != HYP_OK) puts("nothing is left to remove");
	return status == 0 ? 0 : 1;
}
