/*
 * tracking/cfi.h: one rule of the call-frame information of an ELF object: how to get from a frame to its caller's.
 */
#ifndef HYPI_TRACKING_CFI_H
#define HYPI_TRACKING_CFI_H

#include "base/compiler.h"

typedef enum hypi_cfi_kind {
	HYPI_CFI_NONE, /* not known: no information, or an expression */
	HYPI_CFI_SP,   /* the frame's base is the stack pointer + cfa_bytes */
	HYPI_CFI_FP,   /* the frame's base is the frame pointer + cfa_bytes */
	HYPI_CFI_END   /* the outermost frame */
} hypi_cfi_kind;

typedef struct hypi_cfi_rule {
	hypi_cfi_kind kind;
	uint32_t cfa_bytes;
	uint32_t fp_bytes; /* the caller's frame pointer is saved this far below the base; 0: unchanged */
} hypi_cfi_rule;

/* The rule at `pc`, by the table whose header (PT_GNU_EH_FRAME) lies at `header`. x86-64's register numbers. Reads only
 * the object's own tables; malformed ones end in HYPI_CFI_NONE. */
hypi_cfi_rule hypi_cfi_find(const unsigned char *header, uintptr_t pc);

#endif
