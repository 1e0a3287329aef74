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

/* Hidden numbers: in each half of a vector four of the one and four of the other. */
INLINE VS P(join)(VF low, VF high) {
    return (VS)_mm256_packs_epi32(_mm256_cvtps_epi32((__m256)low), _mm256_cvtps_epi32((__m256)high));
}
INLINE void P(put_low)(int16_t *to, VS h) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(_mm256_permute4x64_epi64((__m256i)h, 0xd8)));
}
INLINE void P(put_two)(int16_t *low, int16_t *high, VS h) {
    const __m256i apart = _mm256_permute4x64_epi64((__m256i)h, 0xd8);
    _mm_storeu_si128((__m128i *)(void *)low, _mm256_castsi256_si128(apart));
    _mm_storeu_si128((__m128i *)(void *)high, _mm256_extracti128_si256(apart, 1));
}
INLINE VS P(times)(VS a, VS b) { return (VS)_mm256_mulhrs_epi16((__m256i)a, (__m256i)b); }
INLINE VS P(size)(VS x) { return (VS)_mm256_abs_epi16((__m256i)x); }
INLINE VS P(size_to)(VS size, VS most) { return (VS)_mm256_min_epu16((__m256i)size, (__m256i)most); }
#include "stretch.h"
INLINE VS P(above_0)(VS x) { return (VS)_mm256_max_epi16((__m256i)x, _mm256_setzero_si256()); }
INLINE VI P(add_pairs)(VI sum, __m256i pairs) { return sum + (VI)_mm256_madd_epi16(pairs, pairs); }
INLINE VI P(squares_low)(VI sum, VS g) {
    return P(add_pairs)(sum, _mm256_unpacklo_epi16((__m256i)g, _mm256_setzero_si256()));
}
INLINE VI P(squares_high)(VI sum, VS g) {
    return P(add_pairs)(sum, _mm256_unpackhi_epi16((__m256i)g, _mm256_setzero_si256()));
}
INLINE VI P(squares_of_both)(VI sum, VS g) {
    return P(add_pairs)(sum, _mm256_unpacklo_epi16((__m256i)g, _mm256_srli_si256((__m256i)g, 8)));
}
#endif
