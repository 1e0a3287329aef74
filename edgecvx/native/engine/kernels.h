/* What a set of kernels does: the same for every instruction set, whose own are in algorithm.h with one of path_*.h.
 *
 * Channels are padded to a multiple of 16 everywhere in memory, with zeros. A map is [rows][columns][channels] floats; one
 * that a depthwise convolution reads has a border of zeros. "Rounded" activations are integers of `bytes` bytes each, as
 * the path's products take them.
 */
#ifndef ECVX_KERNELS_H
#define ECVX_KERNELS_H

#include "model.h"

enum { GROUP = 16, LANES = 32, CURVE = 7, BUMP = 4, SMALL = 256, BAND_PIXELS = 511, FEW = 64, FEW_FLOATS = 6144 };
enum { BRIEF = 12, LEFT_OUT = 1 << (24 - BRIEF) }; /* bits of a float in brief, and what stands behind them */
INLINE int smaller(int a, int b) { return a < b ? a : b; }

/* Memory that is given out once and never back. With `base` NULL it only counts. */
typedef struct {
    unsigned char *base;
    size_t used;
} Arena;

void *ecvx_take(Arena *arena, size_t count, size_t bytes);

INLINE int padded(int channels) { return (channels + GROUP - 1) / GROUP * GROUP; }

/* A layer, packed. */
typedef struct {
    int n, k; /* padded */
    int integers;
    void *weights;
    int32_t *start;      /* [n]: what a sum of integers begins with, so that the zero point is gone from it */
    float *scale, *bias; /* [n]: of a sum */
    float inverse, zero; /* an input becomes round(x * inverse + zero), and what is more in a path that begins at 0 */
    uint8_t *wide;       /* where four products of these weights may not fit into 16 bits; see path_neon.h */
} Products;

/* A norm, with the grid of the layer behind it: (x - mean) / deviation * scale + shift. */
typedef struct {
    int channels; /* real ones */
    float epsilon;
    float every_scale, every_shift; /* where all channels have the same */
    float *scale, *shift;           /* [padded], or NULL */
    int brief;                      /* what is stored as floats is rounded to BRIEF bits, as ecvx_shorten does */
} Normal;

/* An activation function. On floats: x * (1/2 + an odd polynomial in t), t = x held to -1..1, x in units of `unit`; or SiLU. On
 * hidden numbers x of 16 bits: what is above 0 of x, less |x| * p(t)^8, t = |x| times 2 to the `doublings`, held below 1, in
 * 32768ths; there p(1)^8 is nothing. */
typedef struct {
    float coefficient[CURVE], half;
    float height; /* hidden number for 1 */
    int silu;
    int16_t bump[BUMP], doublings; /* of p, in 32768ths */
    int16_t squared; /* hidden numbers times this / 32768 are squared: the squares of a band's pixels are an int32 */
} Curve;

/* Where the outputs of a layer go. Pixel p of a map begins at map + place[p]. */
typedef struct {
    float *map;
    const int32_t *place;
    int residual; /* added to what is there */
    int brief;    /* numbers of a map are rounded to BRIEF bits, as ecvx_shorten does */
    void *hidden; /* [pixels][pitch]: 16-bit numbers, or floats */
    int pitch;
    void *squares; /* [pitch]: to which sums of squares are added, of hidden numbers times `squared`: integers; or of floats */
    const Curve *curve;
} Sink;

/* A map of `size` is small, and goes through a layer whole; or what there is at most of it at once. */
INLINE int fits_whole(int size) { return size * size <= SMALL; }
INLINE int rows_at_once(int size) { return (size + 13) / 14 * size <= BAND_PIXELS ? (size + 13) / 14 : 1; }
INLINE int pixels_at_once(int size) { return (fits_whole(size) ? size : rows_at_once(size)) * size; }

typedef struct {
    const char *name, *form;         /* what it is asked for by, and which one it is of those of one name */
    int (*runs)(void);               /* whether this processor can */
    int (*fits)(const Model *model); /* whether sums are exact with these weights; NULL: with any */
    int bytes, panel, tile; /* of a rounded activation; outputs and rows that are computed side by side */
    int rows;               /* of a map that are convolved depthwise side by side */
    int (*lowest)(void); /* the rounded activation for int8's -128, once it runs */
    /* Rows of `segments` parts of `segment` inputs each lie `pitch` apart in the rounded inputs. */
    void (*pack)(const Layer *layer, int segments, int segment, int pitch, float unit, Products *to, Arena *arena);
    void (*pack_depthwise)(const float *weights, int taps, int channels, float *to); /* to [taps * padded] */
    /* Outputs n0 to n1 (multiples of `panel`, or the end) of `rows` rows of inputs; p0: the first one's pixel. */
    void (*store)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to);
    void (*hide)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to);
    void (*hide_floats)(const Products *l, const void *a, int rows, int n0, int n1, int p0, const Sink *to);
    /* Rows of a depthwise convolution: in: the first of rows + kernel - 1 rows of (width + kernel - 1) pixels, of which the first
     * `above` rows, the last `below` and at both ends of each kernel / 2 pixels are zeros, which need not be read. */
    void (*depthwise)(const float *in, int above, int below, int rows, int width, int channels, int kernel, const float *weights, const float *bias,
                      float *out);
    void (*normalize_rounded)(const float *x, ptrdiff_t step, int rows, const Normal *norm, void *to, ptrdiff_t to_step);
    void (*normalize)(const float *x, ptrdiff_t step, int rows, const Normal *norm, float *to, ptrdiff_t to_step);
    void (*round)(const float *x, int count, const Products *for_layer, void *to); /* count: a multiple of 16 */
    /* Hidden numbers of `rows` pixels times a factor per channel, rounded. */
    void (*scale_hidden)(const void *hidden, const void *factor, int channels, int rows, int zero, void *to);
    void (*add)(float *sum, const float *x, int count);
} Kernels;

/* Best first; NULL behind the last. */
extern const Kernels *const ecvx_all_kernels[];

#endif
