/*
 * device/registry.c: the table of devices and the calls that go through a driver's table.
 *
 * An entry is written once under the mutex and published by the count; its driver is constant afterwards. A driver's
 * HYP_ERR_DEVICE marks the device as failed, and every later call but free, destroy and recover returns that at once,
 * so that one fault is not followed by a hundred different ones.
 */
#include "device/device.h"

#include "base/atomic.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct entry {
	hyp_device_driver driver;
	void *context;
	_Atomic bool failed;
	_Atomic bool closed;
};

struct hyp_stream {
	int device;
	void *object; /* the driver's */
};

struct hyp_event {
	int device;
	void *object;
};

static struct entry entries[HYP_DEVICE_MAX];
static _Atomic int count; /* released by register; pairs with the acquire in entry_of */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- errors ---- */

static pthread_key_t error_key;
#define ERROR_BYTES 256

static void start(void) {
	(void)pthread_key_create(&error_key, hyp_free);
	entries[0].driver = hypi_host_driver;
	hypi_store_release(&count, 1);
}

hyp_status hypi_device_fail(hyp_status status, const char *format, ...) {
	pthread_once(&once, start);
	char *text = pthread_getspecific(error_key);
	if (text == NULL) {
		text = hyp_malloc(ERROR_BYTES);
		if (text == NULL || pthread_setspecific(error_key, text) != 0) {
			hyp_free(text);
			return status;
		}
	}
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, ERROR_BYTES, format, args);
	va_end(args);
	return status;
}

const char *hyp_device_last_error(void) {
	pthread_once(&once, start);
	const char *text = pthread_getspecific(error_key);
	return text == NULL ? "" : text;
}

/* ---- the table ---- */

static struct entry *entry_any(int device) {
	pthread_once(&once, start);
	return device >= 0 && device < hypi_load_acquire(&count) ? &entries[device] : NULL;
}

/* An entry that works; NULL with *ret_status set. */
static struct entry *entry_of(int device, hyp_status *ret_status) {
	struct entry *e = entry_any(device);
	if (e == NULL) {
		*ret_status = hypi_device_fail(HYP_ERR_NOT_FOUND, "argument device: there is no device %d", device);
	} else if (hypi_load_relaxed(&e->closed)) {
		*ret_status = hypi_device_fail(HYP_ERR_DEVICE, "device %d was closed", device);
		e = NULL;
	} else if (hypi_load_relaxed(&e->failed)) {
		*ret_status = hypi_device_fail(HYP_ERR_DEVICE, "device %d has failed", device);
		e = NULL;
	}
	return e;
}

static hyp_status after(int device, hyp_status status, const char *call) {
	if (HYP_LIKELY(status == HYP_OK) || status == HYP_ERR_BUSY) return status;
	if (status == HYP_ERR_DEVICE) hypi_store_relaxed(&entries[device].failed, true);
	return hypi_device_fail(status, "device %d: %s: %s", device, call, hyp_status_message(status));
}

int hyp_device_count(void) {
	pthread_once(&once, start);
	return hypi_load_acquire(&count);
}

hyp_status hyp_device_register(const hyp_device_driver *driver, void *context, int *ret_device) {
	pthread_once(&once, start);
	if (driver == NULL || ret_device == NULL) return hypi_device_fail(HYP_ERR_INVALID, "an argument is NULL");
	if (driver->struct_bytes != sizeof *driver)
		return hypi_device_fail(HYP_ERR_INVALID, "argument driver: struct_bytes is %zu, not %zu", driver->struct_bytes,
		                        sizeof *driver);
	if (!driver->describe || !driver->alloc || !driver->free || !driver->stream_create || !driver->stream_destroy ||
	    !driver->stream_synchronize || !driver->stream_query || !driver->stream_wait || !driver->event_create ||
	    !driver->event_destroy || !driver->event_record || !driver->event_synchronize || !driver->event_query ||
	    !driver->event_elapsed_ns || !driver->copy_async || !driver->fill_async)
		return hypi_device_fail(HYP_ERR_INVALID, "argument driver: a required function is NULL");
	pthread_mutex_lock(&mutex);
	int index = hypi_load_relaxed(&count);
	hyp_status status = HYP_OK;
	if (index == HYP_DEVICE_MAX) {
		status = hypi_device_fail(HYP_ERR_LIMIT, "%d devices are registered", HYP_DEVICE_MAX);
	} else {
		entries[index].driver = *driver;
		entries[index].context = context;
		hypi_store_release(&count, index + 1);
		*ret_device = index;
	}
	pthread_mutex_unlock(&mutex);
	return status;
}

hyp_status hyp_device_unregister(int device) {
	hyp_status status = HYP_OK;
	struct entry *e = entry_any(device);
	if (e == NULL || device == 0)
		return hypi_device_fail(HYP_ERR_INVALID, "argument device: %d cannot be unregistered", device);
	pthread_mutex_lock(&mutex);
	if (hypi_load_relaxed(&e->closed)) {
		status = hypi_device_fail(HYP_ERR_DEVICE, "device %d was closed", device);
	} else {
		hypi_store_relaxed(&e->closed, true);
		if (e->driver.close != NULL) e->driver.close(e->context);
	}
	pthread_mutex_unlock(&mutex);
	return status;
}

hyp_status hyp_device_describe(int device, hyp_device_info *ret_info) {
	hyp_status status;
	struct entry *e = entry_of(device, &status);
	if (e == NULL) return status;
	if (ret_info == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_info: is NULL");
	if (ret_info->struct_bytes != sizeof *ret_info)
		return hypi_device_fail(HYP_ERR_INVALID, "argument ret_info: struct_bytes is %zu, not %zu",
		                        ret_info->struct_bytes, sizeof *ret_info);
	hyp_device_info info = {.struct_bytes = sizeof info};
	status = after(device, e->driver.describe(e->context, &info), "describe");
	if (status == HYP_OK) *ret_info = info;
	return status;
}

bool hyp_device_failed(int device) {
	struct entry *e = entry_any(device);
	return e == NULL || hypi_load_relaxed(&e->failed) || hypi_load_relaxed(&e->closed);
}

hyp_status hyp_device_recover(int device) {
	struct entry *e = entry_any(device);
	if (e == NULL || hypi_load_relaxed(&e->closed))
		return hypi_device_fail(HYP_ERR_NOT_FOUND, "argument device: there is no device %d", device);
	if (!hypi_load_relaxed(&e->failed)) return HYP_OK;
	if (e->driver.recover == NULL) return hypi_device_fail(HYP_ERR_UNSUPPORTED, "device %d cannot start over", device);
	hyp_status status = e->driver.recover(e->context);
	if (status != HYP_OK) return hypi_device_fail(status, "device %d: recover: %s", device, hyp_status_message(status));
	hypi_store_relaxed(&e->failed, false);
	return HYP_OK;
}

/* ---- memory ---- */

hyp_status hyp_device_alloc(int device, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	hyp_status status;
	struct entry *e = entry_of(device, &status);
	if (e == NULL) return status;
	if (ret_address == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_address: is NULL");
	if (alignment == 0 || (alignment & (alignment - 1)) != 0)
		return hypi_device_fail(HYP_ERR_INVALID, "argument alignment: %zu is no power of two", alignment);
	return after(device, e->driver.alloc(e->context, bytes, alignment, ret_address), "alloc");
}

void hyp_device_free(int device, uintptr_t address) {
	struct entry *e = entry_any(device);
	if (e != NULL && address != 0 && !hypi_load_relaxed(&e->closed)) e->driver.free(e->context, address);
}

/* ---- streams and events ---- */

hyp_status hyp_stream_create(int device, hyp_stream **ret_stream) {
	hyp_status status;
	struct entry *e = entry_of(device, &status);
	if (e == NULL) return status;
	if (ret_stream == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_stream: is NULL");
	hyp_stream *s = hyp_malloc(sizeof *s);
	if (s == NULL) return hypi_device_fail(HYP_ERR_NO_MEMORY, "no memory for a stream");
	s->device = device;
	status = after(device, e->driver.stream_create(e->context, &s->object), "stream_create");
	if (status != HYP_OK) hyp_free(s);
	else *ret_stream = s;
	return status;
}

void hyp_stream_destroy(hyp_stream *stream) {
	if (stream == NULL) return;
	struct entry *e = entry_any(stream->device);
	if (!hypi_load_relaxed(&e->closed)) e->driver.stream_destroy(e->context, stream->object);
	hyp_free(stream);
}

int hyp_stream_device(const hyp_stream *stream) { return stream == NULL ? -1 : stream->device; }

/* The entry of a stream or event that is not NULL and whose device works. */
static hyp_status entry_for(const void *object, int device, const char *name, struct entry **ret_entry) {
	hyp_status status = HYP_OK;
	if (object == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument %s: is NULL", name);
	*ret_entry = entry_of(device, &status);
	return status;
}
#define STREAM_ENTRY(stream) entry_for((stream), (stream) == NULL ? -1 : (stream)->device, #stream, &e)

hyp_status hyp_stream_synchronize(hyp_stream *stream) {
	struct entry *e = NULL;
	hyp_status status = STREAM_ENTRY(stream);
	if (status != HYP_OK) return status;
	return after(stream->device, e->driver.stream_synchronize(e->context, stream->object), "stream_synchronize");
}

hyp_status hyp_stream_query(hyp_stream *stream) {
	struct entry *e = NULL;
	hyp_status status = STREAM_ENTRY(stream);
	if (status != HYP_OK) return status;
	return after(stream->device, e->driver.stream_query(e->context, stream->object), "stream_query");
}

hyp_status hyp_event_create(int device, hyp_event **ret_event) {
	hyp_status status;
	struct entry *e = entry_of(device, &status);
	if (e == NULL) return status;
	if (ret_event == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_event: is NULL");
	hyp_event *event = hyp_malloc(sizeof *event);
	if (event == NULL) return hypi_device_fail(HYP_ERR_NO_MEMORY, "no memory for an event");
	event->device = device;
	status = after(device, e->driver.event_create(e->context, &event->object), "event_create");
	if (status != HYP_OK) hyp_free(event);
	else *ret_event = event;
	return status;
}

void hyp_event_destroy(hyp_event *event) {
	if (event == NULL) return;
	struct entry *e = entry_any(event->device);
	if (!hypi_load_relaxed(&e->closed)) e->driver.event_destroy(e->context, event->object);
	hyp_free(event);
}

static hyp_status same_device(const hyp_event *event, const hyp_stream *stream) {
	if (event == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument event: is NULL");
	if (stream == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument stream: is NULL");
	if (event->device != stream->device)
		return hypi_device_fail(HYP_ERR_DEVICE, "arguments event and stream: of devices %d and %d", event->device,
		                        stream->device);
	return HYP_OK;
}

hyp_status hyp_event_record(hyp_event *event, hyp_stream *stream) {
	struct entry *e = NULL;
	hyp_status status = same_device(event, stream);
	if (status == HYP_OK) status = STREAM_ENTRY(stream);
	if (status != HYP_OK) return status;
	return after(stream->device, e->driver.event_record(e->context, event->object, stream->object), "event_record");
}

hyp_status hyp_stream_wait(hyp_stream *stream, hyp_event *event) {
	struct entry *e = NULL;
	hyp_status status = same_device(event, stream);
	if (status == HYP_OK) status = STREAM_ENTRY(stream);
	if (status != HYP_OK) return status;
	return after(stream->device, e->driver.stream_wait(e->context, stream->object, event->object), "stream_wait");
}

hyp_status hyp_event_synchronize(hyp_event *event) {
	struct entry *e = NULL;
	hyp_status status = STREAM_ENTRY(event);
	if (status != HYP_OK) return status;
	return after(event->device, e->driver.event_synchronize(e->context, event->object), "event_synchronize");
}

hyp_status hyp_event_query(hyp_event *event) {
	struct entry *e = NULL;
	hyp_status status = STREAM_ENTRY(event);
	if (status != HYP_OK) return status;
	return after(event->device, e->driver.event_query(e->context, event->object), "event_query");
}

hyp_status hyp_event_elapsed_ns(hyp_event *from, hyp_event *to, uint64_t *ret_ns) {
	struct entry *e = NULL;
	hyp_status status = STREAM_ENTRY(from);
	if (status != HYP_OK) return status;
	if (to == NULL || ret_ns == NULL) return hypi_device_fail(HYP_ERR_INVALID, "an argument is NULL");
	if (to->device != from->device)
		return hypi_device_fail(HYP_ERR_DEVICE, "arguments from and to: of devices %d and %d", from->device,
		                        to->device);
	return after(from->device, e->driver.event_elapsed_ns(e->context, from->object, to->object, ret_ns),
	             "event_elapsed_ns");
}

/* ---- copies ---- */

hyp_status hyp_copy_async(hyp_stream *stream, int to_device, uintptr_t to, int from_device, uintptr_t from,
                          size_t bytes) {
	struct entry *e = NULL;
	hyp_status status = STREAM_ENTRY(stream);
	if (status != HYP_OK) return status;
	bool to_host = to_device == HYP_DEVICE_HOST, from_host = from_device == HYP_DEVICE_HOST;
	if ((!to_host && to_device != stream->device) || (!from_host && from_device != stream->device))
		return hypi_device_fail(HYP_ERR_DEVICE, "a stream of device %d does not copy from %d to %d", stream->device,
		                        from_device, to_device);
	if (bytes == 0) return HYP_OK;
	if (to == 0 || from == 0) return hypi_device_fail(HYP_ERR_INVALID, "arguments to and from: an address is 0");
	return after(stream->device, e->driver.copy_async(e->context, stream->object, to, to_host, from, from_host, bytes),
	             "copy_async");
}

hyp_status hyp_fill_async(hyp_stream *stream, uintptr_t to, uint8_t value, size_t bytes) {
	struct entry *e = NULL;
	hyp_status status = STREAM_ENTRY(stream);
	if (status != HYP_OK) return status;
	if (bytes == 0) return HYP_OK;
	return after(stream->device, e->driver.fill_async(e->context, stream->object, to, value, bytes), "fill_async");
}

static hyp_status copy_on(int device, int to_device, uintptr_t to, int from_device, uintptr_t from, size_t bytes) {
	hyp_stream *stream = NULL;
	hyp_status status = hyp_stream_create(device, &stream);
	if (status != HYP_OK) return status;
	status = hyp_copy_async(stream, to_device, to, from_device, from, bytes);
	if (status == HYP_OK) status = hyp_stream_synchronize(stream);
	hyp_stream_destroy(stream);
	return status;
}

hyp_status hyp_copy(int to_device, uintptr_t to, int from_device, uintptr_t from, size_t bytes) {
	if (to_device == from_device || to_device == HYP_DEVICE_HOST)
		return copy_on(from_device, to_device, to, from_device, from, bytes);
	if (from_device == HYP_DEVICE_HOST) return copy_on(to_device, to_device, to, from_device, from, bytes);
	/* Two devices that know nothing of each other: through the host. */
	void *through = hyp_malloc(bytes == 0 ? 1 : bytes);
	if (through == NULL) return hypi_device_fail(HYP_ERR_NO_MEMORY, "no memory to copy %zu bytes through", bytes);
	hyp_status status = copy_on(from_device, HYP_DEVICE_HOST, (uintptr_t)through, from_device, from, bytes);
	if (status == HYP_OK) status = copy_on(to_device, to_device, to, HYP_DEVICE_HOST, (uintptr_t)through, bytes);
	hyp_free(through);
	return status;
}
