/*
 * kernels/gemm_body.h: the body of gemm_simd.c, for one element type. Included twice, so it has no guard. Expects
 * ELEMENT, LANES, VECTOR, V(op) (the vector operation), T(name) (the name for this type), the TILE_ and DOT_ sizes, and
 * HALVES: are there vectors of half the width (HALF_VECTOR, V(h_op))?
 *
 * Packed B: strips of TILE_NV vectors of columns, k after k, padded with zeros. Packed A: strips of at most TILE_MR
 * rows, k after k, not padded: a strip's height is spread evenly (64 rows are 6 strips of 11 and 10), because a
 * kernel exists for every height and a padded row costs as much as a real one.
 */

/* One register tile: c[0..mr) x [0..columns) = alpha * sum + beta * c. A's element (i, k) is a[i * a_row + k * a_col].
 * mr, nv and a_col are constants wherever this is inlined. */
HYP_INLINE void T(tile)(size_t mr, size_t nv, size_t k, const ELEMENT *a, size_t a_row, size_t a_col, const ELEMENT *b,
                        size_t b_row, ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, ELEMENT beta) {
	VECTOR acc[TILE_MR][TILE_NV];
	HYP_UNROLL
	for (size_t i = 0; i < mr; i++) {
		HYP_UNROLL
		for (size_t v = 0; v < nv; v++) acc[i][v] = V(zero)();
	}
	for (size_t p = 0; p < k; p++) {
		VECTOR bv[TILE_NV];
		HYP_UNROLL
		for (size_t v = 0; v < nv; v++) bv[v] = V(load)(b + v * LANES);
		HYP_UNROLL
		for (size_t i = 0; i < mr; i++) {
			VECTOR av = V(set1)(a[i * a_row]);
			HYP_UNROLL
			for (size_t v = 0; v < nv; v++) acc[i][v] = V(fma)(av, bv[v], acc[i][v]);
		}
		a += a_col;
		b += b_row;
	}
	const VECTOR be = V(set1)(beta);
	if (alpha != 1) {
		const VECTOR al = V(set1)(alpha);
		HYP_UNROLL
		for (size_t i = 0; i < mr; i++) {
			HYP_UNROLL
			for (size_t v = 0; v < nv; v++) acc[i][v] = V(mul)(acc[i][v], al);
		}
	}
	if (HYP_LIKELY(columns >= nv * LANES && beta == 0)) {
		HYP_UNROLL
		for (size_t i = 0; i < mr; i++) {
			HYP_UNROLL
			for (size_t v = 0; v < nv; v++) V(store)(c + i * ldc + v * LANES, acc[i][v]);
		}
		return;
	}
	HYP_UNROLL
	for (size_t i = 0; i < mr; i++) {
		HYP_UNROLL
		for (size_t v = 0; v < nv; v++) {
			ELEMENT *at = c + i * ldc + v * LANES;
			VECTOR r = acc[i][v];
			if (HYP_LIKELY(columns >= (v + 1) * LANES)) {
				if (beta != 0) r = V(fma)(V(load)(at), be, r);
				V(store)(at, r);
			} else if (columns > v * LANES) {
				size_t lanes = columns - v * LANES;
				if (beta != 0) r = V(fma)(V(load_n)(at, lanes), be, r);
				V(store_n)(at, r, lanes);
			}
		}
	}
}

typedef void T(tile_fn)(size_t k, const ELEMENT *a, size_t a_row, const ELEMENT *b, size_t b_row, ELEMENT *c,
                        size_t ldc, size_t columns, ELEMENT alpha, ELEMENT beta);

/* Four kernels a height: A as it lies or packed, one or two vectors wide. */
#define DEFINE_TILES(mr) \
	static void T(HYPI_CAT(tile_lying_1_, mr))(size_t k, const ELEMENT *a, size_t a_row, const ELEMENT *b, \
	                                           size_t b_row, ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, \
	                                           ELEMENT beta) { \
		T(tile)(mr, 1, k, a, a_row, 1, b, b_row, c, ldc, columns, alpha, beta); \
	} \
	static void T(HYPI_CAT(tile_lying_2_, mr))(size_t k, const ELEMENT *a, size_t a_row, const ELEMENT *b, \
	                                           size_t b_row, ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, \
	                                           ELEMENT beta) { \
		T(tile)(mr, 2, k, a, a_row, 1, b, b_row, c, ldc, columns, alpha, beta); \
	} \
	static void T(HYPI_CAT(tile_packed_1_, mr))(size_t k, const ELEMENT *a, size_t a_row, const ELEMENT *b, \
	                                            size_t b_row, ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, \
	                                            ELEMENT beta) { \
		(void)a_row; \
		T(tile)(mr, 1, k, a, 1, mr, b, b_row, c, ldc, columns, alpha, beta); \
	} \
	static void T(HYPI_CAT(tile_packed_2_, mr))(size_t k, const ELEMENT *a, size_t a_row, const ELEMENT *b, \
	                                            size_t b_row, ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, \
	                                            ELEMENT beta) { \
		(void)a_row; \
		T(tile)(mr, 2, k, a, 1, mr, b, b_row, c, ldc, columns, alpha, beta); \
	}
#if TILE_MR == 12
#define HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#else
#define HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
HEIGHTS(DEFINE_TILES)
#define TILE_ENTRY(mr) \
	{{T(HYPI_CAT(tile_lying_1_, mr)), T(HYPI_CAT(tile_lying_2_, mr))}, \
	 {T(HYPI_CAT(tile_packed_1_, mr)), T(HYPI_CAT(tile_packed_2_, mr))}},
/* [height - 1][packed][vectors - 1] */
static T(tile_fn) *const T(tiles)[TILE_MR][2][2] = {HEIGHTS(TILE_ENTRY)};
#undef DEFINE_TILES
#undef TILE_ENTRY

/* The same for the last columns where they fill half a vector at most, and half a vector costs half. */
#if HALVES
HYP_INLINE void T(half_tile)(size_t mr, size_t k, const ELEMENT *a, size_t a_row, size_t a_col, const ELEMENT *b,
                             size_t b_row, ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, ELEMENT beta) {
	HALF_VECTOR acc[TILE_MR];
	HYP_UNROLL
	for (size_t i = 0; i < mr; i++) acc[i] = V(h_zero)();
	for (size_t p = 0; p < k; p++) {
		const HALF_VECTOR bv = V(h_load)(b);
		HYP_UNROLL
		for (size_t i = 0; i < mr; i++) acc[i] = V(h_fma)(V(h_set1)(a[i * a_row]), bv, acc[i]);
		a += a_col;
		b += b_row;
	}
	HYP_UNROLL
	for (size_t i = 0; i < mr; i++) {
		ELEMENT last[LANES / 2], *at = c + i * ldc;
		const bool whole = columns >= LANES / 2;
		HALF_VECTOR r = alpha != 1 ? V(h_mul)(acc[i], V(h_set1)(alpha)) : acc[i];
		if (beta != 0) {
			for (size_t j = 0; j < LANES / 2; j++) last[j] = j < columns ? at[j] : 0;
			r = V(h_fma)(V(h_load)(last), V(h_set1)(beta), r);
		}
		V(h_store)(whole ? at : last, r);
		for (size_t j = 0; !whole && j < columns; j++) at[j] = last[j];
	}
}

#define DEFINE_HALF_TILES(mr) \
	static void T(HYPI_CAT(half_lying_, mr))(size_t k, const ELEMENT *a, size_t a_row, const ELEMENT *b, size_t b_row, \
	                                         ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, ELEMENT beta) { \
		T(half_tile)(mr, k, a, a_row, 1, b, b_row, c, ldc, columns, alpha, beta); \
	} \
	static void T(HYPI_CAT(half_packed_, mr))(size_t k, const ELEMENT *a, size_t a_row, const ELEMENT *b, \
	                                          size_t b_row, ELEMENT *c, size_t ldc, size_t columns, ELEMENT alpha, \
	                                          ELEMENT beta) { \
		(void)a_row; \
		T(half_tile)(mr, k, a, 1, mr, b, b_row, c, ldc, columns, alpha, beta); \
	}
HEIGHTS(DEFINE_HALF_TILES)
#define HALF_ENTRY(mr) {T(HYPI_CAT(half_lying_, mr)), T(HYPI_CAT(half_packed_, mr))},
/* [height - 1][packed] */
static T(tile_fn) *const T(half_tiles)[TILE_MR][2] = {HEIGHTS(HALF_ENTRY)};
#undef DEFINE_HALF_TILES
#undef HALF_ENTRY
#endif
#undef HEIGHTS

/* The last columns: of a vector and a few more, the vector goes first where halves follow. */
HYP_INLINE size_t T(last_width)(size_t left) {
	return HALVES && left > LANES && left <= LANES + LANES / 2 ? (size_t)LANES : left;
}

/* What runs a strip of so many rows by so many columns. */
static T(tile_fn) * T(tile_for)(size_t rows, bool packed, size_t columns) {
#if HALVES
	if (columns <= LANES / 2) return T(half_tiles)[rows - 1][packed];
#endif
	return T(tiles)[rows - 1][packed][columns > LANES];
}

/* ---- Packing --------------------------------------------------------------------------------------------------------- */

/* Rows [k0, k0 + k) and columns [j0, j0 + columns) of op(B). The walk is along B's rows, whole; that is what the
 * memory likes. */
static void T(pack_b_rows)(ELEMENT *dst, const ELEMENT *b, size_t ldb, size_t k, size_t columns) {
	enum { NR = TILE_NV * LANES };
	for (size_t p = 0; p < k; p++) {
		const ELEMENT *row = b + p * ldb;
		ELEMENT *out = dst + p * NR;
		size_t j = 0;
		for (; j + NR <= columns; j += NR, out += k * NR) {
			HYP_UNROLL
			for (size_t v = 0; v < TILE_NV; v++) V(store)(out + v * LANES, V(load)(row + j + v * LANES));
		}
		if (j == columns) continue;
		for (size_t v = 0; v < TILE_NV; v++, j += LANES) {
			size_t left = j < columns ? columns - j : 0;
			V(store)(out + v * LANES, V(load_n)(row + (left ? j : 0), left < LANES ? left : LANES));
		}
	}
}

/* B stored transposed: [columns][k]. */
static void T(pack_b_columns)(ELEMENT *dst, const ELEMENT *b, size_t ldb, size_t k, size_t columns) {
	enum { NR = TILE_NV * LANES };
	for (size_t j0 = 0; j0 < columns; j0 += NR, dst += k * NR) {
		size_t width = columns - j0 < NR ? columns - j0 : NR;
		if (width < NR) memset(dst, 0, k * NR * sizeof(ELEMENT));
		size_t j = 0;
		for (; j + LANES <= width; j += LANES) {
			const ELEMENT *from = b + (j0 + j) * ldb;
			size_t p = 0;
			for (; p + LANES <= k; p += LANES) {
				VECTOR r[LANES];
				HYP_UNROLL
				for (size_t i = 0; i < LANES; i++) r[i] = V(load)(from + i * ldb + p);
				V(transpose)(r);
				HYP_UNROLL
				for (size_t i = 0; i < LANES; i++) V(store)(dst + (p + i) * NR + j, r[i]);
			}
			for (; p < k; p++)
				for (size_t i = 0; i < LANES; i++) dst[p * NR + j + i] = from[i * ldb + p];
		}
		for (; j < width; j++)
			for (size_t p = 0; p < k; p++) dst[p * NR + j] = b[(j0 + j) * ldb + p];
	}
}

/* A vector holds LANES of a strip's rows: whole vectors are stored, the last rows first, so that what one writes behind
 * its strip's rows is written again by the next. Behind the last, dst has room for a vector. */
static void T(pack_a)(ELEMENT *dst, const ELEMENT *a, size_t lda, bool trans, size_t rows, size_t k) {
	const size_t last = (rows - 1) / LANES * LANES;
	size_t p = 0;
	if (trans) {
		for (; p < k; p++)
			for (size_t i = 0; i < rows; i += LANES) V(store)
		(dst + p * rows + i, V(load_n)(a + p * lda + i, rows - i < LANES ? rows - i : LANES));
		return;
	}
	for (; p + LANES <= k; p += LANES) {
		for (size_t i = last;; i -= LANES) {
			VECTOR r[LANES];
			HYP_UNROLL
			for (size_t j = 0; j < LANES; j++) r[j] = V(load)(a + (i + j < rows ? i + j : i) * lda + p);
			V(transpose)(r);
			HYP_UNROLL
			for (size_t j = 0; j < LANES; j++) V(store)(dst + (p + j) * rows + i, r[j]);
			if (i == 0) break;
		}
	}
	for (; p < k; p++)
		for (size_t i = 0; i < rows; i++) dst[p * rows + i] = a[i * lda + p];
}

/* ---- The blocked path -------------------------------------------------------------------------------------------------- */

static size_t T(strip_rows)(size_t rows_left) {
	size_t strips = (rows_left + TILE_MR - 1) / TILE_MR;
	return (rows_left + strips - 1) / strips;
}

/* One block of rows against a block of B, packed or where it lies. */
static void T(row_block)(const struct hypi_gemm_plan *p, size_t i0, size_t rows, size_t k0, size_t k, size_t j0,
                         size_t columns, const ELEMENT *b, ELEMENT *packed_a, ELEMENT beta) {
	enum { NR = TILE_NV * LANES };
	const ELEMENT *a = p->a;
	ELEMENT *c = p->c;
	for (size_t i = i0; i < i0 + rows;) {
		size_t height = T(strip_rows)(i0 + rows - i);
		const ELEMENT *strip = a + i * p->lda + k0;
		if (p->pack_a) {
			T(pack_a)(packed_a, p->trans_a ? a + k0 * p->lda + i : strip, p->lda, p->trans_a, height, k);
			strip = packed_a;
		}
		for (size_t j = 0, width; j < columns; j += width) {
			size_t left = columns - j, at = j, lanes;
			width = left < NR ? T(last_width)(left) : NR;
			lanes = width;
			if (!p->pack_b && width % LANES != 0) { /* whole vectors, or half a one, that end with the row */
				lanes = width > LANES ? NR : HALVES && width <= LANES / 2 ? LANES / 2 : LANES;
				at = columns - lanes;
			}
			const ELEMENT *from = p->pack_b ? b + at / NR * NR * k + at % NR : b + at;
			T(tile_for)
			(height, p->pack_a, lanes)(k, strip, p->lda, from, p->pack_b ? NR : p->ldb, c + i * p->ldc + j0 + at,
			                           p->ldc, lanes, (ELEMENT)p->alpha, beta);
		}
		i += height;
	}
}

static void T(run_blocked)(const struct hypi_gemm_plan *p, size_t i0, size_t i1, size_t j0, size_t j1, void *scratch) {
	const ELEMENT *b = p->b;
	ELEMENT *packed_b = scratch;
	size_t b_elements =
		p->pack_b ? (p->tile_n + TILE_NV * LANES - 1) / (TILE_NV * LANES) * (TILE_NV * LANES) * p->block_k : 0;
	ELEMENT *packed_a = packed_b + (b_elements * sizeof(ELEMENT) + 63) / 64 * 64 / sizeof(ELEMENT);
	size_t k0 = 0;
	do { /* once even if K is 0: beta is still to be applied */
		size_t k = p->k - k0 < p->block_k ? p->k - k0 : p->block_k;
		const ELEMENT *block = packed_b;
		if (!p->pack_b) {
			block = b + k0 * p->ldb + j0;
		} else if (p->trans_b) {
			T(pack_b_columns)(packed_b, b + j0 * p->ldb + k0, p->ldb, k, j1 - j0);
		} else {
			T(pack_b_rows)(packed_b, b + k0 * p->ldb + j0, p->ldb, k, j1 - j0);
		}
		ELEMENT beta = k0 == 0 ? (ELEMENT)p->beta : 1;
		T(row_block)(p, i0, i1 - i0, k0, k, j0, j1 - j0, block, packed_a, beta);
		k0 += k;
	} while (k0 < p->k);
}

/* ---- Few rows against [n][k] weights, which stay where they lie ------------------------------------------------- */

/* c[i][j] = alpha * dot(row i of A, row j of B) + beta * c[i][j] for mr x nr pairs. A is packed in strips: vector p of
 * each of its mr rows, then vector p + 1, zeros behind K; rows a power of two apart would otherwise fall into the same
 * few sets of the caches. next: what a following call will read from memory, one line a step. */
HYP_INLINE void T(dots)(size_t mr, size_t nr, size_t k, const ELEMENT *a, const ELEMENT *b, size_t ldb, ELEMENT *c,
                        size_t ldc, ELEMENT alpha, ELEMENT beta, const ELEMENT *next) {
	VECTOR acc[DOT_MR][DOT_NR];
	HYP_UNROLL
	for (size_t i = 0; i < mr; i++) {
		HYP_UNROLL
		for (size_t j = 0; j < nr; j++) acc[i][j] = V(zero)();
	}
	for (size_t p = 0; p < k; p += LANES) {
		VECTOR bv[DOT_NR];
		__builtin_prefetch(next + p);
		if (HYP_LIKELY(k - p >= LANES)) {
			HYP_UNROLL
			for (size_t j = 0; j < nr; j++) bv[j] = V(load)(b + j * ldb + p);
		} else {
			HYP_UNROLL
			for (size_t j = 0; j < nr; j++) bv[j] = V(load_n)(b + j * ldb + p, k - p);
		}
		HYP_UNROLL
		for (size_t i = 0; i < mr; i++) {
			VECTOR av = V(load)(a + i * LANES);
			HYP_UNROLL
			for (size_t j = 0; j < nr; j++) acc[i][j] = V(fma)(av, bv[j], acc[i][j]);
		}
		a += mr * LANES;
	}
	HYP_UNROLL
	for (size_t i = 0; i < mr; i++) {
		ELEMENT *at = c + i * ldc, sum[4];
		if (nr == 4) {
			V(hsum4)(sum, acc[i][0], acc[i][nr > 1 ? 1 : 0], acc[i][nr > 1 ? 2 : 0], acc[i][nr > 1 ? 3 : 0]);
		} else {
			sum[0] = V(hsum)(acc[i][0]);
		}
		for (size_t j = 0; j < nr; j++) {
			ELEMENT r = alpha * sum[j];
			at[j] = beta != 0 ? r + beta * at[j] : r;
		}
	}
}

typedef void T(dots_fn)(size_t k, const ELEMENT *a, const ELEMENT *b, size_t ldb, ELEMENT *c, size_t ldc, ELEMENT alpha,
                        ELEMENT beta, const ELEMENT *next);
#define DEFINE_DOTS(mr, nr) \
	static void T(HYPI_CAT(dots_##mr, _##nr))(size_t k, const ELEMENT *a, const ELEMENT *b, size_t ldb, ELEMENT *c, \
	                                          size_t ldc, ELEMENT alpha, ELEMENT beta, const ELEMENT *next) { \
		T(dots)(mr, nr, k, a, b, ldb, c, ldc, alpha, beta, next); \
	}
#if DOT_MR == 6
#define HEIGHTS(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)
#define ENTRIES(nr) \
	{ T(dots_1_##nr), T(dots_2_##nr), T(dots_3_##nr), T(dots_4_##nr), T(dots_5_##nr), T(dots_6_##nr) }
#else
#define HEIGHTS(X) X(1, 1) X(2, 1) X(3, 1) X(1, 4) X(2, 4) X(3, 4)
#define ENTRIES(nr) \
	{ T(dots_1_##nr), T(dots_2_##nr), T(dots_3_##nr) }
#endif
HEIGHTS(DEFINE_DOTS)
/* [columns is DOT_NR][height - 1] */
static T(dots_fn) *const T(dots_table)[2][DOT_MR] = {ENTRIES(1), ENTRIES(4)};
#undef DEFINE_DOTS
#undef HEIGHTS
#undef ENTRIES

static size_t T(dot_strip)(size_t rows_left) {
	size_t strips = (rows_left + DOT_MR - 1) / DOT_MR;
	return (rows_left + strips - 1) / strips;
}

static void T(pack_dots_a)(ELEMENT *dst, const ELEMENT *a, size_t lda, size_t rows, size_t k) {
	for (size_t i = 0; i < rows;) {
		size_t height = T(dot_strip)(rows - i);
		for (size_t p = 0; p < k; p += LANES) {
			size_t lanes = k - p < LANES ? k - p : LANES;
			for (size_t r = 0; r < height; r++, dst += LANES) V(store)(dst, V(load_n)(a + (i + r) * lda + p, lanes));
		}
		i += height;
	}
}

static void T(run_nt_direct)(const struct hypi_gemm_plan *p, size_t j0, size_t j1, ELEMENT *packed) {
	const ELEMENT *b = p->b;
	for (size_t k0 = 0; k0 < p->k; k0 += p->block_k) {
		size_t k = p->k - k0 < p->block_k ? p->k - k0 : p->block_k, padded = (k + LANES - 1) / LANES * LANES;
		ELEMENT beta = k0 == 0 ? (ELEMENT)p->beta : 1;
		T(pack_dots_a)(packed, (const ELEMENT *)p->a + k0, p->lda, p->m, k);
		for (size_t j = j0; j < j1;) {
			bool wide = j1 - j >= DOT_NR;
			size_t columns = wide ? DOT_NR : 1, ahead = 0;
			for (size_t i = 0; i < p->m; ahead++) {
				size_t height = T(dot_strip)(p->m - i);
				/* The first strips fetch the next columns' rows, one each. */
				size_t next = j + columns + (ahead < DOT_NR ? ahead : 0);
				if (next >= p->n) next = j;
				T(dots_table)
				[wide][height - 1](k, packed + i * padded, b + j * p->ldb + k0, p->ldb,
				                   (ELEMENT *)p->c + i * p->ldc + j, p->ldc, (ELEMENT)p->alpha, beta,
				                   b + next * p->ldb + k0);
				i += height;
			}
			j += columns;
		}
	}
}

/* ---- Vectors ------------------------------------------------------------------------------------------------------------ */

static ELEMENT T(dot_row)(const ELEMENT *a, const ELEMENT *x, size_t k) {
	VECTOR acc[8];
	HYP_UNROLL
	for (size_t c = 0; c < 8; c++) acc[c] = V(zero)();
	size_t p = 0;
	for (; p + 8 * LANES <= k; p += 8 * LANES) {
		HYP_UNROLL
		for (size_t c = 0; c < 8; c++) {
			if (c * LANES * sizeof(ELEMENT) % 64 == 0) __builtin_prefetch((const char *)(a + p + c * LANES) + 2048);
			acc[c] = V(fma)(V(load)(a + p + c * LANES), V(load)(x + p + c * LANES), acc[c]);
		}
	}
	for (; p + LANES <= k; p += LANES) acc[0] = V(fma)(V(load)(a + p), V(load)(x + p), acc[0]);
	if (p < k) acc[1] = V(fma)(V(load_n)(a + p, k - p), V(load_n)(x + p, k - p), acc[1]);
	VECTOR s = V(add)(V(add)(acc[0], acc[1]), V(add)(acc[2], acc[3]));
	VECTOR t = V(add)(V(add)(acc[4], acc[5]), V(add)(acc[6], acc[7]));
	return V(hsum)(V(add)(s, t));
}

/* Four rows at once: memory gives more to four streams than to one, and x is loaded once. */
static void T(dot_rows4)(ELEMENT y[4], const ELEMENT *a, size_t stride, const ELEMENT *x, size_t k) {
	VECTOR acc[4][2];
	HYP_UNROLL
	for (size_t r = 0; r < 4; r++) acc[r][0] = acc[r][1] = V(zero)();
	size_t p = 0;
	for (; p + 2 * LANES <= k; p += 2 * LANES) {
		VECTOR x0 = V(load)(x + p), x1 = V(load)(x + p + LANES);
		HYP_UNROLL
		for (size_t r = 0; r < 4; r++) {
			acc[r][0] = V(fma)(V(load)(a + r * stride + p), x0, acc[r][0]);
			acc[r][1] = V(fma)(V(load)(a + r * stride + p + LANES), x1, acc[r][1]);
		}
	}
	for (; p < k; p += LANES) {
		size_t lanes = k - p < LANES ? k - p : LANES;
		VECTOR xv = V(load_n)(x + p, lanes);
		HYP_UNROLL
		for (size_t r = 0; r < 4; r++) acc[r][0] = V(fma)(V(load_n)(a + r * stride + p, lanes), xv, acc[r][0]);
	}
	HYP_UNROLL
	for (size_t r = 0; r < 4; r++) y[r] = V(hsum)(V(add)(acc[r][0], acc[r][1]));
}

/* y[0..n) += sum over k of x[k] * rows[k][0..n), eight rows at a time. */
static void T(add_rows)(ELEMENT *y, const ELEMENT *rows, size_t stride, const ELEMENT *x, size_t k, size_t n) {
	for (size_t p = 0; p < k; p += 8) {
		size_t count = k - p < 8 ? k - p : 8;
		const ELEMENT *r = rows + p * stride;
		size_t j = 0;
		for (; count == 8 && j + LANES <= n; j += LANES) {
			VECTOR s = V(load)(y + j), t = V(zero)();
			HYP_UNROLL
			for (size_t i = 0; i < 8; i += 2) {
				s = V(fma)(V(set1)(x[p + i]), V(load)(r + i * stride + j), s);
				t = V(fma)(V(set1)(x[p + i + 1]), V(load)(r + (i + 1) * stride + j), t);
			}
			V(store)(y + j, V(add)(s, t));
		}
		for (; j < n; j += LANES) {
			size_t lanes = n - j < LANES ? n - j : LANES;
			VECTOR s = V(load_n)(y + j, lanes);
			for (size_t i = 0; i < count; i++) s = V(fma)(V(set1)(x[p + i]), V(load_n)(r + i * stride + j, lanes), s);
			V(store_n)(y + j, s, lanes);
		}
	}
}

#define GEMV_CHUNK 1024
/* out[i * out_stride] for i in [from, to); the matrix's stored rows run along K or along the result. */
static void T(run_gemv)(const struct hypi_gemm_plan *p, size_t from, size_t to, ELEMENT *scratch) {
	bool row = p->m == 1;
	const ELEMENT *matrix = row ? p->b : p->a, *x = row ? p->a : p->b;
	size_t stride = row ? p->ldb : p->lda, out_stride = row ? 1 : p->ldc;
	size_t x_stride = row ? (p->trans_a ? p->lda : 1) : (p->trans_b ? 1 : p->ldb);
	if (x_stride != 1) {
		for (size_t i = 0; i < p->k; i++) scratch[i] = x[i * x_stride];
		x = scratch;
	}
	const ELEMENT alpha = (ELEMENT)p->alpha, beta = (ELEMENT)p->beta;
	for (size_t i0 = from; i0 < to; i0 += GEMV_CHUNK) {
		ELEMENT y[GEMV_CHUNK], *c = (ELEMENT *)p->c + i0 * out_stride;
		size_t count = to - i0 < GEMV_CHUNK ? to - i0 : GEMV_CHUNK;
		if (p->path == HYPI_GEMV_ROWS) {
			size_t i = 0;
			for (; i + 4 <= count; i += 4) T(dot_rows4)(y + i, matrix + (i0 + i) * stride, stride, x, p->k);
			for (; i < count; i++) y[i] = T(dot_row)(matrix + (i0 + i) * stride, x, p->k);
		} else {
			memset(y, 0, count * sizeof(ELEMENT));
			T(add_rows)(y, matrix + i0, stride, x, p->k, count);
		}
		for (size_t i = 0; i < count; i++) {
			ELEMENT r = alpha * y[i];
			c[i * out_stride] = beta != 0 ? r + beta * c[i * out_stride] : r;
		}
	}
}
#undef GEMV_CHUNK

static void T(run)(const struct hypi_gemm_plan *p, size_t tile_begin, size_t tile_end, void *scratch) {
	for (size_t t = tile_begin; t < tile_end; t++) {
		size_t i0 = t / p->tiles_n * p->tile_m, j0 = t % p->tiles_n * p->tile_n;
		size_t i1 = p->m - i0 < p->tile_m ? p->m : i0 + p->tile_m;
		size_t j1 = p->n - j0 < p->tile_n ? p->n : j0 + p->tile_n;
		if (p->path == HYPI_GEMM_BLOCKED) {
			T(run_blocked)(p, i0, i1, j0, j1, scratch);
		} else if (p->path == HYPI_GEMM_NT_DIRECT) {
			T(run_nt_direct)(p, j0, j1, scratch);
		} else if (p->path != HYPI_GEMM_NONE) {
			T(run_gemv)(p, p->m == 1 ? j0 : i0, p->m == 1 ? j1 : i1, scratch);
		}
	}
}
