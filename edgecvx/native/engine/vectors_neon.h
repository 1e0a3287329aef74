/* What the Arm paths share. */
/* One instruction, which a compiler does not find. */
INLINE VF P(load_and_go)(const float **p, ptrdiff_t step) {
    float32x4_t v;
    __asm__("ld1 {%0.4s}, [%1], %2" : "=w"(v), "+r"(*p) : "r"(step * 4), "m"(*(const float(*)[4]) * p));
    return (VF)v;
}

INLINE VF P(least)(VF a, VF b) { return (VF)vminq_f32((float32x4_t)a, (float32x4_t)b); }
INLINE VF P(most)(VF a, VF b) { return (VF)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }

INLINE int16x8_t P(narrow)(const VF *v) {
    const int32x4_t low = vcvtnq_s32_f32((float32x4_t)v[0]), high = vcvtnq_s32_f32((float32x4_t)v[1]);
    return vqmovn_high_s32(vqmovn_s32(low), high);
}
INLINE VS P(join)(VF low, VF high) {
    const VF both[2] = {low, high};
    return (VS)P(narrow)(both);
}
INLINE void P(put_low)(int16_t *to, VS h) { vst1_s16(to, vget_low_s16((int16x8_t)h)); }
INLINE void P(put_two)(int16_t *low, int16_t *high, VS h) {
    if (high == low + 4) {
        vst1q_s16(low, (int16x8_t)h);
        return;
    }
    vst1_s16(low, vget_low_s16((int16x8_t)h));
    vst1_s16(high, vget_high_s16((int16x8_t)h));
}
INLINE VS P(times)(VS a, VS b) { return (VS)vqrdmulhq_s16((int16x8_t)a, (int16x8_t)b); }
INLINE VS P(size)(VS x) { return (VS)vqabsq_s16((int16x8_t)x); }
typedef int16x8_t P(Stretch);
INLINE P(Stretch) P(stretch)(int16_t doublings) { return vdupq_n_s16(doublings); }
INLINE VS P(stretched)(VS size, P(Stretch) s) { return (VS)vqshlq_s16((int16x8_t)size, s); }
INLINE VS P(above_0)(VS x) { return (VS)vmaxq_s16((int16x8_t)x, vdupq_n_s16(0)); }
INLINE VI P(squares_low)(VI sum, VS g) {
    return (VI)vmlal_s16((int32x4_t)sum, vget_low_s16((int16x8_t)g), vget_low_s16((int16x8_t)g));
}
INLINE VI P(squares_high)(VI sum, VS g) { return (VI)vmlal_high_s16((int32x4_t)sum, (int16x8_t)g, (int16x8_t)g); }
INLINE VI P(squares_of_both)(VI sum, VS g) { return P(squares_high)(P(squares_low)(sum, g), g); }

/* Hidden numbers times a factor per channel, rounded. */
INLINE void P(scale_row)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    const int16x8_t z = vdupq_n_s16((int16_t)zero);
    int8_t *out = to;
    UNROLL_TWICE for (int i = 0; i < count; i += 16) {
        const int16x8_t a = vqaddq_s16(vqrdmulhq_s16(vld1q_s16(h + i), vld1q_s16(f + i)), z);
        const int16x8_t b = vqaddq_s16(vqrdmulhq_s16(vld1q_s16(h + i + 8), vld1q_s16(f + i + 8)), z);
        vst1q_s8(out + i, vqmovn_high_s16(vqmovn_s16(a), b));
    }
}
INLINE void P(round_group)(int8_t *to, const VF v[4]) {
    vst1q_s8(to, vqmovn_high_s16(vqmovn_s16(P(narrow)(v)), P(narrow)(v + 2)));
}
