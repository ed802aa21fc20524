/*
 * pool/fragment.c: the figures of fragmentation, as hypool/pool.h and docs/design/pool.md define them.
 */
#include "heap/stats.h"
#include "pool/handle.h"

#include <string.h>

typedef struct sums {
	hyp_pool *pool;
	double asked, usable;
} sums;

static void add(void *context, hyp_handle handle, const hypi_slot *slot) {
	(void)slot;
	sums *s = context;
	hyp_handle_info info = {.struct_bytes = sizeof info};
	if (hyp_handle_get_info(s->pool, handle, &info) != HYP_OK) return; /* freed meanwhile */
	s->asked += (double)info.bytes;
	s->usable += (double)info.usable_bytes;
}

static double part(double of, double whole) { return whole > 0 ? of / whole : 0; }
static double rest(double of, double whole) { return whole > 0 ? 1 - of / whole : 0; }

hyp_status hyp_pool_fragmentation(hyp_pool *pool, hyp_fragmentation *ret_fragmentation) {
	if (pool == NULL || ret_fragmentation == NULL || ret_fragmentation->struct_bytes <= sizeof(size_t))
		return HYP_ERR_INVALID;
	hyp_stats s;
	sums handles = {.pool = pool};
	hypi_engine_stats(&pool->engine, &s);
	hypi_handles_walk(pool, add, &handles);
	size_t bytes = ret_fragmentation->struct_bytes;
	hyp_fragmentation f = {
		.struct_bytes = bytes < sizeof f ? bytes : sizeof f,
		.internal = rest((double)s.small_bytes, (double)s.small_span_bytes),
		.rounding = rest(handles.asked, handles.usable),
		.external = rest((double)s.largest_free_bytes, (double)s.free_bytes),
		.held = part((double)(s.committed_bytes + s.dirty_bytes), (double)s.current_bytes),
		.resident = part((double)s.resident_bytes, (double)s.current_bytes),
	};
	memcpy(ret_fragmentation, &f, f.struct_bytes);
	return HYP_OK;
}
