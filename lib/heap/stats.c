/* heap/stats.c: see heap/stats.h. */
#include "heap/stats.h"

#include "base/option.h"
#include "core/meta.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- adding up ---- */

void hypi_engine_classes(hypi_engine *engine, hyp_class_stats *classes) {
	memset(classes, 0, HYPI_CLASSES * sizeof *classes);
	hypi_lock_take(&engine->lock);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		hyp_class_stats *k = &classes[c];
		k->block_bytes = hypi_class_block_bytes(c);
		k->frees = hypi_load_relaxed(&engine->homeless_frees[c]);
		for (const hypi_heap *heap = engine->heaps; heap != NULL; heap = heap->next) {
			const hypi_bin *bin = &heap->bins[c];
			k->allocations += hypi_load_relaxed(&bin->past_allocs) + hypi_load_relaxed(&heap->lists[c].allocs);
			k->frees += hypi_load_relaxed(&bin->past_frees) + hypi_list_frees(heap, c) + hypi_load_relaxed(&bin->sent);
			k->frees += hypi_heap_holds_class(heap, c);
			k->spans += hypi_load_relaxed(&bin->spans);
			k->span_bytes += (size_t)hypi_load_relaxed(&bin->slices) << HYPI_SLICE_LOG2;
		}
		k->active = k->allocations - k->frees;
	}
	hypi_unlock(&engine->lock);
}

static void raise(_Atomic uint64_t *peak, uint64_t value) {
	uint64_t seen = hypi_load_relaxed(peak);
	while (value > seen &&
	       !atomic_compare_exchange_weak_explicit(peak, &seen, value, memory_order_relaxed, memory_order_relaxed))
		continue;
}

static void add_large_pool(hypi_large_pool *pool, hyp_stats *s) {
	s->dirty_bytes = (uint64_t)hypi_large_pool_dirty_slices(pool) << HYPI_SLICE_LOG2;
	s->largest_free_bytes = (uint64_t)hypi_large_pool_largest_free(pool) << HYPI_SLICE_LOG2;
	hypi_lock_take(&pool->lock);
	uint64_t used = (uint64_t)pool->used_slices << HYPI_SLICE_LOG2;
	s->committed_bytes = used + pool->huge_bytes;
	s->peak_committed_bytes = (uint64_t)pool->peak_used_slices << HYPI_SLICE_LOG2;
	s->reserved_bytes = pool->mapped_bytes + pool->huge_bytes;
	s->free_bytes = pool->mapped_bytes - used;
	s->arenas = pool->arenas;
	hypi_unlock(&pool->lock);
	s->purged_bytes = hypi_load_relaxed(&pool->purged_bytes);
	s->purge_failures = hypi_load_relaxed(&pool->purge_failures);
}

void hypi_engine_stats(hypi_engine *engine, hyp_stats *ret_stats) {
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(engine, classes);
	hyp_stats s = {.struct_bytes = sizeof s, .version = HYP_STATS_VERSION};
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		s.allocations += classes[c].allocations;
		s.frees += classes[c].frees;
		s.allocated_bytes += classes[c].allocations * classes[c].block_bytes;
		s.freed_bytes += classes[c].frees * classes[c].block_bytes;
		s.small_bytes += classes[c].active * classes[c].block_bytes;
		s.small_span_bytes += classes[c].span_bytes;
	}
	hypi_large_count large;
	hypi_lock_take(&engine->lock);
	hypi_large_count_sum(engine, &large);
	s.heaps = engine->heap_count;
	hypi_unlock(&engine->lock);
	s.large_bytes = hypi_load_relaxed(&large.allocated_bytes) - hypi_load_relaxed(&large.freed_bytes);
	s.allocations += hypi_load_relaxed(&large.allocs);
	s.frees += hypi_load_relaxed(&large.frees);
	s.allocated_bytes += hypi_load_relaxed(&large.allocated_bytes);
	s.freed_bytes += hypi_load_relaxed(&large.freed_bytes);
	s.current_bytes = s.allocated_bytes - s.freed_bytes;
	s.active = s.allocations - s.frees;
	s.failures = hypi_load_relaxed(&engine->failures);
	raise(&engine->peak_bytes, s.current_bytes);
	raise(&engine->peak_active, s.active);
	s.peak_bytes = hypi_load_relaxed(&engine->peak_bytes);
	s.peak_active = hypi_load_relaxed(&engine->peak_active);
	add_large_pool(&engine->large, &s);
	s.metadata_bytes = hypi_meta_used_bytes() + (s.reserved_bytes >> HYPI_SLICE_LOG2) * sizeof(hypi_span *);
	s.resident_bytes = hypi_os_resident_bytes();
	s.peak_resident_bytes = hypi_os_peak_resident_bytes();
	/* The kernel gathers the two from counters of its own, at different times. */
	if (s.peak_resident_bytes < s.resident_bytes) s.peak_resident_bytes = s.resident_bytes;
	*ret_stats = s;
}

hyp_status hypi_stats_copy(const hyp_stats *stats, hyp_stats *ret_stats) {
	if (ret_stats == NULL || ret_stats->struct_bytes < offsetof(hyp_stats, current_bytes)) return HYP_ERR_INVALID;
	size_t bytes = ret_stats->struct_bytes < sizeof *stats ? ret_stats->struct_bytes : sizeof *stats;
	memcpy(ret_stats, stats, bytes);
	ret_stats->struct_bytes = bytes;
	return HYP_OK;
}

hyp_status hyp_stats_get(hyp_stats *ret_stats) {
	hypi_process_init();
	hyp_stats stats;
	hypi_engine_stats(&hypi_default_engine, &stats);
	return hypi_stats_copy(&stats, ret_stats);
}

size_t hyp_stats_classes(hyp_class_stats *ret_classes, size_t capacity) {
	hypi_process_init();
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(&hypi_default_engine, classes);
	size_t count = capacity < HYPI_CLASSES ? capacity : HYPI_CLASSES;
	if (count > 0) memcpy(ret_classes, classes, count * sizeof *classes);
	return HYPI_CLASSES;
}

/* ---- printing ---- */

void hypi_stats_print(hypi_engine *engine, const char *title, hypi_out *out) {
	hyp_stats s;
	hypi_engine_stats(engine, &s);
	hypi_out_format(out, "hypool statistics: %s\n", title);
#define HYP_STAT_X(name, kind, doc) \
	hypi_out_format(out, "  %-22s %14llu  %s\n", #name, (unsigned long long)s.name, doc);
#include <hypool/stats.def>
#undef HYP_STAT_X
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(engine, classes);
	hypi_out_format(out, "  %10s %12s %12s %12s %8s %12s\n", "class", "allocations", "frees", "active", "spans",
	                "span bytes");
	for (unsigned c = 0; c < HYPI_CLASSES; c++)
		if (classes[c].allocations != 0)
			hypi_out_format(out, "  %10zu %12llu %12llu %12llu %8llu %12llu\n", classes[c].block_bytes,
			                (unsigned long long)classes[c].allocations, (unsigned long long)classes[c].frees,
			                (unsigned long long)classes[c].active, (unsigned long long)classes[c].spans,
			                (unsigned long long)classes[c].span_bytes);
}

void hypi_stats_print_json(hypi_engine *engine, const char *title, hypi_out *out) {
	hyp_stats s;
	hypi_engine_stats(engine, &s);
	hypi_out_format(out, "{\"pool\":");
	hypi_out_json_string(out, title);
	hypi_out_format(out, ",\"version\":%u", s.version);
#define HYP_STAT_X(name, kind, doc) hypi_out_format(out, ",\"" #name "\":%llu", (unsigned long long)s.name);
#include <hypool/stats.def>
#undef HYP_STAT_X
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(engine, classes);
	const char *comma = "";
	hypi_out_format(out, ",\"classes\":[");
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		if (classes[c].allocations == 0) continue;
		hypi_out_format(out,
		                "%s{\"block_bytes\":%zu,\"allocations\":%llu,\"frees\":%llu,\"active\":%llu,"
		                "\"spans\":%llu,\"span_bytes\":%llu}",
		                comma, classes[c].block_bytes, (unsigned long long)classes[c].allocations,
		                (unsigned long long)classes[c].frees, (unsigned long long)classes[c].active,
		                (unsigned long long)classes[c].spans, (unsigned long long)classes[c].span_bytes);
		comma = ",";
	}
	hypi_out_format(out, "]}\n");
}

static void print_to(int fd, bool json) {
	hypi_process_init();
	hypi_out out;
	hypi_out_init_fd(&out, fd);
	if (json) hypi_stats_print_json(&hypi_default_engine, "default", &out);
	else hypi_stats_print(&hypi_default_engine, "default", &out);
	hypi_out_flush(&out);
}

void hyp_stats_print(int fd) { print_to(fd, false); }
void hyp_stats_print_json(int fd) { print_to(fd, true); }

/* "%p" in the option's text is the process id. */
static int open_file(const char *pattern) {
	char path[HYPI_OPTION_TEXT_BYTES + 24];
	size_t used = 0;
	for (const char *at = pattern; *at != '\0' && used < sizeof path - 24; at++) {
		if (at[0] == '%' && at[1] == 'p') {
			used += hypi_format(path + used, sizeof path - used, "%d", (int)getpid());
			at++;
		} else {
			path[used++] = *at;
		}
	}
	path[used] = '\0';
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

void hypi_stats_at_exit(void) {
	bool text = hypi_option_get(HYPI_OPTION_stats), json = hypi_option_get(HYPI_OPTION_stats_json);
	if (!text && !json) return;
	const char *pattern = hypi_option_text(HYPI_OPTION_stats_file);
	int fd = pattern[0] == '\0' ? 2 : open_file(pattern);
	if (fd < 0) return;
	if (text) hyp_stats_print(fd);
	if (json) hyp_stats_print_json(fd);
	if (fd != 2) close(fd);
}
