/*
 * kernels/vec_math.h: exp, log, tanh and what neural networks make of them, on vectors of f32.
 *
 * Method: reduce the argument, evaluate a polynomial, put the exponent back. The polynomials are our own fits in
 * Chebyshev's basis over the reduced ranges, rounded to f32. The erf in GELU is formula 7.1.26 of Abramowitz and
 * Stegun (1964, after Hastings), |error| <= 1.5e-7. Bounds stand in kernels.h and are checked by tests/kernels.
 */
#ifndef HYPI_KERNELS_VEC_MATH_H
#define HYPI_KERNELS_VEC_MATH_H

#include "kernels/vec.h"

/* x = n ln 2 + r, |r| <= ln(2)/2. Returns P(r), where e^r = 1 + r + r^2 P(r). */
HYP_INLINE vf vf_exp_reduced(vf x, vf *ret_n, vf *ret_r) {
	vf n = vf_round(vf_mul(x, vf_set1(1.44269504f)));
	vf r = vf_fnma(n, vf_set1(0.693359375f), x); /* exact: 9 significant bits times an integer of 8 */
	r = vf_fnma(n, vf_set1(-2.12194440e-4f), r);
	vf p = vf_set1(1.393373322e-03f);
	p = vf_fma(p, r, vf_set1(8.363235385e-03f));
	p = vf_fma(p, r, vf_set1(4.166646417e-02f));
	p = vf_fma(p, r, vf_set1(1.666657664e-01f));
	*ret_n = n;
	*ret_r = r;
	return vf_fma(p, r, vf_set1(5.000000014e-01f));
}

/* e^x. Beyond the clamp the result is 0 or infinity anyway. */
HYP_INLINE vf vf_exp(vf x) {
	vf n, r, p = vf_exp_reduced(vf_clamp(x, vf_set1(-105.0f), vf_set1(89.0f)), &n, &r);
	p = vf_fma(vf_mul(p, r), r, r);
	return vf_scale(vf_add(p, vf_set1(1.0f)), n);
}

/* The same for x <= 0, as a softmax has it: nothing can overflow, and 1 + r + r^2 P(r) goes on as a polynomial. */
HYP_INLINE vf vf_exp_down(vf x) {
	const vf one = vf_set1(1.0f);
	/* A NaN stays: MAXPS yields its second operand. */
	vf n, r, p = vf_exp_reduced(vf_max_any(vf_set1(-105.0f), x), &n, &r);
	p = vf_fma(p, r, one);
	return vf_scale(vf_fma(p, r, one), n);
}

/* ln x. x = 2^e m, m in [sqrt(1/2), sqrt 2), f = m - 1; ln m = f - f^2/2 + f^3 P(f). */
HYP_INLINE vf vf_log(vf x) {
	const vf least_normal = vf_set1(0x1p-126f);
	vm tiny = vf_lt(x, least_normal);
	vf y = vf_select(tiny, vf_mul(x, vf_set1(0x1p23f)), x);
	const vi sqrt_half = vi_set1(0x3f3504f3);
	vi shifted = vi_sub(vf_bits(y), sqrt_half);
	vi e_int = vi_sra(shifted, 23);
	vf f = vf_sub(vf_of_bits(vi_add(vi_and(shifted, vi_set1(0x7fffff)), sqrt_half)), vf_set1(1.0f));
	vf e = vf_sub(vf_from_vi(e_int), vf_select(tiny, vf_set1(23.0f), vf_zero()));
	vf p = vf_set1(7.149753811e-02f);
	p = vf_fma(p, f, vf_set1(-1.157120077e-01f));
	p = vf_fma(p, f, vf_set1(1.166151112e-01f));
	p = vf_fma(p, f, vf_set1(-1.241105068e-01f));
	p = vf_fma(p, f, vf_set1(1.424993653e-01f));
	p = vf_fma(p, f, vf_set1(-1.666848024e-01f));
	p = vf_fma(p, f, vf_set1(2.000070748e-01f));
	p = vf_fma(p, f, vf_set1(-2.499998905e-01f));
	p = vf_fma(p, f, vf_set1(3.333333119e-01f));
	vf f2 = vf_mul(f, f);
	vf low = vf_fma(vf_mul(f2, f), p, vf_mul(e, vf_set1(-2.12194440e-4f)));
	low = vf_fnma(vf_set1(0.5f), f2, low);
	vf result = vf_fma(e, vf_set1(0.693359375f), vf_add(f, low));
	const vf infinity = vf_set1(__builtin_inff());
	result = vf_select(vf_eq(x, infinity), infinity, result);
	result = vf_select(vf_eq(x, vf_zero()), vf_neg(infinity), result);
	vf nan = vf_set1(__builtin_nanf(""));
	result = vf_select(vf_lt(x, vf_zero()), nan, result);
	return vf_select(vf_ne(x, x), x, result);
}

/* Near 0 a polynomial, which keeps the relative error; beyond, 1 - 2 / (e^2|x| + 1). */
HYP_INLINE vf vf_tanh(vf x) {
	vf a = vf_abs(x), z = vf_mul(x, x);
	vf p = vf_set1(2.218362857e-03f);
	p = vf_fma(p, z, vf_set1(-8.276125916e-03f));
	p = vf_fma(p, z, vf_set1(2.174755046e-02f));
	p = vf_fma(p, z, vf_set1(-5.395655653e-02f));
	p = vf_fma(p, z, vf_set1(1.333329185e-01f));
	p = vf_fma(p, z, vf_set1(-3.333333309e-01f));
	vf small = vf_fma(vf_mul(p, z), x, x);
	vf t = vf_add(vf_exp(vf_add(a, a)), vf_set1(1.0f));
	vf large = vf_copysign(vf_sub(vf_set1(1.0f), vf_div(vf_set1(2.0f), t)), x);
	return vf_select(vf_lt(a, vf_set1(0.625f)), small, large);
}

/* From e = e^-|x| <= 1, so that nothing overflows: 1 / (1 + e), or e / (1 + e) for negative x. */
HYP_INLINE vf vf_sigmoid(vf x) {
	const vf one = vf_set1(1.0f);
	vf e = vf_exp(vf_neg(vf_abs(x)));
	return vf_div(vf_select(vf_lt(x, vf_zero()), e, one), vf_add(one, e));
}

HYP_INLINE vf vf_silu(vf x) { return vf_mul(x, vf_sigmoid(x)); }

/* x/2 (1 + tanh v) = x sigmoid(2 v), v = sqrt(2/pi) (x + 0.044715 x^3) */
HYP_INLINE vf vf_gelu_tanh(vf x) {
	vf v = vf_fma(vf_mul(vf_mul(x, x), vf_set1(0.044715f)), x, x);
	return vf_mul(x, vf_sigmoid(vf_mul(v, vf_set1(1.59576912f))));
}

/* With y = |x| / sqrt 2 and t = 1 / (1 + 0.3275911 y): q = erfc(y) = t P(t) e^(-y^2); x/2 erfc(-x / sqrt 2) is x - x/2 q
 * for positive x and x/2 q for negative. */
HYP_INLINE vf vf_gelu(vf x) {
	const vf one = vf_set1(1.0f);
	vf y = vf_mul(vf_abs(x), vf_set1(0.70710678f));
	vf t = vf_div(one, vf_fma(y, vf_set1(0.3275911f), one));
	vf p = vf_set1(1.061405429f);
	p = vf_fma(p, t, vf_set1(-1.453152027f));
	p = vf_fma(p, t, vf_set1(1.421413741f));
	p = vf_fma(p, t, vf_set1(-0.284496736f));
	p = vf_fma(p, t, vf_set1(0.254829592f));
	vf q = vf_mul(vf_mul(p, t), vf_exp(vf_neg(vf_mul(y, y))));
	vf half_x = vf_mul(x, vf_set1(0.5f));
	return vf_mul(half_x, vf_select(vf_lt(x, vf_zero()), q, vf_sub(vf_set1(2.0f), q)));
}

#endif
