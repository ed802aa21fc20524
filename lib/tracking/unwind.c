/*
 * tracking/unwind.c: see tracking/unwind.h.
 *
 * The table of rules: an entry is one word, read and written relaxed: 39 bits of tag, 24 of rule, 1 valid. The tag and
 * the entry's index together are a mix of the whole 48-bit address, and the mix can be undone: so an entry that matches
 * is that address's and no other's. A library that is unloaded and another at its address leaves rules that are wrong:
 * the frames found are then nonsense, but nothing outside the stack is read. The first table is one page, which is enough
 * for most programs; one whose addresses crowd each other out of it gets a large one, once.
 */
#include "tracking/unwind.h"

#include "base/atomic.h"
#include "os/os.h"
#include "tracking/cfi.h"
#include "tracking/maps.h"

#include <dlfcn.h>

#if HYP_CPU_X86_64 && defined(DLFO_EH_SEGMENT_TYPE)
#define HYP_UNWIND_BY_CFI 1
extern __typeof(_dl_find_object) _dl_find_object __attribute__((weak));
#else
#define HYP_UNWIND_BY_CFI 0
#endif

static uintptr_t own_low, own_high; /* hypool's own code, when it is a library of its own; constant after init */
static _Atomic bool ready;

#if HYP_UNWIND_BY_CFI
enum {
	FIRST_LOG2 = 9, /* entries; the tag is what of the mix is above */
	LARGE_LOG2 = 13,
	CFA_BITS = 11, /* words of 8 bytes: frames below 16 KiB are kept, others worked out anew */
	FP_BITS = 11,
	RULE_BITS = 2 + CFA_BITS + FP_BITS,
	CROWDED = 256 /* entries that were overwritten before the table is too small */
};
_Static_assert(48 - FIRST_LOG2 + RULE_BITS + 1 == 64, "an entry is one word");

static _Atomic uint64_t first_entries[1 << FIRST_LOG2];
static _Atomic(_Atomic uint64_t *) large; /* NULL: the first is in use */
static _Atomic uint32_t crowded;

static uint64_t mix48(uint64_t x) {
	const uint64_t mask = (UINT64_C(1) << 48) - 1;
	x = (x * UINT64_C(0x9e3779b97f4a7c15)) & mask;
	x ^= x >> 24;
	return (x * UINT64_C(0xbf58476d1ce4e5b9)) & mask;
}

static uint64_t pack(const hypi_cfi_rule *rule) {
	return (uint64_t)rule->kind | (uint64_t)(rule->cfa_bytes / 8) << 2 |
	       (uint64_t)(rule->fp_bytes / 8) << (2 + CFA_BITS);
}

static hypi_cfi_rule work_out(uintptr_t pc) {
	struct dl_find_object found;
	if (_dl_find_object == NULL || _dl_find_object((void *)pc, &found) != 0 || found.dlfo_eh_frame == NULL)
		return (hypi_cfi_rule){.kind = HYPI_CFI_NONE};
	return hypi_cfi_find(found.dlfo_eh_frame, pc);
}

/* An entry is overwritten. The one thread that sees the last of CROWDED maps the large table; no rule is lost, for what is
 * not there is worked out. */
static void enlarge(void) {
	if (atomic_fetch_add_explicit(&crowded, 1, memory_order_relaxed) != CROWDED) return;
	void *p = hypi_os_map(sizeof(uint64_t) << LARGE_LOG2, hypi_os.page_bytes);
	if (p != NULL) hypi_store_release(&large, (_Atomic uint64_t *)p); /* pairs with rule_of */
}

static hypi_cfi_rule rule_of(uintptr_t pc) {
	_Atomic uint64_t *entries = hypi_load_acquire(&large); /* pairs with the release in enlarge */
	uint64_t mixed = mix48(pc), tag = mixed >> FIRST_LOG2;
	_Atomic uint64_t *entry =
		entries != NULL ? &entries[mixed & ((1 << LARGE_LOG2) - 1)] : &first_entries[mixed & ((1 << FIRST_LOG2) - 1)];
	uint64_t word = hypi_load_relaxed(entry);
	if (HYP_LIKELY((word & 1) != 0 && word >> (RULE_BITS + 1) == tag)) {
		uint64_t bits = word >> 1;
		return (hypi_cfi_rule){.kind = (hypi_cfi_kind)(bits & 3),
		                       .cfa_bytes = (uint32_t)(bits >> 2 & ((1 << CFA_BITS) - 1)) * 8,
		                       .fp_bytes = (uint32_t)(bits >> (2 + CFA_BITS) & ((1 << FP_BITS) - 1)) * 8};
	}
	hypi_cfi_rule rule = work_out(pc);
	if (rule.cfa_bytes % 8 != 0 || rule.cfa_bytes >= 8 << CFA_BITS || rule.fp_bytes % 8 != 0 ||
	    rule.fp_bytes >= 8 << FP_BITS)
		return rule;
	if (word != 0 && entries == NULL) enlarge();
	hypi_store_relaxed(entry, tag << (RULE_BITS + 1) | pack(&rule) << 1 | 1);
	return rule;
}
#else
static hypi_cfi_rule rule_of(uintptr_t pc) {
	(void)pc;
	return (hypi_cfi_rule){.kind = HYPI_CFI_NONE};
}
#endif

void hypi_unwind_init(void) {
	if (hypi_load_acquire(&ready)) return; /* pairs with the release below */
	/* In a program that links the archive, hypool's code has no range of its own. */
	hypi_maps_own((uintptr_t)hypi_unwind_init, &own_low, &own_high);
	hypi_store_release(&ready, true); /* pairs with the acquire above */
}

static uintptr_t word_at(uintptr_t address) { return *(const uintptr_t *)address; }

/* From a frame to its caller's. False: the end, or nothing that can be trusted. */
static bool step(const hypi_stack *stack, uintptr_t *pc, uintptr_t *sp, uintptr_t *fp) {
	hypi_cfi_rule rule = rule_of(*pc - 1);
	uintptr_t base;
	if (rule.kind == HYPI_CFI_END) return false;
	if (rule.kind == HYPI_CFI_NONE) {
		base = *fp + 2 * sizeof(uintptr_t);
		rule.fp_bytes = 2 * sizeof(uintptr_t);
	} else {
		base = (rule.kind == HYPI_CFI_SP ? *sp : *fp) + rule.cfa_bytes;
	}
	if (base <= *sp || base > stack->high || base % sizeof(uintptr_t) != 0 || base - *sp < sizeof(uintptr_t))
		return false;
	if (rule.fp_bytes != 0) {
		uintptr_t at = base - rule.fp_bytes;
		if (at < stack->low || at >= stack->high) return false;
		*fp = word_at(at);
	}
	*pc = word_at(base - sizeof(uintptr_t));
	*sp = base;
	return *pc > 4096;
}

HYP_NOINLINE unsigned hypi_unwind(hypi_stack *stack, uintptr_t *ret_frames, unsigned capacity) {
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	if ((here < stack->low || here >= stack->high) && !hypi_maps_around(here, &stack->low, &stack->high)) {
		stack->low = stack->high = 0;
		return 0;
	}
	uintptr_t fp = word_at(here), pc = word_at(here + sizeof(uintptr_t)), sp = here + 2 * sizeof(uintptr_t);
	unsigned count = 0;
	for (unsigned steps = 0; count < capacity && steps < capacity + 16; steps++) {
		if (count != 0 || pc - own_low >= own_high - own_low) ret_frames[count++] = pc;
		if (!step(stack, &pc, &sp, &fp)) break;
	}
	return count;
}
