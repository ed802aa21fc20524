/*
 * kernels/kernels.h: the arithmetic under the tensors, on raw pointers.
 *
 * A kernel family is a struct of function pointers. hypi_kernels_fill() puts the plain C reference into each of them
 * and then climbs the ladder of instruction sets, stopping at the first that the mask lacks; each rung overwrites the
 * pointers it does better. The process has one such table, made on first use or by hypi_kernels_init().
 *
 * Rules that hold for every kernel
 *   - No kernel allocates, locks or fails. Who needs scratch says how much, and the caller brings it.
 *   - Pointers need the alignment of one element, no more. Any count works, 0 included, unless it says otherwise.
 *   - A destination may be exactly a source of an elementwise kernel (in place); it may not overlap it otherwise.
 *   - Nothing is read or written outside the elements named, not even to be thrown away.
 *   - Counts are in elements, strides in elements of the array they belong to, unless the name says _bytes.
 *   - Integer results are equal bit for bit in every set. Float results are equal bit for bit where IEEE 754 rounds
 *     one operation (add sub mul div fma sqrt neg abs min max, conversions); elsewhere the bound stands beside it, with
 *     u = 2^-24 (f32) or 2^-53 (f64). min and max give NaN if either operand is one, as NumPy does.
 *
 * Called by tensor/. Sees base and os only. The shape of the table was learnt from dav1d (VideoLAN, 2018); the
 * blocking of matrix products from Goto and van de Geijn (2008) and BLIS (Van Zee, 2015).
 */
#ifndef HYPI_KERNELS_H
#define HYPI_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Instruction sets, lowest rung first within an architecture. X(enumerator, name, what it needs, the rungs it stands on) */
#define HYPI_KERNEL_SETS(X) \
	X(AVX2, "avx2", "AVX2, FMA, F16C, BMI2", 0) \
	X(AVX512, "avx512", "AVX-512 F BW VL DQ", HYPI_MASK(AVX2)) \
	X(AVX512VNNI, "avx512vnni", "AVX-512 VNNI", HYPI_MASK(AVX2) | HYPI_MASK(AVX512)) \
	X(NEON, "neon", "Advanced SIMD of AArch64", 0) \
	X(DOTPROD, "dotprod", "SDOT and UDOT", HYPI_MASK(NEON)) \
	X(I8MM, "i8mm", "SMMLA and USDOT", HYPI_MASK(NEON) | HYPI_MASK(DOTPROD))

enum hypi_kernel_set {
#define X(id, name, needs, below) HYPI_SET_##id,
	HYPI_KERNEL_SETS(X)
#undef X
		HYPI_SET_COUNT
};
#define HYPI_MASK(id) (1u << HYPI_SET_##id)
#define HYPI_MASK_ALL UINT32_MAX

struct hypi_kernel_set_info {
	const char *name;
	const char *needs;
	uint32_t mask;  /* its bit */
	uint32_t below; /* the bits of the rungs it stands on */
};
extern const struct hypi_kernel_set_info hypi_kernel_sets[HYPI_SET_COUNT];

/* ---- Element-wise ---------------------------------------------------------------------------------------------- */

enum hypi_num { HYPI_F32, HYPI_F64, HYPI_I8, HYPI_I16, HYPI_I32, HYPI_I64, HYPI_U8, HYPI_NUM_COUNT };
extern const uint8_t hypi_num_bytes[HYPI_NUM_COUNT];

/* DIV of integers is floor division; a divisor of 0 gives 0. Integer arithmetic wraps. */
enum hypi_binary_op { HYPI_ADD, HYPI_SUB, HYPI_MUL, HYPI_DIV, HYPI_MIN, HYPI_MAX, HYPI_BINARY_COUNT };
/* Which operand is a vector (v) and which one scalar for all elements (s); the scalar is read through its pointer. */
enum hypi_form { HYPI_VV, HYPI_VS, HYPI_SV, HYPI_FORM_COUNT };
enum hypi_compare_op { HYPI_EQ, HYPI_NE, HYPI_LT, HYPI_LE, HYPI_GT, HYPI_GE, HYPI_COMPARE_COUNT };
/* Bounds in f32 against the correctly rounded value y, checked by tests/kernels: EXP LOG TANH SIGMOID 4 ulp of y;
 * SILU 6 ulp or |x| 2^-149; GELU (0.5 x erfc(-x/sqrt 2)) and GELU_TANH 1e-6 |x|. f64 goes through libm. Integers have
 * NEG ABS RELU. */
enum hypi_unary_op {
	HYPI_NEG,
	HYPI_ABS,
	HYPI_RELU,
	HYPI_SQRT,
	HYPI_EXP,
	HYPI_LOG,
	HYPI_TANH,
	HYPI_SIGMOID,
	HYPI_GELU,
	HYPI_GELU_TANH,
	HYPI_SILU,
	HYPI_UNARY_COUNT
};

typedef void hypi_binary_fn(void *dst, const void *a, const void *b, size_t n);
typedef void hypi_compare_fn(uint8_t *dst, const void *a, const void *b, size_t n); /* 0 or 1 each */
typedef void hypi_unary_fn(void *dst, const void *a, size_t n);

/* A result of so many bytes will not fit the caches: kernels write it past them. */
#define HYPI_LARGE_BYTES ((size_t)16 << 20)

struct hypi_elementwise {
	hypi_binary_fn *binary[HYPI_NUM_COUNT][HYPI_BINARY_COUNT][HYPI_FORM_COUNT];
	/* The same for a piece of a result of HYPI_LARGE_BYTES and more. NULL where there is none, and for HYPI_SV. */
	hypi_binary_fn *piece[HYPI_NUM_COUNT][HYPI_BINARY_COUNT][HYPI_FORM_COUNT];
	hypi_compare_fn *compare[HYPI_NUM_COUNT][HYPI_COMPARE_COUNT][HYPI_FORM_COUNT];
	hypi_unary_fn *unary[HYPI_NUM_COUNT][HYPI_UNARY_COUNT]; /* NULL where the type has no such operation */
	/* dst = a * s + b, one rounding; b may be one scalar (the _s form) */
	void (*fma_f32)(float *dst, const float *a, float s, const float *b, size_t n);
	void (*fma_s_f32)(float *dst, const float *a, float s, float b, size_t n);
	void (*fma_f64)(double *dst, const double *a, double s, const double *b, size_t n);
	void (*fma_s_f64)(double *dst, const double *a, double s, double b, size_t n);
};

/* ---- Reductions ------------------------------------------------------------------------------------------------ */

/* Sums of f32 are blocked: chains of 8 additions, a tree over them, and block totals in f64. Whatever the order of the
 * elements and whatever n < 2^48: |error| <= 12 u sum|x| before the caller rounds the result (13 u for dot). f64:
 * the same within a block, block totals compensated (Neumaier 1974): <= 14 u sum|x|. */
struct hypi_reduce {
	double (*sum_f32)(const float *a, size_t n);
	double (*sum_f64)(const double *a, size_t n);
	int64_t (*sum_i8)(const int8_t *a, size_t n);                /* exact */
	int64_t (*sum_i32)(const int32_t *a, size_t n);              /* exact for n < 2^32 */
	int64_t (*sum_i64)(const int64_t *a, size_t n);              /* wraps */
	double (*dot_f32)(const float *a, const float *b, size_t n); /* sum of squares: dot(a, a) */
	double (*dot_f64)(const double *a, const double *b, size_t n);
	/* Sums of x - shift and of its square, d being x - shift rounded once: errors <= 12 u sum|d| and 14 u sum d^2. */
	void (*moments_f32)(const float *a, size_t n, float shift, double *ret_sum, double *ret_square);
	float (*max_f32)(const float *a, size_t n); /* -inf if n is 0; NaN if there is one */
	float (*min_f32)(const float *a, size_t n); /* +inf if n is 0 */
	double (*max_f64)(const double *a, size_t n);
	double (*min_f64)(const double *a, size_t n);
	/* The first index of the greatest (least) element, a NaN counting as such; SIZE_MAX if n is 0. */
	size_t (*argmax_f32)(const float *a, size_t n);
	size_t (*argmin_f32)(const float *a, size_t n);
	/* Over the rows of a row-major matrix: dst[cols]. Of no rows: max is -inf, min +inf. */
	/* total[c] += the sum of column c: <= 12 u */
	void (*add_axis0_f32)(double *total, const float *a, size_t rows, size_t cols, size_t stride);
	void (*max_axis0_f32)(float *dst, const float *a, size_t rows, size_t cols, size_t stride);
	void (*min_axis0_f32)(float *dst, const float *a, size_t rows, size_t cols, size_t stride);
	/* Along the rows: dst[rows]. */
	void (*sum_axis1_f32)(float *dst, const float *a, size_t rows, size_t cols, size_t stride);
	void (*max_axis1_f32)(float *dst, const float *a, size_t rows, size_t cols, size_t stride);
	void (*min_axis1_f32)(float *dst, const float *a, size_t rows, size_t cols, size_t stride);
	/* One row; in place allowed. softmax: relative error 16 u + u |x - max| (the subtraction rounds once, and exp makes
	 * that relative). rms_norm: x * w / sqrt(mean(x^2) + eps), w NULL for ones: 16 u relative. */
	void (*softmax_f32)(float *dst, const float *a, size_t n);
	void (*rms_norm_f32)(float *dst, const float *a, const float *weight, size_t n, float eps);
};

/* ---- Conversions and copies ------------------------------------------------------------------------------------ */

/* Floats round to nearest even; NaN stays NaN (quiet, upper payload kept); overflow of f16 is infinity. */
struct hypi_convert {
	void (*f16_from_f32)(uint16_t *dst, const float *a, size_t n);
	void (*f32_from_f16)(float *dst, const uint16_t *a, size_t n);
	void (*bf16_from_f32)(uint16_t *dst, const float *a, size_t n);
	void (*f32_from_bf16)(float *dst, const uint16_t *a, size_t n);
	void (*f32_from_i8)(float *dst, const int8_t *a, size_t n);
	void (*i8_from_f32)(int8_t *dst, const float *a, size_t n); /* to nearest even, saturating, NaN gives 0 */
	/* Between the numeric types. To an integer: toward zero, saturating, NaN gives 0 (integers wrap among themselves). */
	void (*num[HYPI_NUM_COUNT][HYPI_NUM_COUNT])(void *dst, const void *a, size_t n); /* [to][from] */
	/* dst[c][r] = src[r][c] for elements of 1 << log2 bytes (1 to 8); dst and src do not overlap. */
	void (*transpose[4])(void *dst, size_t dst_stride, const void *src, size_t src_stride, size_t rows, size_t cols);
	/* dst[i * dst_stride] = src[i * src_stride]; strides may be negative or 0. */
	void (*copy_strided[4])(void *dst, ptrdiff_t dst_stride, const void *src, ptrdiff_t src_stride, size_t n);
};

/* ---- Float matrix products ------------------------------------------------------------------------------------- */

/* C[m][n] = alpha * op(A)[m][k] * op(B)[k][n] + beta * C, row-major; beta 0 never reads C. A plan splits C into tiles
 * that are independent of each other: run them in any order, on any threads, each thread with scratch of its own.
 * Error of each element: <= (K + 2) u sum|a b| in the worst case, as for any summation with one rounding a step. */
struct hypi_gemm_plan {
	size_t m, n, k;
	const void *a, *b;
	void *c;
	size_t lda, ldb, ldc; /* elements between rows as stored */
	bool trans_a, trans_b;
	bool f64;
	double alpha, beta;
	/* filled by hypi_gemm_plan_init() */
	int path;                /* enum hypi_gemm_path; gemm_plan.c says when */
	size_t tile_m, tile_n;   /* size of a tile of C; the last ones are smaller */
	size_t tiles_m, tiles_n; /* how many */
	size_t block_k, block_m; /* blocking inside a tile */
	size_t tiles;            /* tiles_m * tiles_n: the range of work is [0, tiles) */
	size_t scratch_bytes;    /* each worker's own, aligned to 64 */
	bool pack_a, pack_b;     /* copied to scratch panels first; else read where it lies */
};

enum hypi_gemm_path { HYPI_GEMM_NONE, HYPI_GEMM_BLOCKED, HYPI_GEMM_NT_DIRECT, HYPI_GEMV_ROWS, HYPI_GEMV_COLS };

/* What a set's float matrix kernels are like, and the runner. */
struct hypi_gemm_impl {
	size_t mr, nr; /* register tile of the blocked kernel */
	size_t nt_nr;  /* columns at once of the unpacked NT kernel; 0 if it has none */
	void (*run)(const struct hypi_gemm_plan *plan, size_t tile_begin, size_t tile_end, void *scratch);
};

struct hypi_gemm {
	struct hypi_gemm_impl f32, f64;
};

struct hypi_kernels;

/* The caller has set m n k, a b c, lda ldb ldc, trans_*, f64, alpha, beta. workers is how many threads will share it
 * (at least 1). Returns nothing: every shape has a plan; tiles is 0 if C is empty. */
void hypi_gemm_plan_init(struct hypi_gemm_plan *plan, const struct hypi_gemm *gemm, size_t workers);
/* Runs tiles [tile_begin, tile_end). scratch: plan->scratch_bytes, aligned to 64; NULL if that is 0. */
void hypi_gemm_run(const struct hypi_gemm_plan *plan, const struct hypi_gemm *gemm, size_t tile_begin, size_t tile_end,
                   void *scratch);

/* ---- Ternary weights times int8 activations -------------------------------------------------------------------- */

/* Codes 0, 1, 2 stand for -1, 0, +1; code 3 is no code, and no kernel promises anything for it.
 *   T2   row-major. A row of K weights is ceil(K/4) bytes; weight k is bits 2*(k%4)+1 : 2*(k%4) of byte k/4. Bits past
 *        K in the last byte are 0 when we write them and ignored when we read them.
 *   P16  16 rows interleaved, for speed: panel p holds rows 16p..16p+15; it is a sequence of 64-byte groups, group g
 *        holding weights 16g..16g+15 of each row; dword r of a group belongs to row r, and in it weight 4s+b is bits
 *        2s+1 : 2s of byte b. Rows and weights that pad a panel hold code 1.
 *   T5   5 in 8: a row is ceil(K/5) bytes; byte j holds weights 5j..5j+4 as ceil(q * 256 / 243), q their codes read as
 *        a number of base 3, weight 5j first. Code n of a byte v is then (uint8(v * 3^n) * 3) >> 8. Padding is code 1.
 * Activations are int8, any value. Sums are exact int32 for K < 2^24. */
#define HYPI_T2_ROW_BYTES(k) (((k) + 3) / 4)
#define HYPI_T5_ROW_BYTES(k) (((k) + 4) / 5)
#define HYPI_P16_PANEL_BYTES(k) (((k) + 15) / 16 * 64)
#define HYPI_P16_BYTES(m, k) (((m) + 15) / 16 * HYPI_P16_PANEL_BYTES(k))

/* One product: out[batch][m] = w[m][k] . x[batch][k]. Either out_i32 or out_f32 is NULL. out_f32[b][i] =
 * (float)sum * (x_scale[b] * w_scale), two roundings after the conversion. */
struct hypi_ternary_job {
	const uint8_t *w;      /* T2 (rows w_stride_bytes apart), T5 (same) or P16 (panels one after the other) */
	size_t w_stride_bytes; /* unused for P16 */
	size_t m, k, batch;
	const int8_t *x; /* [batch], rows x_stride apart */
	size_t x_stride;
	const int32_t *x_sum; /* [batch]: the sum of each row of x, as the quantiser gives */
	const float *x_scale; /* [batch], unused for out_i32 */
	float w_scale;
	int32_t *out_i32;
	float *out_f32;
	size_t out_stride; /* between rows of out */
};

struct hypi_ternary {
	/* Per row: scale = max|x| / 127 (so that x is about q * scale), q = round half even (x / scale), sum = sum of q.
     * A row of zeros has scale 0 and q 0. Not for NaN and infinity. sum may be NULL. */
	void (*quantize_i8)(int8_t *q, size_t q_stride, float *scale, int32_t *sum, const float *x, size_t x_stride,
	                    size_t rows, size_t k);
	void (*dequantize_i8)(float *x, const int8_t *q, float scale, size_t n);
	/* Sum of |w|: absmean scale = that / n, clamped to 1e-5 from below by the caller's choice. 12 u. */
	double (*abs_sum_f32)(const float *w, size_t n);
	/* codes of round half even(w * inv_scale) clamped to -1..1, one row, as T2 */
	void (*quantize_t2)(uint8_t *dst, const float *w, float inv_scale, size_t k);
	void (*dequantize_t2)(float *dst, const uint8_t *t2, float scale, size_t k);
	void (*t2_from_i8)(uint8_t *dst, const int8_t *w, size_t k); /* values -1 0 1 */
	void (*i8_from_t2)(int8_t *dst, const uint8_t *t2, size_t k);
	void (*t5_from_t2)(uint8_t *dst, const uint8_t *t2, size_t k);
	void (*t2_from_t5)(uint8_t *dst, const uint8_t *t5, size_t k);
	/* rows [row_begin, row_end) of a T2 matrix into its P16 form; row_begin is a multiple of 16 */
	void (*pack_p16)(uint8_t *dst, const uint8_t *t2, size_t t2_stride_bytes, size_t m, size_t k, size_t row_begin,
	                 size_t row_end);
	void (*t2_from_p16)(uint8_t *dst, size_t dst_stride_bytes, const uint8_t *p16, size_t m, size_t k);
	/* Rows [row_begin, row_end) of the product, all the batch. P16: row_begin is a multiple of 16. */
	void (*matmul_t2)(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end);
	void (*matmul_t5)(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end);
	void (*matmul_p16)(const struct hypi_ternary_job *job, size_t row_begin, size_t row_end);
};

/* ---- Blocks of GGUF -------------------------------------------------------------------------------------------- */

/* Layouts in block.c. I2_S is the x86 order: blocks of 128; the scale lies outside of the codes. */
enum hypi_block { HYPI_Q8_0, HYPI_Q4_0, HYPI_TQ1_0, HYPI_TQ2_0, HYPI_I2_S, HYPI_BLOCK_COUNT };
struct hypi_block_info {
	const char *name;
	uint16_t elements; /* in a block */
	uint16_t bytes;    /* of a block */
};
extern const struct hypi_block_info hypi_block_info[HYPI_BLOCK_COUNT];

/* k is a multiple of the block's elements. I2_S: quantize takes the sign of what
 * is not below 1e-6 in size, and dequantize gives -1, 0, 1: the scale is the caller's. */
struct hypi_block_ops {
	void (*quantize[HYPI_BLOCK_COUNT])(void *dst, const float *x, size_t k);
	void (*dequantize[HYPI_BLOCK_COUNT])(float *dst, const void *blocks, size_t k);
	/* row of blocks times a row of Q8_0 blocks (k a multiple of both): the exact integer sum of each 32 elements, times
     * both scales, added up in f32. */
	float (*dot_q8_0[HYPI_BLOCK_COUNT])(const void *blocks, const void *q8_0, size_t k);
};

/* ---- Ceilings -------------------------------------------------------------------------------------------------- */

/* Loops that do nothing but what the hardware is best at: a profile divides by what they reach. Each returns how many
 * operations (multiply and add count two) or bytes it went through; the caller takes the time. */
struct hypi_probe {
	uint64_t (*fma_f32)(size_t rounds);
	uint64_t (*dot_i8)(size_t rounds); /* the set's best exact int8 dot product instruction or idiom */
	uint64_t (*read)(const void *p, size_t bytes);
};

/* ---- The table ------------------------------------------------------------------------------------------------- */

struct hypi_kernels {
	struct hypi_elementwise elementwise;
	struct hypi_reduce reduce;
	struct hypi_convert convert;
	struct hypi_gemm gemm;
	struct hypi_ternary ternary;
	struct hypi_block_ops block;
	struct hypi_probe probe;
	uint32_t mask; /* the sets in it */
};

/* The sets that this processor has, the operating system saves the registers of, and this build contains. */
uint32_t hypi_kernels_detect(void);
/* Fills a table with what detect() and mask both allow. A set whose lower rungs the mask lacks is not used. */
void hypi_kernels_fill(struct hypi_kernels *ret_kernels, uint32_t mask);
/* Fills the process's table. Call before any other thread uses it; returns the mask in force. */
uint32_t hypi_kernels_init(uint32_t mask);
/* The sets that the user allows, asked once, on first use. Defined by whoever links the kernels: tensor/describe.c reads
 * the option tensor_isa; a program that tests kernels allows what it likes. */
uint32_t hypi_kernels_allowed(void);
/* The process's table; filled on first use, from whichever thread, with all sets that are here and allowed. */
const struct hypi_kernels *hypi_kernels(void);

#endif
