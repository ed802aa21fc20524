/*
 * tensor/error.c: each thread's last error text.
 *
 * Written only when a call fails; a thread that never failed has none. Where the thread's state cannot be had the
 * status alone tells.
 */
#include "tensor/internal.h"

#include <stdarg.h>
#include <stdio.h>

hyp_status hypi_fail(hyp_status status, const char *format, ...) {
	struct hypi_thread *self = hypi_thread_self();
	if (self == NULL) return status;
	va_list args;
	va_start(args, format);
	(void)vsnprintf(self->error, sizeof self->error, format, args);
	va_end(args);
	return status;
}

hyp_status hypi_fail_argument(const hyp_tensor *t, const char *name) {
	if (t == NULL) return hypi_fail(HYP_ERR_INVALID, "argument %s: is NULL", name);
	return hypi_fail(HYP_ERR_STALE, "argument %s: the tensor was freed", name);
}

const char *hyp_tensor_last_error(void) {
	struct hypi_thread *self = hypi_thread_self();
	return self == NULL ? "" : self->error;
}
