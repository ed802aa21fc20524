/*
 * tracking/metrics.c: the statistics as OpenMetrics text (openmetrics.io, 1.0), for scrapers.
 *
 * Counters end in _total, sizes have the unit bytes, the last line is "# EOF". Nothing is served here: the program
 * writes the text where it is asked for it.
 */
#include "base/out.h"
#include "heap/stats.h"

#include <hypool/tracking.h>

#include <string.h>

typedef unsigned long long ull;

typedef enum metric_kind { COUNT, GAUGE, PEAK } metric_kind;

static void metric(hypi_out *out, const char *name, metric_kind kind, const char *doc, uint64_t value) {
	size_t n = strlen(name);
	bool bytes = n > 6 && strcmp(name + n - 6, "_bytes") == 0;
	hypi_out_format(out, "# TYPE hypool_%s %s\n", name, kind == COUNT ? "counter" : "gauge");
	if (bytes) hypi_out_format(out, "# UNIT hypool_%s bytes\n", name);
	hypi_out_format(out, "# HELP hypool_%s %s\nhypool_%s%s %llu\n", name, doc, name, kind == COUNT ? "_total" : "",
	                (ull)value);
}

void hyp_metrics_write(int fd) {
	hypi_process_init();
	hyp_stats stats;
	hypi_engine_stats(&hypi_default_engine, &stats);
	hyp_class_stats classes[HYPI_CLASSES];
	hypi_engine_classes(&hypi_default_engine, classes);
	hypi_out out;
	hypi_out_init_fd(&out, fd);
#define HYP_STAT_X(name, kind, doc) metric(&out, #name, kind, doc, stats.name);
#include <hypool/stats.def>
#undef HYP_STAT_X
	hypi_out_format(&out,
	                "# TYPE hypool_class_active gauge\n# HELP hypool_class_active blocks live now, by size class\n");
	for (unsigned c = 0; c < HYPI_CLASSES; c++)
		if (classes[c].allocations != 0)
			hypi_out_format(&out, "hypool_class_active{bytes=\"%zu\"} %llu\n", classes[c].block_bytes,
			                (ull)classes[c].active);
	hypi_out_format(&out, "# EOF\n");
	hypi_out_flush(&out);
}
