/* AVX2 with integers of 16 bits: exact for all of int8, where the sums of bytes would not fit (fits_pairs). */
#define P(name) name##_avx2wide
#define NAME "avx2"
#define FORM "avx2wide"
#define V 8
#define NV 2
#define MR 6
#define KG 2
#define HV 2
#define DW 7
#define FITS NULL
#define HALF 0
#define RA int16_t
#define RW int16_t
#define LOWEST (-128)
#define OWN_SUM

typedef float P(VF) __attribute__((vector_size(V * 4)));
typedef int32_t P(VI) __attribute__((vector_size(V * 4)));
#define VF P(VF)
#define VI P(VI)

static int P(runs)(void) { return ecvx_x86_has(X86_AVX2); }

INLINE float P(sum)(VF v) {
    const __m256 half = (__m256)v;
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE VF P(least)(VF a, VF b) { return (VF)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE VF P(most)(VF a, VF b) { return (VF)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE VI P(dot)(VI acc, VI a, VI w) { return acc + (VI)_mm256_madd_epi16((__m256i)a, (__m256i)w); }

INLINE __m256i P(narrow)(const VF v[2]) {
    const __m256i low = _mm256_cvtps_epi32((__m256)v[0]), high = _mm256_cvtps_epi32((__m256)v[1]);
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
}
INLINE __m256i P(held)(__m256i v) {
    return _mm256_max_epi16(_mm256_min_epi16(v, _mm256_set1_epi16(127)), _mm256_set1_epi16(-128));
}
INLINE void P(hide_group)(int16_t *to, const VF v[HV]) { _mm256_storeu_si256((__m256i *)(void *)to, P(narrow)(v)); }
INLINE void P(round_group)(int16_t *to, const VF v[2]) {
    _mm256_storeu_si256((__m256i *)(void *)to, P(held)(P(narrow)(v)));
}

static void P(scale_hidden)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const __m256i *h = hidden, *f = factor, z = _mm256_set1_epi16((short)zero);
    __m256i *out = to;
    for (int i = 0; i < count / 16; i++) {
        const __m256i product = _mm256_mulhrs_epi16(_mm256_loadu_si256(h + i), _mm256_loadu_si256(f + i));
        _mm256_storeu_si256(out + i, P(held)(_mm256_adds_epi16(product, z)));
    }
}

INLINE void P(pack_more)(Products *to, Arena *arena) { (void)to, (void)arena; }
INLINE void P(look_at_packed)(Products *to) { (void)to; }
