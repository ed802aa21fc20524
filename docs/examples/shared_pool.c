/*
 * A pool that two processes share: one makes a list in it, the other reads it. The list's links are offsets, since the
 * region lies at different addresses in the two.
 */
#include <hypool/shared.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct word {
	hyp_offset next;
	char text[24];
} word;

static int producer(const char *name) {
	static const char *const words[] = {"shared", "be", "can", "memory"};
	hyp_shared *shared;
	if (hyp_shared_attach(name, &shared) != HYP_OK) return 1;
	hyp_offset first = 0;
	for (int i = 0; i < 4; i++) {
		hyp_offset at;
		if (hyp_shared_alloc(shared, sizeof(word), &at) != HYP_OK) return 1;
		word *w = hyp_shared_pointer(shared, at);
		w->next = first;
		snprintf(w->text, sizeof w->text, "%s", words[i]);
		first = at;
	}
	hyp_shared_set_root(shared, first); /* where the other looks */
	hyp_shared_detach(shared);
	return 0;
}

int main(void) {
	char name[64];
	snprintf(name, sizeof name, "/hypool-example-%d", (int)getpid());
	hyp_shared *shared;
	if (hyp_shared_create(name, 1 << 20, &shared) != HYP_OK) return 1;
	pid_t child = fork();
	if (child == 0) _exit(producer(name));
	int status;
	waitpid(child, &status, 0);

	for (hyp_offset at = hyp_shared_root(shared); at != 0;) {
		word *w = hyp_shared_pointer(shared, at);
		printf("%s ", w->text);
		hyp_offset next = w->next;
		if (hyp_shared_free(shared, at) != HYP_OK) return 1;
		at = next;
	}
	putchar('\n');
	if (hyp_shared_remove(name) != HYP_OK) return 1;
	hyp_shared_detach(shared);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
