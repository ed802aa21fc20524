/* A stranger's program: takes memory, gives it back, keeps the C library's malloc, and makes
 * two pools of its own beside both. */
#include <hypool/hypool.h>
#include <hypool/pool.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two pools, each with its own figures; one goes, and the other's block stays. */
static int pools(void) {
	hyp_pool *first, *second;
	if (hyp_pool_create(NULL, &first) != HYP_OK || hyp_pool_create(NULL, &second) != HYP_OK) return 1;
	char *a = hyp_pool_malloc(first, 1000), *b = hyp_pool_malloc(second, 3 << 20), *c = malloc(1000);
	if (a == NULL || b == NULL || c == NULL) return 1;
	memset(a, 3, 1000);
	memset(b, 4, 3 << 20);
	memset(c, 5, 1000);
	hyp_stats of_first = {.struct_bytes = sizeof of_first}, of_second = {.struct_bytes = sizeof of_second};
	if (hyp_pool_stats(first, &of_first) != HYP_OK || hyp_pool_stats(second, &of_second) != HYP_OK) return 1;
	if (of_first.active != 1 || of_second.active != 1 || of_second.current_bytes < 3 << 20) return 1;
	hyp_pool_destroy(first);
	int good = b[0] == 4 && b[(3 << 20) - 1] == 4 && c[999] == 5;
	hyp_pool_free(second, b);
	hyp_pool_destroy(second);
	free(c);
	return !good;
}

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
	if (pools() != 0) return 1;
	puts(hyp_status_message(HYP_OK));
	puts("hypool consumer: ok");
	return 0;
}
