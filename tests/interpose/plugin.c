/*
 * A library that programs here load late: it allocates in its constructor, destructor and thread-local storage.
 * plugin_make gives a block to the program, plugin_take frees one of the program's: both ways across the border.
 * Called by: deepbind, dlclose_tls, dl_iterate.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

char *plugin_make(size_t size);
void plugin_take(char *p);
char *plugin_duplicate(const char *text);
char **plugin_thread_slot(void);
void *plugin_malloc_address(void);

static _Thread_local char *slot;
static _Thread_local char wide[700];
static char *made_early;
static pthread_key_t key;

static void on_thread_exit(void *p) {
	free(p);
	free(malloc(200));
}

__attribute__((constructor)) static void begin(void) {
	made_early = malloc(5000);
	pthread_key_create(&key, on_thread_exit);
}
__attribute__((destructor)) static void end(void) {
	pthread_key_delete(key);
	free(made_early);
}

char *plugin_make(size_t size) {
	char *p = malloc(size);
	if (p) memset(p, 7, size);
	if (!pthread_getspecific(key)) pthread_setspecific(key, malloc(333));
	wide[size % sizeof wide] = 1;
	return p;
}

void plugin_take(char *p) { free(p); }
char *plugin_duplicate(const char *text) { return strdup(text); }
char **plugin_thread_slot(void) { return &slot; }
void *plugin_malloc_address(void) { return (void *)malloc; }
