/* The kernels, once for each instruction set: included by kernels.c behind a path_*.h, which says what a vector is.
 *
 * A path gives: V (lanes of 32 bits), NV (vectors in a panel), MR (rows in a tile), KG (inputs multiplied by one 32-bit
 * lane), DW and DH (pixels of a depthwise tile, and in how many rows it may lie), FITS (which models), RA and RW (types of a rounded
 * activation and of a packed weight), LOWEST; the types VF, VI, and VS, twice as many integers of 16 bits; and P(least), P(most),
 * P(dot) or its own P(sums), P(round_group), P(scale_row); of hidden numbers P(join), P(put_low), P(put_two), P(times), P(size),
 * P(stretched), P(above_0), P(squares_low), P(squares_high), P(squares_of_both). If it likes: AHEAD, the cache into which the next
 * weights are fetched; AT_ONCE, the pixels that are normalized side by side, for 4 of which it has P(four_sums), P(lanes_of), P(root)
 * and P(round_four); BORDERS, the length of a depthwise tile that leaves out the zeros beside the map; SHARED, another path of the same vectors, whose
 * kernels of floats alone it takes, so that a page does not load them twice, and SHARED_DEPTHWISE, that its depthwise tiles are the same.
 *
 * What is rounded behind a sum of floats has to be the same on every processor: such sums are taken in one order, and a product
 * is rounded before it is added to something, P(alone), unless it is exact: of floats that are multiplied in a layer both are BRIEF.
 */

#define VG (GROUP / V) /* vectors in a group of channels */
#ifndef AT_ONCE
#define AT_ONCE 1
#endif
#ifndef SHARED
#define SHARED(name) P(name)
#define OWN_FLOATS
#endif

typedef VF P(unaligned_floats) __attribute__((aligned(4)));
typedef VI P(unaligned_integers) __attribute__((aligned(4)));

INLINE VF P(load)(const float *p) { return *(const P(unaligned_floats) *)p; }
INLINE void P(put)(float *p, VF v) { *(P(unaligned_floats) *)p = v; }
#ifndef OWN_LOAD_AND_GO
INLINE VF P(load_and_go)(const float **p, ptrdiff_t step) {
    const VF v = P(load)(*p);
    *p += step;
    return v;
}
#endif
INLINE VF P(all)(float x) { return x - (VF){0}; } /* x itself, where 0 + x would be added: -0 would be 0 */
INLINE VF P(alone)(VF product) {
    OWN_REGISTER(product);
    return product;
}
INLINE VF P(to_float)(VI v) { return __builtin_convertvector(v, VF); }

#ifndef OWN_SUM
INLINE float P(sum)(VF v) { return (v[0] + v[2]) + (v[1] + v[3]); }
#endif

/* ---------------------------------------------------------------- packing */

#ifndef OWN_PACKING
INLINE void P(pack_more)(Products *to, Arena *arena) { (void)to, (void)arena; }
INLINE void P(look_at_packed)(Products *to) { (void)to; }
#endif

#ifndef OWN_PLACE
/* Where the weight of output n and input k stands in a panel of `width` outputs: [k / KG][n][k % KG]. */
INLINE size_t P(place)(int n, int k, int width) {
    return (size_t)(k / KG) * (size_t)(width * KG) + (size_t)(n * KG + k % KG);
}
#endif

static void P(pack_integers)(const Layer *l, int segments, int segment, int pitch, Products *to) {
    RW *weights = to->weights;
    for (int n = 0; n < l->n; n++) {
        const int panel = n / (NV * V) * NV * V, width = to->n - panel < NV * V ? to->n - panel : NV * V;
        RW *row = weights + (size_t)panel * (size_t)to->k;
        int64_t total = 0;
        for (int s = 0; s < segments; s++)
            for (int i = 0; i < segment; i++) {
                const int k = s * pitch + i, value = l->bytes[(size_t)n * (size_t)l->k + (size_t)(s * segment + i)];
                row[P(place)(n - panel, k, width)] = (RW)value;
                total += value;
            }
        to->start[n] = (int32_t)(-total * (l->zero - (-128 - (int)LOWEST)));
    }
}

static void P(pack_floats)(const Layer *l, int segments, int segment, int pitch, Products *to) {
    float *weights = to->weights;
    for (int n = 0; n < l->n; n++) {
        const int panel = n / (NV * V) * NV * V, width = to->n - panel < NV * V ? to->n - panel : NV * V;
        for (int s = 0; s < segments; s++)
            for (int i = 0; i < segment; i++)
                weights[(size_t)panel * (size_t)to->k + (size_t)(s * pitch + i) * (size_t)width + (size_t)(n - panel)] =
                    l->floats[(size_t)n * (size_t)l->k + (size_t)(s * segment + i)];
    }
}

static void P(pack)(const Layer *l, int segments, int segment, int pitch, float unit, Products *to, Arena *arena) {
    const size_t n = (size_t)padded(l->n), k = (size_t)padded(segments * pitch);
    *to = (Products){.n = (int)n, .k = (int)k, .integers = l->integers};
    to->weights = ecvx_take(arena, n * k, l->integers ? sizeof(RW) : sizeof(float));
    to->start = ecvx_take(arena, n, sizeof(int32_t));
    to->scale = ecvx_take(arena, n, sizeof(float));
    to->bias = ecvx_take(arena, n, sizeof(float));
    P(pack_more)(to, arena);
    if (!arena->base) return;
    for (int i = 0; i < l->n; i++) {
        to->scale[i] = (l->integers ? l->scale * l->scales[i] : 1.0f) / unit;
        to->bias[i] = l->bias ? l->bias[i] / unit : 0.0f;
    }
    if (!l->integers) {
        P(pack_floats)(l, segments, segment, pitch, to);
        return;
    }
    to->inverse = 1.0f / l->scale;
    to->zero = (float)l->zero;
    P(pack_integers)(l, segments, segment, pitch, to);
    P(look_at_packed)(to);
}

#ifdef OWN_FLOATS
static void P(pack_depthwise)(const float *weights, int taps, int channels, float *to) {
    for (int t = 0; t < taps; t++)
        for (int c = 0; c < channels; c++) to[(c / V * taps + t) * V + c % V] = weights[(size_t)t * (size_t)channels + (size_t)c];
}
#endif

/* ---------------------------------------------------------------- products */

/* What sums need to know of a panel's weights besides them: where some are wider; or with AHEAD where those of the next panel lie,
 * of which each of a panel's first tiles fetches a part, as much as it has steps. */
INLINE const uint8_t *P(beside)(const Products *l, int n0, int nv, int row) {
#ifdef AHEAD
    const int lines = nv * V * KG / 64; /* of a step's weights */
    return (const uint8_t *)l->weights + (ptrdiff_t)(n0 + nv * V) * l->k + (ptrdiff_t)(row / MR % lines) * 64 * (l->k / KG);
#else
    (void)nv, (void)row;
    return l->wide ? l->wide + (size_t)n0 * (size_t)l->k / 256 : NULL;
#endif
}

#ifndef OWN_SUMS
/* acc[m][n] += the products of `count` inputs of each row with a panel's weights. */
INLINE void P(sums)(const int mr, const int nv, VI acc[MR][NV], const RA *a, int step, const RW *w, int count,
                    const uint8_t *beside) {
    (void)beside;
    const RA *row[MR];
    UNROLL for (int m = 0; m < mr; m++) {
        row[m] = a + (ptrdiff_t)m * step;
        OWN_POINTER(row[m]);
    }
    for (ptrdiff_t k = 0; k < count; k += KG, w += nv * V * KG) {
        VI weights[NV];
        UNROLL for (int n = 0; n < nv; n++) weights[n] = *(const P(unaligned_integers) *)(w + n * V * KG);
#ifdef AHEAD
        __builtin_prefetch(beside + k * (64 / KG), 0, AHEAD);
#endif
        UNROLL for (int m = 0; m < mr; m++) {
            int32_t few;
            memcpy(&few, row[m] + k, 4);
            const VI same = (VI){0} + few;
            UNROLL for (int n = 0; n < nv; n++) acc[m][n] = P(dot)(acc[m][n], same, weights[n]);
        }
    }
}
#endif

INLINE void P(float_sums)(const int mr, const int nv, VF acc[MR][NV], const float *a, int step, const float *w, int count) {
    for (int k = 0; k < count; k++, w += nv * V) {
        VF weights[NV];
        UNROLL for (int n = 0; n < nv; n++) weights[n] = P(load)(w + n * V);
        UNROLL for (int m = 0; m < mr; m++) {
            const VF same = P(all)(a[(ptrdiff_t)m * step + k]);
            UNROLL for (int n = 0; n < nv; n++) acc[m][n] += same * weights[n];
        }
    }
}

/* 1 / (1 + exp(-x)) for SiLU: 2^n by the exponent, 2^f by a polynomial on -1/2..1/2. */
INLINE VF P(sigmoid)(VF x) {
    const VF held = P(most)(P(least)(x, P(all)(30.0f)), P(all)(-30.0f)), y = P(alone)(held * P(all)(-1.44269504f));
    const VF magic = P(all)(12582912.0f), shifted = y + magic, f = y - (shifted - magic);
    VF p = P(all)(1.339887e-3f);
    p = P(alone)(p * f) + P(all)(9.618437e-3f);
    p = P(alone)(p * f) + P(all)(5.550332e-2f);
    p = P(alone)(p * f) + P(all)(2.402264e-1f);
    p = P(alone)(p * f) + P(all)(6.931472e-1f);
    p = P(alone)(p * f) + P(all)(1.0f);
    const VI power = (((VI)shifted - 0x4b400000) << 23) + 0x3f800000;
    return P(all)(1.0f) / (P(all)(1.0f) + p * (VF)power);
}

/* A curve with each of its numbers in every lane, made once for a layer. */
typedef struct {
    VF coefficient[CURVE], half, one, minus_one;
    VS bump[BUMP], squared;
    P(Stretch) stretch;
    int silu;
} P(Spread);

INLINE P(Spread) P(spread)(const Curve *c) {
    const VS none = {0};
    P(Spread) s = {.half = P(all)(c->half), .one = P(all)(1.0f), .minus_one = P(all)(-1.0f), .silu = c->silu};
    UNROLL for (int i = 0; i < CURVE; i++) s.coefficient[i] = P(all)(c->coefficient[i]);
    UNROLL for (int i = 0; i < BUMP; i++) s.bump[i] = none + c->bump[i];
    s.stretch = P(stretch)(c->doublings);
    s.squared = none + c->squared;
    return s;
}

INLINE VF P(activated)(VF x, const P(Spread) *s) {
    const VF t = P(most)(P(least)(x, s->one), s->minus_one), u = t * t;
    VF q = s->coefficient[CURVE - 1];
    UNROLL for (int i = CURVE - 2; i >= 0; i--) q = P(alone)(q * u) + s->coefficient[i];
    return x * (P(alone)(t * q) + s->half);
}

/* The activation function of 16-bit numbers, of several vectors side by side: each is a chain of steps that wait for each other. */
INLINE void P(hidden)(const int count, const VS *x, VS *h, const P(Spread) *s) {
    VS a[NV], t[NV], p[NV];
    UNROLL for (int i = 0; i < count; i++) a[i] = P(size)(x[i]), t[i] = P(stretched)(a[i], s->stretch), p[i] = s->bump[BUMP - 1];
    UNROLL for (int b = BUMP - 2; b >= 0; b--) UNROLL for (int i = 0; i < count; i++) p[i] = s->bump[b] + P(times)(p[i], t[i]);
    UNROLL for (int b = 0; b < 3; b++) UNROLL for (int i = 0; i < count; i++) p[i] = P(times)(p[i], p[i]);
    UNROLL for (int i = 0; i < count; i++) h[i] = P(above_0)(x[i]) - P(times)(a[i], p[i]);
}

INLINE VF P(in_brief)(VF x, VI more, VI kept) { return (VF)(((VI)x + more) & kept); }

/* Sums in their own units, plus the bias and what else is added, come out in the layer's. */
INLINE void P(store_tile)(const int mr, const int nv, VF sums[MR][NV], const Products *l, int n0, int p, const Sink *to) {
    const int residual = to->residual;
    const VI more = (VI){0} + (to->brief ? LEFT_OUT / 2 : 0), kept = (VI){0} + (to->brief ? -LEFT_OUT : ~0);
    float *const map = to->map + n0;
    VF scale[NV], bias[NV];
    UNROLL for (int n = 0; n < nv; n++) scale[n] = P(load)(l->scale + n0 + n * V), bias[n] = P(load)(l->bias + n0 + n * V);
    UNROLL for (int m = 0; m < mr; m++) {
        float *out = map + to->place[p + m];
        UNROLL for (int n = 0; n < nv; n++) {
            const VF sum = P(alone)(sums[m][n] * scale[n]), before = residual ? P(load)(out + n * V) + bias[n] : bias[n];
            P(put)(out + n * V, P(in_brief)(before + sum, more, kept));
        }
    }
}

INLINE VF P(scaled)(VF sum, const Products *l, int n) {
    return P(alone)(sum * P(load)(l->scale + n)) + P(load)(l->bias + n);
}

/* The activation function of `count` columns of floats where they lie, and their squares. No part of the tile, in which it would
 * stand once for each of its vectors: few layers come this way. */
static NOINLINE void P(activate_floats)(float *hidden, ptrdiff_t pitch, int rows, int count, float *squares,
                                        const P(Spread) *spread) {
    for (int n = 0; n < count; n += V) {
        VF sum = P(load)(squares + n); /* of the rows before, in their order, however many come at once */
        for (int m = 0; m < rows; m++) {
            float *at = hidden + m * pitch + n;
            const VF x = P(load)(at), h = spread->silu ? x * P(sigmoid)(x) : P(activated)(x, spread);
            sum += P(alone)(h * h);
            P(put)(at, h);
        }
        P(put)(squares + n, sum);
    }
}

INLINE void P(hide_floats_tile)(const int mr, const int nv, VF sums[MR][NV], const Products *l, int n0, int p,
                                const Sink *to, const P(Spread) *spread) {
    float *out = (float *)to->hidden + (ptrdiff_t)p * to->pitch + n0;
    UNROLL for (int m = 0; m < mr; m++)
        UNROLL for (int n = 0; n < nv; n++) P(put)(out + m * (ptrdiff_t)to->pitch + n * V, P(scaled)(sums[m][n], l, n0 + n * V));
    P(activate_floats)(out, to->pitch, mr, nv * V, (float *)to->squares + n0, spread);
}

/* Sums in units of hidden numbers become these, two vectors in one: of two rows, and where rows or vectors are left over, of one
 * and its next outputs. */
INLINE void P(join_tile)(const int mr, const int nv, const int pairs, const VF sums[MR][NV], const Products *l, int n0, VS x[MR][NV]) {
    UNROLL for (int n = 0; n < nv; n++)
        UNROLL for (int m = 0; m < 2 * pairs; m += 2)
            x[m][n] = P(join)(P(scaled)(sums[m][n], l, n0 + n * V), P(scaled)(sums[m + 1][n], l, n0 + n * V));
    UNROLL for (int n = 0; n < nv; n += 2)
        UNROLL for (int m = 2 * pairs; m < mr; m++) {
            const VF next = n + 1 < nv ? P(scaled)(sums[m][n + 1], l, n0 + (n + 1) * V) : P(all)(0.0f);
            x[m][n] = P(join)(P(scaled)(sums[m][n], l, n0 + n * V), next);
        }
}

/* Both halves of h, which may be of the same outputs. */
INLINE void P(hide_two)(VS h, int16_t *low, int16_t *high, VI *squares, VI *more_squares, const P(Spread) *spread) {
    const VS g = P(times)(h, spread->squared);
    P(put_two)(low, high, h);
    if (squares == more_squares) {
        *squares = P(squares_of_both)(*squares, g);
    } else {
        *squares = P(squares_low)(*squares, g);
        *more_squares = P(squares_high)(*more_squares, g);
    }
}

INLINE void P(hide_one)(VS h, int16_t *to, VI *squares, const P(Spread) *spread) {
    P(put_low)(to, h);
    *squares = P(squares_low)(*squares, P(times)(h, spread->squared));
}

INLINE void P(hide_tile)(const int mr, const int nv, const VF sums[MR][NV], const Products *l, int n0, int p, const Sink *to,
                         const P(Spread) *spread) {
    const int pairs = V == 4 && nv % 2 == 0 ? 0 : mr / 2; /* of rows */
    const ptrdiff_t pitch = to->pitch;
    int16_t *out = (int16_t *)to->hidden + p * pitch + n0;
    int32_t *const all = (int32_t *)to->squares + n0;
    VS x[MR][NV];
    VI squares[NV];
    P(join_tile)(mr, nv, pairs, sums, l, n0, x);
    UNROLL for (int n = 0; n < nv; n++) squares[n] = *(const P(unaligned_integers) *)(all + n * V);
    VS h[NV];
    UNROLL for (int m = 2 * pairs; m < mr; m++) { /* first, since there is less of it side by side */
        VS alone[NV];
        UNROLL for (int n = 0; n < nv; n += 2) alone[n / 2] = x[m][n];
        P(hidden)((nv + 1) / 2, alone, h, spread);
        int16_t *to_row = out + m * pitch;
        UNROLL for (int n = 0; n < nv; n += 2) {
            if (n + 1 < nv) P(hide_two)(h[n / 2], to_row + n * V, to_row + (n + 1) * V, &squares[n], &squares[n + 1], spread);
            else P(hide_one)(h[n / 2], to_row + n * V, &squares[n], spread);
        }
    }
    UNROLL for (int m = 0; m < 2 * pairs; m += 2, out += 2 * pitch) {
        P(hidden)(nv, x[m], h, spread);
        UNROLL for (int n = 0; n < nv; n++)
            P(hide_two)(h[n], out + n * V, out + pitch + n * V, &squares[n], &squares[n], spread);
    }
    UNROLL for (int n = 0; n < nv; n++) *(P(unaligned_integers) *)(all + n * V) = squares[n];
}

enum { P(STORE), P(HIDE), P(HIDE_FLOATS) };

/* `mr` rows of inputs times a panel of `nv` vectors of outputs, and what is done with the sums. */
INLINE void P(tile)(const int mr, const int nv, const int what, const int integers, const Products *l, const void *a, int row,
                    int n0, int p, const Sink *to, const P(Spread) *spread) {
    VF y[MR][NV];
    const size_t at = (size_t)n0 * (size_t)l->k;
    if (integers) {
        VI acc[MR][NV];
        UNROLL for (int n = 0; n < nv; n++) {
            const VI start = *(const P(unaligned_integers) *)(l->start + n0 + n * V);
            UNROLL for (int m = 0; m < mr; m++) {
                acc[m][n] = start;
                OWN_REGISTER(acc[m][n]);
            }
        }
        P(sums)(mr, nv, acc, (const RA *)a + (ptrdiff_t)row * l->k, l->k, (const RW *)l->weights + at, l->k,
                P(beside)(l, n0, nv, row));
        UNROLL for (int m = 0; m < mr; m++) UNROLL for (int n = 0; n < nv; n++) y[m][n] = P(to_float)(acc[m][n]);
    } else {
        UNROLL for (int m = 0; m < mr; m++) UNROLL for (int n = 0; n < nv; n++) y[m][n] = P(all)(0.0f);
        P(float_sums)(mr, nv, y, (const float *)a + (ptrdiff_t)row * l->k, l->k, (const float *)l->weights + at, l->k);
    }
    if (what == P(STORE)) P(store_tile)(mr, nv, y, l, n0, p, to);
    else if (what == P(HIDE)) P(hide_tile)(mr, nv, (const VF(*)[NV])y, l, n0, p, to, spread);
    else P(hide_floats_tile)(mr, nv, y, l, n0, p, to, spread);
}

/* A panel of weights stays in the first cache while all rows pass by. */
INLINE void P(panel)(const int nv, const int what, const int integers, const Products *l, const void *a, int rows, int n0,
                     int p0, const Sink *to, const P(Spread) *spread) {
    int m = 0;
    for (; m + MR <= rows; m += MR) P(tile)(MR, nv, what, integers, l, a, m, n0, p0 + m, to, spread);
    for (; MR > 4 && m + 2 <= rows; m += 2) P(tile)(2, nv, what, integers, l, a, m, n0, p0 + m, to, spread);
    for (; m < rows; m++) P(tile)(1, nv, what, integers, l, a, m, n0, p0 + m, to, spread);
}

INLINE void P(panels)(const int what, const int integers, const Products *l, const void *a, int rows, int n0, int n1, int p0,
                      const Sink *to) {
    P(Spread) spread;
    if (what != P(STORE)) spread = P(spread)(to->curve);
    for (; n0 + NV * V <= n1; n0 += NV * V) P(panel)(NV, what, integers, l, a, rows, n0, p0, to, &spread);
    if (NV * V == GROUP || n0 >= n1) return;
    if (NV > 2 && n1 - n0 == 2 * V) P(panel)(NV > 2 ? 2 : 1, what, integers, l, a, rows, n0, p0, to, &spread);
    else P(panel)(1, what, integers, l, a, rows, n0, p0, to, &spread);
}

static NOINLINE void P(store_integers)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to) {
    P(panels)(P(STORE), 1, l, a, rows, n0, n1, p0, to);
}
static NOINLINE void P(store_of_floats)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to) {
    P(panels)(P(STORE), 0, l, a, rows, n0, n1, p0, to);
}
static NOINLINE void P(hide_integers)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to) {
    P(panels)(P(HIDE), 1, l, a, rows, n0, n1, p0, to);
}
static NOINLINE void P(hide_of_floats)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to) {
    P(panels)(P(HIDE), 0, l, a, rows, n0, n1, p0, to);
}

static void P(store)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to) {
    (l->integers ? P(store_integers) : P(store_of_floats))(l, a, rows, n0, n1, p0, to);
}
static void P(hide)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to) {
    (l->integers ? P(hide_integers) : P(hide_of_floats))(l, a, rows, n0, n1, p0, to);
}
static void P(hide_floats)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to) {
    if (l->integers) P(panels)(P(HIDE_FLOATS), 1, l, a, rows, n0, n1, p0, to);
    else P(panels)(P(HIDE_FLOATS), 0, l, a, rows, n0, n1, p0, to);
}

/* ---------------------------------------------------------------- the depthwise convolution */

#ifndef SHARED_DEPTHWISE
/* What a row of inputs adds to `t` pixels of outputs in rows first to end, each with the row of weights before the last one's:
 * each weight is loaded once for all of them, each input once for the whole row of the kernel. Not read are the zeros `left` and
 * `right` of the map, where these pixels begin or end a row. */
INLINE void P(depthwise_line)(const int first, const int end, const int t, const int left, const int right, const int kernel,
                              const float *in, int channels, const float *w, VF acc[DH][DW]) {
    const int border = kernel / 2;
    VF weights[DH][7];
    UNROLL for (int r = first; r < end; r++)
        UNROLL for (int k = 0; k < kernel; k++) weights[r][k] = P(load)(w + (k - r * kernel) * V);
    if (left) in += border * (ptrdiff_t)channels;
    UNROLL for (int i = left ? border : 0; i < t + kernel - 1 - (right ? border : 0); i++) {
        const VF x = P(load_and_go)(&in, channels);
        UNROLL for (int r = first; r < end; r++)
            UNROLL for (int k = 0; k < kernel; k++) if (i - k >= 0 && i - k < t) acc[r][i - k] += x * weights[r][k];
    }
}

/* What a row of a depthwise convolution reads, or two: rows of the map, not the zeros around it. Of those of two, both read all but
 * the first, `upper`, and the last, `lower`, which may be zeros. */
typedef struct {
    const float *in;
    ptrdiff_t row, out_row; /* from one row to the next, of what is read and written */
    int channels, upper, both, lower;
} P(Window);

/* `t` pixels side by side, in a row or in two, which read rows of the map together. */
INLINE void P(depthwise_tile)(const int rows, const int t, const int left, const int right, const int kernel, const P(Window) *at,
                              const float *in, const float *w, VF bias, float *out) {
    const int channels = at->channels;
    VF acc[DH][DW];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < t; i++) acc[r][i] = bias;
    if (rows == 2 && at->upper)
        P(depthwise_line)(0, 1, t, left, right, kernel, in, channels, w, acc), in += at->row, w += kernel * V;
    for (int y = 0; y < at->both; y++, in += at->row, w += kernel * V)
        P(depthwise_line)(0, rows, t, left, right, kernel, in, channels, w, acc);
    if (rows == 2 && at->lower) P(depthwise_line)(1, 2, t, left, right, kernel, in, channels, w, acc);
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int i = 0; i < t; i++) P(put)(out + r * at->out_row + (ptrdiff_t)i * channels, acc[r][i]);
}

/* `t` pixels, all channels: what they read stays in the first cache. */
INLINE void P(depthwise_pixels)(const int rows, const int t, const int left, const int right, const int kernel, const P(Window) *at,
                                int x, const float *w, const float *bias, float *out) {
    const float *in = at->in + x * (ptrdiff_t)at->channels;
    out += x * (ptrdiff_t)at->channels;
    for (int c = 0; c < at->channels; c += V)
        P(depthwise_tile)(rows, t, left, right, kernel, at, in + c, w + (ptrdiff_t)c * kernel * kernel, P(load)(bias + c), out + c);
}

/* The same, at the borders of the map if the path cares. */
INLINE void P(depthwise_part)(const int rows, const int t, const int kernel, const P(Window) *at, int x, int width, const float *w,
                              const float *bias, float *out) {
#ifdef BORDERS
    if (BORDERS == t && kernel == 7 && t == width) P(depthwise_pixels)(rows, t, 1, 1, kernel, at, x, w, bias, out);
    else if (BORDERS == t && kernel == 7 && !x) P(depthwise_pixels)(rows, t, 1, 0, kernel, at, x, w, bias, out);
    else if (BORDERS == t && kernel == 7 && x + t == width) P(depthwise_pixels)(rows, t, 0, 1, kernel, at, x, w, bias, out);
    else
#endif
        P(depthwise_pixels)(rows, t, 0, 0, kernel, at, x, w, bias, out);
    (void)width;
}

INLINE void P(depthwise_rows)(const int rows, const int kernel, const P(Window) *at, int width, const float *w, const float *bias,
                              float *out) {
    const int t = DW / rows;
    int x = 0;
    for (; x + t <= width; x += t) P(depthwise_part)(rows, t, kernel, at, x, width, w, bias, out);
    for (; DW > 7 && t > 7 && x + 7 <= width; x += 7) P(depthwise_part)(rows, 7, kernel, at, x, width, w, bias, out);
    for (; x + 4 <= width; x += 4) P(depthwise_part)(rows, 4, kernel, at, x, width, w, bias, out);
    for (; x < width; x++) P(depthwise_part)(rows, 1, kernel, at, x, width, w, bias, out);
}

INLINE void P(depthwise_of)(const int kernel, const float *in, int above, int below, int rows, int width, int channels, const float *w,
                            const float *bias, float *out) {
    const ptrdiff_t row = (ptrdiff_t)(width + kernel - 1) * channels, out_row = (ptrdiff_t)width * channels;
    for (int y = 0, count; y < rows; y += count) {
        count = DH == 2 && y + 2 <= rows ? 2 : 1;
        const int end = smaller(rows - below - y, count) + kernel - 1, first = above > y ? above - y : 0;
        const int upper = count == 2 && !first, lower = count == 2 && end == kernel + 1;
        const P(Window) at = {in + (y + first) * row, row, out_row, channels, upper, end - first - upper - lower, lower};
        const float *weights = w + first * kernel * V;
        if (DH == 2 && count == 2) P(depthwise_rows)(DH, kernel, &at, width, weights, bias, out + y * out_row);
        else P(depthwise_rows)(1, kernel, &at, width, weights, bias, out + y * out_row);
    }
}

static NOINLINE void P(depthwise)(const float *in, int above, int below, int rows, int width, int channels, int kernel, const float *w,
                                  const float *bias, float *out) {
    if (kernel == 7) P(depthwise_of)(7, in, above, below, rows, width, channels, w, bias, out);
    else if (kernel == 5) P(depthwise_of)(5, in, above, below, rows, width, channels, w, bias, out);
    else P(depthwise_of)(3, in, above, below, rows, width, channels, w, bias, out);
}
#endif

/* ---------------------------------------------------------------- norms */

/* Sums of 32 lanes, of channels c % 32, become one vector's, in the same order whatever a vector is. */
INLINE VF P(fewer_lanes)(VF s[LANES / V]) {
    UNROLL for (int half = LANES / V / 2; half; half /= 2) UNROLL for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

/* The squares of a group's differences from a number; of `left` channels alone where fewer are left. */
INLINE void P(add_differences)(VF d[VG], const float *x, VF from, int left) {
    static const float inside[2 * GROUP] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    UNROLL for (int i = 0; i < VG; i++) {
        VF v = P(load)(x + i * V) - from;
        if (left < GROUP) v *= P(load)(inside + GROUP + i * V - left);
        d[i] += P(alone)(v * v);
    }
}

/* The sums of `channels` floats of each of some pixels, behind which there are zeros up to a whole group. */
INLINE void P(totals)(const int pixels, const float *x, ptrdiff_t step, int channels, VF *sums) {
    const int whole = channels / GROUP, even = whole / 2 * 2;
    VF s[AT_ONCE][2 * VG];
    UNROLL for (int p = 0; p < pixels; p++) UNROLL for (int i = 0; i < 2 * VG; i++) s[p][i] = P(all)(0.0f);
    const float *at = x, *const end = x + even * GROUP;
    for (; at < end; at += LANES)
        UNROLL for (int p = 0; p < pixels; p++) UNROLL for (int i = 0; i < 2 * VG; i++) s[p][i] += P(load)(at + p * step + i * V);
    if (whole > even)
        UNROLL for (int p = 0; p < pixels; p++) UNROLL for (int i = 0; i < VG; i++) s[p][i] += P(load)(at + p * step + i * V);
    at = x + whole * GROUP;
    if (whole * GROUP < channels)
        UNROLL for (int p = 0; p < pixels; p++) UNROLL for (int i = 0; i < VG; i++) s[p][VG + i] += P(load)(at + p * step + i * V);
    UNROLL for (int p = 0; p < pixels; p++) sums[p] = P(fewer_lanes)(s[p]);
}

/* The squares of their differences from a number of each pixel's. */
INLINE void P(differences)(const int pixels, const float *x, ptrdiff_t step, int channels, const VF *from, VF *sums) {
    const int whole = channels / GROUP, even = whole / 2 * 2;
    VF d[AT_ONCE][2 * VG];
    UNROLL for (int p = 0; p < pixels; p++) UNROLL for (int i = 0; i < 2 * VG; i++) d[p][i] = P(all)(0.0f);
    const float *at = x, *const end = x + even * GROUP;
    for (; at < end; at += LANES)
        UNROLL for (int p = 0; p < pixels; p++) {
            P(add_differences)(d[p], at + p * step, from[p], GROUP);
            P(add_differences)(d[p] + VG, at + p * step + GROUP, from[p], GROUP);
        }
    if (whole > even) UNROLL for (int p = 0; p < pixels; p++) P(add_differences)(d[p], at + p * step, from[p], GROUP);
    at = x + whole * GROUP;
    if (whole * GROUP < channels)
        UNROLL for (int p = 0; p < pixels; p++) P(add_differences)(d[p] + VG, at + p * step, from[p], channels - whole * GROUP);
    UNROLL for (int p = 0; p < pixels; p++) sums[p] = P(fewer_lanes)(d[p]);
}

/* part: 1 / channels */
INLINE void P(moments_of)(const int pixels, const float *x, ptrdiff_t step, const Normal *norm, float part, float *mean, float *inverse) {
    VF sums[AT_ONCE], from[AT_ONCE];
    P(totals)(pixels, x, step, norm->channels, sums);
    UNROLL for (int p = 0; p < pixels; p++) mean[p] = P(sum)(sums[p]) * part, from[p] = P(all)(mean[p]);
    P(differences)(pixels, x, step, norm->channels, from, sums);
    UNROLL for (int p = 0; p < pixels; p++) inverse[p] = 1.0f / __builtin_sqrtf(alone(P(sum)(sums[p]) * part) + norm->epsilon);
}

#ifdef OWN_FLOATS
static NOINLINE void P(moments)(const float *x, const Normal *norm, float part, float *mean, float *inverse) {
    P(moments_of)(1, x, 0, norm, part, mean, inverse);
}
#endif
#if AT_ONCE == 2
static NOINLINE void P(moments_of_two)(const float *x, ptrdiff_t step, const Normal *norm, float part, float *mean, float *inverse) {
    P(moments_of)(2, x, step, norm, part, mean, inverse);
}
#endif

/* x * by + plus */
INLINE VF P(moved)(VF x, VF by, VF plus) { return P(alone)(x * by) + plus; }

/* What the layer behind takes of a group of a normalized pixel: x * by + plus, and where channels have scales of their own these. */
INLINE void P(normalized)(const float *x, const float *scale, const float *shift, int c, VF by, VF plus, VF v[VG]) {
    UNROLL for (int i = 0; i < VG; i++) {
        v[i] = P(moved)(P(load)(x + c + i * V), by, plus);
        if (scale) v[i] = P(moved)(v[i], P(load)(scale + c + i * V), P(load)(shift + c + i * V));
    }
}

INLINE void P(round_normalized)(const float *x, int width, const float *scale, const float *shift, VF by, VF plus, RA *out) {
    for (int c = 0; c < width; c += GROUP) {
        VF v[VG];
        P(normalized)(x, scale, shift, c, by, plus, v);
        P(round_group)(out + c, v);
    }
}

#if AT_ONCE == 4
/* Pixels' sums, or with their means those of squares of differences: four at once, V of them in one vector. */
INLINE VF P(four_by_four)(const int pixels, const float *x, ptrdiff_t step, int channels, const float *mean) {
    VF s[4], from[4], all = P(all)(0.0f);
    for (int q = 0; q < pixels / 4; q++, x += 4 * step) {
        if (mean) {
            UNROLL for (int i = 0; i < 4; i++) from[i] = P(all)(mean[V / 4 * i + q]);
            P(differences)(4, x, step, channels, from, s);
        } else {
            P(totals)(4, x, step, channels, s);
        }
        all = P(lanes_of)(all, P(four_sums)(s), q);
    }
    return all;
}

/* Where in numbers of FEW pixels that of one stands: each vector has four by four of them. */
INLINE int P(lane)(int p) { return p / V * V + V / 4 * (p % 4) + p % V / 4; }
#else
INLINE int P(lane)(int p) { return p; }
#endif

/* Means and 1 / deviations of some of the pixels; returns of how many. Four by four of as many as stay in the first cache, each step
 * for all of them, since a pixel's few sums, root and quotient wait for each other longer than they take. */
INLINE int P(moments_of_few)(const float *x, ptrdiff_t step, int rows, const Normal *norm, float *mean, float *inverse) {
    const float part = 1.0f / (float)norm->channels;
#if AT_ONCE == 4
    const int most = smaller(FEW, FEW_FLOATS / padded(norm->channels) / V * V), few = rows < most ? rows / 4 * 4 : most;
    for (int p = 0; p < few; p += V)
        P(put)(mean + p, P(four_by_four)(smaller(V, few - p), x + p * step, step, norm->channels, NULL) * part);
    for (int p = 0; p < few; p += V) {
        const VF d = P(four_by_four)(smaller(V, few - p), x + p * step, step, norm->channels, mean + p);
        P(put)(inverse + p, 1.0f / P(root)(P(alone)(d * part) + norm->epsilon));
    }
    if (few) return few;
#endif
    (void)rows, (void)step;
#if AT_ONCE == 2
    if (rows > 1) return P(moments_of_two)(x, step, norm, part, mean, inverse), 2;
#endif
    SHARED(moments)(x, norm, part, mean, inverse);
    return 1;
}

#if AT_ONCE == 4
INLINE void P(round_fours)(const float *x, ptrdiff_t step, int pixels, const Normal *norm, const float *mean, float *inverse, RA *out,
                           ptrdiff_t to_step) {
    float plus[FEW];
    for (int p = 0; p < pixels; p += V) {
        const VF by = norm->scale ? P(load)(inverse + p) : P(load)(inverse + p) * norm->every_scale;
        P(put)(inverse + p, by);
        P(put)(plus + p, (norm->scale ? 0.0f : norm->every_shift) - P(alone)(P(load)(mean + p) * by));
    }
    for (int p = 0; p < pixels; p += 4, x += 4 * step, out += 4 * to_step) {
        VF by[4], more[4], v[4];
        UNROLL for (int i = 0; i < 4; i++) by[i] = P(all)(inverse[P(lane)(p + i)]), more[i] = P(all)(plus[P(lane)(p + i)]);
        for (int c = 0; c < padded(norm->channels); c += V) {
            UNROLL for (int i = 0; i < 4; i++) P(normalized)(x + i * step, norm->scale, norm->shift, c, by[i], more[i], &v[i]);
            P(round_four)(out + c, to_step, v);
        }
    }
}
#endif

static NOINLINE void P(normalize_rounded)(const float *x, ptrdiff_t step, int rows, const Normal *norm, void *to,
                                          ptrdiff_t to_step) {
    const int width = padded(norm->channels);
    RA *out = to;
    float mean[FEW], inverse[FEW];
    for (int few; rows; rows -= few, x += few * step, out += few * to_step) {
        few = P(moments_of_few)(x, step, rows, norm, mean, inverse);
#if AT_ONCE == 4
        if (few > 1) {
            P(round_fours)(x, step, few, norm, mean, inverse, out, to_step);
            continue;
        }
#endif
        for (int p = 0; p < few; p++) {
            const float by = norm->scale ? inverse[p] : inverse[p] * norm->every_scale;
            const float plus = (norm->scale ? 0.0f : norm->every_shift) - alone(mean[p] * by);
            P(round_normalized)(x + p * step, width, norm->scale, norm->shift, P(all)(by), P(all)(plus), out + p * to_step);
        }
    }
}

#ifdef OWN_FLOATS
static NOINLINE void P(normalize)(const float *x, ptrdiff_t step, int rows, const Normal *norm, float *to, ptrdiff_t to_step) {
    const int width = padded(norm->channels);
    const VI more = (VI){0} + (norm->brief ? LEFT_OUT / 2 : 0), kept = (VI){0} + (norm->brief ? -LEFT_OUT : ~0);
    float mean[FEW], inverse[FEW];
    for (int few; rows; rows -= few) {
        few = P(moments_of_few)(x, step, rows, norm, mean, inverse);
        for (int p = 0; p < few; p++, x += step, to += to_step) {
            const int lane = P(lane)(p);
            const VF by = P(all)(inverse[lane]), plus = P(all)(-mean[lane] * inverse[lane]);
            for (int c = 0; c < width; c += V) {
                const VF scale = norm->scale ? P(load)(norm->scale + c) : P(all)(norm->every_scale);
                const VF shift = norm->shift ? P(load)(norm->shift + c) : P(all)(norm->every_shift);
                P(put)(to + c, P(in_brief)(P(moved)(P(moved)(P(load)(x + c), by, plus), scale, shift), more, kept));
            }
        }
    }
}
#endif

/* Numbers that may be anything: held to what rounding to 32 bits can take. */
static void P(round)(const float *x, int count, const Products *l, void *to) {
    RA *out = to;
    const VF most = P(all)(1e9f), least = P(all)(-1e9f);
    const VF by = P(all)(l->inverse), plus = P(all)(l->zero);
    for (int c = 0; c < count; c += GROUP) {
        VF v[VG];
        UNROLL for (int i = 0; i < VG; i++) v[i] = P(most)(P(least)(P(moved)(P(load)(x + c + i * V), by, plus), most), least);
        P(round_group)(out + c, v);
    }
}

static NOINLINE void P(scale_hidden)(const void *hidden, const void *factor, int channels, int rows, int zero, void *to) {
    const int16_t *h = hidden;
    RA *out = to;
    for (int r = 0; r < rows; r++, h += channels, out += channels) P(scale_row)(h, factor, channels, zero, out);
}

#ifdef OWN_FLOATS
static void P(add)(float *sum, const float *x, int count) {
    for (int c = 0; c < count; c += V) P(put)(sum + c, P(load)(sum + c) + P(load)(x + c));
}
#endif

static int P(least_rounded)(void) { return LOWEST; }

static const Kernels P(kernels) = {
    .name = NAME,
    .form = FORM,
    .runs = P(runs),
    .fits = FITS,
    .bytes = sizeof(RA),
    .panel = NV * V,
    .tile = MR,
    .rows = DH,
    .lowest = P(least_rounded),
    .pack = P(pack),
    .pack_depthwise = SHARED(pack_depthwise),
    .store = P(store),
    .hide = P(hide),
    .hide_floats = P(hide_floats),
#ifdef SHARED_DEPTHWISE
    .depthwise = SHARED(depthwise),
#else
    .depthwise = P(depthwise),
#endif
    .normalize_rounded = P(normalize_rounded),
    .normalize = SHARED(normalize),
    .round = P(round),
    .scale_hidden = P(scale_hidden),
    .add = SHARED(add),
};

#undef VG
