/*
 * A server's pattern with verified blocks: threads hand their whole set of live blocks to a successor and end, so that
 * most blocks are freed by another thread than made them (after Larson and Krishnan, 1998, "Memory Allocation for
 * Long-Running Server Applications"; theirs measures, this one verifies).
 */
#include "stress/stress.h"

enum { LINES = 6, BLOCKS = 1000, GENERATION = 20000 };

struct line {
	void *blocks[BLOCKS];
	uint64_t seed;
};
static struct line lines[LINES];

static void *generation(void *line_in) {
	struct line *line = line_in;
	for (int i = 0; i < GENERATION; i++) {
		size_t at = check_random(&line->seed) % BLOCKS;
		verified_free(line->blocks[at]);
		size_t size = check_random(&line->seed) % 100 ? check_random(&line->seed) % 500 : stress_size(&line->seed);
		line->blocks[at] = verified_make(check_random(&line->seed), size);
	}
	return NULL;
}

int main(void) {
	for (int i = 0; i < LINES; i++) lines[i].seed = (uint64_t)i + 1;
	struct stress_bound bound = stress_begin(150, 10000, 8);
	while (stress_more(&bound)) {
		pthread_t threads[LINES];
		for (int i = 0; i < LINES; i++) /* lines change threads crosswise */
			REQUIRE(pthread_create(&threads[i], NULL, generation, &lines[(i + bound.done) % LINES]) == 0);
		for (int i = 0; i < LINES; i++) pthread_join(threads[i], NULL);
	}
	for (int i = 0; i < LINES; i++)
		for (int k = 0; k < BLOCKS; k++) verified_free(lines[i].blocks[k]);
	return check_end();
}
