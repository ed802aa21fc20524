/* Shared pools: processes, offsets, descriptors, death at any instruction, files (lib/pool/region.c, shared*.c). */
#include "base/atomic.h"
#include "os/fault.h"
#include "pool/shared.h"
#include "unit.h"

#include "tests_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void name_it(char *ret_name, size_t bytes, const char *what) {
	snprintf(ret_name, bytes, "/hypool-test-%s-%d", what, (int)getpid());
	shm_unlink(ret_name);
}

static hyp_shared *make(size_t bytes) {
	hyp_shared *shared = NULL;
	HOLDS(hyp_shared_create(NULL, bytes, &shared) == HYP_OK);
	return shared;
}

static hyp_shared_stats stats_of(hyp_shared *shared) {
	hyp_shared_stats stats = {.struct_bytes = sizeof stats};
	HOLDS(hyp_shared_get_stats(shared, &stats) == HYP_OK);
	return stats;
}

static void check(hyp_shared *shared) {
	const char *wrong = hyp_shared_check(shared);
	ck_assert_msg(wrong == NULL, "%s", wrong);
}

START_TEST(model) {
	enum { PLACES = 400 };
	static struct {
		hyp_offset offset;
		size_t bytes;
		uint8_t tag;
	} places[PLACES];
	hyp_shared *shared = make((size_t)10 << 20);
	uint64_t seed = 5, live = 0;
	for (int step = 0; step < 20000; step++) {
		unsigned k = next_random(&seed) % PLACES;
		if (places[k].offset != 0) {
			void *p = hyp_shared_pointer(shared, places[k].offset);
			HOLDS(filled(p, places[k].bytes, places[k].tag) && hyp_shared_offset(shared, p) == places[k].offset);
			HOLDS(hyp_shared_free(shared, places[k].offset) == HYP_OK);
			HOLDS(hyp_shared_free(shared, places[k].offset) == HYP_ERR_INVALID);
			places[k].offset = 0;
			live--;
		} else {
			places[k].bytes = random_size(&seed);
			places[k].tag = (uint8_t)next_random(&seed);
			if (hyp_shared_alloc(shared, places[k].bytes, &places[k].offset) != HYP_OK) {
				places[k].offset = 0;
				continue;
			}
			live++;
			size_t usable = hyp_shared_usable_size(shared, places[k].offset);
			HOLDS(usable >= places[k].bytes && usable <= places[k].bytes / 8 * 9 + 72);
			HOLDS(places[k].offset % 64 == 0);
			fill(hyp_shared_pointer(shared, places[k].offset), places[k].bytes, places[k].tag);
		}
		if (step % 1000 == 0) {
			check(shared);
			HOLDS(stats_of(shared).blocks == live);
			/* What is derived can be derived again, and is the same. */
			hyp_shared_stats before = stats_of(shared);
			HOLDS(hypi_shared_lock(shared) == HYP_OK && hypi_region_rebuild(shared->region));
			hypi_shared_unlock(shared);
			hyp_shared_stats after = stats_of(shared);
			HOLDS(memcmp(&before, &after, sizeof before) == 0);
		}
	}
	for (unsigned k = 0; k < PLACES; k++)
		if (places[k].offset != 0) HOLDS(hyp_shared_free(shared, places[k].offset) == HYP_OK);
	ck_assert_uint_eq(stats_of(shared).used_bytes, 0);
	hyp_offset all = 0; /* whole again: the largest power of two is one block */
	ck_assert_int_eq(hyp_shared_alloc(shared, (size_t)8 << 20, &all), HYP_OK);
	check(shared);
	hyp_shared_detach(shared);
	hyp_shared_detach(NULL);
}
END_TEST

START_TEST(refused) {
	hyp_shared *shared = make((size_t)1 << 20), *other = NULL;
	hyp_offset offset = 99;
	ck_assert_int_eq(hyp_shared_create(NULL, 100, &other), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_shared_create(NULL, SIZE_MAX, &other), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_shared_alloc(shared, (size_t)2 << 20, &offset), HYP_ERR_NO_MEMORY);
	ck_assert_int_eq(hyp_shared_alloc(shared, SIZE_MAX, &offset), HYP_ERR_NO_MEMORY);
	ck_assert_uint_eq(offset, 99);
	ck_assert_int_eq(hyp_shared_alloc(shared, 1000, &offset), HYP_OK);
	static const int64_t wrong[] = {1, 64, -64, 128, 1 << 20, -(1 << 14)};
	for (size_t i = 0; i < HYP_ARRAY_LEN(wrong); i++)
		ck_assert_int_eq(hyp_shared_free(shared, offset + (uint64_t)wrong[i]), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_shared_free(shared, 0), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_shared_free(shared, UINT64_MAX), HYP_ERR_INVALID);
	ck_assert_int_eq(hyp_shared_free(shared, offset), HYP_OK);
	ck_assert_int_eq(hyp_shared_free(shared, offset), HYP_ERR_INVALID);
	ck_assert_ptr_null(hyp_shared_pointer(shared, 0));
	ck_assert_ptr_null(hyp_shared_pointer(shared, UINT64_MAX));
	ck_assert_uint_eq(hyp_shared_offset(shared, &offset), 0);
	ck_assert_int_eq(hyp_shared_attach("/hypool-no-such", &other), HYP_ERR_NOT_FOUND);
	ck_assert_int_eq(hyp_shared_remove("/hypool-no-such"), HYP_ERR_NOT_FOUND);
	ck_assert_int_eq(hyp_shared_attach_fd(-1, &other), HYP_ERR_INVALID);
	FILE *file = tmpfile(); /* not one of ours: too short for ever, then of other contents, then cut */
	char junk[8192];
	memset(junk, 0x5a, sizeof junk);
	fwrite(junk, 1, sizeof junk, file);
	fflush(file);
	ck_assert_int_eq(hyp_shared_attach_fd(fileno(file), &other), HYP_ERR_CORRUPT);
	rewind(file);
	fwrite(shared->region, 1, shared->bytes - 65536, file);
	fflush(file);
	ck_assert_int_eq(hyp_shared_attach_fd(fileno(file), &other), HYP_ERR_CORRUPT);
	fclose(file);
	ck_assert_int_ne(ftruncate(hyp_shared_fd(shared), 100), 0); /* sealed */
	ck_assert_ptr_null(other);
	hyp_shared_detach(shared);
}
END_TEST

typedef struct meeting {
	_Atomic uint64_t turn;
	hyp_offset list; /* of nodes */
} meeting;

typedef struct node {
	hyp_offset next;
	uint64_t value;
} node;

START_TEST(by_name) {
	char name[64];
	name_it(name, sizeof name, "name");
	hyp_shared *shared = NULL, *again = NULL;
	ck_assert_int_eq(hyp_shared_create(name, (size_t)4 << 20, &shared), HYP_OK);
	ck_assert_int_eq(hyp_shared_create(name, (size_t)4 << 20, &again), HYP_ERR_EXISTS);
	pid_t child = fork();
	if (child == 0) { /* attaches by itself, elsewhere, and makes a list */
		hyp_shared *mine = NULL;
		if (hyp_shared_attach(name, &mine) != HYP_OK || mine->region == shared->region) _exit(1);
		hyp_offset at, next = 0;
		for (uint64_t i = 0; i < 1000; i++) {
			if (hyp_shared_alloc(mine, sizeof(node), &at) != HYP_OK) _exit(2);
			*(node *)hyp_shared_pointer(mine, at) = (node){next, i};
			next = at;
		}
		hyp_shared_set_root(mine, next);
		hyp_shared_detach(mine);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	uint64_t expected = 1000;
	for (hyp_offset at = hyp_shared_root(shared), next; at != 0; at = next) {
		node *n = hyp_shared_pointer(shared, at);
		ck_assert_uint_eq(n->value, --expected);
		next = n->next;
		ck_assert_int_eq(hyp_shared_free(shared, at), HYP_OK);
	}
	ck_assert_uint_eq(expected, 0);
	check(shared);
	ck_assert_int_eq(hyp_shared_remove(name), HYP_OK);
	hyp_shared_detach(shared);
}
END_TEST

static void send_fd(int socket, int fd) {
	char byte = 'x', space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	HOLDS(sendmsg(socket, &message, 0) == 1);
}

static int receive_fd(int socket) {
	char byte, space[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	if (recvmsg(socket, &message, 0) != 1) return -1;
	int fd;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

START_TEST(by_descriptor) {
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid_t child = fork(); /* before there is a pool: it can know it by the descriptor alone */
	if (child == 0) {
		hyp_shared *mine = NULL;
		int fd = receive_fd(pair[1]);
		if (fd < 0 || hyp_shared_attach_fd(fd, &mine) != HYP_OK) _exit(1);
		close(fd);
		char *text = hyp_shared_pointer(mine, hyp_shared_root(mine));
		if (text == NULL || strcmp(text, "from the parent") != 0) _exit(2);
		strcpy(text, "from the child");
		_exit(0);
	}
	hyp_shared *shared = make((size_t)1 << 20);
	hyp_offset offset;
	ck_assert_int_eq(hyp_shared_alloc(shared, 100, &offset), HYP_OK);
	char *text = hyp_shared_pointer(shared, offset);
	strcpy(text, "from the parent");
	hyp_shared_set_root(shared, offset);
	send_fd(pair[0], hyp_shared_fd(shared));
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_str_eq(text, "from the child");
	hyp_shared_detach(shared);
}
END_TEST

/* ---- death ---- */

/* Allocates and frees for ever; what it holds stands in a ledger, so that whoever survives can give it back. */
enum { LEDGER = 32 };
static void victim(hyp_shared *shared, _Atomic hyp_offset *ledger, uint64_t seed) {
	for (;;) {
		unsigned k = next_random(&seed) % LEDGER;
		hyp_offset offset = hypi_load_relaxed(&ledger[k]);
		if (offset != 0) {
			hypi_store_relaxed(&ledger[k], 0);
			if (hyp_shared_free(shared, offset) != HYP_OK) _exit(1);
		} else if (hyp_shared_alloc(shared, next_random(&seed) % 20000, &offset) == HYP_OK) {
			hypi_store_relaxed(&ledger[k], offset);
		}
	}
}

START_TEST(killed_at_random) {
	enum { ROUNDS = 300 };
	hyp_shared *shared = make((size_t)16 << 20);
	hyp_offset at, keep;
	HOLDS(hyp_shared_alloc(shared, LEDGER * sizeof(hyp_offset), &at) == HYP_OK);
	HOLDS(hyp_shared_alloc(shared, 100000, &keep) == HYP_OK);
	fill(hyp_shared_pointer(shared, keep), 100000, 42);
	_Atomic hyp_offset *ledger = hyp_shared_pointer(shared, at);
	memset((void *)ledger, 0, LEDGER * sizeof *ledger);
	uint64_t seed = 77;
	for (int round = 0; round < ROUNDS; round++) {
		pid_t child = fork();
		if (child == 0) victim(shared, ledger, 1000 + (uint64_t)round);
		usleep(next_random(&seed) % 1500);
		kill(child, SIGKILL);
		for (int i = 0; i < 20; i++) { /* the other goes on, also while the dead one is being buried */
			hyp_offset mine;
			HOLDS(hyp_shared_alloc(shared, 500, &mine) == HYP_OK && hyp_shared_free(shared, mine) == HYP_OK);
		}
		int status;
		waitpid(child, &status, 0);
		HOLDS(WIFSIGNALED(status));
		check(shared);
		for (unsigned k = 0; k < LEDGER; k++) {
			if (ledger[k] != 0) HOLDS(hyp_shared_free(shared, ledger[k]) == HYP_OK);
			ledger[k] = 0;
		}
	}
	HOLDS(filled(hyp_shared_pointer(shared, keep), 100000, 42));
	/* At most the one block that was on its way into the ledger, or out of it, is lost with each. */
	hyp_shared_stats stats = stats_of(shared);
	ck_assert_uint_le(stats.blocks, 2 + ROUNDS);
	ck_assert_uint_gt(stats.recoveries, 0);
	hyp_shared_detach(shared);
}
END_TEST

/* One call in a child that is stepped instruction by instruction and killed after the n-th. False: it got through. */
static bool step_and_kill(hyp_shared *shared, hyp_offset offset, int steps) {
	pid_t child = fork();
	if (child == 0) {
		hyp_offset mine;
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		if (offset != 0) (void)!hyp_shared_free(shared, offset);
		else (void)!hyp_shared_alloc(shared, 3000, &mine);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	for (int i = 0; i < steps && WIFSTOPPED(status); i++) {
		ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
		waitpid(child, &status, 0);
	}
	bool stopped = WIFSTOPPED(status);
	kill(child, SIGKILL);
	if (stopped) waitpid(child, &status, 0);
	return stopped;
}

START_TEST(killed_at_every_instruction) {
	if (HYP_HAVE_SANITIZER) {
		fprintf(stderr, "skipped: single steps through a sanitizer's own code take hours\n");
		return;
	}
	pid_t probe = fork();
	if (probe == 0) _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
	int status;
	waitpid(probe, &status, 0);
	if (WEXITSTATUS(status) != 0) return; /* a sandbox without ptrace: the random kills have to do */
	/* Every instruction takes two minutes, and a sanitizer makes ten of each. */
	int stride = getenv("HYPOOL_TEST_LONG") != NULL ? 1 : HYP_HAVE_SANITIZER ? 397 : 13;
	hyp_shared *shared = make((size_t)1 << 20);
	for (int freeing = 0; freeing < 2; freeing++)
		for (int steps = 0;; steps += stride) {
			HOLDS(steps < 20000);
			hyp_offset offset = 0;
			if (freeing) HOLDS(hyp_shared_alloc(shared, 3000, &offset) == HYP_OK);
			uint64_t before = stats_of(shared).blocks;
			bool cut = step_and_kill(shared, offset, steps);
			const char *wrong = hyp_shared_check(shared);
			ck_assert_msg(wrong == NULL, "killed after %d instructions: %s", steps, wrong);
			uint64_t after = stats_of(shared).blocks;
			HOLDS(freeing ? after == before || after + 1 == before : after == before || after == before + 1);
			/* It happened or it did not; either way the region serves on, and is given back whole. */
			HOLDS(hypi_shared_lock(shared) == HYP_OK);
			for (uint64_t g = 0; g < shared->region->granules; g++)
				if (hypi_region_block(shared->region, g) != 0) hypi_region_give(shared->region, g);
			hypi_shared_unlock(shared);
			HOLDS(stats_of(shared).used_bytes == 0);
			if (!cut) break;
		}
	ck_assert_uint_gt(stats_of(shared).recoveries, 5);
	hyp_shared_detach(shared);
}
END_TEST

/* ---- files ---- */

static char folder[] = "/tmp/hypool-test-XXXXXX";

static char *slurp(const char *path, size_t *ret_bytes) {
	struct stat st;
	int fd = open(path, O_RDONLY);
	HOLDS(fd >= 0 && fstat(fd, &st) == 0);
	char *text = malloc((size_t)st.st_size + 1);
	HOLDS(read(fd, text, (size_t)st.st_size) == st.st_size);
	close(fd);
	*ret_bytes = (size_t)st.st_size;
	return text;
}

static void spit(const char *path, const char *text, size_t bytes) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	HOLDS(fd >= 0 && write(fd, text, bytes) == (ssize_t)bytes);
	close(fd);
}

START_TEST(saved_and_restored) {
	ck_assert_ptr_nonnull(mkdtemp(folder));
	char path[64], broken[64];
	snprintf(path, sizeof path, "%s/state", folder);
	snprintf(broken, sizeof broken, "%s/broken", folder);
	hyp_shared *shared = make((size_t)256 << 10), *back = NULL;
	hyp_offset offsets[50], next = 0;
	uint64_t seed = 3;
	for (int i = 0; i < 50; i++) {
		HOLDS(hyp_shared_alloc(shared, sizeof(node) + next_random(&seed) % 3000, &offsets[i]) == HYP_OK);
		*(node *)hyp_shared_pointer(shared, offsets[i]) = (node){next, (uint64_t)i};
		next = offsets[i];
		if (i % 5 == 4) {
			next = offsets[i - 1];
			HOLDS(hyp_shared_free(shared, offsets[i]) == HYP_OK);
		}
	}
	hyp_shared_set_root(shared, next);
	ck_assert_int_eq(hyp_shared_save(shared, path), HYP_OK);
	ck_assert_int_eq(hyp_shared_save(shared, path), HYP_OK); /* in place of the one before */
	ck_assert_int_ne(hyp_shared_save(shared, "/nowhere/at/all"), HYP_OK);
	hyp_shared_stats before = stats_of(shared);
	hyp_shared_detach(shared);
	ck_assert_int_eq(hyp_shared_restore(path, NULL, &back), HYP_OK);
	hyp_shared_stats after = stats_of(back);
	ck_assert_uint_eq(before.blocks, after.blocks);
	ck_assert_uint_eq(before.used_bytes, after.used_bytes);
	check(back);
	int count = 0;
	for (hyp_offset at = hyp_shared_root(back); at != 0; at = ((node *)hyp_shared_pointer(back, at))->next) count++;
	ck_assert_int_eq(count, 40); /* offsets in blocks hold */
	hyp_shared_detach(back);
	back = NULL;
	ck_assert_int_eq(hyp_shared_restore("/nowhere/at/all", NULL, &back), HYP_ERR_NOT_FOUND);
	/* Every byte of the header and many others, one bit each; every kind of cut. */
	size_t bytes;
	char *good = slurp(path, &bytes);
	for (size_t i = 0; i < bytes; i += i < 300 ? 1 : 1 + next_random(&seed) % 97) {
		good[i] ^= (char)(1 << next_random(&seed) % 8);
		char keep = good[i];
		spit(broken, good, bytes);
		ck_assert_int_eq(hyp_shared_restore(broken, NULL, &back), HYP_ERR_CORRUPT);
		good[i] = keep;
		free(good);
		good = slurp(path, &bytes);
	}
	for (size_t cut = 0; cut < bytes; cut += 1 + next_random(&seed) % 500) {
		spit(broken, good, cut);
		ck_assert_int_eq(hyp_shared_restore(broken, NULL, &back), HYP_ERR_CORRUPT);
	}
	good = realloc(good, bytes + 1);
	good[bytes] = 0;
	spit(broken, good, bytes + 1);
	ck_assert_int_eq(hyp_shared_restore(broken, NULL, &back), HYP_ERR_CORRUPT);
	ck_assert_ptr_null(back);
	free(good);
	unlink(path);
	unlink(broken);
	ck_assert_int_eq(rmdir(folder), 0); /* no temporary file was left behind */
}
END_TEST

UNIT_MAIN("shared", model, refused, by_name, by_descriptor, killed_at_random, killed_at_every_instruction,
          saved_and_restored)
