/* All sets of kernels that this kind of processor may run; which of them it can is asked when a model is opened. */
#include "kernels.h"

#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_TWICE _Pragma("clang loop unroll_count(2)")
#define BEGIN_TARGET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define BEGIN_TARGET(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_TARGET PRAGMA(GCC pop_options)
#define UNROLL _Pragma("GCC unroll 64")
#define UNROLL_TWICE _Pragma("GCC unroll 2")
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors are arguments of functions that are inlined alone */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast") /* what -ffp-contract=on means to clang */
#endif
#define NOINLINE __attribute__((noinline))

/* A value that begins as a copy is a copy at once, and not anew each time a loop goes round. */
#if defined(__aarch64__)
#define OWN_REGISTER(value) __asm__("" : "+w"(value))
#define OWN_POINTER(value) __asm__("" : "+r"(value))
#elif defined(__x86_64__)
#define OWN_REGISTER(value) __asm__("" : "+v"(value))
#define OWN_POINTER(value) __asm__("" : "+r"(value)) /* and is not found from another one each time */
#else
#define OWN_REGISTER(value) ((void)0)
#define OWN_POINTER(value) ((void)0)
#endif

/* A product that is rounded before something is added to it, on every processor: those that add in the same operation would not. */
INLINE float alone(float product) {
    OWN_REGISTER(product);
    return product;
}

#include "processor.h"

#ifndef __wasm_simd128__ /* which has vectors everywhere: there it would only be more to load */
#include "path_portable.h"

#include "algorithm.h"

#include "path_end.h"
#endif

#if defined(__x86_64__) || defined(__wasm_relaxed_simd__)
/* Whether two neighbours of one sign reach 128 at most: 255 times that fits into the 16 bits in which AVX2 adds two products of
 * bytes, and saturates. The rest of a segment stands alone. */
static int fits_pairs_of(const Layer *l, int segment) {
    for (int n = 0; l->integers && n < l->n; n++)
        for (int s = 0; s < l->k; s += segment) {
            const int8_t *w = l->bytes + (size_t)n * (size_t)l->k + s;
            int worst = 0;
            for (int i = 0; i + 1 < segment; i += 2) {
                const int above = (w[i] > 0 ? w[i] : 0) + (w[i + 1] > 0 ? w[i + 1] : 0);
                const int below = (w[i] < 0 ? w[i] : 0) + (w[i + 1] < 0 ? w[i + 1] : 0);
                worst |= above > 128 || below < -128;
            }
            if (worst) return 0;
        }
    return 1;
}

static int fits_pairs(const Model *m) {
    int fits = fits_pairs_of(&m->convolution[0].layer, m->convolution[0].layer.k);
    if (m->stem == 2) fits &= fits_pairs_of(&m->convolution[1].layer, m->convolution[1].in);
    for (int s = 0; s < 4 && fits; s++) {
        const Stage *t = &m->stage[s];
        if (s) fits &= fits_pairs_of(&t->down, t[-1].channels);
        for (int b = 0; b < t->depth; b++)
            fits &= fits_pairs_of(&t->block[b].fc1, t->channels) && fits_pairs_of(&t->block[b].fc2, 4 * t->channels);
    }
    return fits && (m->task != CLASSIFY || fits_pairs_of(&m->classifier, m->stage[3].channels));
}
#endif

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")
#define P(name) name##_avx2
#define NAME "avx2"
#define FORM NAME
#define RUNS ecvx_x86_has(X86_AVX2)
#define FITS fits_pairs
#define DOT(acc, a, w) _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(a, w), _mm256_set1_epi16(1)))
#include "path_avx_bytes.h"

#include "algorithm.h"

#include "path_end.h"
#include "path_avx2wide.h"

#include "algorithm.h"

#include "path_end.h"
END_TARGET
BEGIN_TARGET("avx2,fma,avxvnni")
#define P(name) name##_avxvnni
#define NAME "avxvnni"
#define FORM NAME
#define RUNS ecvx_x86_has(X86_AVXVNNI)
#define FITS NULL
#define DOT(acc, a, w) _mm256_dpbusd_avx_epi32(acc, a, w)
#include "path_avx_bytes.h"

#include "algorithm.h"

#include "path_end.h"
END_TARGET
BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "path_avx512vnni.h"

#include "algorithm.h"

#include "path_end.h"
END_TARGET

#elif defined(__aarch64__)
#include <arm_neon.h>

#include "path_neon.h"

#include "algorithm.h"

#include "path_end.h"
BEGIN_TARGET("+dotprod")
#include "path_dotprod.h"

#include "algorithm.h"

#include "path_end.h"
END_TARGET

#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>

#include "path_simd128.h"

#include "algorithm.h"

#include "path_end.h"
#if defined(__wasm_relaxed_simd__)
#include "path_relaxed.h"
#else
#include "path_simd128bytes.h"
#endif

#include "algorithm.h"

#include "path_end.h"
#endif

const Kernels *const ecvx_all_kernels[] = {
#if defined(__x86_64__)
    &kernels_avx512vnni, &kernels_avxvnni, &kernels_avx2, &kernels_avx2wide,
#elif defined(__aarch64__)
    &kernels_dotprod,    &kernels_neon,
#elif defined(__wasm_relaxed_simd__)
    &kernels_relaxed,    &kernels_simd128,
#elif defined(__wasm_simd128__)
    &kernels_simd128,    &kernels_simd128bytes,
#endif
#ifndef __wasm_simd128__
    &kernels_portable,
#endif
    NULL,
};
#if !defined(__clang__)
#pragma GCC pop_options
#endif
