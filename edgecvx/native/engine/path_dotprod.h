/* Armv8.2 with dot products: bytes, four products in each lane. */
#define P(name) name##_dotprod
#define NAME "dotprod"
#define V 4
#define NV 4
#define MR 6
#define KG 4
#define DW 14
#define DH 1
#define BORDERS 14
#define FORM NAME
#define FITS NULL
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
    const RA *row[MR]; /* its end: what counts up to zero says by itself that it is there */
    ptrdiff_t k = -(ptrdiff_t)count;
    a -= k;
    __asm__("" : "+r"(a));
    UNROLL for (int m = 0; m < mr; m++) {
        row[m] = a + (ptrdiff_t)m * step;
        __asm__("" : "+r"(row[m])); /* each in a register, and not one from the other each time */
    }
    for (; k != 0; k += 16, w += nv * V * 16) {
        __asm__("" : "+r"(k)); /* and does not become another that counts from zero */
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
