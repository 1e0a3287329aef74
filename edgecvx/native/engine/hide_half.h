/* Part of algorithm.h: an activation function on eight float16 at once. The squares of a tile's pixels are added in
 * float16, those of all pixels in float32. Below -1 the function is nothing, and so is x held there. */
INLINE float16x8_t P(half_of)(VF low, VF high) {
    return vcvt_high_f16_f32(vcvt_f16_f32((float32x4_t)low), (float32x4_t)high);
}

INLINE float16x8_t P(half_curve)(float16x8_t sum, const P(HalfSpread) *c) {
    const float16x8_t x = P(half_most)(P(half_least)(sum, c->top), c->minus_one), t = P(half_least)(x, c->one);
    const float16x8_t twice = t + t, v = twice * t + c->minus_one;
    float16x8_t q = c->coefficient[HALF_CURVE - 1];
    UNROLL for (int i = HALF_CURVE - 2; i >= 0; i--) q = q * v + c->coefficient[i];
    return x * (t * q + c->half);
}

/* All sums become float16 first, which frees half of their registers; then two rows at a time, since all at once would need
 * more of them than there are. */
INLINE void P(hide_tile)(const int mr, const int nv, VF sums[MR][NV], const Products *l, int n0, int p, const Sink *to,
                         const P(Spread) *spread) {
    float16x8_t x[MR][NV / 2];
    const ptrdiff_t pitch = to->pitch;
    float *const all_squares = to->squares + n0;
    float16_t *const first = (float16_t *)to->hidden + p * pitch + n0;
    UNROLL for (int n = 0; n < nv; n += 2) {
        const float *const scale = l->scale + n0 + n * V, *const bias = l->bias + n0 + n * V;
        const VF low = P(load)(scale), high = P(load)(scale + V);
        const float16x8_t add = P(half_of)(P(load)(bias), P(load)(bias + V));
        UNROLL for (int m = 0; m < mr; m++) {
            x[m][n / 2] = P(half_of)(sums[m][n] * low, sums[m][n + 1] * high) + add;
            __asm__ volatile("" : "+w"(x[m][n / 2]));
        }
    }
    UNROLL for (int n = 0; n < nv; n += 2) {
        float *const squares = all_squares + n * V;
        float16_t *out = first + n * V;
        float16x8_t sum = vdupq_n_f16((float16_t)0.0f);
        UNROLL for (int m = 0; m < mr; m++, out += pitch) {
            const float16x8_t h = P(half_curve)(x[m][n / 2], &spread->narrow);
            sum = m ? sum + h * h : h * h;
            vst1q_f16(out, h);
            if (m % 2) __asm__ volatile("" : "+w"(sum));
        }
        vst1q_f32(squares, vaddq_f32(vld1q_f32(squares), vcvt_f32_f16(vget_low_f16(sum))));
        vst1q_f32(squares + 4, vaddq_f32(vld1q_f32(squares + 4), vcvt_high_f32_f16(sum)));
    }
}
