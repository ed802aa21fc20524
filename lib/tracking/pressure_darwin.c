/*
 * tracking/pressure_darwin.c: how short of memory the machine is, by macOS: a dispatch source of memory pressure, whose
 * handler writes the word into a pipe, so that the caller waits and polls as on Linux. The handler runs on a queue of the
 * system's; the pipe is its only way to us. Compiled for macOS, and never run there by us.
 */
#include "core/meta.h"
#include "tracking/pressure_levels.h"

#include <dispatch/dispatch.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct hyp_pressure {
	hypi_pressure_levels levels; /* first: what the systems share takes it for the whole */
	int heard, said;             /* the pipe's ends */
	dispatch_source_t source;
};

static void on_pressure(void *context) {
	hyp_pressure *p = context;
	unsigned long word = dispatch_source_get_data(p->source);
	char byte = (word & DISPATCH_MEMORYPRESSURE_CRITICAL) != 0 ? HYP_PRESSURE_CRITICAL : HYP_PRESSURE_HIGH;
	if ((word & (DISPATCH_MEMORYPRESSURE_WARN | DISPATCH_MEMORYPRESSURE_CRITICAL)) == 0) return;
	ssize_t written = write(p->said, &byte, 1);
	(void)written; /* a full pipe says it already */
}

/* After the last handler: nobody else knows of it any more. */
static void on_cancel(void *context) {
	hyp_pressure *p = context;
	close(p->heard);
	close(p->said);
	hypi_meta_free(p, sizeof *p);
}

static bool make_pipe(hyp_pressure *p) {
	int ends[2];
	if (pipe(ends) != 0) return false;
	for (int i = 0; i < 2; i++) {
		fcntl(ends[i], F_SETFL, O_NONBLOCK);
		fcntl(ends[i], F_SETFD, FD_CLOEXEC);
	}
	p->heard = ends[0];
	p->said = ends[1];
	return true;
}

hyp_status hyp_pressure_open(const hyp_pressure_config *config, hyp_pressure **ret_pressure) {
	hyp_pressure_config c;
	hypi_pressure_levels levels;
	hyp_status status = hypi_pressure_configure(config, &c, &levels);
	if (status != HYP_OK) return status;
	hyp_pressure *p = hypi_meta_alloc(sizeof *p);
	if (p == NULL) return HYP_ERR_NO_MEMORY;
	memset(p, 0, sizeof *p);
	p->levels = levels;
	if (!make_pipe(p)) {
		hypi_meta_free(p, sizeof *p);
		return HYP_ERR_OS;
	}
	p->source = dispatch_source_create(DISPATCH_SOURCE_TYPE_MEMORYPRESSURE, 0,
	                                   DISPATCH_MEMORYPRESSURE_WARN | DISPATCH_MEMORYPRESSURE_CRITICAL,
	                                   dispatch_get_global_queue(DISPATCH_QUEUE_PRIORITY_DEFAULT, 0));
	if (p->source == NULL) {
		on_cancel(p);
		return HYP_ERR_OS;
	}
	dispatch_set_context(p->source, p);
	dispatch_source_set_event_handler_f(p->source, on_pressure);
	dispatch_source_set_cancel_handler_f(p->source, on_cancel);
	dispatch_resume(p->source);
	*ret_pressure = p;
	return HYP_OK;
}

void hyp_pressure_close(hyp_pressure *p) {
	if (p == NULL) return;
	dispatch_source_t source = p->source;
	dispatch_source_cancel(source); /* on_cancel gives the rest back */
	dispatch_release(source);
}

int hyp_pressure_fd(const hyp_pressure *p) { return p->heard; }

hyp_pressure_level hyp_pressure_poll(hyp_pressure *p) {
	char words[64];
	ssize_t n;
	int saved = errno;
	while ((n = read(p->heard, words, sizeof words)) > 0)
		for (ssize_t i = 0; i < n; i++)
			hypi_pressure_tell(&p->levels, (hyp_pressure_level)words[i], HYP_PRESSURE_FROM_STALL);
	hyp_pressure_level level = hypi_pressure_settle(&p->levels, 0);
	errno = saved;
	return level;
}
