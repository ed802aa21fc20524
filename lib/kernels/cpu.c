/*
 * kernels/cpu.c: which instruction sets may be used.
 *
 * A set counts only if the processor has it AND the operating system saves its registers: on x86 the XCR0 register
 * says so (Intel SDM vol. 1, 13.3), on arm64 Linux the auxiliary vector, on macOS sysctl. Nothing is cached here.
 */
#include "kernels/kernels.h"

#include "base/compiler.h"

const struct hypi_kernel_set_info hypi_kernel_sets[HYPI_SET_COUNT] = {
#define X(id, name, needs, below) [HYPI_SET_##id] = {name, needs, HYPI_MASK(id), below},
	HYPI_KERNEL_SETS(X)
#undef X
};

#if HYP_CPU_X86_64

#include <cpuid.h>

#define XCR0_SSE_AVX 0x06u /* XMM and upper YMM halves */
#define XCR0_AVX512 0xe0u  /* mask registers, upper ZMM halves, ZMM 16 to 31 */
#define LEAF1_ECX_FMA (1u << 12)
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_AVX (1u << 28)
#define LEAF1_ECX_F16C (1u << 29)
#define LEAF7_EBX_AVX2_BMI2 ((1u << 5) | (1u << 8))
#define LEAF7_EBX_AVX512_F_DQ_BW_VL ((1u << 16) | (1u << 17) | (1u << 30) | (1u << 31))
#define LEAF7_ECX_VNNI (1u << 11)

static uint32_t read_xcr0(void) {
	uint32_t eax, edx;
	__asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return eax;
}

static bool has_all(uint32_t value, uint32_t bits) { return (value & bits) == bits; }

uint32_t hypi_kernels_detect(void) {
	uint32_t eax, ebx, ecx, edx, mask = 0;
	if (__get_cpuid_max(0, NULL) < 7) return 0;
	__cpuid(1, eax, ebx, ecx, edx);
	if (!has_all(ecx, LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX | LEAF1_ECX_FMA | LEAF1_ECX_F16C)) return 0;
	uint32_t xcr0 = read_xcr0();
	if (!has_all(xcr0, XCR0_SSE_AVX)) return 0;
	__cpuid_count(7, 0, eax, ebx, ecx, edx);
	if (!has_all(ebx, LEAF7_EBX_AVX2_BMI2)) return 0;
	mask |= HYPI_MASK(AVX2);
	if (!has_all(xcr0, XCR0_AVX512) || !has_all(ebx, LEAF7_EBX_AVX512_F_DQ_BW_VL)) return mask;
	mask |= HYPI_MASK(AVX512);
	if (!has_all(ecx, LEAF7_ECX_VNNI)) return mask;
	return mask | HYPI_MASK(AVX512VNNI);
}

#elif HYP_CPU_ARM64 && HYP_OS_LINUX

#include <sys/auxv.h>

#define AT_HWCAP_ASIMD (1ul << 1)    /* AT_HWCAP */
#define AT_HWCAP_ASIMDDP (1ul << 20) /* AT_HWCAP */
#define AT_HWCAP2_I8MM (1ul << 13)   /* AT_HWCAP2 */

uint32_t hypi_kernels_detect(void) {
	unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
	if ((hwcap & AT_HWCAP_ASIMD) == 0) return 0;
	if ((hwcap & AT_HWCAP_ASIMDDP) == 0) return HYPI_MASK(NEON);
	if ((hwcap2 & AT_HWCAP2_I8MM) == 0) return HYPI_MASK(NEON) | HYPI_MASK(DOTPROD);
	return HYPI_MASK(NEON) | HYPI_MASK(DOTPROD) | HYPI_MASK(I8MM);
}

#elif HYP_CPU_ARM64 && HYP_OS_DARWIN

#include <sys/sysctl.h>

static bool sysctl_flag(const char *name) {
	int value = 0;
	size_t size = sizeof(value);
	return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value != 0;
}

uint32_t hypi_kernels_detect(void) {
	uint32_t mask = HYPI_MASK(NEON);
	if (!sysctl_flag("hw.optional.arm.FEAT_DotProd")) return mask;
	mask |= HYPI_MASK(DOTPROD);
	if (!sysctl_flag("hw.optional.arm.FEAT_I8MM")) return mask;
	return mask | HYPI_MASK(I8MM);
}

#else

uint32_t hypi_kernels_detect(void) { return 0; }

#endif
