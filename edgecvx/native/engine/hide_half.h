/* Part of algorithm.h: an activation function on eight float16 at once. The squares of a tile's pixels are added in
 * float16, those of all pixels in float32. */
INLINE float16x8_t P(half_of)(VF low, VF high) {
    return vcvt_high_f16_f32(vcvt_f16_f32((float32x4_t)low), (float32x4_t)high);
}

INLINE float16x8_t P(half_activated)(VF low, VF high, const P(Spread) *s) {
    const P(HalfSpread) *c = &s->narrow;
    if (s->silu) return P(half_least)(P(half_of)(P(activated)(low, s), P(activated)(high, s)), vdupq_n_f16((float16_t)96.0f));
    const float16x8_t x = P(half_least)(P(half_of)(low, high), c->top), t = P(half_most)(P(half_least)(x, c->one), c->minus_one);
    const float16x8_t u = t * t;
    float16x8_t q = c->coefficient[CURVE - 1];
    UNROLL for (int i = CURVE - 2; i >= 0; i--) q = q * u + c->coefficient[i];
    return x * (t * q + c->half);
}

INLINE void P(hide_tile)(const int mr, const int nv, VF y[MR][NV], int n0, int p, const Sink *to, const P(Spread) *spread) {
    UNROLL for (int n = 0; n < nv; n += 2) {
        float *squares = to->squares + n0 + n * V;
        float16x8_t sum = vdupq_n_f16((float16_t)0.0f);
        UNROLL for (int m = 0; m < mr; m++) {
            const float16x8_t h = P(half_activated)(y[m][n], y[m][n + 1], spread);
            sum = m ? sum + h * h : h * h;
            vst1q_f16((float16_t *)to->hidden + (ptrdiff_t)(p + m) * to->pitch + n0 + n * V, h);
        }
        vst1q_f32(squares, vaddq_f32(vld1q_f32(squares), vcvt_f32_f16(vget_low_f16(sum))));
        vst1q_f32(squares + 4, vaddq_f32(vld1q_f32(squares + 4), vcvt_high_f32_f16(sum)));
    }
}
