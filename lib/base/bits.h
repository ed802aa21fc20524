/*
 * base/bits.h: powers of two, rounding, and arithmetic that tells when it overflows.
 */
#ifndef HYPI_BASE_BITS_H
#define HYPI_BASE_BITS_H

#include "base/compiler.h"

HYP_INLINE bool hypi_is_pow2(size_t n) { return n != 0 && (n & (n - 1)) == 0; }

/* Index of the highest set bit; n must not be 0. */
HYP_INLINE unsigned hypi_log2_floor(uint64_t n) { return 63u - (unsigned)__builtin_clzll(n); }

HYP_INLINE unsigned hypi_log2_ceil(uint64_t n) { return n <= 1 ? 0 : hypi_log2_floor(n - 1) + 1; }

/* Index of the lowest set bit; n must not be 0. */
HYP_INLINE unsigned hypi_ctz(uint64_t n) { return (unsigned)__builtin_ctzll(n); }

/* How many bits are set (Warren, Hacker's Delight, 2002). The compilers call a function of theirs for it, on processors
 * that need not have the instruction. */
HYP_INLINE unsigned hypi_popcount(uint64_t n) {
	n -= n >> 1 & UINT64_C(0x5555555555555555);
	n = (n & UINT64_C(0x3333333333333333)) + (n >> 2 & UINT64_C(0x3333333333333333));
	n = (n + (n >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(n * UINT64_C(0x0101010101010101) >> 56);
}

/* Rounds down and up to a multiple of `unit`, a power of two. The caller knows that rounding up does not overflow. */
HYP_INLINE size_t hypi_round_down(size_t n, size_t unit) { return n & ~(unit - 1); }
HYP_INLINE size_t hypi_round_up(size_t n, size_t unit) { return (n + unit - 1) & ~(unit - 1); }

/* As hypi_round_up; false and *ret_n untouched when the result does not fit. */
HYP_INLINE bool hypi_round_up_checked(size_t n, size_t unit, size_t *ret_n) {
	size_t sum;
	if (__builtin_add_overflow(n, unit - 1, &sum)) return false;
	*ret_n = sum & ~(unit - 1);
	return true;
}

HYP_INLINE bool hypi_mul_checked(size_t a, size_t b, size_t *ret_product) {
	size_t product;
	if (__builtin_mul_overflow(a, b, &product)) return false;
	*ret_product = product;
	return true;
}

/* Mask of `count` low bits, count 0 to 64. */
HYP_INLINE uint64_t hypi_low_mask(unsigned count) { return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1; }

/* A 64-bit mixer (SplitMix64's finaliser; Steele, Lea, Flood 2014). */
HYP_INLINE uint64_t hypi_mix64(uint64_t x) {
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

#endif
