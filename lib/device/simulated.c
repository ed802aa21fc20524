/*
 * device/simulated.c: a device in software, with a clock of its own.
 *
 * Its addresses are reserved without access: the processor faults on them. Each block's contents lie in a shadow that
 * only this file touches, filled with the poison. A stream is a queue of operations, each with the time it takes;
 * run_until(t) carries out, in order of their finishing times, all that finish by t, and only then. So what was given
 * to a stream and not waited for has not happened. One mutex a device guards everything; host memory of a copy is read
 * and written under it, when the clock passes the copy.
 *
 * A fault while the clock passes a copy loses that copy and all work after it: the device has failed.
 */
#include "device/device.h"

#include <hypool/hypool.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct block {
	struct block *next;
	uintptr_t address;
	void *range; /* the reservation around it */
	size_t range_bytes;
	size_t bytes;
	uint8_t *shadow;
};

enum kind { COPY, FILL, RECORD, WAIT };

struct sim_event {
	uint64_t ns;      /* when it happened */
	uint64_t pending; /* records that have not been reached */
	bool happened;
	uint32_t users; /* operations in queues that name it; destroyed once that is 0 */
	bool dead;
};

struct operation {
	struct operation *next;
	enum kind kind;
	bool started;
	uint64_t done_ns; /* valid once started */
	uint64_t cost_ns;
	uintptr_t to, from;
	bool to_host, from_host;
	uint8_t value;
	size_t bytes;
	struct sim_event *event;
};

struct sim_stream {
	struct sim_stream *next;
	struct operation *head, *tail;
	uint64_t free_ns; /* when its last carried-out operation was done */
};

struct sim {
	pthread_mutex_t mutex;
	hyp_simulated_config config;
	int device;
	uint64_t now_ns;
	struct block *blocks;
	struct sim_stream *streams;
	uint64_t live_blocks, live_bytes;
	uint64_t fault[HYP_FAULT_COUNT]; /* calls until it strikes; 0: never */
	bool failed;
};

static struct sim *sims[HYP_DEVICE_MAX]; /* by device; written once at open */

static bool strikes(struct sim *s, hyp_simulated_fault fault) { return s->fault[fault] != 0 && --s->fault[fault] == 0; }

/* ---- memory ---- */

static struct block *block_at(struct sim *s, uintptr_t address, size_t bytes) {
	for (struct block *b = s->blocks; b != NULL; b = b->next)
		if (address >= b->address && address - b->address <= b->bytes && bytes <= b->bytes - (address - b->address))
			return b;
	return NULL;
}

static hyp_status sim_alloc(void *context, size_t bytes, size_t alignment, uintptr_t *ret_address) {
	struct sim *s = context;
	if (bytes == 0) bytes = 1;
	pthread_mutex_lock(&s->mutex);
	bool room = !strikes(s, HYP_FAULT_ALLOC) && bytes <= s->config.memory_bytes - s->live_bytes, failed = s->failed;
	pthread_mutex_unlock(&s->mutex);
	if (failed) return HYP_ERR_DEVICE;
	if (!room) return HYP_ERR_NO_MEMORY;
	struct block *b = hyp_malloc(sizeof *b);
	uint8_t *shadow = hyp_malloc(bytes);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t range_bytes = (bytes + page - 1) / page * page + (alignment > page ? alignment : 0);
	void *range = mmap(NULL, range_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b == NULL || shadow == NULL || range == MAP_FAILED) {
		hyp_free(b);
		hyp_free(shadow);
		if (range != MAP_FAILED) (void)munmap(range, range_bytes);
		return HYP_ERR_NO_MEMORY;
	}
	memset(shadow, s->config.poison, bytes);
	*b = (struct block){NULL, ((uintptr_t)range + alignment - 1) & ~(alignment - 1), range, range_bytes, bytes, shadow};
	pthread_mutex_lock(&s->mutex);
	b->next = s->blocks;
	s->blocks = b;
	s->live_blocks++;
	s->live_bytes += bytes;
	pthread_mutex_unlock(&s->mutex);
	*ret_address = b->address;
	return HYP_OK;
}

static void block_free(struct sim *s, struct block *b) {
	s->live_blocks--;
	s->live_bytes -= b->bytes;
	(void)munmap(b->range, b->range_bytes);
	hyp_free(b->shadow);
	hyp_free(b);
}

/* ---- the clock ---- */

static uint8_t *resolve(struct sim *s, uintptr_t address, bool host, size_t bytes) {
	if (host) return (uint8_t *)address;
	struct block *b = block_at(s, address, bytes);
	return b == NULL ? NULL : b->shadow + (address - b->address);
}

static void event_drop(struct sim_event *event) {
	if (event != NULL && --event->users == 0 && event->dead) hyp_free(event);
}

static void fail_all(struct sim *s) {
	s->failed = true;
	for (struct sim_stream *stream = s->streams; stream != NULL; stream = stream->next) {
		while (stream->head != NULL) {
			struct operation *op = stream->head;
			stream->head = op->next;
			event_drop(op->event);
			hyp_free(op);
		}
		stream->tail = NULL;
	}
}

static void carry_out(struct sim *s, struct operation *op) {
	if (op->kind == RECORD) {
		op->event->ns = op->done_ns;
		if (--op->event->pending == 0) op->event->happened = true;
	} else if (op->kind == FILL) {
		uint8_t *to = resolve(s, op->to, false, op->bytes);
		if (to == NULL) s->failed = true;
		else memset(to, op->value, op->bytes);
	} else if (op->kind == COPY) {
		uint8_t *to = resolve(s, op->to, op->to_host, op->bytes);
		const uint8_t *from = resolve(s, op->from, op->from_host, op->bytes);
		if (to == NULL || from == NULL || strikes(s, HYP_FAULT_COPY)) s->failed = true;
		else memmove(to, from, op->bytes);
	}
}

/* Starts what can start: an operation whose predecessor is done; a wait also needs its event. */
static void start_heads(struct sim *s) {
	for (struct sim_stream *stream = s->streams; stream != NULL; stream = stream->next) {
		struct operation *op = stream->head;
		if (op == NULL || op->started) continue;
		if (op->kind == WAIT && op->event->pending != 0) continue;
		uint64_t begin = stream->free_ns;
		if (op->kind == WAIT && op->event->happened && op->event->ns > begin) begin = op->event->ns;
		op->done_ns = begin + op->cost_ns;
		op->started = true;
	}
}

/* Carries out the operation that is done first, if that is by `until`. */
static bool step(struct sim *s, uint64_t until) {
	start_heads(s);
	struct sim_stream *first = NULL;
	for (struct sim_stream *stream = s->streams; stream != NULL; stream = stream->next)
		if (stream->head != NULL && stream->head->started &&
		    (first == NULL || stream->head->done_ns < first->head->done_ns))
			first = stream;
	if (first == NULL || first->head->done_ns > until) return false;
	struct operation *op = first->head;
	first->head = op->next;
	if (first->head == NULL) first->tail = NULL;
	first->free_ns = op->done_ns;
	if (op->done_ns > s->now_ns) s->now_ns = op->done_ns;
	carry_out(s, op);
	event_drop(op->event);
	hyp_free(op);
	if (s->failed) fail_all(s);
	return !s->failed;
}

static void run_until(struct sim *s, uint64_t until) {
	while (step(s, until)) {
	}
	if (until != UINT64_MAX && until > s->now_ns) s->now_ns = until;
}

static void sim_free(void *context, uintptr_t address) {
	struct sim *s = context;
	pthread_mutex_lock(&s->mutex);
	run_until(s, UINT64_MAX); /* as cudaFree does: what was given before is done */
	for (struct block **at = &s->blocks; *at != NULL; at = &(*at)->next) {
		if ((*at)->address != address) continue;
		struct block *b = *at;
		*at = b->next;
		block_free(s, b);
		break;
	}
	pthread_mutex_unlock(&s->mutex);
}

/* ---- streams ---- */

static hyp_status sim_stream_create(void *context, void **ret_stream) {
	struct sim *s = context;
	struct sim_stream *stream = hyp_calloc(1, sizeof *stream);
	if (stream == NULL) return HYP_ERR_NO_MEMORY;
	pthread_mutex_lock(&s->mutex);
	bool refused = strikes(s, HYP_FAULT_STREAM);
	if (!refused) {
		stream->free_ns = s->now_ns;
		stream->next = s->streams;
		s->streams = stream;
	}
	pthread_mutex_unlock(&s->mutex);
	if (refused) {
		hyp_free(stream);
		return HYP_ERR_NO_MEMORY;
	}
	*ret_stream = stream;
	return HYP_OK;
}

static void drain(struct sim *s, struct sim_stream *stream) {
	while (stream->head != NULL && step(s, UINT64_MAX)) {
	}
}

static void sim_stream_destroy(void *context, void *object) {
	struct sim *s = context;
	struct sim_stream *stream = object;
	pthread_mutex_lock(&s->mutex);
	drain(s, stream);
	for (struct sim_stream **at = &s->streams; *at != NULL; at = &(*at)->next) {
		if (*at != stream) continue;
		*at = stream->next;
		break;
	}
	pthread_mutex_unlock(&s->mutex);
	hyp_free(stream);
}

static hyp_status sim_stream_synchronize(void *context, void *object) {
	struct sim *s = context;
	struct sim_stream *stream = object;
	pthread_mutex_lock(&s->mutex);
	if (strikes(s, HYP_FAULT_SYNC)) fail_all(s);
	drain(s, stream);
	hyp_status status = s->failed ? HYP_ERR_DEVICE : stream->head != NULL ? HYP_ERR_TIMEOUT : HYP_OK;
	pthread_mutex_unlock(&s->mutex);
	return status; /* TIMEOUT: it waits for an event that nobody will record */
}

static hyp_status sim_stream_query(void *context, void *object) {
	struct sim *s = context;
	struct sim_stream *stream = object;
	pthread_mutex_lock(&s->mutex);
	hyp_status status = s->failed ? HYP_ERR_DEVICE : stream->head != NULL ? HYP_ERR_BUSY : HYP_OK;
	pthread_mutex_unlock(&s->mutex);
	return status;
}

static hyp_status enqueue(struct sim *s, struct sim_stream *stream, const struct operation *model) {
	struct operation *op = hyp_malloc(sizeof *op);
	if (op == NULL) return HYP_ERR_NO_MEMORY;
	*op = *model;
	pthread_mutex_lock(&s->mutex);
	if (s->failed) {
		pthread_mutex_unlock(&s->mutex);
		hyp_free(op);
		return HYP_ERR_DEVICE;
	}
	if (op->event != NULL) {
		op->event->users++;
		if (op->kind == RECORD) {
			op->event->pending++;
			op->event->happened = false;
		}
	}
	if (stream->head == NULL && stream->free_ns < s->now_ns) stream->free_ns = s->now_ns;
	if (stream->tail != NULL) stream->tail->next = op;
	else stream->head = op;
	stream->tail = op;
	pthread_mutex_unlock(&s->mutex);
	return HYP_OK;
}

static hyp_status sim_copy_async(void *context, void *stream, uintptr_t to, bool to_host, uintptr_t from,
                                 bool from_host, size_t bytes) {
	struct sim *s = context;
	pthread_mutex_lock(&s->mutex);
	bool known = (to_host || block_at(s, to, bytes) != NULL) && (from_host || block_at(s, from, bytes) != NULL);
	pthread_mutex_unlock(&s->mutex);
	if (!known) return HYP_ERR_INVALID;
	double gbps = to_host || from_host ? s->config.copy_gbps : s->config.memory_gbps / 2;
	struct operation op = {.kind = COPY,
	                       .to = to,
	                       .from = from,
	                       .to_host = to_host,
	                       .from_host = from_host,
	                       .bytes = bytes,
	                       .cost_ns = s->config.launch_ns + (uint64_t)((double)bytes / gbps)};
	return enqueue(s, stream, &op);
}

static hyp_status sim_fill_async(void *context, void *stream, uintptr_t to, uint8_t value, size_t bytes) {
	struct sim *s = context;
	pthread_mutex_lock(&s->mutex);
	bool known = block_at(s, to, bytes) != NULL;
	pthread_mutex_unlock(&s->mutex);
	if (!known) return HYP_ERR_INVALID;
	struct operation op = {.kind = FILL,
	                       .to = to,
	                       .value = value,
	                       .bytes = bytes,
	                       .cost_ns = s->config.launch_ns + (uint64_t)((double)bytes / s->config.memory_gbps)};
	return enqueue(s, stream, &op);
}

/* ---- events ---- */

static hyp_status sim_event_create(void *context, void **ret_event) {
	struct sim *s = context;
	pthread_mutex_lock(&s->mutex);
	bool refused = strikes(s, HYP_FAULT_STREAM);
	pthread_mutex_unlock(&s->mutex);
	struct sim_event *event = refused ? NULL : hyp_calloc(1, sizeof *event);
	if (event == NULL) return HYP_ERR_NO_MEMORY;
	*ret_event = event;
	return HYP_OK;
}

static void sim_event_destroy(void *context, void *object) {
	struct sim *s = context;
	struct sim_event *event = object;
	pthread_mutex_lock(&s->mutex);
	event->dead = true;
	bool unused = event->users == 0;
	pthread_mutex_unlock(&s->mutex);
	if (unused) hyp_free(event);
}

static hyp_status sim_event_record(void *context, void *event, void *stream) {
	struct operation op = {.kind = RECORD, .event = event};
	return enqueue(context, stream, &op);
}

static hyp_status sim_stream_wait(void *context, void *stream, void *event) {
	struct operation op = {.kind = WAIT, .event = event};
	return enqueue(context, stream, &op);
}

static hyp_status sim_event_query(void *context, void *object) {
	struct sim *s = context;
	struct sim_event *event = object;
	pthread_mutex_lock(&s->mutex);
	hyp_status status = s->failed ? HYP_ERR_DEVICE : event->pending != 0 ? HYP_ERR_BUSY : HYP_OK;
	pthread_mutex_unlock(&s->mutex);
	return status;
}

static hyp_status sim_event_synchronize(void *context, void *object) {
	struct sim *s = context;
	struct sim_event *event = object;
	pthread_mutex_lock(&s->mutex);
	if (strikes(s, HYP_FAULT_SYNC)) fail_all(s);
	while (event->pending != 0 && step(s, UINT64_MAX)) {
	}
	hyp_status status = s->failed ? HYP_ERR_DEVICE : event->pending != 0 ? HYP_ERR_TIMEOUT : HYP_OK;
	pthread_mutex_unlock(&s->mutex);
	return status;
}

static hyp_status sim_event_elapsed_ns(void *context, void *from, void *to, uint64_t *ret_ns) {
	struct sim *s = context;
	const struct sim_event *a = from, *b = to;
	pthread_mutex_lock(&s->mutex);
	hyp_status status = HYP_OK;
	if (a->pending != 0 || b->pending != 0) status = HYP_ERR_BUSY;
	else if (!a->happened || !b->happened || b->ns < a->ns) status = HYP_ERR_INVALID;
	else *ret_ns = b->ns - a->ns;
	pthread_mutex_unlock(&s->mutex);
	return status;
}

/* ---- the device ---- */

static hyp_status sim_describe(void *context, hyp_device_info *ret_info) {
	struct sim *s = context;
	pthread_mutex_lock(&s->mutex);
	(void)snprintf(ret_info->name, sizeof ret_info->name, "simulated %d", s->device);
	ret_info->kind = HYP_DEVICE_KIND_SIMULATED;
	ret_info->compute_units = 1;
	ret_info->numa_nodes = 1;
	ret_info->memory_bytes = s->config.memory_bytes;
	ret_info->memory_free_bytes = s->config.memory_bytes - s->live_bytes;
	ret_info->memory_bandwidth_gbps = s->config.memory_gbps;
	pthread_mutex_unlock(&s->mutex);
	return HYP_OK;
}

static hyp_status sim_recover(void *context) {
	struct sim *s = context;
	pthread_mutex_lock(&s->mutex);
	s->failed = false;
	memset(s->fault, 0, sizeof s->fault);
	for (struct block *b = s->blocks; b != NULL; b = b->next) memset(b->shadow, s->config.poison, b->bytes);
	pthread_mutex_unlock(&s->mutex);
	return HYP_OK;
}

static void sim_close(void *context) {
	struct sim *s = context;
	sims[s->device] = NULL;
	fail_all(s);
	while (s->streams != NULL) {
		struct sim_stream *stream = s->streams;
		s->streams = stream->next;
		hyp_free(stream);
	}
	while (s->blocks != NULL) {
		struct block *b = s->blocks;
		s->blocks = b->next;
		block_free(s, b);
	}
	pthread_mutex_destroy(&s->mutex);
	hyp_free(s);
}

hyp_status hyp_simulated_open(const hyp_simulated_config *config, int *ret_device) {
	static const hyp_device_driver driver = {
		.struct_bytes = sizeof driver,
		.describe = sim_describe,
		.alloc = sim_alloc,
		.free = sim_free,
		.stream_create = sim_stream_create,
		.stream_destroy = sim_stream_destroy,
		.stream_synchronize = sim_stream_synchronize,
		.stream_query = sim_stream_query,
		.stream_wait = sim_stream_wait,
		.event_create = sim_event_create,
		.event_destroy = sim_event_destroy,
		.event_record = sim_event_record,
		.event_synchronize = sim_event_synchronize,
		.event_query = sim_event_query,
		.event_elapsed_ns = sim_event_elapsed_ns,
		.copy_async = sim_copy_async,
		.fill_async = sim_fill_async,
		.recover = sim_recover,
		.close = sim_close,
	};
	if (ret_device == NULL) return hypi_device_fail(HYP_ERR_INVALID, "argument ret_device: is NULL");
	hyp_simulated_config c = {sizeof c, (size_t)256 << 20, 5000, 16, 800, 0xa5};
	if (config != NULL) {
		if (config->struct_bytes != sizeof c)
			return hypi_device_fail(HYP_ERR_INVALID, "argument config: struct_bytes is %zu, not %zu",
			                        config->struct_bytes, sizeof c);
		c = *config;
		if (!(c.copy_gbps > 0) || !(c.memory_gbps > 0))
			return hypi_device_fail(HYP_ERR_INVALID, "argument config: a bandwidth is not above 0");
	}
	struct sim *s = hyp_calloc(1, sizeof *s);
	if (s == NULL) return hypi_device_fail(HYP_ERR_NO_MEMORY, "no memory for a simulated device");
	s->config = c;
	(void)pthread_mutex_init(&s->mutex, NULL);
	int device;
	hyp_status status = hyp_device_register(&driver, s, &device);
	if (status != HYP_OK) {
		pthread_mutex_destroy(&s->mutex);
		hyp_free(s);
		return status;
	}
	s->device = device;
	sims[device] = s;
	*ret_device = device;
	return HYP_OK;
}

static hyp_status find(int device, struct sim **ret_sim) {
	if (device < 0 || device >= HYP_DEVICE_MAX || sims[device] == NULL)
		return hypi_device_fail(HYP_ERR_NOT_FOUND, "argument device: %d is no simulated device", device);
	*ret_sim = sims[device];
	return HYP_OK;
}

hyp_status hyp_simulated_fail(int device, hyp_simulated_fault fault, uint64_t nth) {
	struct sim *s = NULL;
	hyp_status status = find(device, &s);
	if (status != HYP_OK) return status;
	if ((int)fault < 0 || fault >= HYP_FAULT_COUNT)
		return hypi_device_fail(HYP_ERR_INVALID, "argument fault: %d is no fault", (int)fault);
	pthread_mutex_lock(&s->mutex);
	s->fault[fault] = nth;
	pthread_mutex_unlock(&s->mutex);
	return HYP_OK;
}

hyp_status hyp_simulated_advance(int device, uint64_t ns) {
	struct sim *s = NULL;
	hyp_status status = find(device, &s);
	if (status != HYP_OK) return status;
	pthread_mutex_lock(&s->mutex);
	run_until(s, s->now_ns + ns);
	pthread_mutex_unlock(&s->mutex);
	return HYP_OK;
}

hyp_status hyp_simulated_now(int device, uint64_t *ret_ns) {
	struct sim *s = NULL;
	hyp_status status = find(device, &s);
	if (status != HYP_OK) return status;
	pthread_mutex_lock(&s->mutex);
	*ret_ns = s->now_ns;
	pthread_mutex_unlock(&s->mutex);
	return HYP_OK;
}

hyp_status hyp_simulated_live(int device, uint64_t *ret_blocks, uint64_t *ret_bytes) {
	struct sim *s = NULL;
	hyp_status status = find(device, &s);
	if (status != HYP_OK) return status;
	pthread_mutex_lock(&s->mutex);
	*ret_blocks = s->live_blocks;
	*ret_bytes = s->live_bytes;
	pthread_mutex_unlock(&s->mutex);
	return HYP_OK;
}
