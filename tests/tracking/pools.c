/*
 * Levels of single pools: one is followed and the others are not, whatever the process's level; call sites are apart by
 * pool in the report; leaks of one pool; large blocks resized in place; a reset and a destroyed pool leave nothing behind.
 */
#include "tracking/check.h"

#include <hypool/hypool.h>
#include <hypool/pool.h>
#include <hypool/tracking.h>

#include <pthread.h>
#include <unistd.h>

static char text[1 << 22];
static void *volatile sink;

static const char *report(void) {
	char name[] = "/tmp/hypool-pools-XXXXXX";
	int fd = mkstemp(name);
	CHECK(fd >= 0, "mkstemp");
	unlink(name);
	CHECK(hyp_profile_write(fd, HYP_PROFILE_HYPOOL) == HYP_OK, "write");
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	CHECK(n > 0, "read");
	text[n] = '\0';
	close(fd);
	return text;
}

/* Live bytes and sites of a pool, by the report; -1: the report does not name it. */
static double live_of(const char *pool, unsigned *ret_sites) {
	long number = -1;
	double sum = 0;
	*ret_sites = 0;
	report();
	for (const char *line = text; line != NULL; line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL) {
		char name[64];
		long n;
		if (sscanf(line, "pool %ld 0 %*u %*u %*u %*u %*u %*u %*u %*d %63[^\n]", &n, name) == 2 &&
		    strcmp(name, pool) == 0)
			number = n;
	}
	for (const char *line = text; line != NULL; line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL) {
		unsigned long live, in;
		if (sscanf(line, "site %*u %*u %*u %*u %lu %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %lu", &live, &in) != 2)
			continue;
		if ((long)in != number) continue;
		sum += (double)live;
		++*ret_sites;
	}
	return number < 0 ? -1 : sum;
}

static hyp_pool *make(const char *name) {
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.name = name;
	config.initial_small_bytes = config.initial_large_bytes = 0;
	hyp_pool *pool = NULL;
	CHECK(hyp_pool_create(&config, &pool) == HYP_OK, "%s", name);
	return pool;
}

enum { COUNT = 40000, BYTES = 1000 };
static void *kept[3][COUNT];

static void fill(unsigned which, hyp_pool *pool) {
	for (int i = 0; i < COUNT; i++) CHECK((kept[which][i] = hyp_pool_malloc(pool, BYTES)) != NULL, "no memory");
}

static void *fill_in_thread(void *pool) {
	fill(2, pool);
	return NULL;
}

static void near(double estimate, double truth, const char *what) {
	CHECK(estimate > 0.7 * truth && estimate < 1.3 * truth, "%s: %.0f of %.0f", what, estimate, truth);
}

static void one_is_followed(hyp_pool *loud, hyp_pool *quiet) {
	unsigned sites;
	CHECK(hyp_tracking_get_pool_level(loud) == HYP_TRACKING_NONE, "as the process at first");
	fill(0, loud); /* before the switch: not known */
	CHECK(hyp_tracking_set_pool_level(loud, HYP_TRACKING_DEBUG) == HYP_OK, "set");
	CHECK(hyp_tracking_get_pool_level(loud) == HYP_TRACKING_DEBUG, "get");
	CHECK(hyp_tracking_get_level() == HYP_TRACKING_NONE && hyp_tracking_get_pool_level(quiet) == HYP_TRACKING_NONE,
	      "nobody else's");
	for (int i = 0; i < COUNT; i++) hyp_pool_free(loud, kept[0][i]);
	fill(0, loud);
	fill(1, quiet);
	pthread_t thread;
	CHECK(pthread_create(&thread, NULL, fill_in_thread, loud) == 0 && pthread_join(thread, NULL) == 0, "thread");
	for (int i = 0; i < 20000; i++) sink = hyp_malloc(2000), hyp_free(sink);
	near(live_of("loud", &sites), 2.0 * COUNT * BYTES, "two threads' blocks");
	CHECK(sites >= 2, "%u sites", sites);
	CHECK(live_of("quiet", &sites) == 0 && sites == 0, "%u sites of the quiet pool", sites);
	CHECK(live_of("default", &sites) == 0 && sites == 0, "%u sites of the process", sites);
	for (int i = 0; i < COUNT; i++) hyp_pool_free(loud, kept[2][i]);
	near(live_of("loud", &sites), 1.0 * COUNT * BYTES, "one thread's are freed");
}

static void leaks_of_one(hyp_pool *loud) {
	hyp_leak_totals all, own;
	CHECK(hyp_leaks_find_in(loud, -1, &own) == HYP_OK && own.blocks == 0 && own.reachable_bytes != 0, "all is kept");
	memset(kept[0], 0, sizeof kept[0]);
	CHECK(hyp_leaks_find_in(loud, -1, &own) == HYP_OK, "search");
	near((double)own.bytes, 1.0 * COUNT * BYTES, "lost");
	CHECK(hyp_leaks_find(-1, &all) == HYP_OK && all.bytes == own.bytes, "%lu of %lu", (unsigned long)own.bytes,
	      (unsigned long)all.bytes);
	CHECK(hyp_leaks_find_in(hyp_pool_default(), -1, &own) == HYP_OK && own.blocks == 0,
	      "the default pool lost nothing");
}

/* A large block that changes its size where it is counts with its new size, and not at all when it is freed. */
static void resized_in_place(void) {
	enum { MIB = 1 << 20 };
	unsigned sites;
	hyp_pool *pool = make("resized");
	CHECK(hyp_tracking_set_pool_level(pool, HYP_TRACKING_DEBUG) == HYP_OK, "set");
	char *p = hyp_pool_malloc(pool, 8 * MIB);
	CHECK(p != NULL, "no memory");
	near(live_of("resized", &sites), 8.0 * MIB, "as it was made");
	CHECK(hyp_pool_realloc(pool, p, 3 * MIB) == p, "it shrinks where it is");
	near(live_of("resized", &sites), 3.0 * MIB, "shrunk");
	CHECK(hyp_pool_realloc(pool, p, 6 * MIB) == p, "it grows where it is");
	near(live_of("resized", &sites), 6.0 * MIB, "grown");
	hyp_pool_free(pool, p);
	CHECK(live_of("resized", &sites) == 0, "it is gone");
	hyp_pool_destroy(pool);
}

int main(void) {
	unsigned sites;
	hyp_pool *loud = make("loud"), *quiet = make("quiet");
	CHECK(hyp_tracking_set_pool_level(NULL, HYP_TRACKING_BASIC) == HYP_ERR_INVALID, "no pool");
	CHECK(hyp_tracking_set_pool_level(loud, (hyp_tracking_level)9) == HYP_ERR_INVALID, "no level");
	one_is_followed(loud, quiet);
	leaks_of_one(loud);
	resized_in_place();
	CHECK(hyp_pool_reset(loud) == HYP_OK && live_of("loud", &sites) <= 0, "a reset pool holds nothing");
	fill(0, loud); /* at the addresses of before; the level stays through the reset */
	CHECK(hyp_tracking_get_pool_level(loud) == HYP_TRACKING_DEBUG, "the level stays");
	near(live_of("loud", &sites), 1.0 * COUNT * BYTES, "after a reset");
	hyp_pool_destroy(loud);
	CHECK(live_of("loud", &sites) == -1, "it is gone");
	loud = make("another");
	CHECK(hyp_tracking_get_pool_level(loud) == HYP_TRACKING_NONE, "its level is gone with it");
	/* A process at a level, and a pool that is exempt. */
	CHECK(hyp_tracking_set_pool_level(loud, HYP_TRACKING_NONE) == HYP_OK, "off");
	CHECK(hyp_tracking_set_level(HYP_TRACKING_DEBUG) == HYP_OK, "the process's");
	fill(0, loud);
	memset(kept[1], 0, sizeof kept[1]);
	fill(1, quiet);
	CHECK(live_of("another", &sites) <= 0 && sites == 0, "%u sites of an exempt pool", sites);
	near(live_of("quiet", &sites), 1.0 * COUNT * BYTES, "the process's level");
	hyp_pool_destroy(loud);
	hyp_pool_destroy(quiet);
	puts("pools");
	return 0;
}
