/* Any processor: what the compiler makes of vectors of four. Integers of 16 bits, two products in each lane. */
#define P(name) name##_portable
#define NAME "portable"
#define V 4
#define NV 4
#define MR 2
#define KG 2
#define DW 4
#define DH 1
#define BORDERS 4
#define FORM NAME
#define FITS NULL
#define RA int16_t
#define RW int16_t
#define LOWEST (-128)

#include "path_begin.h"

static int P(runs)(void) { return 1; }

INLINE VF P(choose)(VI where, VF a, VF b) { return (VF)(((VI)a & where) | ((VI)b & ~where)); }
INLINE VF P(least)(VF a, VF b) { return P(choose)(a < b, a, b); }
INLINE VF P(most)(VF a, VF b) { return P(choose)(a > b, a, b); }

/* The next integer, of numbers within `least` and `most`: a large number leaves no room for a fraction. */
INLINE VI P(rounded)(VF x, float least, float most) {
    const VF held = P(least)(P(most)(x, (VF){0} + least), (VF){0} + most);
    return (VI)(held + 12582912.0f) - 0x4b400000;
}

INLINE void P(narrow)(int16_t *to, VI v) {
    for (int i = 0; i < V; i++) to[i] = (int16_t)v[i];
}

INLINE VI P(dot)(VI acc, VI a, VI w) {
    return acc + ((a << 16) >> 16) * ((w << 16) >> 16) + (a >> 16) * (w >> 16);
}
INLINE VS P(join)(VF low, VF high) {
    int16_t both[2 * V];
    P(narrow)(both, P(rounded)(low, -32768.0f, 32767.0f));
    P(narrow)(both + V, P(rounded)(high, -32768.0f, 32767.0f));
    VS to;
    memcpy(&to, both, sizeof to);
    return to;
}
INLINE void P(put_low)(int16_t *to, VS h) { memcpy(to, &h, V * sizeof *to); }
INLINE void P(put_two)(int16_t *low, int16_t *high, VS h) {
    P(put_low)(low, h);
    memcpy(high, (const int16_t *)&h + V, V * sizeof *high);
}
INLINE VS P(times)(VS a, VS b) {
    typedef int32_t Wide __attribute__((vector_size(V * 8)));
    const Wide product = __builtin_convertvector(a, Wide) * __builtin_convertvector(b, Wide);
    return __builtin_convertvector((product + 0x4000) >> 15, VS);
}
INLINE VS P(above_0)(VS x) { return x & ~(x >> 15); }
INLINE VS P(size)(VS x) { /* of -32768 itself, as where there is an instruction */
    typedef uint16_t Wrapping __attribute__((vector_size(V * 4)));
    return (VS)((Wrapping)(x ^ (x >> 15)) - (Wrapping)(x >> 15));
}
INLINE VS P(size_to)(VS size, VS most) {
    const VS over = (size > most) | (size < 0); /* -32768 has no other size */
    return (most & over) | (size & ~over);
}
#include "stretch.h"
INLINE VI P(squares_low)(VI sum, VS g) {
    for (int i = 0; i < V; i++) sum[i] += (int32_t)g[i] * g[i];
    return sum;
}
INLINE VI P(squares_high)(VI sum, VS g) {
    for (int i = 0; i < V; i++) sum[i] += (int32_t)g[V + i] * g[V + i];
    return sum;
}
INLINE VI P(squares_of_both)(VI sum, VS g) { return P(squares_high)(P(squares_low)(sum, g), g); }
INLINE void P(round_group)(int16_t *to, const VF v[GROUP / V]) {
    for (int i = 0; i < GROUP / V; i++) P(narrow)(to + i * V, P(rounded)(v[i], -128.0f, 127.0f));
}

INLINE void P(scale_row)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    int16_t *out = to;
    for (int i = 0; i < count; i++) {
        const int q = ((h[i] * f[i] + 0x4000) >> 15) + zero;
        out[i] = (int16_t)(q < -128 ? -128 : q > 127 ? 127 : q);
    }
}
