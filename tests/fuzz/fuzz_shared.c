/*
 * tests/fuzz/fuzz_shared.c: what other processes and files say of a shared pool is not believed.
 *
 * The first byte of the input says how the rest is used. File: the rest is a saved pool's file, or such a file with the rest
 * laid over it from some byte on. Kinds: the rest is laid over the kinds of a pool before it is saved, so that the sums
 * are right and what they are sums of is damaged. Header: the rest is laid over the constant part of a region's header, and
 * another process (here: the same one) attaches. Whatever it is, it is refused or taken; what is taken passes its checker,
 * lends blocks and takes them back, and passes the checker again.
 */
#include "fuzz.h"

#include "pool/shared.h"

#include <hypool/shared.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POOL_BYTES = 1 << 16, FILE_ROOM = 1 << 18, BLOCKS = 40 };

static char path[64];
static char saved[FILE_ROOM];
static size_t saved_bytes;

static void go_away(void) { unlink(path); }

static hyp_shared *make_pool(void) {
	hyp_shared *shared = NULL;
	hyp_offset offsets[BLOCKS];
	must(hyp_shared_create(NULL, POOL_BYTES, &shared) == HYP_OK);
	for (size_t i = 0; i < BLOCKS; i++) must(hyp_shared_alloc(shared, i * 37 % 900 + 1, &offsets[i]) == HYP_OK);
	for (size_t i = 0; i < BLOCKS; i += 3) must(hyp_shared_free(shared, offsets[i]) == HYP_OK);
	return shared;
}

static void write_file(const void *bytes, size_t count) {
	FILE *file = fopen(path, "we");
	must(file != NULL && fwrite(bytes, 1, count, file) == count);
	must(fclose(file) == 0);
}

static void start(void) {
	snprintf(path, sizeof path, "/tmp/hypool-fuzz-shared-%d", (int)getpid());
	atexit(go_away);
	hyp_shared *shared = make_pool();
	must(hyp_shared_save(shared, path) == HYP_OK);
	hyp_shared_detach(shared);
	FILE *file = fopen(path, "re");
	must(file != NULL);
	saved_bytes = fread(saved, 1, sizeof saved, file);
	fclose(file);
	must(saved_bytes > 128 && saved_bytes < sizeof saved);
}

/* A pool that was taken works. */
static void use(hyp_shared *shared) {
	hyp_offset offsets[BLOCKS];
	size_t have = 0;
	must(hyp_shared_check(shared) == NULL);
	for (size_t i = 0; i < BLOCKS; i++)
		if (hyp_shared_alloc(shared, i * 53 % 700 + 1, &offsets[have]) == HYP_OK) have++;
	for (size_t i = 0; i < have; i++) {
		memset(hyp_shared_pointer(shared, offsets[i]), (int)i, 1);
		must(hyp_shared_free(shared, offsets[i]) == HYP_OK);
	}
	must(hyp_shared_check(shared) == NULL);
}

static void restore(void) {
	hyp_shared *shared = NULL;
	hyp_status status = hyp_shared_restore(path, NULL, &shared);
	must((status == HYP_OK) == (shared != NULL));
	if (shared == NULL) return;
	use(shared);
	hyp_shared_detach(shared);
}

static void as_file(const uint8_t *bytes, size_t count, bool over) {
	if (over) {
		static char changed[FILE_ROOM];
		size_t at = count < 2 ? 0 : (size_t)(bytes[0] | bytes[1] << 8) % saved_bytes;
		memcpy(changed, saved, saved_bytes);
		for (size_t i = 2; i < count && at + i - 2 < saved_bytes; i++) changed[at + i - 2] = (char)bytes[i];
		write_file(changed, saved_bytes);
	} else {
		write_file(bytes, count);
	}
	restore();
}

static void as_kinds(const uint8_t *bytes, size_t count) {
	hyp_shared *shared = make_pool();
	uint8_t *kinds = (uint8_t *)shared->region + shared->region->kinds_offset;
	for (size_t i = 0; i < count && i < shared->region->granules; i++) kinds[i] ^= bytes[i];
	hyp_status status = hyp_shared_save(shared, path);
	hyp_shared_detach(shared);
	if (status == HYP_OK) restore();
}

static void as_header(const uint8_t *bytes, size_t count) {
	hyp_shared *shared = make_pool(), *other = NULL;
	size_t most = offsetof(hypi_region, root);
	for (size_t i = 0; i < count && i < most; i++) ((uint8_t *)shared->region)[i] ^= bytes[i];
	if (hyp_shared_attach_fd(hyp_shared_fd(shared), &other) == HYP_OK) {
		use(other);
		hyp_shared_detach(other);
	}
	hyp_shared_detach(shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
	if (saved_bytes == 0) start();
	if (count == 0) return 0;
	switch (bytes[0] & 3) {
	case 0: as_file(bytes + 1, count - 1, false); break;
	case 1: as_file(bytes + 1, count - 1, true); break;
	case 2: as_kinds(bytes + 1, count - 1); break;
	default: as_header(bytes + 1, count - 1);
	}
	return 0;
}
