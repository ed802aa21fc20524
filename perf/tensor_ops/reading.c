/*
 * perf/tensor_ops/reading.c: how main memory likes to be read, as CSV on standard output: ways to sum a matrix that is
 * larger than the caches, on one thread, each beside two plain loops over the same memory, one of 16-byte loads and one
 * of 64-byte loads. What the kernels' sums do follows from these rows (docs/design/kernels.md).
 *
 * usage: reading [text]     only the ways whose name contains the text
 * A sample of a way lies between two of each plain loop, and only such neighbours are compared; the median of the ratios
 * counts. The clock is the thread's own. Needs AVX-512; exit 77 without it.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define SAMPLES 21
#define ROWS ((size_t)5000)
#define COLUMNS ((size_t)5000)
#define STREAMS_MAX 8
#define ROWS_MAX 16
#define STRIP_MAX 8192
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl")))
#define FORCED AVX512 static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

static volatile float sink;

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the plain loops ---- */

static void plain16(const float *a) {
	__m128 s[16];
	for (size_t j = 0; j < 16; j++) s[j] = _mm_setzero_ps();
	for (size_t i = 0; i + 64 <= ROWS * COLUMNS; i += 64) {
		UNROLL
		for (size_t j = 0; j < 16; j++) s[j] = _mm_add_ps(s[j], _mm_loadu_ps(a + i + 4 * j));
	}
	for (size_t j = 1; j < 16; j++) s[0] = _mm_add_ps(s[0], s[j]);
	sink = _mm_cvtss_f32(s[0]);
}

AVX512 static void plain64(const float *a) {
	__m512 s[4];
	for (size_t j = 0; j < 4; j++) s[j] = _mm512_setzero_ps();
	for (size_t i = 0; i + 64 <= ROWS * COLUMNS; i += 64) {
		UNROLL
		for (size_t j = 0; j < 4; j++) s[j] = _mm512_add_ps(s[j], _mm512_loadu_ps(a + i + 16 * j));
	}
	sink = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

/* ---- flat: the array as one piece ---- */

/* `streams` of them, `apart` elements apart, each read for `turn` elements before the next has its turn. */
FORCED void flat(const float *a, size_t streams, size_t apart, size_t turn) {
	__m512 s[STREAMS_MAX];
	UNROLL
	for (size_t c = 0; c < streams; c++) s[c] = _mm512_setzero_ps();
	for (size_t i = 0; i + streams * apart <= ROWS * COLUMNS; i += streams * apart)
		for (size_t at = 0; at < apart; at += turn) {
			UNROLL
			for (size_t c = 0; c < streams; c++)
				for (size_t t = 0; t < turn; t += 16)
					s[c] = _mm512_add_ps(s[c], _mm512_loadu_ps(a + i + c * apart + at + t));
		}
	UNROLL
	for (size_t c = 1; c < streams; c++) s[0] = _mm512_add_ps(s[0], s[c]);
	sink = _mm512_reduce_add_ps(s[0]);
}

/* One stream, fetched so many bytes ahead. */
FORCED void fetched(const float *a, size_t bytes) {
	__m512 s[8];
	UNROLL
	for (size_t c = 0; c < 8; c++) s[c] = _mm512_setzero_ps();
	for (size_t i = 0; i + 128 <= ROWS * COLUMNS; i += 128) {
		UNROLL
		for (size_t c = 0; c < 8; c++) {
			__builtin_prefetch((const char *)(a + i + 16 * c) + bytes);
			s[c] = _mm512_add_ps(s[c], _mm512_loadu_ps(a + i + 16 * c));
		}
	}
	UNROLL
	for (size_t c = 1; c < 8; c++) s[0] = _mm512_add_ps(s[0], s[c]);
	sink = _mm512_reduce_add_ps(s[0]);
}

/* ---- along rows: each row summed alone ---- */

enum touch { ONCE, SCALAR_BESIDE, HALVES, QUARTERS };

FORCED __m512 add_line(__m512 s, const float *p, enum touch touch) {
	if (touch == HALVES) {
		__m256 low = _mm256_loadu_ps(p), high = _mm256_loadu_ps(p + 8);
		__asm__ volatile("" : "+v"(low), "+v"(high));
		return _mm512_add_ps(s, _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1));
	}
	if (touch == QUARTERS) {
		__m128 q[4];
		UNROLL
		for (int i = 0; i < 4; i++) {
			q[i] = _mm_loadu_ps(p + 4 * i);
			__asm__ volatile("" : "+v"(q[i]));
		}
		__m128 sum = _mm_add_ps(_mm_add_ps(q[0], q[1]), _mm_add_ps(q[2], q[3]));
		return _mm512_insertf32x4(s, _mm_add_ps(_mm512_castps512_ps128(s), sum), 0);
	}
	if (touch == SCALAR_BESIDE) {
		float first = *p;
		__asm__ volatile("" : : "x"(first));
	}
	__m512 x = _mm512_loadu_ps(p);
	__asm__ volatile("" : "+v"(x));
	return _mm512_add_ps(s, x);
}

/* So many rows at a time, so many vectors of each; fetched ahead if bytes are given. */
FORCED void along(const float *a, size_t rows, size_t vectors, enum touch touch, size_t bytes) {
	for (size_t r = 0; r + rows <= ROWS; r += rows) {
		__m512 s[8][8];
		UNROLL
		for (size_t i = 0; i < rows; i++)
			for (size_t c = 0; c < vectors; c++) s[i][c] = _mm512_setzero_ps();
		for (size_t at = 0; at + 16 * vectors <= COLUMNS; at += 16 * vectors) {
			UNROLL
			for (size_t i = 0; i < rows; i++) {
				UNROLL
				for (size_t c = 0; c < vectors; c++) {
					const float *p = a + (r + i) * COLUMNS + at + 16 * c;
					if (bytes != 0) __builtin_prefetch((const char *)p + bytes);
					s[i][c] = add_line(s[i][c], p, touch);
				}
			}
		}
		UNROLL
		for (size_t i = 0; i < rows; i++) {
			for (size_t c = 1; c < vectors; c++) s[i][0] = _mm512_add_ps(s[i][0], s[i][c]);
			sink = _mm512_reduce_add_ps(s[i][0]);
		}
	}
}

/* ---- down columns: so many rows joined, then into the totals of a strip ---- */

FORCED void down(const float *a, size_t rows, size_t strip, bool twice) {
	static double total[STRIP_MAX];
	for (size_t c0 = 0; c0 < COLUMNS; c0 += strip) {
		size_t n = (COLUMNS - c0 < strip ? COLUMNS - c0 : strip) / 16 * 16;
		memset(total, 0, sizeof total);
		for (size_t r = 0; r + rows <= ROWS; r += rows)
			for (size_t c = 0; c < n; c += 16) {
				const float *p = a + r * COLUMNS + c0 + c;
				__m512 s[ROWS_MAX];
				UNROLL
				for (size_t i = 0; i < rows; i++)
					s[i] = add_line(_mm512_setzero_ps(), p + i * COLUMNS, twice ? SCALAR_BESIDE : ONCE);
				UNROLL
				for (size_t i = 1; i < rows; i++) s[0] = _mm512_add_ps(s[0], s[i]);
				__m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(s[0]));
				__m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(s[0], 1));
				_mm512_storeu_pd(total + c, _mm512_add_pd(_mm512_loadu_pd(total + c), low));
				_mm512_storeu_pd(total + c + 8, _mm512_add_pd(_mm512_loadu_pd(total + c + 8), high));
			}
		sink = (float)total[0];
	}
}

/* Row after row, as memory lies, so many at a time, into single-precision totals of a strip that stay in the first
 * cache; every eight rows those go into the double ones. */
FORCED void row_by_row(const float *a, size_t rows, size_t strip, enum touch touch) {
	static double total[STRIP_MAX];
	static float part[STRIP_MAX] __attribute__((aligned(64)));
	for (size_t c0 = 0; c0 < COLUMNS; c0 += strip) {
		size_t n = (COLUMNS - c0 < strip ? COLUMNS - c0 : strip) / 16 * 16;
		memset(total, 0, sizeof total);
		for (size_t r0 = 0; r0 + 8 <= ROWS; r0 += 8) {
			for (size_t r = r0; r < r0 + 8; r += rows)
				for (size_t c = 0; c < n; c += 16) {
					const float *p = a + r * COLUMNS + c0 + c;
					__m512 s = r == r0 ? _mm512_setzero_ps() : _mm512_load_ps(part + c);
					UNROLL
					for (size_t i = 0; i < rows; i++) s = add_line(s, p + i * COLUMNS, touch);
					_mm512_store_ps(part + c, s);
				}
			for (size_t c = 0; c < n; c += 8)
				_mm512_storeu_pd(total + c,
				                 _mm512_add_pd(_mm512_loadu_pd(total + c), _mm512_cvtps_pd(_mm256_load_ps(part + c))));
		}
		sink = (float)total[0];
	}
}

/* As down, but the rows that are joined lie far apart: each of the streams goes through a part of the matrix of its own,
 * row after row. ahead: at each page the beginning of the stream's next one is fetched. */
FORCED void down_far(const float *a, size_t rows, enum touch touch, size_t ahead) {
	static double total[STRIP_MAX];
	const size_t n = COLUMNS / 16 * 16, part = ROWS / rows;
	memset(total, 0, sizeof total);
	for (size_t r = 0; r < part; r++)
		for (size_t c = 0; c < n; c += 16) {
			const float *p = a + r * COLUMNS + c;
			__m512 s[ROWS_MAX];
			UNROLL
			for (size_t i = 0; i < rows; i++) {
				if (ahead != 0 && c % 1024 == 0)
					for (size_t line = 0; line < ahead; line++)
						__builtin_prefetch(p + i * part * COLUMNS + 1024 + 16 * line);
				s[i] = add_line(_mm512_setzero_ps(), p + i * part * COLUMNS, touch);
			}
			UNROLL
			for (size_t w = rows / 2; w > 0; w /= 2) {
				UNROLL
				for (size_t i = 0; i < w; i++) s[i] = _mm512_add_ps(s[i], s[i + w]);
			}
			__m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(s[0]));
			__m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(s[0], 1));
			_mm512_storeu_pd(total + c, _mm512_add_pd(_mm512_loadu_pd(total + c), low));
			_mm512_storeu_pd(total + c + 8, _mm512_add_pd(_mm512_loadu_pd(total + c + 8), high));
		}
	sink = (float)total[0];
}

/* ---- the ways ---- */

#define KIB(n) ((size_t)(n)*256) /* in elements */
#define WAYS(X) \
	X(w01, "flat; one stream; 64-byte loads", flat(a, 1, 64, 16)) \
	X(w02, "flat; two streams 4 KiB apart", flat(a, 2, KIB(4), 16)) \
	X(w03, "flat; four streams 4 KiB apart", flat(a, 4, KIB(4), 16)) \
	X(w04, "flat; eight streams 4 KiB apart", flat(a, 8, KIB(4), 16)) \
	X(w05, "flat; eight streams 16 KiB apart", flat(a, 8, KIB(16), 16)) \
	X(w06, "flat; four streams 64 KiB apart", flat(a, 4, KIB(64), 16)) \
	X(w07, "flat; eight streams 64 KiB apart", flat(a, 8, KIB(64), 16)) \
	X(w08, "flat; eight streams 128 KiB apart", flat(a, 8, KIB(128), 16)) \
	X(w09, "flat; eight streams 64 KiB apart in turns of 4 KiB", flat(a, 8, KIB(64), KIB(4))) \
	X(w10, "flat; eight streams 64 KiB apart in turns of 512 B", flat(a, 8, KIB(64), 128)) \
	X(w11, "flat; fetched 2 KiB ahead", fetched(a, 2048)) \
	X(w12, "flat; fetched 4 KiB ahead", fetched(a, 4096)) \
	X(w13, "along rows; 64-byte loads", along(a, 1, 8, ONCE, 0)) \
	X(w14, "along rows; fetched 512 B ahead", along(a, 1, 8, ONCE, 512)) \
	X(w15, "along rows; fetched 1 KiB ahead", along(a, 1, 8, ONCE, 1024)) \
	X(w16, "along rows; fetched 4 KiB ahead", along(a, 1, 8, ONCE, 4096)) \
	X(w17, "along rows; fetched 16 KiB ahead", along(a, 1, 8, ONCE, 16384)) \
	X(w18, "along rows; each line touched twice: a scalar load beside", along(a, 1, 8, SCALAR_BESIDE, 0)) \
	X(w19, "along rows; each line touched twice: 32-byte loads", along(a, 1, 8, HALVES, 0)) \
	X(w20, "along rows; 16-byte loads", along(a, 1, 8, QUARTERS, 0)) \
	X(w21, "along rows; 4 rows at a time; eight vectors each", along(a, 4, 8, ONCE, 0)) \
	X(w22, "along rows; 8 rows at a time; four vectors each", along(a, 8, 4, ONCE, 0)) \
	X(w23, "down columns; 1 row at a time; strips of 4096 columns", down(a, 1, 4096, false)) \
	X(w24, "down columns; 2 rows at a time; strips of 4096 columns", down(a, 2, 4096, false)) \
	X(w25, "down columns; 4 rows at a time; strips of 4096 columns", down(a, 4, 4096, false)) \
	X(w26, "down columns; 8 rows at a time; strips of 4096 columns", down(a, 8, 4096, false)) \
	X(w27, "down columns; 16 rows at a time; strips of 4096 columns", down(a, 16, 4096, false)) \
	X(w28, "down columns; 8 rows at a time; strips of 8192 columns", down(a, 8, 8192, false)) \
	X(w29, "down columns; 16 rows at a time; strips of 8192 columns", down(a, 16, 8192, false)) \
	X(w30, "down columns; 16 rows at a time; strips of 8192 columns; each line touched twice", \
	  down(a, 16, 8192, true)) \
	X(w31, "down columns; row by row; strips of 8192 columns", row_by_row(a, 1, 8192, ONCE)) \
	X(w32, "down columns; row by row; strips of 8192 columns; each line touched twice", \
	  row_by_row(a, 1, 8192, SCALAR_BESIDE)) \
	X(w33, "down columns; row by row; strips of 4096 columns; each line touched twice", \
	  row_by_row(a, 1, 4096, SCALAR_BESIDE)) \
	X(w34, "down columns; two rows by two; strips of 8192 columns; each line touched twice", \
	  row_by_row(a, 2, 8192, SCALAR_BESIDE)) \
	X(w35, "down columns; four rows by four; strips of 8192 columns; each line touched twice", \
	  row_by_row(a, 4, 8192, SCALAR_BESIDE)) \
	X(w36, "down columns; 4 rows far apart", down_far(a, 4, ONCE, 0)) \
	X(w37, "down columns; 8 rows far apart", down_far(a, 8, ONCE, 0)) \
	X(w38, "down columns; 16 rows far apart", down_far(a, 16, ONCE, 0)) \
	X(w39, "down columns; 8 rows far apart; each line touched twice", down_far(a, 8, SCALAR_BESIDE, 0)) \
	X(w40, "down columns; 16 rows far apart; each line touched twice", down_far(a, 16, SCALAR_BESIDE, 0)) \
	X(w41, "down columns; 8 rows far apart; 32-byte loads", down_far(a, 8, HALVES, 0)) \
	X(w42, "down columns; 16 rows far apart; 32-byte loads", down_far(a, 16, HALVES, 0)) \
	X(w43, "down columns; 8 rows far apart; the next page's first 4 lines fetched", down_far(a, 8, ONCE, 4)) \
	X(w44, "down columns; 16 rows far apart; the next page's first 4 lines fetched", down_far(a, 16, ONCE, 4))

#define X(id, name, call) \
	AVX512 static void id(const float *a) { call; }
WAYS(X)
#undef X

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double timed(void (*way)(const float *), const float *a) {
	double begun = now();
	way(a);
	return now() - begun;
}

static void row(const char *name, void (*way)(const float *), const float *a) {
	double of16[SAMPLES], of64[SAMPLES], best = 1e9;
	way(a);
	for (int i = 0; i < SAMPLES; i++) {
		double before16 = timed(plain16, a), before64 = timed(plain64, a), own = timed(way, a),
			   after64 = timed(plain64, a), after16 = timed(plain16, a);
		of16[i] = (before16 + after16) / 2 / own;
		of64[i] = (before64 + after64) / 2 / own;
		if (own < best) best = own;
	}
	qsort(of16, SAMPLES, sizeof *of16, by_value);
	qsort(of64, SAMPLES, sizeof *of64, by_value);
	printf("%s,%.2f,%.2f,%.2f\n", name, (double)(ROWS * COLUMNS) * sizeof(float) / best * 1e-9, of16[SAMPLES / 2],
	       of64[SAMPLES / 2]);
	(void)fflush(stdout);
}

int main(int argc, char **argv) {
	const char *filter = argc > 1 ? argv[1] : "";
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq")) {
		(void)fprintf(stderr, "reading: this processor lacks AVX-512\n");
		return 77;
	}
	size_t n = ROWS * COLUMNS;
	float *a = aligned_alloc(4096, (n + 8192) * sizeof *a / 4096 * 4096);
	if (a == NULL) return 1;
	for (size_t i = 0; i < n; i++) a[i] = (float)(i % 1021) * 0.001f;
	printf("way,gbps_best,of_16_byte_loop,of_64_byte_loop\n");
#define X(id, name, call) \
	if (strstr(name, filter) != NULL) row(name, id, a);
	WAYS(X)
#undef X
	free(a);
	return 0;
}

#else

int main(void) {
	(void)fprintf(stderr, "reading: it is written for AVX-512\n");
	return 77;
}

#endif
