/* What the paths of WebAssembly that multiply bytes round in the same way; how bytes are kept is said before: P(put_bytes). */
INLINE void P(round_group)(int8_t *to, const VF v[4]) {
    P(put_bytes)(to, (v128_t)P(join)(v[0], v[1]), (v128_t)P(join)(v[2], v[3]));
}

INLINE void P(scale_row)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    const v128_t z = wasm_i16x8_splat((int16_t)zero);
    int8_t *out = to;
    for (int i = 0; i < count; i += 16) {
        const v128_t a = wasm_i16x8_q15mulr_sat(wasm_v128_load(h + i), wasm_v128_load(f + i));
        const v128_t b = wasm_i16x8_q15mulr_sat(wasm_v128_load(h + i + 8), wasm_v128_load(f + i + 8));
        P(put_bytes)(out + i, wasm_i16x8_add_sat(a, z), wasm_i16x8_add_sat(b, z));
    }
}
