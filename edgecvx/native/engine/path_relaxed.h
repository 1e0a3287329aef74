/* WebAssembly with relaxed SIMD: bytes, four products in each lane and instruction. One of its factors has to have seven bits to
 * be the same everywhere, and ours has eight: processors take it as signed (Arm) or as unsigned (Intel, AMD), some of these with
 * two products added up in 16 bits. So it is asked which, and weights have to be such as AVX2 needs. */
#define P(name) name##_relaxed
#define NAME "relaxed"
#define V 4
#define NV 4
#define MR 2
#define KG 4
#define DW 7
#define DH 1
#define FORM NAME
#define SHARED(name) name##_simd128
#define SHARED_DEPTHWISE
#define FITS fits_pairs
#define RA int8_t
#define RW int8_t
#define LOWEST P(lowest)

#include "path_begin.h"

/* 0 where a byte is unsigned, -128 where it is signed. */
static int P(lowest) = 1;

INLINE VI P(dot)(VI acc, VI a, VI w) {
    return (VI)wasm_i32x4_relaxed_dot_i8x16_i7x16_add((v128_t)w, (v128_t)a, (v128_t)acc);
}

/* Sums of the largest pairs of products that fit, above and below zero, in both ways; what is volatile no compiler knows. */
static int P(asked)(void) {
    static const int8_t most[16] = {127, 1, -127, -1, -128, 0, 127, 1, 1, 127, 0, -128, 64, 64, -64, -64};
    static const int bytes[4][4] = {{0, 255, 1, 128}, {255, 0, 128, 127}, {255, 255, 0, 129}, {200, 100, 255, 254}};
    int is_signed = 1, is_unsigned = 1;
    for (int t = 0; t < 4; t++) {
        volatile uint8_t given[16];
        uint8_t a[16];
        for (int i = 0; i < 16; i++) given[i] = (uint8_t)bytes[t][i / (t % 2 + 1) % 4];
        for (int i = 0; i < 16; i++) a[i] = given[i];
        const VI found = P(dot)((VI){1, -1, 0, 7}, (VI)wasm_v128_load(a), (VI)wasm_v128_load(most));
        for (int lane = 0; lane < 4; lane++) {
            int s = lane == 3 ? 7 : lane == 0 ? 1 : lane - 2, u = s;
            for (int i = 4 * lane; i < 4 * lane + 4; i++) s += most[i] * (int8_t)a[i], u += most[i] * a[i];
            is_signed &= found[lane] == s, is_unsigned &= found[lane] == u;
        }
    }
    return is_signed ? -128 : is_unsigned ? 0 : 1;
}
static int P(runs)(void) {
    if (P(lowest) > 0) P(lowest) = P(asked)();
    return P(lowest) <= 0;
}

#include "vectors_simd128.h"

/* int8, or 128 more. */
INLINE void P(put_bytes)(int8_t *to, v128_t low, v128_t high) {
    const v128_t more = wasm_i8x16_splat((int8_t)(P(lowest) + 128));
    wasm_v128_store(to, wasm_v128_xor(wasm_i8x16_narrow_i16x8(low, high), more));
}
#include "bytes_simd128.h"
