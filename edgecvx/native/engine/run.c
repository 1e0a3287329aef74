/* A picture's way through the network.
 *
 * A step of a layer is cut into parts (rows of a map, pixels, or panels of outputs) that threads take one by one; how it is
 * cut does not depend on how many there are, so neither do the answers. Between steps all threads meet.
 *
 * Large maps go through a layer in bands that stay in the second cache: a band is convolved, normalized, rounded and
 * multiplied by all weights. In small maps the weights are what is large, so there the whole map is rounded first, and each
 * thread takes panels of weights.
 */
#include "run.h"

enum { BAND_INPUTS = 48 * 1024, BAND_BYTES = 48 * 1024, OUTPUTS = 4 };

typedef struct {
    _Alignas(64) atomic_int taken; /* of its share of a step's parts */
    int thread;
    float *row;             /* rows of a map: [rows][width][channels], or the inputs of pixels */
    unsigned char *rounded; /* a band of inputs */
} Own;

struct Run {
    const Network *net;
    const Kernels *kernels;
    ecvx_team *team;
    int threads;
    float *map[4];     /* [side][side][channels] with the border that its depthwise convolutions read */
    int32_t *place[4]; /* [size * size]: where each pixel begins in it */
    float *stem_map;   /* between two convolutions of the stem: [side][side][channels] */
    int32_t *stem_place;
    void *hidden;         /* [size * size][hidden channels]: 16-bit numbers, or floats */
    void *squares;        /* [bands][hidden channels]: integers, or floats where hidden numbers are */
    void *factor;         /* [hidden channels]: as hidden numbers are multiplied with */
    unsigned char *whole; /* a small map, rounded */
    float *pooled, *head; /* [channels of the last stage]; [classes, padded] */
    Own *own;             /* [threads] */
    int32_t origin;       /* a place: 0 */
    unsigned char *memory;
    size_t bytes;

    const unsigned char *input; /* of this picture */
    float *outputs[OUTPUTS];    /* of this picture: what the task returns */
    float **tapped;             /* [taps] */
    const unsigned char *inputs; /* of the whole call */
    float *const *all_outputs;

    const PackedBlock *block;  /* what the threads work on */
    int stage, block_number, bands;
};

static int larger(int a, int b) { return a > b ? a : b; }
static int whole_parts(int all, int part) { return (all + part - 1) / part; }

/* ---------------------------------------------------------------- sizes */

static const Stage *stage_of(const Run *r, int s) { return &r->net->model.stage[s]; }
static int width_of(const Run *r, int s) { return padded(stage_of(r, s)->channels); }

/* Bytes of an input of a layer, and of a row of them. */
static size_t input_bytes(const Run *r, const Products *l) { return l->integers ? (size_t)r->kernels->bytes : sizeof(float); }
static size_t row_bytes(const Run *r, const Products *l) { return (size_t)l->k * input_bytes(r, l); }

/* Rows of a map that make a band: a fourteenth of it, which divides the usual sizes evenly, if it is not too large. The same
 * whatever inputs are, since sums of floats are taken band by band. */
static int rows_in_band(const Products *l, int size) {
    const int most = larger(1, (int)(BAND_INPUTS / ((size_t)size * (size_t)l->k)));
    return smaller(most, rows_at_once(size));
}

/* Pixels of a map that make a band: whole tiles, and a number of bands that two or four threads can share. */
static int pixels_in_band(const Run *r, const Products *l, int size) {
    const int tile = r->kernels->tile, pixels = size * size, most = larger(tile, (int)(BAND_BYTES / row_bytes(r, l)));
    const int bands = whole_parts(whole_parts(pixels, most), 4) * 4;
    return smaller(pixels, whole_parts(whole_parts(pixels, bands), tile) * tile);
}

static void reserve_stage(Run *r, int s, Arena *arena, size_t *hidden, size_t *squares, size_t *whole, size_t *row, size_t *band) {
    const Stage *t = stage_of(r, s);
    const PackedStage *p = &r->net->stage[s];
    const size_t size = (size_t)t->size, pixels = size * size, side = size + (size_t)t->kernel - 1, width = (size_t)width_of(r, s);
    r->map[s] = ecvx_take(arena, side * side * width, sizeof(float));
    r->place[s] = ecvx_take(arena, pixels, sizeof(int32_t));
    const size_t mixed = (size_t)r->kernels->rows * size * width;
    *row = *row > mixed ? *row : mixed;
    for (int i = s ? -1 : 0; i < t->depth; i++) {
        const Products *in = i < 0 ? &p->down : &p->block[i].fc1, *out = i < 0 ? NULL : &p->block[i].fc2;
        const size_t bands = (size_t)whole_parts(t->size, rows_in_band(in, t->size));
        const size_t rows = (size_t)rows_in_band(in, t->size) * size * row_bytes(r, in);
        *band = *band > rows ? *band : rows;
        const size_t all = pixels * row_bytes(r, in);
        if (fits_whole(t->size)) *whole = *whole > all ? *whole : all;
        if (!out) continue;
        const size_t part = (size_t)pixels_in_band(r, out, t->size) * row_bytes(r, out), more = pixels * row_bytes(r, out);
        *band = *band > part ? *band : part;
        if (fits_whole(t->size)) *whole = *whole > more ? *whole : more;
        *row = *row > (size_t)out->k ? *row : (size_t)out->k;
        const size_t values = pixels * (size_t)out->k * (p->block[i].float_hidden ? 4 : 2);
        *hidden = *hidden > values ? *hidden : values;
        *squares = *squares > bands * (size_t)out->k ? *squares : bands * (size_t)out->k;
    }
}

static void reserve(Run *r, Arena *arena) {
    const Model *m = &r->net->model;
    size_t hidden = 0, squares = 0, whole = 0, row = 0, band = 0;
    int widest = 0;
    for (int s = 0; s < 4; s++) {
        reserve_stage(r, s, arena, &hidden, &squares, &whole, &row, &band);
        widest = larger(widest, padded(4 * stage_of(r, s)->channels));
    }
    for (int i = 0; i < m->stem; i++) {
        const Convolution *c = &m->convolution[i];
        const Products *l = &r->net->stem[i];
        const int size = c->size;
        const size_t rows = (size_t)rows_in_band(l, size) * (size_t)size * row_bytes(r, l);
        band = band > rows ? band : rows;
        const size_t inputs = (size_t)size * (size_t)l->k;
        row = row > inputs ? row : inputs;
        if (i || m->stem == 1) continue;
        r->stem_map = ecvx_take(arena, (size_t)size * (size_t)size * (size_t)padded(c->out), sizeof(float));
        r->stem_place = ecvx_take(arena, (size_t)size * (size_t)size, sizeof(int32_t));
    }
    if (m->task != FEATURES) {
        const size_t last = (size_t)width_of(r, 3) * sizeof(float);
        band = band > last ? band : last;
    }
    r->hidden = ecvx_take(arena, hidden, 1);
    r->squares = ecvx_take(arena, squares, sizeof(float));
    r->factor = ecvx_take(arena, (size_t)widest, sizeof(float));
    r->whole = ecvx_take(arena, whole, 1);
    r->pooled = ecvx_take(arena, (size_t)width_of(r, 3), sizeof(float));
    r->head = ecvx_take(arena, (size_t)padded(larger(1, m->classes)), sizeof(float));
    r->tapped = ecvx_take(arena, (size_t)m->taps, sizeof(float *));
    Own *own = ecvx_take(arena, (size_t)r->threads, sizeof *own);
    for (int i = 0; i < r->threads; i++) {
        float *own_row = ecvx_take(arena, row, sizeof(float));
        unsigned char *rounded = ecvx_take(arena, band, 1);
        if (own) own[i] = (Own){.thread = i, .row = own_row, .rounded = rounded};
    }
    r->own = own;
}

static void set_places(int32_t *place, int size, int side, int border, int width) {
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) place[y * size + x] = ((y + border) * side + x + border) * width;
}

/* Whether every place in every map is an int32. */
static int places_fit(const Run *r) {
    for (int s = 0; s < 4; s++) {
        const Stage *t = stage_of(r, s);
        const int64_t side = t->size + t->kernel - 1, hidden = (int64_t)t->size * t->size * 4 * (width_of(r, s) + GROUP);
        if (side * side * width_of(r, s) > INT32_MAX || hidden > INT32_MAX) return 0;
    }
    return r->net->model.stem == 1 ||
           (int64_t)r->net->model.image * r->net->model.image * padded(r->net->model.convolution[0].out) <= INT32_MAX;
}

Run *ecvx_run_make(const Network *network, int threads, char *error) {
    Run *r = ecvx_zeros(sizeof *r);
    if (!r) return ecvx_fail(error, "there is not enough memory to run the model", 0), NULL;
    r->net = network;
    r->kernels = network->kernels;
    r->threads = threads;
    Arena arena = {0};
    reserve(r, &arena);
    r->memory = places_fit(r) ? ecvx_zeros(arena.used) : NULL;
    r->bytes = arena.used;
    if (!r->memory) {
        ecvx_fail(error, "there is not enough memory for # bytes of inner tensors", (int64_t)arena.used);
        ecvx_run_drop(r);
        return NULL;
    }
    arena = (Arena){.base = r->memory};
    reserve(r, &arena);
    for (int s = 0; s < 4; s++) {
        const Stage *t = stage_of(r, s);
        set_places(r->place[s], t->size, t->size + t->kernel - 1, t->kernel / 2, width_of(r, s));
    }
    const Convolution *first = &network->model.convolution[0];
    if (r->stem_map) set_places(r->stem_place, first->size, first->size, 0, padded(first->out));
    r->team = ecvx_team_make(threads);
    if (r->team) return r;
    ecvx_fail(error, "# threads cannot be started: there may be 1 to 256, and 1 alone in a build without threads", threads);
    ecvx_run_drop(r);
    return NULL;
}

size_t ecvx_run_bytes(const Run *run) { return run->bytes; }

void ecvx_run_drop(Run *run) {
    if (!run) return;
    ecvx_team_drop(run->team);
    ecvx_free(run->memory);
    ecvx_free(run);
}

/* ---------------------------------------------------------------- parts of a step */

/* The number of a part that nobody has taken, from the first of a thread's share on or back from the last; or -1. Each thread has
 * its share, the same in every step, so that it finds in its cache what it has written before; then it helps the others. */
static int take_from(const Run *r, const Own *own, int parts, int back) {
    for (int i = 0; i < r->threads; i++) {
        const int of = (own->thread + i) % r->threads, first = of * parts / r->threads, end = (of + 1) * parts / r->threads;
        const int taken = atomic_fetch_add_explicit(&r->own[of].taken, 1, memory_order_relaxed);
        if (taken < end - first) return back ? end - 1 - taken : first + taken;
    }
    return -1;
}
static int take(const Run *r, const Own *own, int parts) {
    const int part = take_from(r, own, parts, 0);
    return part < 0 ? parts : part;
}
/* What was written last is read first: it is still in the cache where not all of it is. */
static int take_back(const Run *r, const Own *own, int parts) { return take_from(r, own, parts, 1); }

static void begin_again(void *what) {
    Run *r = what;
    for (int i = 0; i < r->threads; i++) atomic_store_explicit(&r->own[i].taken, 0, memory_order_relaxed);
}
static void meet(Run *r) { ecvx_team_meet(r->team, begin_again, r); }

/* Panels of a layer that a thread takes at once: its outputs n0 to n1. */
static int panels(const Run *r, const Products *l) { return whole_parts(l->n, r->kernels->panel); }

static void store_panels(Run *r, const Products *l, int s, int residual, const Own *own) {
    const int pixels = stage_of(r, s)->size * stage_of(r, s)->size, panel = r->kernels->panel, parts = panels(r, l);
    const Sink sink = {.map = r->map[s], .place = r->place[s], .residual = residual, .brief = 1};
    for (int i; (i = take(r, own, parts)) < parts;)
        r->kernels->store(l, r->whole, pixels, i * panel, smaller(l->n, (i + 1) * panel), 0, &sink);
}

/* Rows of normalized inputs at `to`, rounded where the layer behind takes integers. */
static void normalize(const Run *r, const float *x, ptrdiff_t step, int rows, const Normal *norm, const Products *layer,
                      unsigned char *to, ptrdiff_t to_step) {
    if (layer->integers) r->kernels->normalize_rounded(x, step, rows, norm, to, to_step);
    else r->kernels->normalize(x, step, rows, norm, (float *)(void *)to, to_step);
}

/* ---------------------------------------------------------------- the stem */

/* The inputs of one output pixel: [kernel][kernel][in], zeros outside of the picture. */
static void gather_picture(const Run *r, const Convolution *c, int y, int x, float *to) {
    const int size = r->net->model.image, bytes = r->net->model.input == ECVX_UINT8, run = c->kernel * 3;
    for (int ky = 0; ky < c->kernel; ky++, to += run) {
        const int py = y * c->stride - c->pad + ky;
        for (int i = 0; i < run; i++) {
            const int px = x * c->stride - c->pad + i / 3, inside = py >= 0 && py < size && px >= 0 && px < size;
            const size_t at = inside ? ((size_t)py * (size_t)size + (size_t)px) * 3 + (size_t)(i % 3) : 0;
            to[i] = !inside ? 0.0f : bytes ? (float)r->input[at] : ((const float *)(const void *)r->input)[at];
        }
    }
}

/* The same of a whole row of outputs where their kernels lie side by side in the picture: lines of it are rounded before they are
 * taken apart. What lies behind the inputs of a pixel is anything, since there are no weights for it. */
static void gather_patches(const Run *r, const Convolution *c, const Products *l, int y, float *room, unsigned char *to) {
    const int line = r->net->model.image * 3;
    const size_t run = (size_t)c->kernel * 3 * input_bytes(r, l), pitch = row_bytes(r, l);
    for (int ky = 0; ky < c->kernel; ky++, to += run) {
        const size_t at = (size_t)(y * c->stride + ky) * (size_t)line;
        const float *floats = (const float *)(const void *)r->input + at;
        if (r->net->model.input == ECVX_UINT8) {
            for (int i = 0; i < line; i++) room[i] = (float)r->input[at + (size_t)i];
            floats = room;
        }
        const unsigned char *from = (const unsigned char *)(const void *)floats;
        if (l->integers) {
            r->kernels->round(floats, line, l, room + line);
            from = (const unsigned char *)(const void *)(room + line);
        }
        unsigned char *x = to;
        if (run == 12) /* what is usual, without a call */
            for (int i = 0; i < c->size; i++, x += pitch, from += 12) memcpy(x, from, 12);
        else
            for (int i = 0; i < c->size; i++, x += pitch, from += run) memcpy(x, from, run);
    }
}

/* The same of a map: [kernel][kernel][width]. */
static void gather_map(const Run *r, const Convolution *c, int y, int x, float *to) {
    const int width = padded(c->in), size = r->net->model.convolution[0].size;
    for (int ky = 0; ky < c->kernel; ky++)
        for (int kx = 0; kx < c->kernel; kx++, to += width) {
            const int py = y * c->stride - c->pad + ky, px = x * c->stride - c->pad + kx;
            if (py < 0 || py >= size || px < 0 || px >= size) memset(to, 0, (size_t)width * sizeof(float));
            else memcpy(to, r->stem_map + ((ptrdiff_t)py * size + px) * width, (size_t)width * sizeof(float));
        }
}

/* A row of outputs' inputs. */
static void stem_inputs(const Run *r, int i, int y, const Own *own, unsigned char *to) {
    const Convolution *c = &r->net->model.convolution[i];
    const Products *l = &r->net->stem[i];
    const int side_by_side = !i && !c->pad && c->stride == c->kernel, more = i ? 0 : l->k - c->layer.k;
    float *const row = l->integers ? own->row : (float *)(void *)to;
    if (side_by_side) gather_patches(r, c, l, y, own->row, to);
    if (side_by_side && l->integers) return;
    for (int x = 0; x < c->size; x++) {
        float *const inputs = row + (ptrdiff_t)x * l->k;
        if (i) gather_map(r, c, y, x, inputs);
        else if (!side_by_side) gather_picture(r, c, y, x, inputs);
        if (more) memset(inputs + c->layer.k, 0, (size_t)more * sizeof(float));
    }
    if (l->integers) r->kernels->round(row, c->size * l->k, l, to);
    else ecvx_shorten(row, (size_t)c->size * (size_t)l->k, BRIEF);
}

static void stem(Run *r, int i, const Own *own) {
    const int last = i == r->net->model.stem - 1, size = r->net->model.convolution[i].size, width = width_of(r, 0);
    const Products *l = &r->net->stem[i];
    const int rows = rows_in_band(l, size), parts = whole_parts(size, rows);
    const Sink sink = {.map = last ? r->map[0] : r->stem_map, .place = last ? r->place[0] : r->stem_place};
    for (int part; (part = take(r, own, parts)) < parts;) {
        const int first = part * rows * size, end = smaller(size, (part + 1) * rows) * size;
        for (int p = first; p < end; p += size) stem_inputs(r, i, p / size, own, own->rounded + (size_t)(p - first) * row_bytes(r, l));
        r->kernels->store(l, own->rounded, end - first, 0, l->n, first, &sink);
        for (int p = first; last && p < end; p += size) {
            float *row = sink.map + sink.place[p];
            r->kernels->normalize(row, width, size, &r->net->stem_norm, row, width);
        }
    }
}

/* ---------------------------------------------------------------- between stages */

/* One row of the downsample's inputs: for each pixel the four it reads, normalized. */
static void downsample_inputs(const Run *r, int s, int y, unsigned char *to) {
    const PackedStage *p = &r->net->stage[s];
    const int size = stage_of(r, s)->size, before = 2 * size, width = width_of(r, s - 1);
    const size_t part = row_bytes(r, &p->down) / 4;
    for (int i = 0; i < 4; i++) {
        const float *x = r->map[s - 1] + r->place[s - 1][(2 * y + i / 2) * before + i % 2];
        normalize(r, x, 2 * (ptrdiff_t)width, size, &p->norm, &p->down, to + (size_t)i * part, 4 * (ptrdiff_t)width);
    }
}

static void downsample(Run *r, int s, const Own *own) {
    const Products *l = &r->net->stage[s].down;
    const int size = stage_of(r, s)->size, whole = fits_whole(size), rows = whole ? 1 : rows_in_band(l, size);
    const int parts = whole_parts(size, rows);
    const Sink sink = {.map = r->map[s], .place = r->place[s], .brief = 1};
    const size_t row = (size_t)size * row_bytes(r, l);
    for (int i; (i = take(r, own, parts)) < parts;) {
        const int end = smaller(size, (i + 1) * rows), first = i * rows;
        unsigned char *to = whole ? r->whole + (size_t)first * row : own->rounded;
        for (int y = first; y < end; y++) downsample_inputs(r, s, y, to + (size_t)(y - first) * row);
        if (!whole) r->kernels->store(l, to, (end - first) * size, 0, l->n, first * size, &sink);
    }
    if (!whole) return;
    meet(r);
    store_panels(r, l, s, 0, own);
}

/* ---------------------------------------------------------------- what is returned of inner tensors */

static float *tapped(const Run *r, int point, int stage, int block) {
    const Model *m = &r->net->model;
    for (int i = 0; i < m->taps; i++)
        if (m->tap[i].point == point && m->tap[i].stage == stage && m->tap[i].block == block) return r->tapped[i];
    return NULL;
}

/* A map without its border and padding; nothing where `to` is NULL. */
static void copy_map(const Run *r, int s, float *to) {
    const Stage *t = stage_of(r, s);
    const size_t channels = (size_t)t->channels;
    for (int p = 0; to && p < t->size * t->size; p++)
        memcpy(to + (size_t)p * channels, r->map[s] + r->place[s][p], channels * sizeof(float));
}

static void tap_map(const Run *r, int point, int stage, int block) { copy_map(r, stage, tapped(r, point, stage, block)); }

static void tap_hidden(const Run *r, const PackedBlock *b, int stage, float *to) {
    const int hidden = 4 * stage_of(r, stage)->channels, pixels = stage_of(r, stage)->size * stage_of(r, stage)->size;
    for (int p = 0; to && p < pixels; p++)
        for (int c = 0; c < hidden; c++) {
            const size_t at = (size_t)p * (size_t)b->fc2.k + (size_t)c;
            const float value = b->float_hidden ? ((const float *)r->hidden)[at] : (float)((const int16_t *)r->hidden)[at];
            to[(size_t)p * (size_t)hidden + (size_t)c] = value / b->curve.height;
        }
}

/* ---------------------------------------------------------------- a block */

static int16_t to_int16(float x) {
    const float above = x > -32767.0f ? x : -32767.0f; /* also what is no number */
    const float held = above < 32767.0f ? above : 32767.0f;
    return (int16_t)(held + (held < 0 ? -0.5f : 0.5f));
}

/* The sum of squares of each channel, of all bands, at the beginning of `squares`. Of integers exactly, however many bands. */
static void sum_bands(const Run *r, const PackedBlock *b) {
    const int k = b->fc2.k;
    float *sum = r->squares;
    for (int band = 1; b->float_hidden && band < r->bands; band++) r->kernels->add(sum, sum + (ptrdiff_t)band * k, k);
    for (int c = 0; !b->float_hidden && c < k; c += GROUP) {
        double all[GROUP] = {0}; /* which hold such sums exactly */
        for (int band = 0; band < r->bands; band++) {
            int32_t part[GROUP];
            memcpy(part, sum + (ptrdiff_t)band * k + c, sizeof part);
            for (int i = 0; i < GROUP; i++) all[i] += part[i];
        }
        for (int i = 0; i < GROUP; i++) sum[c + i] = (float)all[i];
    }
}

/* GRN's response of each channel, at the beginning of `squares`; returns 1 / (their mean + epsilon). */
static float respond(const Run *r, const PackedBlock *b, int hidden, int pixels) {
    float *response = r->squares;
    const float part = 1.0f / (float)pixels, part_squared = (float)b->curve.squared / 32768.0f;
    const float unit = 1.0f / (b->curve.height * (b->float_hidden ? 1.0f : part_squared));
    double sum[4] = {0}; /* of every fourth, which do not wait for each other */
    sum_bands(r, b);
    for (int c = 0; c < hidden; c++) response[c] = __builtin_sqrtf(response[c] * part) * unit;
    for (int c = 0; c < hidden; c += 4)
        for (int i = 0; i < 4; i++) sum[i] += (double)response[c + i];
    return 1.0f / ((float)((sum[0] + sum[1] + sum[2] + sum[3]) / hidden) + b->epsilon);
}

/* What hidden numbers are multiplied with: GRN, the way to true numbers, and fc2's grid. Called when all squares are there. */
static void make_factors(void *what) {
    Run *r = what;
    const PackedBlock *b = r->block;
    const Stage *t = stage_of(r, r->stage);
    const int hidden = 4 * t->channels;
    const float least = b->grn ? respond(r, b, hidden, t->size * t->size) : 0.0f;
    const float unit = b->fc2.inverse / b->curve.height * 32768.0f;
    float *restrict const grn = r->squares; /* in the place of what it is made of */
    const float *restrict const base = b->base, *restrict const gamma = b->gamma;
    for (int c = 0; b->grn && c < hidden; c++) {
        const float more = gamma[c] * grn[c] * least; /* by itself; see algorithm.h */
        grn[c] = base[c] + more;
    }
    if (!b->grn) memcpy(grn, base, (size_t)hidden * sizeof *grn);
    memset(r->factor, 0, (size_t)b->fc2.k * sizeof(float)); /* behind the last channel too */
    int16_t *restrict const integers = r->factor;
    if (b->float_hidden) memcpy(r->factor, grn, (size_t)hidden * sizeof *grn);
    else for (int c = 0; c < hidden; c++) integers[c] = to_int16(grn[c] * unit);
    tap_hidden(r, b, r->stage, tapped(r, POINT_ACTIVATION, r->stage, r->block_number));
    begin_again(r);
}

/* The inputs of fc2 from some pixels' hidden numbers. */
static void scale_pixels(const Run *r, const PackedBlock *b, int first, int end, const Own *own, unsigned char *to) {
    const Products *l = &b->fc2;
    if (!b->float_hidden) {
        const uint16_t *hidden = (const uint16_t *)r->hidden + (size_t)first * (size_t)l->k;
        r->kernels->scale_hidden(hidden, r->factor, l->k, end - first, (int)l->zero, to);
        return;
    }
    for (int p = first; p < end; p++, to += row_bytes(r, l)) {
        const size_t at = (size_t)p * (size_t)l->k;
        const float *hidden = (const float *)r->hidden + at, *factor = r->factor;
        float *scaled = l->integers ? own->row : (float *)(void *)to;
        for (int c = 0; c < l->k; c++) scaled[c] = hidden[c] * factor[c];
        if (l->integers) r->kernels->round(scaled, l->k, l, to);
        else ecvx_shorten(scaled, (size_t)l->k, BRIEF);
    }
}

/* Rows of a map from y on, convolved depthwise and normalized for fc1; as many as the kernels like at once, if there are. */
static int mix_rows(const Run *r, const PackedBlock *b, int s, int y, int end, const Own *own, unsigned char *to) {
    const Stage *t = stage_of(r, s);
    const int width = width_of(r, s), side = t->size + t->kernel - 1, rows = smaller(r->kernels->rows, end - y);
    const float *in = r->map[s] + (ptrdiff_t)y * side * width;
    const int border = t->kernel / 2, above = larger(0, border - y), below = larger(0, y + rows + border - t->size);
    r->kernels->depthwise(in, above, below, rows, t->size, width, t->kernel, b->weights, b->bias, own->row);
    normalize(r, own->row, width, rows * t->size, &b->norm, &b->fc1, to, b->fc1.k);
    float *tap = tapped(r, POINT_DEPTHWISE, s, r->block_number);
    for (int x = 0; tap && x < rows * t->size; x++)
        memcpy(tap + ((size_t)y * (size_t)t->size + (size_t)x) * (size_t)t->channels, own->row + (ptrdiff_t)x * width,
               (size_t)t->channels * sizeof(float));
    return rows;
}

static void hide(const Run *r, const PackedBlock *b, const void *a, int rows, int n0, int n1, int p0, int band) {
    int32_t *squares = (int32_t *)r->squares + (ptrdiff_t)band * b->fc2.k;
    const Sink sink = {.hidden = r->hidden, .pitch = b->fc2.k, .squares = squares, .curve = &b->curve};
    memset(squares + n0, 0, (size_t)(n1 - n0) * sizeof *squares);
    (b->float_hidden ? r->kernels->hide_floats : r->kernels->hide)(&b->fc1, a, rows, n0, n1, p0, &sink);
}

static void block_in_panels(Run *r, const PackedBlock *b, int s, const Own *own) {
    const int size = stage_of(r, s)->size, pixels = size * size, panel = r->kernels->panel, parts = panels(r, &b->fc1);
    const size_t row = (size_t)size * row_bytes(r, &b->fc1);
    const int rows = r->kernels->rows, groups = whole_parts(size, rows);
    for (int i; (i = take(r, own, groups)) < groups;)
        mix_rows(r, b, s, i * rows, smaller(size, (i + 1) * rows), own, r->whole + (size_t)(i * rows) * row);
    meet(r);
    for (int i; (i = take(r, own, parts)) < parts;)
        hide(r, b, r->whole, pixels, i * panel, smaller(b->fc1.n, (i + 1) * panel), 0, 0);
    ecvx_team_meet(r->team, make_factors, r);
    for (int y; (y = take(r, own, size)) < size;)
        scale_pixels(r, b, y * size, (y + 1) * size, own, r->whole + (size_t)(y * size) * row_bytes(r, &b->fc2));
    meet(r);
    store_panels(r, &b->fc2, s, 1, own);
}

static void block_in_bands(Run *r, const PackedBlock *b, int s, const Own *own) {
    const int size = stage_of(r, s)->size, rows = rows_in_band(&b->fc1, size), parts = whole_parts(size, rows);
    for (int i; (i = take(r, own, parts)) < parts;) {
        const int first = i * rows, end = smaller(size, first + rows);
        for (int y = first; y < end;)
            y += mix_rows(r, b, s, y, end, own, own->rounded + (size_t)((y - first) * size) * row_bytes(r, &b->fc1));
        hide(r, b, own->rounded, (end - first) * size, 0, b->fc1.n, first * size, i);
    }
    ecvx_team_meet(r->team, make_factors, r);
    const int count = pixels_in_band(r, &b->fc2, size), bands = whole_parts(size * size, count);
    const Sink sink = {.map = r->map[s], .place = r->place[s], .residual = 1, .brief = 1};
    for (int i; (i = take_back(r, own, bands)) >= 0;) {
        const int first = i * count, end = smaller(size * size, first + count);
        scale_pixels(r, b, first, end, own, own->rounded);
        r->kernels->store(&b->fc2, own->rounded, end - first, 0, b->fc2.n, first, &sink);
    }
}

/* What the threads are about to work on; set by the last of them to come. */
static void next_block(void *what) {
    Run *r = what;
    const int size = stage_of(r, r->stage)->size;
    r->block_number++;
    r->block = &r->net->stage[r->stage].block[r->block_number];
    r->bands = fits_whole(size) ? 1 : whole_parts(size, rows_in_band(&r->block->fc1, size));
    begin_again(r);
}

static void next_stage(void *what) {
    Run *r = what;
    r->stage++;
    r->block_number = -1;
    if (!r->stage) tap_map(r, POINT_STEM, 0, 0);
    else tap_map(r, POINT_DOWNSAMPLE, r->stage, 0);
    next_block(r);
}

static void end_block(void *what) {
    Run *r = what;
    tap_map(r, POINT_BLOCK, r->stage, r->block_number);
    const int last = r->block_number == stage_of(r, r->stage)->depth - 1;
    if (last && r->net->model.task == FEATURES) copy_map(r, r->stage, r->outputs[r->stage]);
    if (!last) next_block(r);
    begin_again(r);
}

/* ---------------------------------------------------------------- the head, and all of it */

static void head(Run *r, const Own *own) {
    const Model *m = &r->net->model;
    const int width = width_of(r, 3), pixels = m->stage[3].size * m->stage[3].size, channels = m->stage[3].channels;
    memset(r->pooled, 0, (size_t)width * sizeof(float));
    for (int p = 0; p < pixels; p++) r->kernels->add(r->pooled, r->map[3] + r->place[3][p], width);
    for (int c = 0; c < width; c++) r->pooled[c] /= (float)pixels;
    if (m->task == EMBED) {
        r->kernels->normalize(r->pooled, width, 1, &r->net->head_norm, r->pooled, width);
        memcpy(r->outputs[0], r->pooled, (size_t)channels * sizeof(float));
        return;
    }
    const Products *l = &r->net->classifier;
    const Sink sink = {.map = r->head, .place = &r->origin};
    normalize(r, r->pooled, width, 1, &r->net->head_norm, l, own->rounded, width);
    r->kernels->store(l, own->rounded, 1, 0, l->n, 0, &sink);
    memcpy(r->outputs[0], r->head, (size_t)m->classes * sizeof(float));
}

static void through(Run *r, int thread) {
    const Model *m = &r->net->model;
    const Own *own = &r->own[thread];
    for (int i = 0; i < m->stem; i++) {
        if (i) meet(r);
        stem(r, i, own);
    }
    for (int s = 0; s < 4; s++) {
        if (s) downsample(r, s, own);
        ecvx_team_meet(r->team, next_stage, r);
        for (int b = 0; b < m->stage[s].depth; b++) {
            (fits_whole(m->stage[s].size) ? block_in_panels : block_in_bands)(r, &r->net->stage[s].block[b], s, own);
            ecvx_team_meet(r->team, end_block, r);
        }
    }
    if (!thread && m->task != FEATURES) head(r, own);
}

static size_t map_floats(const Stage *t) { return (size_t)t->size * (size_t)t->size * (size_t)t->channels; }

static size_t tap_floats(const Model *m, const Tap *t) {
    return map_floats(&m->stage[t->stage]) * (t->point == POINT_ACTIVATION ? 4 : 1);
}

/* Points at the input and the outputs of one picture of the call. */
static void aim(Run *r, int32_t number) {
    const Model *m = &r->net->model;
    const size_t i = (size_t)number, values = (size_t)m->image * (size_t)m->image * 3;
    r->input = r->inputs + i * values * (m->input == ECVX_UINT8 ? 1 : sizeof(float));
    const int own = m->task == FEATURES ? 4 : 1;
    for (int o = 0; o < own; o++) {
        const size_t floats = m->task == FEATURES ? map_floats(&m->stage[o]) : m->task == CLASSIFY ? (size_t)m->classes : (size_t)m->stage[3].channels;
        r->outputs[o] = r->all_outputs[o] + i * floats;
    }
    for (int t = 0; t < m->taps; t++) r->tapped[t] = r->all_outputs[own + t] + i * tap_floats(m, &m->tap[t]);
    r->stage = -1;
    begin_again(r);
}

static void work_on_picture(void *what, int thread) { through(what, thread); }

void ecvx_run_pictures(Run *run, const void *input, int32_t pictures, float *const *outputs) {
    run->inputs = input;
    run->all_outputs = outputs;
    for (int32_t i = 0; i < pictures; i++) {
        aim(run, i);
        ecvx_team_run(run->team, work_on_picture, run);
    }
}
