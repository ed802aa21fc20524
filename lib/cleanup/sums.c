/*
 * cleanup/sums.c: the statistics of all pools of one device together.
 *
 * It stands here because only this layer can look at every pool without one of them going meanwhile (cleanup/record.c). The
 * figures of the process are told once, all others are sums over the pools; a peak is the sum of the pools' own, which they
 * need not have had at one time. Caller: hypool/pool.h.
 */
#include "cleanup/cleanup.h"
#include "core/meta.h"
#include "heap/stats.h"

typedef struct total {
	int device;
	unsigned pools;
	bool with_default; /* it was among those that have a record */
	hyp_stats sum;
} total;

static void add_pool(total *t, hyp_pool *pool) {
	hyp_stats s;
	uint64_t largest = t->sum.largest_free_bytes;
	hypi_engine_stats(&pool->engine, &s);
	t->pools++;
#define HYP_STAT_X(name, kind, doc) t->sum.name += s.name;
#include <hypool/stats.def>
#undef HYP_STAT_X
	t->sum.largest_free_bytes = s.largest_free_bytes > largest ? s.largest_free_bytes : largest;
	t->sum.resident_bytes = s.resident_bytes;
	t->sum.peak_resident_bytes = s.peak_resident_bytes;
}

static void visit(void *context, hypi_cleanup *record) {
	total *t = context;
	if (record->pool->engine.large.backing.device != t->device) return;
	t->with_default |= record->pool == hyp_pool_default();
	add_pool(t, record->pool);
}

hyp_status hyp_pool_stats_of_device(int device, hyp_stats *ret_stats) {
	total t = {.device = device, .sum = {.struct_bytes = sizeof t.sum, .version = HYP_STATS_VERSION}};
	hypi_process_init();
	hypi_cleanup_each(visit, &t);
	if (device == 0 && !t.with_default) add_pool(&t, hyp_pool_default());
	if (t.pools == 0) return HYP_ERR_NOT_FOUND;
	t.sum.metadata_bytes = hypi_meta_used_bytes() + (t.sum.reserved_bytes >> HYPI_SLICE_LOG2) * sizeof(hypi_entry);
	return hypi_stats_copy(&t.sum, ret_stats);
}
