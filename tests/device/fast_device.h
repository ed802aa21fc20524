/*
 * tests/device/fast_device.h: a driver that says of itself that it is fast, and does nothing: for the choice of a device.
 */
#ifndef FAST_DEVICE_H
#define FAST_DEVICE_H

#include <hypool/device.h>
#include <hypool/tensor.h>

#include <stdio.h>

static hyp_status fast_describe(void *context, hyp_device_info *ret_info) {
	(void)snprintf(ret_info->name, sizeof ret_info->name, "fast one");
	ret_info->kind = HYP_DEVICE_KIND_OTHER;
	ret_info->memory_bytes = ret_info->memory_free_bytes = (uint64_t)1 << 30;
	ret_info->memory_bandwidth_gbps = 1000;
	ret_info->flops_per_s = 1e13;
	ret_info->dtypes = (uint64_t)1 << HYP_F32;
	ret_info->supports_cuda = *(bool *)context;
	return HYP_OK;
}
static hyp_status fast_alloc(void *c, size_t n, size_t a, uintptr_t *r) {
	return (void)c, (void)n, (void)a, (void)r, HYP_ERR_NO_MEMORY;
}
static void fast_free(void *c, uintptr_t a) { (void)c, (void)a; }
static hyp_status fast_create(void *c, void **r) { return (void)c, (void)r, HYP_ERR_UNSUPPORTED; }
static void fast_destroy(void *c, void *s) { (void)c, (void)s; }
static hyp_status fast_ask(void *c, void *s) { return (void)c, (void)s, HYP_OK; }
static hyp_status fast_pair(void *c, void *s, void *e) { return (void)c, (void)s, (void)e, HYP_OK; }
static hyp_status fast_elapsed(void *c, void *a, void *b, uint64_t *r) {
	return (void)c, (void)a, (void)b, (void)r, HYP_ERR_INVALID;
}
static hyp_status fast_copy(void *c, void *s, uintptr_t t, bool th, uintptr_t f, bool fh, size_t n) {
	return (void)c, (void)s, (void)t, (void)th, (void)f, (void)fh, (void)n, HYP_OK;
}
static hyp_status fast_fill(void *c, void *s, uintptr_t t, uint8_t v, size_t n) {
	return (void)c, (void)s, (void)t, (void)v, (void)n, HYP_OK;
}

static const hyp_device_driver fast_driver = {
	.struct_bytes = sizeof fast_driver,
	.describe = fast_describe,
	.alloc = fast_alloc,
	.free = fast_free,
	.stream_create = fast_create,
	.stream_destroy = fast_destroy,
	.stream_synchronize = fast_ask,
	.stream_query = fast_ask,
	.stream_wait = fast_pair,
	.event_create = fast_create,
	.event_destroy = fast_destroy,
	.event_record = fast_pair,
	.event_synchronize = fast_ask,
	.event_query = fast_ask,
	.event_elapsed_ns = fast_elapsed,
	.copy_async = fast_copy,
	.fill_async = fast_fill,
};

#endif
