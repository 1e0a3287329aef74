/* Armv8.0: four products of bytes are added in 16 bits and then to the sum, 32 products in five instructions. Where
 * four weights are so large that 16 bits may not hold that (`wide`), two and two are; where one is -128, which our files
 * leave unused, each by itself. */
#define P(name) name##_neon
#define NAME "neon"
#define V 4
#define NV 4
#define MR 3
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

/* Sixteen sums of four products (or of two and two) of a row, added to the sums of four outputs. Each of x is two inputs,
 * again and again. */
INLINE VI P(four)(VI acc, int8x16_t w0, int8x16_t w1, const int8x16_t x[4], int wide) {
    int16x8_t s = vmull_s8(vget_low_s8(w0), vget_low_s8(x[0]));
    if (wide == 2) acc = (VI)vpadalq_s16((int32x4_t)acc, s);
    s = wide == 2 ? vmull_high_s8(w0, x[1]) : vmlal_high_s8(s, w0, x[1]);
    if (wide) {
        acc = (VI)vpadalq_s16((int32x4_t)acc, s);
        s = vmull_s8(vget_low_s8(w1), vget_low_s8(x[2]));
    } else {
        s = vmlal_s8(s, vget_low_s8(w1), vget_low_s8(x[2]));
    }
    if (wide == 2) acc = (VI)vpadalq_s16((int32x4_t)acc, s);
    s = wide == 2 ? vmull_high_s8(w1, x[3]) : vmlal_high_s8(s, w1, x[3]);
    return (VI)vpadalq_s16((int32x4_t)acc, s);
}

/* The same for three rows and four fours of outputs, as instructions: a compiler begins so much at once that its registers do not
 * suffice. v16 to v19, v20 to v23 and v24 to v27 are eight inputs of each row, two of them in each vector, again and again: one
 * instruction, where picking them from a vector that was loaded takes three. `between` is what is done behind two products. */
#define FOUR_OUTPUTS(at, a0, a1, a2, between) \
    "ldp q28, q29, [%[w], #" #at "]\n\t" \
    "smull v30.8h, v28.8b, v16.8b\n\t" \
    "smull v31.8h, v28.8b, v20.8b\n\t" \
    "smull v15.8h, v28.8b, v24.8b\n\t" \
    "smlal2 v30.8h, v28.16b, v17.16b\n\t" \
    "smlal2 v31.8h, v28.16b, v21.16b\n\t" \
    "smlal2 v15.8h, v28.16b, v25.16b\n\t" \
    between(a0, a1, a2) \
    "smlal2 v30.8h, v29.16b, v19.16b\n\t" \
    "smlal2 v31.8h, v29.16b, v23.16b\n\t" \
    "smlal2 v15.8h, v29.16b, v27.16b\n\t" \
    ADD_ALL(a0, a1, a2)
#define ADD_ALL(a0, a1, a2) \
    "sadalp %[" #a0 "].4s, v30.8h\n\t" \
    "sadalp %[" #a1 "].4s, v31.8h\n\t" \
    "sadalp %[" #a2 "].4s, v15.8h\n\t"
#define GO_ON(a0, a1, a2) \
    "smlal v30.8h, v29.8b, v18.8b\n\t" \
    "smlal v31.8h, v29.8b, v22.8b\n\t" \
    "smlal v15.8h, v29.8b, v26.8b\n\t"
#define ADD_AND_BEGIN(a0, a1, a2) \
    ADD_ALL(a0, a1, a2) \
    "smull v30.8h, v29.8b, v18.8b\n\t" \
    "smull v31.8h, v29.8b, v22.8b\n\t" \
    "smull v15.8h, v29.8b, v26.8b\n\t"
#define EIGHT_INPUTS(at0, at1, at2, at3, between) \
    __asm__ volatile( \
        "ld4r {v16.8h, v17.8h, v18.8h, v19.8h}, [%[a]], %[step]\n\t" \
        "ld4r {v20.8h, v21.8h, v22.8h, v23.8h}, [%[a]], %[step]\n\t" \
        "ld4r {v24.8h, v25.8h, v26.8h, v27.8h}, [%[a]], %[back]\n\t" \
        FOUR_OUTPUTS(at0, a00, a10, a20, between) \
        FOUR_OUTPUTS(at1, a01, a11, a21, between) \
        FOUR_OUTPUTS(at2, a02, a12, a22, between) \
        FOUR_OUTPUTS(at3, a03, a13, a23, between) \
        : [a00] "+w"(acc[0][0]), [a01] "+w"(acc[0][1]), [a02] "+w"(acc[0][2]), [a03] "+w"(acc[0][3]), [a10] "+w"(acc[1][0]), \
          [a11] "+w"(acc[1][1]), [a12] "+w"(acc[1][2]), [a13] "+w"(acc[1][3]), [a20] "+w"(acc[2][0]), [a21] "+w"(acc[2][1]), \
          [a22] "+w"(acc[2][2]), [a23] "+w"(acc[2][3]), [a] "+r"(a) \
        : [step] "r"(step), [back] "r"(8 - 2 * step), [w] "r"(w) \
        : "memory", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", \
          "v30", "v31")

/* Returns where the next inputs are. */
INLINE const RA *P(sixteen_of_three)(VI acc[MR][NV], const RA *a, ptrdiff_t step, const RW *w, int wide) {
    if (wide) {
        EIGHT_INPUTS(0, 32, 64, 96, ADD_AND_BEGIN);
        EIGHT_INPUTS(128, 160, 192, 224, ADD_AND_BEGIN);
    } else {
        EIGHT_INPUTS(0, 32, 64, 96, GO_ON);
        EIGHT_INPUTS(128, 160, 192, 224, GO_ON);
    }
    return a;
}

/* The same for one row. */
INLINE void P(sixteen_of_one)(VI acc[NV], const RA *a, const RW *w, int wide) {
    UNROLL for (int half = 0; half < 2; half++, w += NV * 32) {
        const int16x8x4_t pairs = vld4q_dup_s16((const int16_t *)(const void *)(a + half * 8));
        int8x16_t x[4];
        UNROLL for (int i = 0; i < 4; i++) x[i] = vreinterpretq_s8_s16(pairs.val[i]);
        UNROLL for (int n = 0; n < NV; n++) acc[n] = P(four)(acc[n], vld1q_s8(w + n * 32), vld1q_s8(w + n * 32 + 16), x, wide);
    }
}

/* Rare, and by itself, so that what it needs of registers is not taken from the others. */
static NOINLINE void P(one_by_one)(int mr, VI (*acc)[NV], const RA *a, ptrdiff_t step, const RW *w) {
    for (int m = 0; m < mr; m++, a += step) P(sixteen_of_one)(acc[m], a, w, 2);
}

INLINE void P(sums)(const int mr, const int nv, VI acc[MR][NV], const RA *a, int step, const RW *w, int count,
                    const uint8_t *wide) {
    (void)nv;
    for (const RA *end = a + count; a < end; w += NV * V * 16, wide++) {
        if (mr == 3 && *wide == 0) {
            a = P(sixteen_of_three)(acc, a, step, w, 0);
        } else if (mr == 3 && *wide == 1) {
            a = P(sixteen_of_three)(acc, a, step, w, 1);
        } else if (*wide == 2) {
            VI kept[MR][NV];
            UNROLL for (int i = 0; i < mr * NV; i++) kept[i / NV][i % NV] = acc[i / NV][i % NV];
            P(one_by_one)(mr, kept, a, step, w);
            UNROLL for (int i = 0; i < mr * NV; i++) acc[i / NV][i % NV] = kept[i / NV][i % NV];
            a += 16;
        } else {
            if (*wide) P(sixteen_of_one)(acc[0], a, w, 1);
            else P(sixteen_of_one)(acc[0], a, w, 0);
            a += 16;
        }
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
