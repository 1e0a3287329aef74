/* AVX2 with bytes: the activations are unsigned there, 128 above int8. How four products are added to a lane is said before:
 * DOT(acc, a, w), beside P, NAME, RUNS and FITS. */
#define V 8
#define NV 2
#define MR 6
#define KG 4
#define DW 7
#define DH 1
#define BORDERS 7
#define AT_ONCE 2
#define RA uint8_t
#define RW int8_t
#define LOWEST 0
#define OWN_SUM

#include "path_begin.h"
#include "vectors_avx.h"

static int P(runs)(void) { return RUNS; }

INLINE VI P(dot)(VI acc, VI a, VI w) { return (VI)DOT((__m256i)acc, (__m256i)a, (__m256i)w); }

/* int8, and 128 more. */
INLINE void P(put_bytes)(uint8_t *to, __m256i v) {
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((__m128i *)(void *)to, _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
}
INLINE void P(round_group)(uint8_t *to, const VF v[2]) { P(put_bytes)(to, P(narrow)(v)); }

INLINE void P(scale_row)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const __m256i *h = hidden, *f = factor, z = _mm256_set1_epi16((short)zero);
    uint8_t *out = to;
    for (int i = 0; i < count / 16; i++) {
        const __m256i product = _mm256_mulhrs_epi16(_mm256_loadu_si256(h + i), _mm256_loadu_si256(f + i));
        P(put_bytes)(out + 16 * i, _mm256_adds_epi16(product, z));
    }
}
