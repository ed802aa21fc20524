/*
 * kernels/gemm_plan.c: how a matrix product is cut into tiles, and which kernel runs them.
 *
 * A tile is a rectangle of C, and needs nothing from any other tile: each worker packs what its own tile reads. That
 * costs some packing twice (an element packed for a tile of 512 columns is used in 512 products), and saves every
 * barrier. Shapes choose the path:
 *   GEMV_ROWS  C is a vector and the matrix's stored rows run along K: dot products, one linear stream
 *   GEMV_COLS  C is a vector and the stored rows run along C: sums of scaled rows
 *   NT_DIRECT  few rows of A against weights stored [n][k]: the weights are read once, where they lie
 *   BLOCKED    the rest: panels of B packed for the register tile; A packed too where its rows would collide
 */
#include "kernels/kernels.h"

#include "base/compiler.h"

#define GEMV_TILE_BYTES ((size_t)256 << 10) /* least matrix bytes that are worth a tile of their own */
#define NT_DIRECT_MAX_M 192
#define NT_DIRECT_MIN_K 64
#define NT_DIRECT_A_BYTES ((size_t)384 << 10) /* of A in use at once: stays in a second-level cache */
#define BLOCK_K_BYTES 2048                    /* of one column in a block of K: 512 floats */
#define B_LYING_BYTES ((size_t)256 << 10)     /* of B: below, a copy costs more than it saves */
#define BLOCK_M 144
#define TILE_N_MAX 1024
#define TILE_WORK_MIN ((size_t)1 << 17) /* multiply-adds that are worth a tile of their own */

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }
static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }
static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t round_up(size_t a, size_t unit) { return ceil_div(a, unit) * unit; }

static void set_tiles(struct hypi_gemm_plan *p, size_t tile_m, size_t tile_n) {
	p->tile_m = tile_m;
	p->tile_n = tile_n;
	p->tiles_m = ceil_div(p->m, tile_m);
	p->tiles_n = ceil_div(p->n, tile_n);
	p->tiles = p->tiles_m * p->tiles_n;
}

static void plan_gemv(struct hypi_gemm_plan *p, size_t element_bytes, size_t workers) {
	bool row = p->m == 1; /* C is a row: the matrix is B */
	size_t length = row ? p->n : p->m;
	bool along_k = row ? p->trans_b : !p->trans_a;
	p->path = along_k ? HYPI_GEMV_ROWS : HYPI_GEMV_COLS;
	size_t worth = length * p->k * element_bytes / GEMV_TILE_BYTES;
	size_t tiles = workers == 1 ? 1 : max_size(1, min_size(worth, workers * 4));
	size_t tile = round_up(ceil_div(length, tiles), 16);
	set_tiles(p, row ? 1 : tile, row ? tile : 1);
	/* the vector, gathered, if it does not lie in one piece */
	bool gathered = row ? p->trans_a && p->lda != 1 : !p->trans_b && p->ldb != 1;
	p->scratch_bytes = gathered ? round_up(p->k * element_bytes, 64) : 0;
}

static void plan_nt_direct(struct hypi_gemm_plan *p, const struct hypi_gemm_impl *impl, size_t element_bytes,
                           size_t workers) {
	p->path = HYPI_GEMM_NT_DIRECT;
	p->block_k = min_size(1024, max_size(256, NT_DIRECT_A_BYTES / (p->m * element_bytes))) / 64 * 64;
	size_t tiles = workers == 1 ? 1 : workers * 4;
	size_t tile_n = max_size(round_up(ceil_div(p->n, tiles), impl->nt_nr), 4 * impl->nt_nr);
	set_tiles(p, p->m, tile_n);
	p->pack_a = true;
	p->scratch_bytes = p->m * p->block_k * element_bytes;
}

/* Square-ish tiles, at least as many as workers if there is work for them, with N cut before M. */
static void plan_blocked(struct hypi_gemm_plan *p, const struct hypi_gemm_impl *impl, size_t element_bytes,
                         size_t workers) {
	p->path = HYPI_GEMM_BLOCKED;
	size_t worth = max_size(1, p->m * p->n * p->k / TILE_WORK_MIN);
	size_t wanted = min_size(workers, worth);
	size_t tiles_n = ceil_div(p->n, TILE_N_MAX), tiles_m = 1;
	if (tiles_n % wanted != 0) tiles_n = round_up(tiles_n, wanted);
	size_t tile_n = round_up(ceil_div(p->n, tiles_n), impl->nr);
	if (ceil_div(p->n, tile_n) < wanted) tiles_m = ceil_div(wanted, ceil_div(p->n, tile_n));
	set_tiles(p, min_size(p->m, round_up(ceil_div(p->m, tiles_m), impl->mr)), tile_n);
	size_t blocks_k = max_size(1, ceil_div(p->k, BLOCK_K_BYTES / element_bytes));
	p->block_k = max_size(1, ceil_div(p->k, blocks_k));
	p->block_m = round_up(BLOCK_M, impl->mr);
	/* Rows a multiple of 2 KiB apart fall into few sets of the first cache. */
	bool rows_collide = p->lda * element_bytes % 2048 == 0 && p->k > 128;
	p->pack_a = p->trans_a || (rows_collide && p->n >= 256);
	/* B small: a copy would cost more than it saves. Where its rows do not end with a vector, the last vectors of a tile
	 * begin earlier and compute some columns twice: only where that changes nothing. */
	size_t last_n = p->n - (p->tiles_n - 1) * p->tile_n;
	bool whole = p->n % (impl->nr / 2) == 0, twice = p->beta == 0 && blocks_k == 1 && last_n >= impl->nr;
	p->pack_b = p->trans_b || p->n * p->k * element_bytes > B_LYING_BYTES || !(whole || twice);
	size_t b_bytes = round_up(min_size(tile_n, round_up(p->n, impl->nr)), impl->nr) * p->block_k * element_bytes;
	if (!p->pack_b) b_bytes = 0;
	size_t a_bytes = p->pack_a ? p->block_m * p->block_k * element_bytes : 0;
	p->scratch_bytes = round_up(b_bytes, 64) + round_up(a_bytes, 64);
}

void hypi_gemm_plan_init(struct hypi_gemm_plan *p, const struct hypi_gemm *gemm, size_t workers) {
	const struct hypi_gemm_impl *impl = p->f64 ? &gemm->f64 : &gemm->f32;
	size_t element_bytes = p->f64 ? sizeof(double) : sizeof(float);
	p->path = HYPI_GEMM_NONE;
	p->tile_m = p->tile_n = p->tiles_m = p->tiles_n = p->tiles = 0;
	p->block_k = p->block_m = p->scratch_bytes = 0;
	p->pack_a = p->pack_b = false;
	if (p->m == 0 || p->n == 0) return;
	if (workers == 0) workers = 1;
	bool vector = p->m == 1 || p->n == 1;
	if (vector && p->k > 0) {
		plan_gemv(p, element_bytes, workers);
	} else if (impl->nt_nr != 0 && p->trans_b && !p->trans_a && p->m <= NT_DIRECT_MAX_M && p->k >= NT_DIRECT_MIN_K &&
	           p->n >= 4 * p->m) {
		plan_nt_direct(p, impl, element_bytes, workers);
	} else {
		plan_blocked(p, impl, element_bytes, workers);
	}
}

void hypi_gemm_run(const struct hypi_gemm_plan *plan, const struct hypi_gemm *gemm, size_t tile_begin, size_t tile_end,
                   void *scratch) {
	(plan->f64 ? &gemm->f64 : &gemm->f32)->run(plan, tile_begin, tile_end, scratch);
}
