/*
 * device/bandwidth_cache.c: measurements of a NUMA node's memory in a file, so that they are made once: a line each, of
 * the machine's key, the node, and the figures, apart by tabs. Lines are only ever appended, in one write each. A line of
 * another machine, another node, or with figures that no measurement gives is passed over. No hwloc here.
 */
#include "device/bandwidth_cache.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_figure(double x) { return isfinite(x) && x >= 0; }

bool hypi_bandwidth_read(const char *path, const char *key, uint32_t node, hyp_bandwidth *ret_bandwidth) {
	FILE *file = fopen(path, "re");
	if (file == NULL) return false;
	char line[768];
	bool found = false, inside = false; /* of a line that is too long */
	while (!found && fgets(line, sizeof line, file) != NULL) {
		bool whole = !inside;
		inside = strchr(line, '\n') == NULL;
		char *tab = strchr(line, '\t');
		if (!whole || inside || tab == NULL) continue;
		*tab = '\0';
		hyp_bandwidth b = {.struct_bytes = sizeof b};
		uint32_t of;
		int bound;
		if (strcmp(line, key) != 0 ||
		    sscanf(tab + 1, "%" SCNu32 "\t%" SCNu32 "\t%lf\t%lf\t%lf\t%lf\t%lf\t%d", &of, &b.threads, &b.read_gbps,
		           &b.write_gbps, &b.copy_gbps, &b.triad_gbps, &b.latency_ns, &bound) != 8 ||
		    of != node || !(b.read_gbps > 0) || !is_figure(b.read_gbps) || !is_figure(b.write_gbps) ||
		    !is_figure(b.copy_gbps) || !is_figure(b.triad_gbps) || !is_figure(b.latency_ns))
			continue;
		b.bound = bound != 0;
		*ret_bandwidth = b;
		found = true;
	}
	(void)fclose(file);
	return found;
}

bool hypi_bandwidth_write(const char *path, const char *key, uint32_t node, const hyp_bandwidth *b) {
	FILE *file = fopen(path, "ae");
	if (file == NULL) return false;
	int wrote = fprintf(file, "%s\t%u\t%u\t%.4f\t%.4f\t%.4f\t%.4f\t%.3f\t%d\n", key, node, b->threads, b->read_gbps,
	                    b->write_gbps, b->copy_gbps, b->triad_gbps, b->latency_ns, (int)b->bound);
	return fclose(file) == 0 && wrote > 0;
}
