/* What the AVX paths share: the sum of eight lanes, and with eight lanes to a vector all that does not know how wide an integer is. */
INLINE float P(sum_of_eight)(__m256 half) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

#if V == 8
INLINE float P(sum)(VF v) { return P(sum_of_eight)((__m256)v); }
INLINE VF P(least)(VF a, VF b) { return (VF)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE VF P(most)(VF a, VF b) { return (VF)_mm256_max_ps((__m256)a, (__m256)b); }

INLINE __m256i P(narrow)(const VF v[2]) {
    const __m256i low = _mm256_cvtps_epi32((__m256)v[0]), high = _mm256_cvtps_epi32((__m256)v[1]);
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
}
INLINE void P(hide_group)(int16_t *to, const VF v[HV]) { _mm256_storeu_si256((__m256i *)(void *)to, P(narrow)(v)); }
#endif
