/* A stranger's program: includes the umbrella header, takes memory, gives it back, and keeps the C library's malloc. */
#include <hypool/hypool.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
	char *ours = hyp_malloc(100);
	char *theirs = malloc(100);
	if (ours == NULL || theirs == NULL) return 1;
	memset(ours, 1, 100);
	memset(theirs, 2, 100);
	ours = hyp_realloc(ours, 100000);
	if (ours == NULL || ours[99] != 1 || theirs[99] != 2) return 1;
	hyp_free(ours);
	free(theirs);
	puts(hyp_status_message(HYP_OK));
	puts("hypool consumer: ok");
	return 0;
}
