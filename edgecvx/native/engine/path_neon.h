/* Armv8.0: four products of bytes are added in 16 bits and then to the sum, 32 products in five instructions. Where
 * four weights are so large that 16 bits may not hold that (`wide`), two and two are; where one is -128, which our files
 * leave unused, each by itself. */
#define P(name) name##_neon
#define NAME "neon"
#define V 4
#define NV 4
#define MR 3
#define KG 4
#define HV 2
#define DW 14
#define FORM NAME
#define FITS NULL
#define HALF 0
#define RA int8_t
#define RW int8_t
#define LOWEST (-128)
#define OWN_SUMS
#define OWN_PLACE
#define OWN_PACKING
#define OWN_LOAD_AND_GO

#include "path_begin.h"
#include "vectors_neon.h"

static int P(runs)(void) { return 1; }

/* 16 outputs by 16 inputs in 256 bytes: of each half of the inputs and each four outputs, 4 inputs and the 4 others; of 4
 * the first two of all four outputs, then the other two. */
INLINE size_t P(place)(int n, int k, int width) {
    (void)width;
    return (size_t)(k / 16 * 256 + k % 16 / 8 * 128 + n / 4 * 32 + k % 8 / 4 * 16 + k % 4 / 2 * 8 + n % 4 * 2 + k % 2);
}

/* Sixteen sums of four products (or of two and two) of a row, added to the sums of four outputs. */
INLINE VI P(four)(VI acc, int8x16_t w0, int8x16_t w1, int8x16_t x, int8x16_t y, int wide) {
    int16x8_t s = vmull_s8(vget_low_s8(w0), vget_low_s8(x));
    if (wide == 2) acc = (VI)vpadalq_s16((int32x4_t)acc, s);
    s = wide == 2 ? vmull_high_s8(w0, x) : vmlal_high_s8(s, w0, x);
    if (wide) {
        acc = (VI)vpadalq_s16((int32x4_t)acc, s);
        s = vmull_s8(vget_low_s8(w1), vget_low_s8(y));
    } else {
        s = vmlal_s8(s, vget_low_s8(w1), vget_low_s8(y));
    }
    if (wide == 2) acc = (VI)vpadalq_s16((int32x4_t)acc, s);
    s = wide == 2 ? vmull_high_s8(w1, y) : vmlal_high_s8(s, w1, y);
    return (VI)vpadalq_s16((int32x4_t)acc, s);
}

/* The same for three rows, as instructions: a compiler begins so much at once that its registers do not suffice. `between`
 * is what is done behind the first two products. */
#define FOUR_OF_THREE(between) \
    __asm__ volatile( \
        "smull %[s0].8h, %[w0].8b, %[x0].8b\n\t" \
        "smull %[s1].8h, %[w0].8b, %[x1].8b\n\t" \
        "smull %[s2].8h, %[w0].8b, %[x2].8b\n\t" \
        "smlal2 %[s0].8h, %[w0].16b, %[x0].16b\n\t" \
        "smlal2 %[s1].8h, %[w0].16b, %[x1].16b\n\t" \
        "smlal2 %[s2].8h, %[w0].16b, %[x2].16b\n\t" \
        between \
        "smlal2 %[s0].8h, %[w1].16b, %[y0].16b\n\t" \
        "smlal2 %[s1].8h, %[w1].16b, %[y1].16b\n\t" \
        "smlal2 %[s2].8h, %[w1].16b, %[y2].16b\n\t" \
        "sadalp %[a0].4s, %[s0].8h\n\t" \
        "sadalp %[a1].4s, %[s1].8h\n\t" \
        "sadalp %[a2].4s, %[s2].8h\n\t" \
        : [a0] "+w"(*a0), [a1] "+w"(*a1), [a2] "+w"(*a2), [s0] "=&w"(s0), [s1] "=&w"(s1), [s2] "=&w"(s2) \
        : [w0] "w"(w0), [w1] "w"(w1), [x0] "w"(x[0]), [x1] "w"(x[1]), [x2] "w"(x[2]), [y0] "w"(y[0]), [y1] "w"(y[1]), \
          [y2] "w"(y[2]) \
        : "memory")
#define GO_ON \
    "smlal %[s0].8h, %[w1].8b, %[y0].8b\n\t" \
    "smlal %[s1].8h, %[w1].8b, %[y1].8b\n\t" \
    "smlal %[s2].8h, %[w1].8b, %[y2].8b\n\t"
#define ADD_AND_BEGIN \
    "sadalp %[a0].4s, %[s0].8h\n\t" \
    "sadalp %[a1].4s, %[s1].8h\n\t" \
    "sadalp %[a2].4s, %[s2].8h\n\t" \
    "smull %[s0].8h, %[w1].8b, %[y0].8b\n\t" \
    "smull %[s1].8h, %[w1].8b, %[y1].8b\n\t" \
    "smull %[s2].8h, %[w1].8b, %[y2].8b\n\t"

INLINE void P(four_of_three)(VI *a0, VI *a1, VI *a2, int8x16_t w0, int8x16_t w1, const int8x16_t *x, const int8x16_t *y,
                             int wide) {
    int16x8_t s0, s1, s2;
    if (wide) FOUR_OF_THREE(ADD_AND_BEGIN);
    else FOUR_OF_THREE(GO_ON);
}

INLINE void P(sixteen)(const int mr, const int nv, const int wide, VI acc[MR][NV], const RA *a, int step, const RW *w) {
    static const uint8_t pairs[64] __attribute__((aligned(64))) = {
        0, 1, 0, 1, 0, 1, 0, 1, 2,  3,  2,  3,  2,  3,  2,  3,  4,  5,  4,  5,  4,  5,  4,  5,  6,  7,  6,  7,  6,  7,  6,  7,
        8, 9, 8, 9, 8, 9, 8, 9, 10, 11, 10, 11, 10, 11, 10, 11, 12, 13, 12, 13, 12, 13, 12, 13, 14, 15, 14, 15, 14, 15, 14, 15};
    int8x16_t inputs[MR];
    UNROLL for (int m = 0; m < mr; m++) inputs[m] = vld1q_s8(a + (ptrdiff_t)m * step);
    UNROLL for (int j = 0; j < 4; j += 2) {
        UNROLL for (int m = 0; m < mr; m++) __asm__ volatile("" : "+w"(inputs[m])); /* not before the half before is done */
        const uint8x16_t first = vld1q_u8(pairs + 16 * j), second = vld1q_u8(pairs + 16 * j + 16);
        int8x16_t x[MR], y[MR];
        UNROLL for (int m = 0; m < mr; m++) {
            x[m] = vqtbl1q_s8(inputs[m], first);
            y[m] = vqtbl1q_s8(inputs[m], second);
        }
        UNROLL for (int n = 0; n < nv; n++) {
            const int8x16_t w0 = vld1q_s8(w + j * 64 + n * 32), w1 = vld1q_s8(w + j * 64 + n * 32 + 16);
            if (mr == 3 && wide < 2) P(four_of_three)(&acc[0][n], &acc[1][n], &acc[2][n], w0, w1, x, y, wide);
            else UNROLL for (int m = 0; m < mr; m++) acc[m][n] = P(four)(acc[m][n], w0, w1, x[m], y[m], wide);
        }
    }
}

INLINE void P(sums)(const int mr, const int nv, VI acc[MR][NV], const RA *a, int step, const RW *w, int count,
                    const uint8_t *wide) {
    for (int k = 0; k < count; k += 16, w += nv * V * 16, wide++) {
        if (*wide == 2) {
            __asm__ volatile("// one by one");
            P(sixteen)(mr, nv, 2, acc, a + k, step, w);
        } else if (*wide) {
            __asm__ volatile("// two and two"); /* keeps the two ways apart, whose common parts would need all registers */
            P(sixteen)(mr, nv, 1, acc, a + k, step, w);
        } else {
            __asm__ volatile("// four");
            P(sixteen)(mr, nv, 0, acc, a + k, step, w);
        }
    }
}

INLINE void P(hide_group)(int16_t *to, const VF v[HV]) { vst1q_s16(to, P(narrow)(v)); }

static void P(scale_hidden)(const void *hidden, const void *factor, int count, int zero, void *to) {
    const int16_t *h = hidden, *f = factor;
    const int16x8_t z = vdupq_n_s16((int16_t)zero);
    int8_t *out = to;
    UNROLL_TWICE for (int i = 0; i < count; i += 16) {
        const int16x8_t a = vqaddq_s16(vqrdmulhq_s16(vld1q_s16(h + i), vld1q_s16(f + i)), z);
        const int16x8_t b = vqaddq_s16(vqrdmulhq_s16(vld1q_s16(h + i + 8), vld1q_s16(f + i + 8)), z);
        vst1q_s8(out + i, vqmovn_high_s16(vqmovn_s16(a), b));
    }
}

INLINE void P(pack_more)(Products *to, Arena *arena) {
    if (to->integers) to->wide = ecvx_take(arena, (size_t)to->n * (size_t)to->k / 256, 1);
}

/* 16 outputs by 16 inputs at a time: inputs k, k+2, k+4, k+6 of each 8 are added in 16 bits, k even and odd apart. */
static void P(look_at_packed)(Products *to) {
    const int8_t *w = to->weights;
    for (size_t block = 0; block < (size_t)to->n * (size_t)to->k / 256; block++, w += 256)
        for (int lane = 0; lane < 16; lane++)
            for (int half = 0; half < 2; half++)
                for (int odd = 0; odd < 2; odd++) {
                    int most = 0;
                    for (int i = 0; i < 4; i++) {
                        const int k = 8 * half + 2 * i + odd;
                        const int value = w[P(place)(lane, k, 16)];
                        most += value < 0 ? -value : value;
                        if (value == -128) to->wide[block] = 2; /* two times -128 * -128 do not */
                    }
                    if (most > 255 && !to->wide[block]) to->wide[block] = 1; /* 255 * 128 fits into 16 bits */
                }
}
