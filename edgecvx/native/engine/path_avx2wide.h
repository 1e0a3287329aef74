/* AVX2 with integers of 16 bits: exact for all of int8, where the sums of bytes would not fit (fits_pairs). */
#define P(name) name##_avx2wide
#define NAME "avx2"
#define FORM "avx2wide"
#define V 8
#define NV 2
#define MR 6
#define KG 2
#define DW 7
#define DH 1
#define FITS NULL
#define RA int16_t
#define RW int16_t
#define LOWEST (-128)
#define OWN_SUM

#include "path_begin.h"
#include "vectors_avx.h"

static int P(runs)(void) { return ecvx_x86_has(X86_AVX2); }

INLINE VI P(dot)(VI acc, VI a, VI w) { return acc + (VI)_mm256_madd_epi16((__m256i)a, (__m256i)w); }

INLINE __m256i P(held)(__m256i v) {
    return _mm256_max_epi16(_mm256_min_epi16(v, _mm256_set1_epi16(127)), _mm256_set1_epi16(-128));
}
INLINE void P(round_group)(int16_t *to, const VF v[2]) {
    _mm256_storeu_si256((__m256i *)(void *)to, P(held)(P(narrow)(v)));
}

INLINE void P(scale_row)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const __m256i *h = hidden, *f = factor, z = _mm256_set1_epi16((short)zero);
    __m256i *out = to;
    for (int i = 0; i < count / 16; i++) {
        const __m256i product = _mm256_mulhrs_epi16(_mm256_loadu_si256(h + i), _mm256_loadu_si256(f + i));
        _mm256_storeu_si256(out + i, P(held)(_mm256_adds_epi16(product, z)));
    }
}
