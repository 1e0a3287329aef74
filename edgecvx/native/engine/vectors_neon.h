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
INLINE void P(round_group)(int8_t *to, const VF v[4]) {
    vst1q_s8(to, vqmovn_high_s16(vqmovn_s16(P(narrow)(v)), P(narrow)(v + 2)));
}
