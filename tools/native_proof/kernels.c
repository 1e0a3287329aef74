/* One set of kernels, asked from outside: kernels NAME < requests > answers.
 *
 * A request is an operation, twelve integers and four floats, and as many arrays as the operation takes, each a number of
 * bytes (int64) and the bytes. An answer is one array. Names of the engine that are used here are those of kernels.h,
 * and of network.c the few that make a norm and a curve.
 */
#include "all.c"

#include "program.h"

enum { PROBE_FACTS, PROBE_STORE, PROBE_HIDE, PROBE_DEPTHWISE, PROBE_NORMALIZE, PROBE_ROUND, PROBE_SCALE, PROBE_ADD };

enum { PROBE_SIZE = 22 }; /* of a map that goes in bands of 44 pixels, which is more than a request has */

typedef struct {
    int32_t operation, n[12];
    float f[4];
} ProbeRequest;

typedef struct {
    const Kernels *kernels;
    int32_t n[12];
    float f[4];
    void *made[64]; /* given back behind an answer */
    int count;
} Probe;

static void *probe_room(Probe *p, size_t bytes) {
    void *room = ecvx_zeros(bytes + 64);
    if (!room || p->count == 64) abort();
    return p->made[p->count++] = room;
}

/* The next array of the request; NULL where it has none. */
static void *probe_array(Probe *p) {
    int64_t bytes;
    if (fread(&bytes, 8, 1, stdin) != 1) exit(3);
    void *array = probe_room(p, (size_t)bytes);
    if (bytes && fread(array, 1, (size_t)bytes, stdin) != (size_t)bytes) exit(3);
    return bytes ? array : NULL;
}

static void probe_answer(const void *values, size_t bytes) {
    const int64_t size = (int64_t)bytes;
    fwrite(&size, 8, 1, stdout);
    fwrite(values, 1, bytes, stdout);
}

static Products probe_packed(Probe *p, const Layer *layer, int segments, int segment, int pitch, float unit) {
    Products packed;
    Arena arena = {0};
    p->kernels->pack(layer, segments, segment, pitch, unit, &packed, &arena);
    arena = (Arena){.base = probe_room(p, arena.used)};
    p->kernels->pack(layer, segments, segment, pitch, unit, &packed, &arena);
    return packed;
}

/* A layer with grid f[0] and n[4]; weights, scales and bias are the request's next arrays. */
static Products probe_layer(Probe *p, int pitch, float unit) {
    const int n = p->n[0], segments = p->n[1], segment = p->n[2];
    Layer layer = {.n = n, .k = segments * segment, .integers = p->n[3], .scale = p->f[0], .zero = p->n[4]};
    const void *weights = probe_array(p);
    if (layer.integers) layer.bytes = weights;
    else layer.floats = weights;
    layer.scales = probe_array(p);
    layer.bias = probe_array(p);
    return probe_packed(p, &layer, segments, segment, pitch, unit);
}

static void probe_put(const Probe *p, void *to, size_t at, int q) {
    const int value = q + 128 + p->kernels->lowest();
    if (p->kernels->bytes == 2) ((int16_t *)to)[at] = (int16_t)value;
    else ((uint8_t *)to)[at] = (uint8_t)value;
}

static int probe_get(const Probe *p, const void *from, size_t at) {
    int value = ((const uint8_t *)from)[at];
    if (p->kernels->bytes == 2) value = ((const int16_t *)from)[at];
    else if (p->kernels->lowest() < 0) value = ((const int8_t *)from)[at];
    return value - 128 - p->kernels->lowest();
}

/* The request's next array [rows][segments * segment] as rows of a layer; what lies in gaps is anything. */
static void *probe_inputs(Probe *p, const Products *l, int pitch) {
    const int segments = p->n[1], segment = p->n[2], rows = p->n[5];
    const void *given = probe_array(p);
    void *rounded = probe_room(p, (size_t)rows * (size_t)l->k * 4);
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < l->k; k++) {
            const size_t at = (size_t)r * (size_t)l->k + (size_t)k;
            const int s = k / pitch, i = k % pitch, gap = s >= segments || i >= segment;
            const size_t from = ((size_t)r * (size_t)segments + (size_t)s) * (size_t)segment + (size_t)i;
            if (l->integers) probe_put(p, rounded, at, gap ? (k * 37 + r) % 256 - 128 : ((const int8_t *)given)[from]);
            else ((float *)rounded)[at] = gap ? (float)(k - r) : ((const float *)given)[from];
        }
    return rounded;
}

static void probe_store(Probe *p) {
    const int n = p->n[0], rows = p->n[5], pitch = p->n[6];
    const Products l = probe_layer(p, pitch, p->f[1]);
    const void *a = probe_inputs(p, &l, pitch);
    const float *before = probe_array(p);
    float *map = probe_room(p, (size_t)rows * (size_t)l.n * 4), *out = probe_room(p, (size_t)rows * (size_t)n * 4);
    int32_t *place = probe_room(p, (size_t)rows * 4 + 12);
    for (int r = 0; r < rows; r++) {
        place[r + 3] = (rows - 1 - r) * l.n; /* the first pixel is number 3, and maps may lie as they like */
        for (int i = 0; i < l.n; i++) map[place[r + 3] + i] = before && i < n ? before[r * n + i] : 77.0f;
    }
    const Sink sink = {.map = map, .place = place, .residual = before != NULL};
    const int panel = p->kernels->panel, first = l.n > panel ? panel : l.n;
    p->kernels->store(&l, a, rows, 0, first, 3, &sink);
    p->kernels->store(&l, a, rows, first, l.n, 3, &sink);
    for (int r = 0; r < rows; r++) memcpy(out + (size_t)r * (size_t)n, map + place[r + 3], (size_t)n * 4);
    probe_answer(out, (size_t)rows * (size_t)n * 4);
}

/* Answers [rows][n] hidden numbers and [n] sums of squares, both as true numbers. */
static void probe_hide(Probe *p) {
    const int n = p->n[0], rows = p->n[5], pitch = p->n[6], activation = p->n[7], integers = p->n[8];
    const Block block = {.reach = p->f[2], .fc2 = {.integers = integers}};
    const Curve shape = curve(activation, &block, !integers, PROBE_SIZE);
    const Products l = probe_layer(p, pitch, unit_of(activation, &shape, !integers));
    const void *a = probe_inputs(p, &l, pitch);
    void *hidden = probe_room(p, (size_t)rows * (size_t)l.n * 4);
    void *squares = probe_room(p, (size_t)l.n * 4);
    float *out = probe_room(p, (size_t)(rows + 1) * (size_t)n * 4);
    const Sink sink = {.hidden = hidden, .pitch = l.n, .squares = squares, .curve = &shape};
    (integers ? p->kernels->hide : p->kernels->hide_floats)(&l, a, rows, 0, l.n, 0, &sink);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++) {
            const size_t at = (size_t)r * (size_t)l.n + (size_t)i;
            out[r * n + i] = (integers ? (float)((int16_t *)hidden)[at] : ((float *)hidden)[at]) / shape.height;
        }
    const float unit = integers ? shape.height * (float)shape.squared / 32768.0f : 1.0f;
    for (int i = 0; i < n; i++)
        out[rows * n + i] = (integers ? (float)((int32_t *)squares)[i] : ((float *)squares)[i]) / unit / unit;
    probe_answer(out, (size_t)(rows + 1) * (size_t)n * 4);
}

static void probe_depthwise(Probe *p) {
    const int width = p->n[0], channels = p->n[1], kernel = p->n[2], rows = p->n[3], wide = padded(channels);
    const int above = p->n[4], below = p->n[5];
    const int side = width + kernel - 1, inputs = (rows + kernel - 1) * side, outputs = rows * width;
    const float *given = probe_array(p), *weights = probe_array(p), *bias = probe_array(p);
    float *in = probe_room(p, (size_t)(inputs * wide) * 4), *packed = probe_room(p, (size_t)(kernel * kernel * wide) * 4);
    float *b = probe_room(p, (size_t)wide * 4), *out = probe_room(p, (size_t)(outputs * wide) * 4);
    for (int i = 0; i < inputs; i++) memcpy(in + i * wide, given + i * channels, (size_t)channels * 4);
    memcpy(b, bias, (size_t)channels * 4);
    p->kernels->pack_depthwise(weights, kernel * kernel, channels, packed);
    p->kernels->depthwise(in, above, below, rows, width, wide, kernel, packed, b, out);
    for (int x = 0; x < outputs; x++) memmove(out + x * channels, out + x * wide, (size_t)channels * 4);
    probe_answer(out, (size_t)(outputs * channels) * 4);
}

/* A layer of one output, for its grid: f[0] and n[4]. */
static Products probe_grid(Probe *p, int channels, int integers) {
    Layer layer = {.n = 1, .k = channels, .integers = integers, .scale = p->f[0], .zero = p->n[4]};
    const float *zeros = probe_room(p, (size_t)channels * 4);
    layer.bytes = (const int8_t *)zeros;
    layer.floats = layer.scales = zeros;
    return probe_packed(p, &layer, 1, channels, padded(channels), 1.0f);
}

static void probe_whole(const Probe *p, const void *rounded, size_t count, int32_t *to) {
    for (size_t i = 0; i < count; i++) to[i] = probe_get(p, rounded, i);
}

/* Answers [rows][channels] integers, or floats. */
static void probe_normalize(Probe *p) {
    const int channels = p->n[0], rows = p->n[1], integers = p->n[3], wide = padded(channels);
    const size_t step = (size_t)wide + 16, all = (size_t)rows * step;
    const Products grid = probe_grid(p, channels, integers);
    const float *given = probe_array(p);
    const Norm norm = {.epsilon = p->f[1], .scale = probe_array(p), .shift = probe_array(p)};
    Arena arena = {0};
    (void)normal(&norm, channels, &grid, &arena);
    arena = (Arena){.base = probe_room(p, arena.used)};
    Normal made = normal(&norm, channels, &grid, &arena);
    made.brief = 0; /* all digits are looked at */
    float *x = probe_room(p, all * 4), *to = probe_room(p, all * 4), *out = probe_room(p, (size_t)rows * (size_t)channels * 4);
    for (int r = 0; r < rows; r++) memcpy(x + (size_t)r * step, given + r * channels, (size_t)channels * 4);
    if (integers) p->kernels->normalize_rounded(x, (ptrdiff_t)step, rows, &made, to, wide);
    else p->kernels->normalize(x, (ptrdiff_t)step, rows, &made, to, wide);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < channels; c++) {
            const size_t from = (size_t)r * (size_t)wide + (size_t)c, at = (size_t)r * (size_t)channels + (size_t)c;
            if (integers) ((int32_t *)out)[at] = probe_get(p, to, from);
            else out[at] = to[from];
        }
    probe_answer(out, (size_t)rows * (size_t)channels * 4);
}

static void probe_round(Probe *p) {
    const int count = p->n[0];
    const Products grid = probe_grid(p, 16, 1);
    const float *x = probe_array(p);
    void *to = probe_room(p, (size_t)count * 4);
    int32_t *out = probe_room(p, (size_t)count * 4);
    p->kernels->round(x, count, &grid, to);
    probe_whole(p, to, (size_t)count, out);
    probe_answer(out, (size_t)count * 4);
}

static void probe_scale(Probe *p) {
    const int channels = p->n[0], rows = p->n[1], count = channels * rows;
    const Products grid = probe_grid(p, 16, 1);
    const void *hidden = probe_array(p), *factor = probe_array(p);
    void *to = probe_room(p, (size_t)count * 4);
    int32_t *out = probe_room(p, (size_t)count * 4);
    p->kernels->scale_hidden(hidden, factor, channels, rows, (int)grid.zero, to);
    probe_whole(p, to, (size_t)count, out);
    probe_answer(out, (size_t)count * 4);
}

static void probe_add(Probe *p) {
    float *sum = probe_array(p);
    const float *x = probe_array(p);
    p->kernels->add(sum, x, p->n[0]);
    probe_answer(sum, (size_t)p->n[0] * 4);
}

static void probe_facts(Probe *p) {
    const Kernels *k = p->kernels;
    const int32_t facts[] = {k->bytes, k->panel, (int32_t)k->lowest()};
    probe_answer(facts, sizeof facts);
}

static void probe_one(Probe *p, int operation) {
    static void (*const ways[])(Probe *) = {probe_facts,     probe_store, probe_hide,  probe_depthwise,
                                            probe_normalize, probe_round, probe_scale, probe_add};
    ways[operation](p);
    while (p->count) ecvx_free(p->made[--p->count]);
}

int main(int count, char **words) {
    Probe probe = {0};
    if (count == 1) { /* which there are */
        for (int i = 0; ecvx_all_kernels[i]; i++)
            if (ecvx_all_kernels[i]->runs()) printf("%s\n", ecvx_all_kernels[i]->form);
        return 0;
    }
    for (int i = 0; ecvx_all_kernels[i]; i++) /* also where a model's weights have to fit: who asks sees to it */
        if (ecvx_all_kernels[i]->runs() && same_text(words[1], ecvx_all_kernels[i]->form)) probe.kernels = ecvx_all_kernels[i];
    if (!probe.kernels) return fprintf(stderr, "there are no such kernels here\n"), 2;
    for (ProbeRequest r; fread(&r, sizeof r, 1, stdin) == 1;) {
        memcpy(probe.n, r.n, sizeof r.n);
        memcpy(probe.f, r.f, sizeof r.f);
        probe_one(&probe, r.operation);
    }
    return 0;
}
