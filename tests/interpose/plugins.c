/*
 * Libraries that come late and go early (RELIABILITY.md rows 6, 11 and 30).
 *
 * deepbind: a plugin loaded with RTLD_DEEPBIND binds to libc's malloc; blocks cross the border both ways, and neither
 * side may abort. (Its malloc may be ours or libc's; what it hands over must be freeable.)
 * dlclose: libraries with thread-local storage are opened, used by 4 living threads and closed, 200 times.
 * iterate: dl_iterate_phdr callbacks allocate while other threads open and close libraries and all allocate.
 */
#include "interpose/check.h"

#include <link.h>
#include <pthread.h>

struct plugin {
	void *library;
	char *(*make)(size_t);
	void (*take)(char *);
	char *(*duplicate)(const char *);
	char **(*slot)(void);
	void *(*malloc_address)(void);
};

static struct plugin open_plugin(const char *path, int flags) {
	struct plugin p = {.library = dlopen(path, flags)};
	REQUIRE(p.library, "dlopen: %s", dlerror());
	*(void **)&p.make = dlsym(p.library, "plugin_make");
	*(void **)&p.take = dlsym(p.library, "plugin_take");
	*(void **)&p.duplicate = dlsym(p.library, "plugin_duplicate");
	*(void **)&p.slot = dlsym(p.library, "plugin_thread_slot");
	*(void **)&p.malloc_address = dlsym(p.library, "plugin_malloc_address");
	REQUIRE(p.make && p.take && p.duplicate && p.slot && p.malloc_address);
	return p;
}

static void deepbind(const char *path) {
	struct plugin p = open_plugin(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	printf("the plugin's malloc is %s\n", p.malloc_address() == (void *)malloc ? "the program's" : "another");
	for (size_t size = 1; size < 4 * MIB; size = size * 3 / 2 + 1) {
		for (int i = 0; i < 20; i++) {
			char *theirs = p.make(size);
			REQUIRE(theirs);
			CHECK(theirs[0] == 7 && theirs[size - 1] == 7);
			if (i & 1) {
				theirs = realloc(theirs, size + 100);
				REQUIRE(theirs);
				CHECK(theirs[0] == 7 && theirs[size - 1] == 7, "realloc across the border, size %zu", size);
			}
			free(theirs);
			char *ours = malloc(size);
			REQUIRE(ours);
			ours[size - 1] = 1;
			p.take(ours);
		}
	}
	for (int i = 0; i < 1000; i++) free(p.duplicate("a text of the plugin"));
	CHECK(dlclose(p.library) == 0);
}

static pthread_barrier_t opened, used;
static struct plugin current;
enum { ROUNDS = 200 };

static void *use_plugin(void *unused) {
	(void)unused;
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&opened);
		char *p = current.make(1000);
		*current.slot() = p;
		CHECK(*current.slot() == p);
		for (int i = 0; i < 50; i++) current.take(malloc((size_t)i * 90));
		free(*current.slot());
		pthread_barrier_wait(&used);
	}
	return NULL;
}

static void dlclose_tls(const char *path) {
	pthread_t threads[4];
	pthread_barrier_init(&opened, NULL, 5);
	pthread_barrier_init(&used, NULL, 5);
	for (int i = 0; i < 4; i++) REQUIRE(pthread_create(&threads[i], NULL, use_plugin, NULL) == 0);
	for (int round = 0; round < ROUNDS; round++) {
		current = open_plugin(path, RTLD_NOW);
		pthread_barrier_wait(&opened);
		pthread_barrier_wait(&used);
		CHECK(dlclose(current.library) == 0);
		CHECK(!dlopen(path, RTLD_NOW | RTLD_NOLOAD), "the plugin was not unloaded: the test proves nothing");
	}
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static _Atomic bool stop;
static int on_object(struct dl_phdr_info *info, size_t size, void *count) {
	(void)size;
	for (size_t i = 1; i < 20; i++) free(opaque(malloc(i * i * 60))); /* under the loader's lock */
	char *copy = strdup(info->dlpi_name);
	free(copy);
	return ++*(int *)count < 0;
}

static void *iterate(void *unused) {
	(void)unused;
	while (!atomic_load(&stop)) {
		int count = 0;
		dl_iterate_phdr(on_object, &count);
		CHECK(count > 2);
	}
	return NULL;
}

static void *churn(void *seed_in) {
	uint64_t seed = (uintptr_t)seed_in;
	void *slots[32] = {0};
	while (!atomic_load(&stop)) {
		size_t at = check_random(&seed) % 32;
		free(slots[at]);
		slots[at] = malloc(check_random(&seed) % (at ? 4000 : 3 * MIB)); /* new arenas, purges */
	}
	for (int i = 0; i < 32; i++) free(slots[i]);
	return NULL;
}

static void dl_iterate(const char *path) {
	pthread_t threads[4];
	alarm(30); /* lock inversion shows as a hang */
	for (int i = 0; i < 4; i++)
		REQUIRE(pthread_create(&threads[i], NULL, i < 2 ? iterate : churn, (void *)(uintptr_t)(i + 1)) == 0);
	for (int round = 0; round < 400; round++) {
		struct plugin p = open_plugin(path, RTLD_NOW);
		free(p.make(300));
		dlclose(p.library);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
	REQUIRE(argc > 2, "usage: plugins deepbind|dlclose|iterate PLUGIN");
	if (strcmp(argv[1], "deepbind") == 0) deepbind(argv[2]);
	else if (strcmp(argv[1], "dlclose") == 0) dlclose_tls(argv[2]);
	else if (strcmp(argv[1], "iterate") == 0) dl_iterate(argv[2]);
	else REQUIRE(false, "no test %s", argv[1]);
	return check_end();
}
