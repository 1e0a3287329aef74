/* AVX-512 with VNNI: bytes, four products in each of 16 lanes; the activations are unsigned, 128 above int8. */
#define P(name) name##_avx512vnni
#define NAME "avx512vnni"
#define V 16
#define NV 3
#define MR 7
#define KG 4
#define DW 14
#define DH 2
#define BORDERS 7
#define FORM NAME
#define FITS NULL
#define RA uint8_t
#define RW int8_t
#define LOWEST 0
#define OWN_SUM
#define AHEAD 2
#define AT_ONCE 4

#include "path_begin.h"
#include "vectors_avx.h"

static int P(runs)(void) { return ecvx_x86_has(X86_AVX512VNNI); }

INLINE float P(sum)(VF v) {
    const __m256 high = _mm512_castps512_ps256(_mm512_shuffle_f32x4((__m512)v, (__m512)v, 0xee));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), high);
    return P(sum_of_eight)(half);
}

/* The sums of four vectors, each in every lane of a fourth, added in the order in which P(sum) does. */
INLINE VF P(four_sums)(const VF v[4]) {
    __m512 two[2];
    UNROLL for (int i = 0; i < 2; i++) {
        const __m512 a = (__m512)v[2 * i], b = (__m512)v[2 * i + 1];
        two[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
    __m512 s = _mm512_add_ps(_mm512_shuffle_f32x4(two[0], two[1], 0x88), _mm512_shuffle_f32x4(two[0], two[1], 0xdd));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4e));
    return (VF)_mm512_add_ps(s, _mm512_permute_ps(s, 0xb1));
}
/* `more` in one lane of each fourth. */
INLINE VF P(lanes_of)(VF v, VF more, int lane) {
    return (VF)_mm512_mask_mov_ps((__m512)v, (__mmask16)(0x1111 << lane), (__m512)more);
}
INLINE VF P(root)(VF v) { return (VF)_mm512_sqrt_ps((__m512)v); }

INLINE VF P(least)(VF a, VF b) { return (VF)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE VF P(most)(VF a, VF b) { return (VF)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE VI P(dot)(VI acc, VI a, VI w) { return (VI)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)a, (__m512i)w); }

/* Hidden numbers: in each fourth of a vector four of the one and four of the other. */
INLINE VS P(join)(VF low, VF high) {
    return (VS)_mm512_packs_epi32(_mm512_cvtps_epi32((__m512)low), _mm512_cvtps_epi32((__m512)high));
}
INLINE __m512i P(apart)(VS h) {
    __m512i apart = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), (__m512i)h);
    OWN_REGISTER(apart); /* one shuffle, where a compiler sees five for its two halves */
    return apart;
}
INLINE void P(put_low)(int16_t *to, VS h) {
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_castsi512_si256(P(apart)(h)));
}
INLINE void P(put_two)(int16_t *low, int16_t *high, VS h) {
    const __m512i apart = P(apart)(h);
    _mm256_storeu_si256((__m256i *)(void *)low, _mm512_castsi512_si256(apart));
    _mm256_storeu_si256((__m256i *)(void *)high, _mm512_extracti64x4_epi64(apart, 1));
}
INLINE VS P(times)(VS a, VS b) { return (VS)_mm512_mulhrs_epi16((__m512i)a, (__m512i)b); }
INLINE VS P(size)(VS x) { return (VS)_mm512_abs_epi16((__m512i)x); }
INLINE VS P(size_to)(VS size, VS most) { return (VS)_mm512_min_epu16((__m512i)size, (__m512i)most); }
/* times 2 to the `doublings`, held below 1 before: other units shift than multiply. */
typedef struct {
    VS most, doublings;
} P(Stretch);
INLINE P(Stretch) P(stretch)(int doublings) {
    return (P(Stretch)){(VS)_mm512_set1_epi16((short)(32767 >> doublings)), (VS)_mm512_set1_epi16((short)doublings)};
}
INLINE VS P(stretched)(VS size, P(Stretch) by) {
    return (VS)_mm512_sllv_epi16((__m512i)P(size_to)(size, by.most), (__m512i)by.doublings);
}
INLINE VS P(above_0)(VS x) { return (VS)_mm512_max_epi16((__m512i)x, _mm512_setzero_si512()); }
INLINE VI P(add_pairs)(VI sum, __m512i pairs) {
    __m512i added = (__m512i)sum;
    __asm__("vpdpwssd %1, %1, %0" : "+v"(added) : "v"(pairs)); /* one instruction, where a compiler takes two of less latency */
    return (VI)added;
}
INLINE VI P(squares_low)(VI sum, VS g) {
    return P(add_pairs)(sum, _mm512_unpacklo_epi16((__m512i)g, _mm512_setzero_si512()));
}
INLINE VI P(squares_high)(VI sum, VS g) {
    return P(add_pairs)(sum, _mm512_unpackhi_epi16((__m512i)g, _mm512_setzero_si512()));
}
INLINE VI P(squares_of_both)(VI sum, VS g) {
    return P(add_pairs)(sum, _mm512_unpacklo_epi16((__m512i)g, _mm512_bsrli_epi128((__m512i)g, 8)));
}
INLINE void P(round_group)(uint8_t *to, const VF v[1]) {
    const __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32((__m512)v[0]));
    _mm_storeu_si128((__m128i *)(void *)to, _mm_xor_si128(bytes, _mm_set1_epi8(-128))); /* 128 more */
}

/* A group of each of four pixels. */
INLINE void P(round_four)(uint8_t *to, ptrdiff_t step, const VF v[4]) {
    const __m512i a = _mm512_packs_epi32(_mm512_cvtps_epi32((__m512)v[0]), _mm512_cvtps_epi32((__m512)v[1]));
    const __m512i b = _mm512_packs_epi32(_mm512_cvtps_epi32((__m512)v[2]), _mm512_cvtps_epi32((__m512)v[3]));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packs_epi16(a, b));
    bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
    OWN_REGISTER(bytes);
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_castsi512_si128(bytes));
    _mm_storeu_si128((__m128i *)(void *)(to + step), _mm512_extracti32x4_epi32(bytes, 1));
    _mm_storeu_si128((__m128i *)(void *)(to + 2 * step), _mm512_extracti32x4_epi32(bytes, 2));
    _mm_storeu_si128((__m128i *)(void *)(to + 3 * step), _mm512_extracti32x4_epi32(bytes, 3));
}

/* 128 above int8, in 16 bits. */
INLINE __m512i P(scaled_by)(const int16_t *hidden, const int16_t *factor, __m512i zero) {
    return _mm512_adds_epi16(_mm512_mulhrs_epi16(_mm512_loadu_si512(hidden), _mm512_loadu_si512(factor)), zero);
}

INLINE void P(scale_row)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    const __m512i z = _mm512_set1_epi16((short)(zero + 128));
    uint8_t *out = to;
    int i = 0;
    for (; i + 64 <= count; i += 64) {
        const __m512i q = _mm512_packus_epi16(P(scaled_by)(h + i, f + i, z), P(scaled_by)(h + i + 32, f + i + 32, z));
        _mm512_storeu_si512(out + i, P(apart)((VS)q));
    }
    for (; i < count; i += 16) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(h + i));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(f + i));
        const __m256i q = _mm256_adds_epi16(_mm256_mulhrs_epi16(a, b), _mm512_castsi512_si256(z));
        const __m128i bytes = _mm256_cvtusepi16_epi8(_mm256_max_epi16(q, _mm256_setzero_si256()));
        _mm_storeu_si128((__m128i *)(void *)(out + i), bytes);
    }
}
