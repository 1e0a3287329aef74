/* What both paths of WebAssembly compute in the same way: four floats, eight integers of 16 bits. Read by path_simd128.h and
 * path_simd128bytes.h. */
INLINE VF P(least)(VF a, VF b) { return (VF)wasm_f32x4_pmin((v128_t)b, (v128_t)a); }
INLINE VF P(most)(VF a, VF b) { return (VF)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }

/* The next integer below 2^22: a large number leaves no room for a fraction. */
INLINE v128_t P(rounded)(VF x) {
    const VF held = P(least)(P(most)(x, (VF){0} - 1e6f), (VF){0} + 1e6f);
    return wasm_i32x4_sub((v128_t)(held + 12582912.0f), wasm_i32x4_splat(0x4b400000));
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
