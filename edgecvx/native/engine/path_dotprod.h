/* Armv8.2 with dot products and half-precision arithmetic: bytes, four products in each lane; what lies between fc1 and
 * fc2 is float16, eight of them side by side, at most `top`, so that the squares of a tile's pixels can be added in it. */
#define P(name) name##_dotprod
#define NAME "dotprod"
#define V 4
#define NV 4
#define MR 6
#define KG 4
#define HV 2
#define DW 14
#define FORM NAME
#define FITS NULL
#define HALF 1
#define RA int8_t
#define RW int8_t
#define LOWEST (-128)
#define OWN_SUMS
#define OWN_LOAD_AND_GO

#include "path_begin.h"
#include "vectors_neon.h"

static int P(runs)(void) { return ecvx_arm_has_dotprod(); }

INLINE void P(sums)(const int mr, const int nv, VI acc[MR][NV], const RA *a, int step, const RW *w, int count,
                    const uint8_t *wide) {
    (void)wide;
    const RA *row[MR];
    UNROLL for (int m = 0; m < mr; m++) {
        row[m] = a + (ptrdiff_t)m * step;
        __asm__("" : "+r"(row[m])); /* each in a register, and not one from the other each time */
    }
    for (ptrdiff_t k = 0; k < count; k += 16, w += nv * V * 16) {
        int8x16_t x[MR];
        UNROLL for (int m = 0; m < mr; m++) x[m] = vld1q_s8(row[m] + k);
        UNROLL for (int n = 0; n < nv; n++) {
            const int8x16_t w0 = vld1q_s8(w + n * 16), w1 = vld1q_s8(w + (nv + n) * 16);
            const int8x16_t w2 = vld1q_s8(w + (2 * nv + n) * 16), w3 = vld1q_s8(w + (3 * nv + n) * 16);
            UNROLL for (int m = 0; m < mr; m++) {
                int32x4_t s = vdotq_laneq_s32((int32x4_t)acc[m][n], w0, x[m], 0);
                s = vdotq_laneq_s32(s, w1, x[m], 1);
                s = vdotq_laneq_s32(s, w2, x[m], 2);
                acc[m][n] = (VI)vdotq_laneq_s32(s, w3, x[m], 3);
            }
        }
    }
}

/* Written as instructions: a compiler told to leave float16 out of all other code refuses its own functions for these. */
INLINE float16x8_t P(half_least)(float16x8_t a, float16x8_t b) {
    __asm__("fmin %0.8h, %1.8h, %2.8h" : "=w"(a) : "w"(a), "w"(b));
    return a;
}
INLINE float16x8_t P(half_most)(float16x8_t a, float16x8_t b) {
    __asm__("fmax %0.8h, %1.8h, %2.8h" : "=w"(a) : "w"(a), "w"(b));
    return a;
}
INLINE int16x8_t P(half_rounded)(float16x8_t x) {
    int16x8_t whole;
    __asm__("fcvtns %0.8h, %1.8h" : "=w"(whole) : "w"(x));
    return whole;
}


static void P(scale_hidden)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const float16_t *h = hidden, *f = factor;
    const int16x8_t z = vdupq_n_s16((int16_t)zero);
    int8_t *out = to;
    UNROLL_TWICE for (int i = 0; i < count; i += 16) {
        const int16x8_t a = vqaddq_s16(P(half_rounded)(vmulq_f16(vld1q_f16(h + i), vld1q_f16(f + i))), z);
        const int16x8_t b = vqaddq_s16(P(half_rounded)(vmulq_f16(vld1q_f16(h + i + 8), vld1q_f16(f + i + 8))), z);
        vst1q_s8(out + i, vqmovn_high_s16(vqmovn_s16(a), b));
    }
}

/* A curve in float16. */
typedef struct {
    float16x8_t coefficient[HALF_CURVE], half, one, minus_one, top;
} P(HalfSpread);

INLINE P(HalfSpread) P(half_spread)(const Curve *c) {
    P(HalfSpread) s = {.half = vdupq_n_f16((float16_t)c->half), .one = vdupq_n_f16((float16_t)1.0f)};
    UNROLL for (int i = 0; i < HALF_CURVE; i++) s.coefficient[i] = vdupq_n_f16((float16_t)c->coefficient[i]);
    s.minus_one = vdupq_n_f16((float16_t)-1.0f);
    s.top = vdupq_n_f16((float16_t)c->top);
    return s;
}
