/* WebAssembly with SIMD: integers of 16 bits, two products in each lane; a tile of 3 by 3, since engines spill larger ones. */
#define P(name) name##_simd128
#define NAME "simd128"
#define V 4
#define NV 3
#define MR 3
#define KG 2
#define DW 7
#define DH 1
#define FORM NAME
#define FITS NULL
#define RA int16_t
#define RW int16_t
#define LOWEST (-128)

#include "path_begin.h"

static int P(runs)(void) { return 1; }

#include "vectors_simd128.h"

INLINE VI P(dot)(VI acc, VI a, VI w) { return acc + (VI)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)w); }
INLINE v128_t P(held)(v128_t v) {
    return wasm_i16x8_max(wasm_i16x8_min(v, wasm_i16x8_splat(127)), wasm_i16x8_splat(-128));
}
INLINE void P(round_group)(int16_t *to, const VF v[4]) {
    wasm_v128_store(to, P(held)(wasm_i16x8_narrow_i32x4(P(rounded)(v[0]), P(rounded)(v[1]))));
    wasm_v128_store(to + 8, P(held)(wasm_i16x8_narrow_i32x4(P(rounded)(v[2]), P(rounded)(v[3]))));
}

INLINE void P(scale_row)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    const v128_t z = wasm_i16x8_splat((int16_t)zero);
    int16_t *out = to;
    for (int i = 0; i < count; i += 8) {
        const v128_t product = wasm_i16x8_q15mulr_sat(wasm_v128_load(h + i), wasm_v128_load(f + i));
        wasm_v128_store(out + i, P(held)(wasm_i16x8_add_sat(product, z)));
    }
}
