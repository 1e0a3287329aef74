/* AVX-512 with VNNI: bytes, four products in each of 16 lanes; the activations are unsigned, 128 above int8. */
#define P(name) name##_avx512vnni
#define NAME "avx512vnni"
#define V 16
#define NV 3
#define MR 7
#define KG 4
#define HV 1
#define DW 14
#define FORM NAME
#define FITS NULL
#define HALF 0
#define RA uint8_t
#define RW int8_t
#define LOWEST 0
#define OWN_SUM

#include "path_begin.h"
#include "vectors_avx.h"

static int P(runs)(void) { return ecvx_x86_has(X86_AVX512VNNI); }

INLINE float P(sum)(VF v) {
    const __m256 high = _mm512_castps512_ps256(_mm512_shuffle_f32x4((__m512)v, (__m512)v, 0xee));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), high);
    return P(sum_of_eight)(half);
}

INLINE VF P(least)(VF a, VF b) { return (VF)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE VF P(most)(VF a, VF b) { return (VF)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE VI P(dot)(VI acc, VI a, VI w) { return (VI)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)a, (__m512i)w); }

INLINE void P(hide_group)(int16_t *to, const VF v[HV]) {
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32((__m512)v[0])));
}
INLINE void P(round_group)(uint8_t *to, const VF v[1]) {
    const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32((__m512)v[0]), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtusepi32_epi8(whole));
}

static void P(scale_hidden)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    const __m512i z = _mm512_set1_epi16((short)zero), none = _mm512_setzero_si512();
    uint8_t *out = to;
    int i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m512i product = _mm512_mulhrs_epi16(_mm512_loadu_si512(h + i), _mm512_loadu_si512(f + i));
        const __m512i q = _mm512_max_epi16(_mm512_adds_epi16(product, z), none);
        _mm256_storeu_si256((__m256i *)(void *)(out + i), _mm512_cvtusepi16_epi8(q));
    }
    if (i < count) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(h + i));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(f + i));
        const __m256i q = _mm256_adds_epi16(_mm256_mulhrs_epi16(a, b), _mm512_castsi512_si256(z));
        const __m128i bytes = _mm256_cvtusepi16_epi8(_mm256_max_epi16(q, _mm256_setzero_si256()));
        _mm_storeu_si128((__m128i *)(void *)(out + i), bytes);
    }
}
