/* Tests of base/bits.h, each function against its definition written naively. */
#include "base/bits.h"
#include "unit.h"

static unsigned naive_floor(uint64_t n) {
	unsigned log2 = 0;
	while (n >>= 1) log2++;
	return log2;
}

START_TEST(powers_of_two) {
	ck_assert(!hypi_is_pow2(0));
	for (size_t n = 1; n < 70000; n++) {
		unsigned bits = 0;
		for (size_t m = n; m != 0; m >>= 1) bits += m & 1;
		ck_assert_int_eq(hypi_is_pow2(n), bits == 1);
	}
	for (unsigned i = 0; i < 64; i++) {
		ck_assert(hypi_is_pow2(UINT64_C(1) << i));
		if (i > 0) ck_assert(!hypi_is_pow2((UINT64_C(1) << i) + 1));
	}
}
END_TEST

START_TEST(logarithms) {
	for (uint64_t n = 1; n < 70000; n++) {
		ck_assert_uint_eq(hypi_log2_floor(n), naive_floor(n));
		unsigned up = naive_floor(n) + ((n & (n - 1)) != 0);
		ck_assert_uint_eq(hypi_log2_ceil(n), up);
	}
	ck_assert_uint_eq(hypi_log2_ceil(0), 0);
	for (unsigned i = 2; i < 64; i++) {
		uint64_t n = UINT64_C(1) << i;
		ck_assert_uint_eq(hypi_log2_floor(n - 1), i - 1);
		ck_assert_uint_eq(hypi_log2_floor(n), i);
		ck_assert_uint_eq(hypi_log2_ceil(n), i);
		ck_assert_uint_eq(hypi_log2_ceil(n + 1), i + 1);
		ck_assert_uint_eq(hypi_ctz(n), i);
		ck_assert_uint_eq(hypi_ctz(n | UINT64_C(1) << 63), i);
	}
	ck_assert_uint_eq(hypi_log2_floor(UINT64_MAX), 63);
}
END_TEST

START_TEST(rounding) {
	for (unsigned i = 0; i < 20; i++) {
		size_t unit = (size_t)1 << i;
		for (size_t n = 0; n < 5000; n++) {
			ck_assert_uint_eq(hypi_round_down(n, unit), n / unit * unit);
			ck_assert_uint_eq(hypi_round_up(n, unit), (n + unit - 1) / unit * unit);
		}
	}
}
END_TEST

START_TEST(rounding_that_overflows) {
	size_t got = 77;
	ck_assert(hypi_round_up_checked(SIZE_MAX - 4095, 4096, &got));
	ck_assert_uint_eq(got, SIZE_MAX - 4095);
	got = 77;
	ck_assert(!hypi_round_up_checked(SIZE_MAX - 4094, 4096, &got));
	ck_assert(!hypi_round_up_checked(SIZE_MAX, 2, &got));
	ck_assert_uint_eq(got, 77);
	ck_assert(hypi_round_up_checked(SIZE_MAX, 1, &got));
	ck_assert_uint_eq(got, SIZE_MAX);
	ck_assert(hypi_round_up_checked(0, 4096, &got));
	ck_assert_uint_eq(got, 0);
}
END_TEST

START_TEST(products_that_overflow) {
	size_t got = 77, half = (size_t)1 << 32;
	ck_assert(!hypi_mul_checked(half, half, &got));
	ck_assert(!hypi_mul_checked(SIZE_MAX, 2, &got));
	ck_assert_uint_eq(got, 77);
	ck_assert(hypi_mul_checked(half, half - 1, &got));
	ck_assert_uint_eq(got, half * (half - 1));
	ck_assert(hypi_mul_checked(SIZE_MAX, 0, &got));
	ck_assert_uint_eq(got, 0);
	ck_assert(hypi_mul_checked(SIZE_MAX, 1, &got));
	ck_assert_uint_eq(got, SIZE_MAX);
}
END_TEST

START_TEST(masks) {
	uint64_t expect = 0;
	for (unsigned i = 0; i < 64; i++) {
		ck_assert_uint_eq(hypi_low_mask(i), expect);
		expect = expect << 1 | 1;
	}
	ck_assert_uint_eq(hypi_low_mask(64), UINT64_MAX);
}
END_TEST

START_TEST(mixing) {
	/* A bijection that moves about half of the bits when one changes. */
	unsigned moved = 0;
	for (unsigned i = 0; i < 64; i++)
		for (unsigned j = 0; j < 64; j++) {
			uint64_t x = UINT64_C(0x123456789abcdef) * j;
			uint64_t change = hypi_mix64(x) ^ hypi_mix64(x ^ UINT64_C(1) << i);
			ck_assert_uint_ne(change, 0);
			moved += (unsigned)__builtin_popcountll(change);
		}
	ck_assert_uint_gt(moved, 64 * 64 * 30);
	ck_assert_uint_lt(moved, 64 * 64 * 34);
}
END_TEST

UNIT_MAIN("bits", powers_of_two, logarithms, rounding, rounding_that_overflows, products_that_overflow, masks, mixing)
