/*
 * tracking/maps_darwin.c: tracking/maps.h by the Mach virtual memory calls. Compiled for macOS, and never run there by us.
 */
#include "tracking/maps.h"

#include <dlfcn.h>
#include <mach-o/loader.h>
#include <mach/mach.h>
#include <pthread.h>
#include <string.h>

bool hypi_maps_each(bool (*each)(void *context, const hypi_map *map), void *context) {
	vm_address_t at = 0;
	vm_size_t bytes = 0;
	bool any = false;
	for (;; at += bytes) {
		vm_region_basic_info_data_64_t info;
		mach_msg_type_number_t count = VM_REGION_BASIC_INFO_COUNT_64;
		mach_port_t object = MACH_PORT_NULL;
		if (vm_region_64(mach_task_self(), &at, &bytes, VM_REGION_BASIC_INFO_64, (vm_region_info_t)&info, &count,
		                 &object) != KERN_SUCCESS)
			return any;
		any = true;
		hypi_map map = {.start = (uintptr_t)at,
		                .end = (uintptr_t)(at + bytes),
		                .offset = (uintptr_t)info.offset,
		                .read = (info.protection & VM_PROT_READ) != 0,
		                .write = (info.protection & VM_PROT_WRITE) != 0,
		                .execute = (info.protection & VM_PROT_EXECUTE) != 0,
		                .shared = info.shared != 0,
		                .path = ""};
		if (!each(context, &map)) return true;
	}
}

void hypi_maps_load(const char *lines) { (void)lines; /* another process's are read on Linux alone */ }

bool hypi_maps_around(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high) {
	uintptr_t high = (uintptr_t)pthread_get_stackaddr_np(pthread_self());
	uintptr_t low = high - pthread_get_stacksize_np(pthread_self());
	if (address < low || address >= high) return false; /* on no stack that the system knows of */
	*ret_low = low;
	*ret_high = high;
	return true;
}

bool hypi_maps_own(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high) {
	Dl_info info;
	if (dladdr((void *)address, &info) == 0) return false;
	const struct mach_header_64 *h = info.dli_fbase;
	if (h == NULL || h->magic != MH_MAGIC_64 || h->filetype == MH_EXECUTE) return false;
	const char *at = (const char *)(h + 1);
	for (uint32_t i = 0; i < h->ncmds; i++) {
		const struct segment_command_64 *segment = (const void *)at;
		if (segment->cmd == LC_SEGMENT_64 && strcmp(segment->segname, SEG_TEXT) == 0) {
			*ret_low = (uintptr_t)h;
			*ret_high = (uintptr_t)h + segment->vmsize;
			return true;
		}
		at += segment->cmdsize;
	}
	return false;
}
