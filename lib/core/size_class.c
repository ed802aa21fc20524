/* core/size_class.c: how large the span of each class is; see core/size_class.h. */
#include "core/size_class.h"

#define ONE(c) (c) * 16
#define SAME_2(c) ONE(c), ONE(c)
#define SAME_3(c) SAME_2(c), ONE(c)
#define SAME_4(c) SAME_2(c), SAME_2(c)
#define SAME_6(c) SAME_4(c), SAME_2(c)
#define SAME_8(c) SAME_4(c), SAME_4(c)
#define SAME_12(c) SAME_8(c), SAME_4(c)
#define SAME_16(c) SAME_8(c), SAME_8(c)
#define SAME_24(c) SAME_16(c), SAME_8(c)
#define SAME_32(c) SAME_16(c), SAME_16(c)
#define EVEN_8(c) ONE(c), ONE(c + 1), ONE(c + 2), ONE(c + 3), ONE(c + 4), ONE(c + 5), ONE(c + 6), ONE(c + 7)
#define ALL_7(same, c) same(c), same(c + 1), same(c + 2), same(c + 3), same(c + 4), same(c + 5), same(c + 6)

/* Of 0 bytes; up to 512, where classes are 16 bytes apart; and of each doubling above: its first class, the rest of its
 * first eighth, and seven eighths. */
const uint16_t hypi_tag_table[] = {
	ONE(0),     EVEN_8(0),   EVEN_8(8),          EVEN_8(16), EVEN_8(24), /* to 512 */
	ONE(32),    SAME_3(33),  ALL_7(SAME_4, 34),                          /* to 1 KiB */
	SAME_2(41), SAME_6(42),  ALL_7(SAME_8, 43),                          /* to 2 KiB */
	SAME_4(50), SAME_12(51), ALL_7(SAME_16, 52),                         /* to 4 KiB */
	SAME_8(59), SAME_24(60), ALL_7(SAME_32, 61),                         /* to 8 KiB */
};

/* The power of two that holds `least` blocks with no more than a share of the span left over; `most` blocks will do. */
static unsigned slices_of_small(size_t bytes, size_t least, size_t share, size_t most) {
	for (unsigned slices = 1;; slices *= 2) {
		size_t span = slices * HYPI_SLICE_BYTES;
		if (span / bytes >= least && span % bytes * share <= span) return slices;
		if (span / bytes >= most) return slices;
	}
}

/* The `least` to `most` blocks that fit slices best. */
static unsigned slices_of_medium(size_t bytes, size_t least, size_t most) {
	unsigned best = 0;
	size_t best_waste = SIZE_MAX, best_span = 1;
	for (size_t blocks = least; blocks <= most; blocks++) {
		size_t slices = hypi_slices_of(blocks * bytes);
		size_t span = slices * HYPI_SLICE_BYTES, waste = span - blocks * bytes;
		if (best == 0 || waste * best_span < best_waste * span) {
			best = (unsigned)slices;
			best_waste = waste;
			best_span = span;
		}
	}
	return best;
}

unsigned hypi_class_slices(unsigned c) {
	size_t bytes = hypi_class_block_bytes(c);
	if (bytes <= 8192) return slices_of_small(bytes, 16, 32, 64);
	if (bytes <= 32768) return slices_of_small(bytes, 8, 32, 32);
	return bytes <= 65536 ? slices_of_medium(bytes, 4, 8) : slices_of_medium(bytes, 1, 4);
}

unsigned hypi_class_first_slices(unsigned c) {
	size_t bytes = hypi_class_block_bytes(c);
	if (bytes <= 32768) return slices_of_small(bytes, 4, 8, 8);
	return slices_of_medium(bytes, bytes <= 65536 ? 4 : 1, 4);
}
