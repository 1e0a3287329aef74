/* WebAssembly with SIMD on Arm: bytes, of which four products are added up by three of Arm's instructions, where two of 16 bits
 * take four. On other processors the same takes three times as long as path_simd128.h. */
#define P(name) name##_simd128bytes
#define NAME "simd128bytes"
#define V 4
#define NV 4
#define MR 4
#define KG 4
#define DW 14
#define DH 1
#define FORM NAME
#define SHARED(name) name##_simd128
#define FITS NULL
#define RA int8_t
#define RW int8_t
#define LOWEST (-128)

#define OWN_SUMS
#define OWN_PLACE
#define OWN_PACKING

#include "path_begin.h"

static int P(runs)(void) { return 1; }

#include "vectors_simd128.h"

/* [k / 4][n / 4][k % 4 / 2][n % 4][k % 2]: inputs 0 and 1 of four outputs in the lower half, 2 and 3 in the upper. */
INLINE size_t P(place)(int n, int k, int width) {
    return (size_t)(k / 4) * (size_t)(width * 4) + (size_t)(n / 4 * 16 + k % 4 / 2 * 8 + n % 4 * 2 + k % 2);
}

/* Two inputs in all lanes. */
INLINE v128_t P(pair)(v128_t v, const int j) {
    switch (j) {
    case 0: return wasm_i16x8_shuffle(v, v, 0, 0, 0, 0, 0, 0, 0, 0);
    case 1: return wasm_i16x8_shuffle(v, v, 1, 1, 1, 1, 1, 1, 1, 1);
    case 2: return wasm_i16x8_shuffle(v, v, 2, 2, 2, 2, 2, 2, 2, 2);
    case 3: return wasm_i16x8_shuffle(v, v, 3, 3, 3, 3, 3, 3, 3, 3);
    case 4: return wasm_i16x8_shuffle(v, v, 4, 4, 4, 4, 4, 4, 4, 4);
    case 5: return wasm_i16x8_shuffle(v, v, 5, 5, 5, 5, 5, 5, 5, 5);
    case 6: return wasm_i16x8_shuffle(v, v, 6, 6, 6, 6, 6, 6, 6, 6);
    default: return wasm_i16x8_shuffle(v, v, 7, 7, 7, 7, 7, 7, 7, 7);
    }
}

/* acc + the products of a[0..3] and w[0..3]; two of them added in 16 bits, or where `wide` each by itself. */
INLINE VI P(four)(VI acc, v128_t low, v128_t high, v128_t w, const int wide) {
    const v128_t a = wasm_i16x8_extmul_low_i8x16(low, w), b = wasm_i16x8_extmul_high_i8x16(high, w);
    if (!wide) return (VI)wasm_i32x4_add((v128_t)acc, wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_add(a, b)));
    const v128_t first = wasm_i32x4_add((v128_t)acc, wasm_i32x4_extadd_pairwise_i16x8(a));
    return (VI)wasm_i32x4_add(first, wasm_i32x4_extadd_pairwise_i16x8(b));
}

/* Sixteen inputs of each row. */
INLINE void P(sixteen)(const int mr, const int nv, VI acc[MR][NV], const RA *a, int step, const RW *w) {
    v128_t inputs[MR];
    UNROLL for (int m = 0; m < mr; m++) inputs[m] = wasm_v128_load(a + (ptrdiff_t)m * step);
    UNROLL for (int j = 0; j < 4; j++) {
        v128_t weights[NV];
        UNROLL for (int n = 0; n < nv; n++) weights[n] = wasm_v128_load(w + (j * nv + n) * 16);
        UNROLL for (int m = 0; m < mr; m++) {
            const v128_t low = P(pair)(inputs[m], 2 * j), high = P(pair)(inputs[m], 2 * j + 1);
            UNROLL for (int n = 0; n < nv; n++) acc[m][n] = P(four)(acc[m][n], low, high, weights[n], 0);
        }
    }
}

/* Rare, and so not within each tile, where it would be most of what a page loads. */
static NOINLINE void P(sums_apart)(int mr, int nv, VI (*acc)[NV], const RA *a, ptrdiff_t step, const RW *w, int count) {
    for (int k = 0; k < count; k += 4, w += nv * V * 4)
        for (int m = 0; m < mr; m++) {
            const v128_t all = wasm_v128_load32_splat(a + m * step + k);
            const v128_t low = P(pair)(all, 0), high = P(pair)(all, 1);
            for (int n = 0; n < nv; n++) acc[m][n] = P(four)(acc[m][n], low, high, wasm_v128_load(w + n * 16), 1);
        }
}

INLINE void P(sums)(const int mr, const int nv, VI acc[MR][NV], const RA *a, int step, const RW *w, int count,
                    const uint8_t *wide) {
    if (*wide) {
        VI kept[MR][NV];
        UNROLL for (int i = 0; i < mr * nv; i++) kept[i / nv][i % nv] = acc[i / nv][i % nv];
        P(sums_apart)(mr, nv, kept, a, step, w, count);
        UNROLL for (int i = 0; i < mr * nv; i++) acc[i / nv][i % nv] = kept[i / nv][i % nv];
        return;
    }
    for (int k = 0; k < count; k += 16) P(sixteen)(mr, nv, acc, a + k, step, w + (ptrdiff_t)k * nv * V);
}

INLINE void P(pack_more)(Products *to, Arena *arena) {
    if (to->integers) to->wide = ecvx_take(arena, (size_t)to->n * (size_t)to->k / 256, 1);
}

/* Two times -128 * -128 are one more than 16 bits hold. A layer with such a weight, which the exporter does not write, is
 * multiplied in the other way as a whole: which way is asked once for a tile. */
static void P(look_at_packed)(Products *to) {
    const int8_t *w = to->weights;
    const size_t weights = (size_t)to->n * (size_t)to->k;
    int least = 0;
    for (size_t i = 0; i < weights; i++) least = w[i] < least ? w[i] : least;
    memset(to->wide, least == -128, weights / 256);
}

INLINE void P(put_bytes)(int8_t *to, v128_t low, v128_t high) { wasm_v128_store(to, wasm_i8x16_narrow_i16x8(low, high)); }

#include "bytes_simd128.h"
