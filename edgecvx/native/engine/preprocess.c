/* Pillow's resize in its own arithmetic, so that a file sees here the picture it was proved on: weights in double,
 * rounded to 22 bits behind the point; one pass per axis, across first, each rounded to 8 bits. Only the centre crop is
 * computed, and of the pass across no more rows are held than the pass down needs for one of its own.
 *
 * Pixels that are picked, not mixed (nearest, or an axis that keeps its length), are a sum of one pixel of weight 1.
 */
#include "preprocess.h"

#include "platform.h"

#include <float.h>

/* Every double operation is rounded by itself, as in Pillow: a * b + c must not become one operation. Clang obeys the
 * standard's pragma, GCC only its own. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
#if (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16) || defined(__FAST_MATH__) /* 16: that float16 is not widened */
#error "pictures would differ from Pillow's: compile without -ffast-math, and for 32-bit x86 with -msse2 -mfpmath=sse"
#endif

enum {
    ONE = 1 << 22,     /* a weight of 1 */
    HALF = ONE / 2,    /* what rounds a sum of weighted bytes */
    LOW = 1 << 11,     /* weight = high * LOW + low: both fit 16 bits, which processors multiply and add in pairs */
    STEP = 8,          /* weights are padded with zeros to a multiple of this, so that loops have no rest */
    LARGEST = 1 << 28, /* pixels of a picture */
    LONGEST = 65535,
    RESIZED = 89478485 /* pixels of a picture resized: MAX_PIXELS of edgecvx/board/pictures.py */
};

/* How an axis of a picture becomes the crop's: sample i sums weight[i][t] * pixel[first[i] + t] over t < count[i].
 * Neither first nor first + count ever falls; behind count[i] weights are 0. */
typedef struct {
    int32_t samples, taps;
    int32_t *first, *count; /* [samples] */
    int16_t *high, *low;    /* [samples][taps] */
} axis;

typedef struct {
    double (*at)(double);
    double support;
} filter;

/* ---- refusals ---- */

/* At most 20 characters, without an end. */
static size_t decimal(char *out, int64_t number)
{
    char digits[20];
    size_t count = 0, used = 0;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0) out[used++] = '-';
    while (count) out[used++] = digits[--count];
    return used;
}

/* Writes the sentence, each # in it replaced by the next number; returns 1. */
static int refuse(char *error, const char *sentence, const int64_t *numbers)
{
    size_t used = 0;
    if (!error) return 1;
    for (; *sentence && used < ECVX_ERROR - 20; sentence++)
        if (*sentence == '#') used += decimal(error + used, *numbers++);
        else error[used++] = *sentence;
    error[used] = 0;
    return 1;
}

static int check_size(int32_t width, int32_t height, char *error)
{
    const int64_t numbers[] = {width, height, width < 1 || height < 1 ? 1 : LONGEST};
    if (width < 1 || height < 1) return refuse(error, "# x # pixels are no picture", numbers);
    if (width > LONGEST || height > LONGEST)
        return refuse(error, "# x # pixels are too many, at most # are read along a side", numbers);
    if ((int64_t)width * height > LARGEST)
        return refuse(error, "# x # pixels are too many, at most 268435456 are read", numbers);
    return 0;
}

static int check_preprocessing(const ecvx_preprocessing *how, int32_t type, char *error)
{
    const int64_t numbers[] = {how->size, how->resize, how->interpolation, type};
    if (how->size < 32 || how->size > 2048)
        return refuse(error, "the size of an input must lie between 32 and 2048, got #", numbers);
    if (how->resize != ECVX_SHORTEST && how->resize != ECVX_SQUASH)
        return refuse(error, "resize must be 0 (shortest) or 1 (squash), got #", numbers + 1);
    if (how->interpolation < ECVX_NEAREST || how->interpolation > ECVX_LANCZOS)
        return refuse(error, "interpolation must be 0 (nearest), 1 (bilinear), 2 (bicubic) or 3 (lanczos), got #",
                      numbers + 2);
    if (!(how->crop_pct >= 0.1 && how->crop_pct <= 1.0))
        return refuse(error, "crop_pct must lie between 0.1 and 1", numbers);
    if (type != ECVX_FLOAT32 && type != ECVX_UINT8)
        return refuse(error, "an input is of type 0 (float32) or 1 (uint8), got #", numbers + 3);
    return 0;
}

/* ---- filters, as functions of the distance from the middle ---- */

static double bilinear(double x)
{
    if (x < 0) x = -x;
    return x < 1 ? 1 - x : 0;
}

static double bicubic(double x)
{
    if (x < 0) x = -x;
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/* For |x| up to 10, to the last bit or two: less the nearest multiple of pi, then Taylor's series up to x^21, whose
 * next term is below 2^-59. A small multiple of pi's first 33 bits is exact, and so is what it leaves of x. */
static double sine(double x)
{
    static const double first = 3.14159265346825122834, rest = 1.21542010130123844986e-10;
    static const double series[] = {1 / 51090942171709440000.0, -1 / 121645100408832000.0, 1 / 355687428096000.0,
                                    -1 / 1307674368000.0, 1 / 6227020800.0, -1 / 39916800.0, 1 / 362880.0, -1 / 5040.0,
                                    1 / 120.0, -1 / 6.0};
    int32_t turns = (int32_t)(x / 3.14159265358979323846 + (x < 0 ? -0.5 : 0.5));
    double sum = 0;
    x = x - turns * first - turns * rest;
    for (int i = 0; i < 10; i++) sum = (sum + series[i]) * (x * x);
    return turns % 2 ? -(x + x * sum) : x + x * sum;
}

static double sinc(double x)
{
    if (x == 0) return 1;
    x = x * 3.14159265358979323846;
    return sine(x) / x;
}

static double lanczos(double x)
{
    return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const filter filters[] = {{NULL, 0}, {bilinear, 1}, {bicubic, 2}, {lanczos, 3}}; /* by interpolation */

/* ---- weights ---- */

static int32_t round_up(double x)
{
    int32_t whole = (int32_t)x;
    return whole + (whole < x);
}

/* Room for the weights, all 0. samples * taps is below 10 * (65535 + 2048), whatever the picture: nothing overflows. */
static int open_axis(axis *a, int32_t samples, int32_t taps)
{
    taps = (taps + STEP - 1) / STEP * STEP;
    size_t weights = (size_t)samples * (size_t)taps;
    size_t bytes = 2 * (size_t)samples * sizeof *a->first + 2 * weights * sizeof *a->high;
    int32_t *room = malloc(bytes);
    if (!room) return 1;
    int16_t *high = (int16_t *)(room + 2 * samples);
    memset(high, 0, 2 * weights * sizeof *high);
    *a = (axis){samples, taps, room, room + samples, high, high + weights};
    return 0;
}

static void close_axis(axis *a)
{
    free(a->first);
}

static void put_weight(axis *a, int32_t sample, int32_t tap, int32_t weight)
{
    size_t at = (size_t)sample * (size_t)a->taps + (size_t)tap;
    int32_t low = ((weight + LOW / 2) & (LOW - 1)) - LOW / 2; /* the weight's rest, from -LOW / 2 on */
    a->low[at] = (int16_t)low;
    a->high[at] = (int16_t)((weight - low) / LOW);
}

static int32_t get_weight(const axis *a, int32_t sample, int32_t tap)
{
    size_t at = (size_t)sample * (size_t)a->taps + (size_t)tap;
    return a->high[at] * LOW + a->low[at];
}

/* One pixel for each sample. Pillow adds the step up, and so does this: a multiple would be rounded otherwise. */
static int pick(axis *a, int32_t length, int32_t resized, int32_t size, int32_t start)
{
    double step = (double)length / resized, at = step * 0.5;
    if (open_axis(a, size, 1)) return 1;
    for (int32_t i = 0; i < start; i++) at += step;
    for (int32_t i = 0; i < size; i++, at += step) {
        a->first[i] = (int32_t)at < length ? (int32_t)at : length - 1;
        a->count[i] = 1;
        put_weight(a, i, 0, ONE);
    }
    return 0;
}

/* The weights of sample i, from the filter around `centre`; `room` takes a double for each. */
static void weigh(axis *a, int32_t i, double centre, double shrink, const filter *f, double *room)
{
    double inverse = 1.0 / shrink, sum = 0;
    for (int32_t t = 0; t < a->count[i]; t++) sum += room[t] = f->at((t + a->first[i] - centre + 0.5) * inverse);
    for (int32_t t = 0; t < a->count[i]; t++) {
        double weight = (sum != 0 ? room[t] / sum : room[t]) * (double)ONE;
        put_weight(a, i, t, (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5));
    }
}

/* A filter as wide as the picture shrinks; where it grows, as wide as it is. */
static int mix(axis *a, int32_t length, int32_t resized, int32_t size, int32_t start, const filter *f)
{
    double scale = (double)length / resized, shrink = scale < 1 ? 1 : scale, support = f->support * shrink;
    if (open_axis(a, size, 2 * round_up(support) + 1)) return 1;
    double *room = malloc((size_t)a->taps * sizeof *room);
    for (int32_t i = 0; room && i < size; i++) {
        double centre = (start + i + 0.5) * scale;
        int32_t from = (int32_t)(centre - support + 0.5), to = (int32_t)(centre + support + 0.5);
        a->first[i] = from > 0 ? from : 0;
        a->count[i] = (to < length ? to : length) - a->first[i];
        weigh(a, i, centre, shrink, f, room);
    }
    free(room);
    return !room;
}

/* The centre `size` of an axis of `length` pixels, resized to `resized`. A half is rounded to the even number, as in
 * Python. Without memory it returns 1, and what it has is closed all the same. */
static int make_axis(axis *a, int32_t length, int32_t resized, int32_t size, int32_t interpolation)
{
    int32_t half = (resized - size) / 2, start = (resized - size) % 2 ? half + half % 2 : half;
    if (interpolation == ECVX_NEAREST || length == resized) return pick(a, length, resized, size, start);
    return mix(a, length, resized, size, start, &filters[interpolation]);
}

/* ---- pixels ---- */

static uint8_t byte(int32_t sum)
{
    int32_t value = (sum + HALF) >> 22;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* A row's colours apart, as 16-bit numbers: planes [3][stride] from rgb [count][3]. */
static void part(const uint8_t *restrict rgb, int32_t count, int16_t *restrict planes, int32_t stride)
{
    int16_t *red = planes, *green = red + stride, *blue = green + stride;
    for (int32_t x = 0; x < count; x++) {
        red[x] = rgb[3 * x];
        green[x] = rgb[3 * x + 1];
        blue[x] = rgb[3 * x + 2];
    }
}

/* One row across: out [samples][3] from planes [3][stride], whose first pixel is the picture's first[0]. No sum leaves
 * 32 bits: the weights' magnitudes add up to less than 2, and those of their low parts to no more. */
static void across(const axis *a, const int16_t *restrict planes, int32_t stride, uint8_t *restrict out)
{
    for (int32_t i = 0; i < a->samples; i++) {
        const int16_t *red = planes + (a->first[i] - a->first[0]), *green = red + stride, *blue = green + stride;
        const int16_t *high = a->high + (size_t)i * (size_t)a->taps, *low = a->low + (size_t)i * (size_t)a->taps;
        int32_t reds[2] = {0}, greens[2] = {0}, blues[2] = {0};
        for (int32_t t = 0; t < a->taps; t++) {
            reds[0] += red[t] * low[t];
            reds[1] += red[t] * high[t];
            greens[0] += green[t] * low[t];
            greens[1] += green[t] * high[t];
            blues[0] += blue[t] * low[t];
            blues[1] += blue[t] * high[t];
        }
        out[3 * i] = byte(reds[0] + reds[1] * LOW);
        out[3 * i + 1] = byte(greens[0] + greens[1] * LOW);
        out[3 * i + 2] = byte(blues[0] + blues[1] * LOW);
    }
}

/* One row down: out [width] from rows [depth][width], where row y of the picture is row y % depth; sums [width]. */
static void down(const axis *a, int32_t i, const uint8_t *restrict rows, int32_t depth, int32_t width,
                 int32_t *restrict sums, uint8_t *restrict out)
{
    memset(sums, 0, (size_t)width * sizeof *sums);
    for (int32_t t = 0; t < a->count[i]; t++) {
        const uint8_t *row = rows + (size_t)((a->first[i] + t) % depth) * (size_t)width;
        int32_t weight = get_weight(a, i, t);
        for (int32_t x = 0; x < width; x++) sums[x] += row[x] * weight;
    }
    for (int32_t x = 0; x < width; x++) out[x] = byte(sums[x]);
}

/* What each byte of each colour becomes: (byte / 255 - mean) / std, every step rounded to float32. */
static void tabulate(const ecvx_preprocessing *how, float table[3][256])
{
    for (int32_t i = 0; i < 3 * 256; i++) {
        float value = (float)(i % 256) / 255.0f;
        value -= (float)how->mean[i / 256];
        value /= (float)how->std[i / 256];
        table[i / 256][i % 256] = value;
    }
}

/* ---- the picture ---- */

/* What lies between the picture and the input. */
typedef struct {
    int32_t stride, depth;
    int32_t *sums;   /* [size][3] */
    int16_t *planes; /* [3][stride], a row of the picture; zeros behind its end, where only weights of 0 look */
    uint8_t *rows;   /* [depth][size][3], what the pass across has left of the last rows */
    uint8_t *row;    /* [size][3] */
} workspace;

static int open_workspace(workspace *w, const axis *x, const axis *y)
{
    size_t width = 3 * (size_t)x->samples;
    w->stride = x->first[x->samples - 1] - x->first[0] + x->taps;
    w->depth = y->taps;
    size_t planes = 3 * (size_t)w->stride, bytes = width * sizeof *w->sums + planes * sizeof *w->planes;
    bytes += ((size_t)w->depth + 1) * width;
    if (!(w->sums = malloc(bytes))) return 1;
    w->planes = (int16_t *)(w->sums + width);
    memset(w->planes, 0, planes * sizeof *w->planes);
    w->rows = (uint8_t *)(w->planes + planes);
    w->row = w->rows + (size_t)w->depth * width;
    return 0;
}

typedef struct {
    const uint8_t *rgb; /* [height][width][3] */
    int32_t width, height;
} picture;

static void fill(const ecvx_preprocessing *how, const picture *p, const axis *x, const axis *y, const workspace *w,
                 int32_t type, void *out)
{
    int32_t left = x->first[0], count = p->width - left < w->stride ? p->width - left : w->stride;
    int32_t width = 3 * how->size, ready = 0;
    float table[3][256];
    tabulate(how, table);
    for (int32_t i = 0; i < how->size; i++) {
        if (ready < y->first[i]) ready = y->first[i];
        for (; ready < y->first[i] + y->count[i]; ready++) {
            part(p->rgb + 3 * ((size_t)ready * (size_t)p->width + (size_t)left), count, w->planes, w->stride);
            across(x, w->planes, w->stride, w->rows + (size_t)(ready % w->depth) * (size_t)width);
        }
        uint8_t *bytes = type == ECVX_UINT8 ? (uint8_t *)out + (size_t)i * (size_t)width : w->row;
        down(y, i, w->rows, w->depth, width, w->sums, bytes);
        if (type == ECVX_UINT8) continue;
        float *floats = (float *)out + (size_t)i * (size_t)width;
        for (int32_t c = 0; c < width; c++) floats[c] = table[c % 3][bytes[c]];
    }
}

static int resize_and_crop(const ecvx_preprocessing *how, const picture *p, int32_t wide, int32_t high, int32_t type,
                           void *out, char *error)
{
    axis x = {0}, y = {0};
    workspace w = {0};
    int failed = make_axis(&x, p->width, wide, how->size, how->interpolation) ||
                 make_axis(&y, p->height, high, how->size, how->interpolation) || open_workspace(&w, &x, &y);
    if (!failed) fill(how, p, &x, &y, &w, type, out);
    free(w.sums);
    close_axis(&y);
    close_axis(&x);
    return failed ? refuse(error, "there is no memory left to resize a picture", NULL) : 0;
}

int ecvx_picture(const ecvx_preprocessing *how, const uint8_t *rgb, int32_t width, int32_t height, int32_t type,
                 void *out, char *error)
{
    if (check_preprocessing(how, type, error) || check_size(width, height, error)) return 1;
    const picture p = {rgb, width, height};
    int64_t side = (int64_t)(how->size / how->crop_pct), wide = side, high = side;
    if (how->resize == ECVX_SHORTEST && width <= height) high = side * height / width;
    else if (how->resize == ECVX_SHORTEST) wide = side * width / height;
    const int64_t numbers[] = {width, height, wide, high};
    if (wide * high > RESIZED)
        return refuse(error, "a picture of # x # pixels is too narrow to be resized to # x #", numbers);
    return resize_and_crop(how, &p, (int32_t)wide, (int32_t)high, type, out, error);
}
