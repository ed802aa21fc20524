/* Tests of core/size_class.h: all classes, every size that has one, and the spans. */
#include "core/size_class.h"
#include "unit.h"

#include <hypool/hypool.h>

START_TEST(every_class) {
	ck_assert_uint_eq(hypi_class_bytes(0), 16);
	ck_assert_uint_eq(hypi_class_bytes(HYPI_CLASSES - 1), HYPI_SMALL_LIMIT);
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		size_t bytes = hypi_class_bytes(c), before = c == 0 ? 0 : hypi_class_bytes(c - 1);
		ck_assert_uint_gt(bytes, before);
		ck_assert_uint_eq(bytes % 16, 0);
		ck_assert_uint_eq(hypi_class_of(bytes - 1), c);
		ck_assert_uint_eq(hypi_class_of(bytes), c);
		ck_assert_uint_eq(hypi_class_of(before + 1), c);
		if (c + 1 < HYPI_CLASSES) ck_assert_uint_eq(hypi_class_of(bytes + 1), c + 1);
		size_t waste = bytes - (before + 1);
		if (bytes > 128) ck_assert_uint_lt(9 * waste, bytes);
		else ck_assert_uint_lt(waste, 16);
	}
}
END_TEST

START_TEST(every_size) {
	for (size_t n = 0; n <= HYPI_TABLE_LIMIT; n++)
		ck_assert_uint_eq(hypi_tag_table[(n + 15) / 16], hypi_class_tag(hypi_class_of(n)));
	ck_assert_uint_eq(hypi_class_of(0), 0);
	unsigned c = 0;
	for (size_t n = 1; n <= HYPI_SMALL_LIMIT; n++) {
		if (n > hypi_class_bytes(c)) c++;
		HOLDS(hypi_class_of(n) == c);
	}
	ck_assert_uint_eq(c, HYPI_CLASSES - 1);
}
END_TEST

/* A block that is a multiple of a power of two up to the slice lies at a multiple of it: aligned requests lean on it. */
START_TEST(alignments_have_a_class) {
	for (size_t alignment = 16; alignment <= HYPI_SLICE_BYTES; alignment *= 2)
		for (size_t bytes = 1; bytes < HYPI_SMALL_LIMIT; bytes += 1 + bytes / 3) {
			unsigned c = hypi_class_of(bytes);
			while (c < HYPI_CLASSES && hypi_class_block_bytes(c) % alignment != 0) c++;
			HOLDS(c < HYPI_CLASSES && hypi_class_block_bytes(c) >= bytes);
		}
}
END_TEST

/* The first block of a span is aligned in any case: some that follow it must be, too. */
START_TEST(alignments_are_kept) {
	enum { SOME = 5 };
	for (size_t alignment = 16; alignment <= HYPI_SLICE_BYTES; alignment *= 2)
		for (size_t bytes = 1; bytes < 80000; bytes += 1 + bytes / 5) {
			void *some[SOME];
			for (size_t i = 0; i < SOME; i++) {
				some[i] = hyp_aligned_alloc(alignment, bytes);
				ck_assert_msg(some[i] != NULL && (uintptr_t)some[i] % alignment == 0, "%zu bytes at %zu: %p", bytes,
				              alignment, some[i]);
			}
			for (size_t i = 0; i < SOME; i++) hyp_free(some[i]);
		}
}
END_TEST

/* The first words of a span's blocks of 16 to 64 KiB lie in as many lines of the page as there are blocks, up to 8: so in
 * as many sets of a cache. A power of two stays a multiple of itself. */
START_TEST(blocks_are_staggered) {
	unsigned staggered = 0;
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		size_t bytes = hypi_class_bytes(c), block = hypi_class_block_bytes(c);
		ck_assert_uint_le(block - bytes, 64);
		if (hypi_is_pow2(bytes)) ck_assert_uint_eq(block, bytes);
		if (bytes <= 16384 || bytes >= 65536 || hypi_is_pow2(bytes)) continue;
		staggered++;
		uint64_t lines = 0;
		size_t blocks = hypi_class_slices(c) * HYPI_SLICE_BYTES / block, distinct = blocks < 8 ? blocks : 8;
		ck_assert_uint_ge(blocks, 4);
		for (size_t i = 0; i < blocks; i++) lines |= UINT64_C(1) << (i * block / 64 % 64);
		ck_assert_msg(hypi_popcount(lines) >= distinct, "class %u: all of %zu blocks begin in %u lines of a page", c,
		              blocks, hypi_popcount(lines));
	}
	ck_assert_uint_eq(staggered, 16);
}
END_TEST

START_TEST(spans) {
	for (unsigned c = 0; c < HYPI_CLASSES; c++) {
		size_t bytes = hypi_class_block_bytes(c), slices = hypi_class_slices(c);
		size_t span = slices * HYPI_SLICE_BYTES, blocks = span / bytes, left = span % bytes;
		ck_assert_uint_ge(slices, 1);
		ck_assert_uint_lt(span, UINT64_C(1) << 32); /* a chain's offset has 32 bits */
		if (bytes <= 32768) {
			ck_assert(hypi_is_pow2(slices));
			ck_assert_uint_ge(blocks, bytes <= 8192 ? 16 : 8);
			ck_assert_msg(left * 32 <= span || blocks >= (bytes <= 8192 ? 64 : 32),
			              "class %u: %zu of %zu bytes left over", c, left, span);
		} else {
			ck_assert_uint_ge(blocks, bytes <= 65536 ? 4 : 1);
			ck_assert_uint_le(blocks, bytes <= 65536 ? 8 : 4);
			ck_assert_msg(left * 8 <= span, "class %u: %zu of %zu bytes left over", c, left, span);
		}
		/* The first of a heap is no larger than any other, and has four blocks, or all that others have. */
		size_t first = hypi_class_first_slices(c);
		ck_assert_uint_le(first, slices);
		ck_assert_uint_ge(first * HYPI_SLICE_BYTES / bytes, blocks < 4 ? blocks : 4);
		ck_assert_msg(first * HYPI_SLICE_BYTES % bytes * 8 <= first * HYPI_SLICE_BYTES ||
		                  first * HYPI_SLICE_BYTES / bytes >= 8,
		              "class %u: too much left over", c);
		/* Division by the reciprocal, as spans do it, tells exactly the multiples. */
		uint64_t inverse = UINT64_MAX / bytes + 1;
		for (uint64_t offset = 0; offset < span; offset += 16)
			HOLDS((offset * inverse < inverse) == (offset % bytes == 0));
	}
}
END_TEST

START_TEST(slices) {
	ck_assert_uint_eq(hypi_slices_of(0), 0);
	ck_assert_uint_eq(hypi_slices_of(1), 1);
	ck_assert_uint_eq(hypi_slices_of(HYPI_SLICE_BYTES), 1);
	ck_assert_uint_eq(hypi_slices_of(HYPI_SLICE_BYTES + 1), 2);
	ck_assert_uint_eq(hypi_slices_of(HYPI_ARENA_BYTES), HYPI_ARENA_SLICES);
}
END_TEST

UNIT_MAIN("size_class", every_class, every_size, alignments_have_a_class, alignments_are_kept, blocks_are_staggered,
          spans, slices)
