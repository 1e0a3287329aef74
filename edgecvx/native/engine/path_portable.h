/* Any processor: what the compiler makes of vectors of four. Integers of 16 bits, two products in each lane. */
#define P(name) name##_portable
#define NAME "portable"
#define V 4
#define NV 4
#define MR 2
#define KG 2
#define HV 1
#define DW 4
#define FORM NAME
#define FITS NULL
#define HALF 0
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
INLINE void P(hide_group)(int16_t *to, const VF v[HV]) { P(narrow)(to, P(rounded)(v[0], -32768.0f, 32767.0f)); }
INLINE void P(round_group)(int16_t *to, const VF v[GROUP / V]) {
    for (int i = 0; i < GROUP / V; i++) P(narrow)(to + i * V, P(rounded)(v[i], -128.0f, 127.0f));
}

static void P(scale_hidden)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    int16_t *out = to;
    for (int i = 0; i < count; i++) {
        const int q = ((h[i] * f[i] + 0x4000) >> 15) + zero;
        out[i] = (int16_t)(q < -128 ? -128 : q > 127 ? 127 : q);
    }
}
