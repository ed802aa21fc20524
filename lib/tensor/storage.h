/*
 * tensor/storage.h: the bytes under tensors.
 *
 * Three kinds: a block of a pool behind a handle, which the pool may move while nobody has it locked; foreign memory
 * with a deleter; device memory. A lock gives the address, which holds until the matching unlock. A storage's count of
 * references is the number of tensors on it; whoever locks holds one.
 */
#ifndef HYPI_TENSOR_STORAGE_H
#define HYPI_TENSOR_STORAGE_H

#include "base/atomic.h"

#include <hypool/tensor.h>

enum hypi_storage_kind { HYPI_STORAGE_POOL, HYPI_STORAGE_FOREIGN, HYPI_STORAGE_DEVICE };

struct hypi_storage {
	_Atomic uint32_t references;
	uint8_t kind;
	uint8_t read_only;
	int32_t device;
	struct hyp_pool *pool;
	_Atomic uint64_t handle; /* of a pool's block; stale while frame is there */
	void *data;              /* FOREIGN: the lowest byte; DEVICE: its address; POOL: NULL, the block may move */
	size_t bytes;
	hyp_tensor_deleter *deleter;
	void *context;
	_Atomic uint64_t used_ms; /* relaxed: a statistic */
	_Atomic uint64_t use_count;
	/* idle.c's: see there. */
	_Atomic bool gate;
	bool listed; /* constant */
	struct hypi_frame *frame;
	struct hypi_storage *next_listed, *previous_listed;
};

hyp_status hypi_storage_create(const hyp_tensor_place *place, size_t bytes, struct hypi_storage **ret_storage);
hyp_status hypi_storage_foreign(void *data, size_t bytes, int device, bool read_only, hyp_tensor_deleter *deleter,
                                void *context, struct hypi_storage **ret_storage);
void hypi_storage_retain(struct hypi_storage *storage);
void hypi_storage_release(struct hypi_storage *storage);
hyp_status hypi_storage_lock(struct hypi_storage *storage, uint64_t now_ms, void **ret_data);
void hypi_storage_unlock(struct hypi_storage *storage);

/* ---- idle.c ---- */

extern _Atomic bool hypi_compression_on;
/* The rest of a lock once compression is on: `status` and *ret_data are what the handle's lock gave. */
hyp_status hypi_storage_lock_gated(struct hypi_storage *storage, uint64_t handle, hyp_status status, void **ret_data);
/* Of its frame; 0: it is not compressed. */
size_t hypi_storage_compressed_bytes(struct hypi_storage *storage);
void hypi_storage_list(struct hypi_storage *storage);
void hypi_storage_unlist(struct hypi_storage *storage);

#endif
