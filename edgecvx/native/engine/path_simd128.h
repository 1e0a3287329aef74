/* WebAssembly with SIMD: integers of 16 bits, two products in each lane; a tile of 3 by 3, since engines spill larger ones. */
#define P(name) name##_simd128
#define NAME "simd128"
#define V 4
#define NV 3
#define MR 3
#define KG 2
#define DW 7
#define FORM NAME
#define FITS NULL
#define RA int16_t
#define RW int16_t
#define LOWEST (-128)

#include "path_begin.h"

static int P(runs)(void) { return 1; }

INLINE VF P(least)(VF a, VF b) { return (VF)wasm_f32x4_pmin((v128_t)b, (v128_t)a); }
INLINE VF P(most)(VF a, VF b) { return (VF)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }
INLINE VI P(dot)(VI acc, VI a, VI w) { return acc + (VI)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)w); }

/* The next integer below 2^22: a large number leaves no room for a fraction. */
INLINE v128_t P(rounded)(VF x) {
    const VF held = P(least)(P(most)(x, (VF){0} - 1e6f), (VF){0} + 1e6f);
    return wasm_i32x4_sub((v128_t)(held + 12582912.0f), wasm_i32x4_splat(0x4b400000));
}
INLINE v128_t P(held)(v128_t v) {
    return wasm_i16x8_max(wasm_i16x8_min(v, wasm_i16x8_splat(127)), wasm_i16x8_splat(-128));
}
INLINE VS P(join)(VF low, VF high) { return (VS)wasm_i16x8_narrow_i32x4(P(rounded)(low), P(rounded)(high)); }
INLINE void P(put_low)(int16_t *to, VS h) { wasm_v128_store64_lane(to, (v128_t)h, 0); }
INLINE void P(put_two)(int16_t *low, int16_t *high, VS h) {
    wasm_v128_store64_lane(low, (v128_t)h, 0);
    wasm_v128_store64_lane(high, (v128_t)h, 1);
}
INLINE VS P(times)(VS a, VS b) { return (VS)wasm_i16x8_q15mulr_sat((v128_t)a, (v128_t)b); }
INLINE VS P(size)(VS x) { return (VS)wasm_i16x8_abs((v128_t)x); }
INLINE VS P(size_to)(VS size, VS most) { return (VS)wasm_u16x8_min((v128_t)size, (v128_t)most); }
#include "stretch.h"
INLINE VS P(above_0)(VS x) { return (VS)wasm_i16x8_max((v128_t)x, wasm_i16x8_splat(0)); }
INLINE VI P(squares_low)(VI sum, VS g) { return sum + (VI)wasm_i32x4_extmul_low_i16x8((v128_t)g, (v128_t)g); }
INLINE VI P(squares_high)(VI sum, VS g) { return sum + (VI)wasm_i32x4_extmul_high_i16x8((v128_t)g, (v128_t)g); }
INLINE VI P(squares_of_both)(VI sum, VS g) {
    const v128_t pairs = wasm_i16x8_shuffle((v128_t)g, (v128_t)g, 0, 4, 1, 5, 2, 6, 3, 7);
    return sum + (VI)wasm_i32x4_dot_i16x8(pairs, pairs);
}
INLINE void P(round_group)(int16_t *to, const VF v[4]) {
    wasm_v128_store(to, P(held)(wasm_i16x8_narrow_i32x4(P(rounded)(v[0]), P(rounded)(v[1]))));
    wasm_v128_store(to + 8, P(held)(wasm_i16x8_narrow_i32x4(P(rounded)(v[2]), P(rounded)(v[3]))));
}

static void P(scale_hidden)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    const v128_t z = wasm_i16x8_splat((int16_t)zero);
    int16_t *out = to;
    for (int i = 0; i < count; i += 8) {
        const v128_t product = wasm_i16x8_q15mulr_sat(wasm_v128_load(h + i), wasm_v128_load(f + i));
        wasm_v128_store(out + i, P(held)(wasm_i16x8_add_sat(product, z)));
    }
}
