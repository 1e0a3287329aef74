/* Packs a model's weights for a set of kernels: twice through the same code, first to count, then to write. */
#include "network.h"

void *ecvx_take(Arena *arena, size_t count, size_t bytes) {
    const size_t most = SIZE_MAX / 4, size = bytes && count > most / bytes ? most : (count * bytes + 63) / 64 * 64;
    void *at = arena->base ? arena->base + arena->used : NULL;
    arena->used = arena->used > most - size ? most : arena->used + size; /* `most` is never had */
    return at;
}

static float *copied(const float *values, int count, int width, float otherwise, Arena *arena) {
    float *to = ecvx_take(arena, (size_t)width, sizeof(float));
    if (!arena->base) return NULL;
    for (int i = 0; i < count; i++) to[i] = values ? values[i] : otherwise;
    return to;
}

/* A norm, and the rounding of the layer behind it where that one takes integers. */
static Normal normal(const Norm *n, int channels, const Products *layer, Arena *arena) {
    const float by = layer && layer->integers ? layer->inverse : 1.0f, plus = layer && layer->integers ? layer->zero : 0.0f;
    Normal to = {.channels = channels, .epsilon = n->epsilon, .every_scale = by, .every_shift = plus};
    to.brief = layer && layer->n && !layer->integers;
    if (!n->scale && !n->shift) return to;
    to.scale = copied(n->scale, channels, padded(channels), 1.0f, arena);
    to.shift = copied(n->shift, channels, padded(channels), 0.0f, arena);
    for (int c = 0; arena->base && c < channels; c++) {
        to.scale[c] *= by;
        to.shift[c] = to.shift[c] * by + plus;
    }
    return to;
}

/* x * (1/2 + t * q(t²)), t = x held to -unit..unit, with q(unit²) * unit = 1/2: the best of its degree, at most 1.7e-4 from GELU
 * and 1.5e-4 from its form by tanh anywhere. For hidden numbers what is above 0 of x, less a * p(a / end)^8, a = |x|: a bump whose
 * top is 0.17, which p, of the third degree and so that nothing is left at its end, meets to 1.8e-4, and in 16 bits to 3e-4. */
typedef struct {
    float unit, coefficient[CURVE], end;
    int16_t bump[BUMP];
} Polynomial;
static const Polynomial curves[2] = {
    {3.95f,
     {0.39798668026924133f, -0.06472273916006088f, 0.008842915296554565f, -0.0008290389087051153f, 4.9551894335309044e-05f,
      -1.6811503655844717e-06f, 2.4435738765760107e-08f},
     4.1f,
     {30028, -11711, -22110, 11854}},
    {3.85f,
     {0.39806312322616577f, -0.06511535495519638f, 0.009069147519767284f, -0.0008791224681772292f, 5.488349052029662e-05f,
      -1.955933385033859e-06f, 2.994342551687623e-08f},
     4.0f,
     {30030, -11523, -20336, 9889}},
};

/* What a sum is counted in when it comes to a curve. */
static float unit_of(int activation, const Curve *c, int float_hidden) {
    return !float_hidden ? 1.0f / c->height : activation == SILU ? 1.0f : curves[activation].unit;
}

/* Hidden numbers have room for twice what was seen when calibrating, or up to four times, so that the bump ends where an int16
 * does, or a half, a fourth of it: that leaves 13 to 14 bits and a sign. */
static int doublings(float reach, float end) {
    int count = 0;
    while (count < 14 && end * (float)(1 << count) < 2.0f * reach) count++;
    return count;
}

/* The hidden number for 1. */
static float height_of(int activation, float reach) {
    const float end = curves[activation].end;
    return 32768.0f / (end * (float)(1 << doublings(reach, end)));
}

static Curve curve(int activation, const Block *b, int float_hidden, int size) {
    Curve c = {.silu = activation == SILU, .height = 1.0f};
    if (c.silu) return c;
    const Polynomial *p = &curves[activation];
    memcpy(c.bump, p->bump, sizeof c.bump);
    c.doublings = (int16_t)doublings(b->reach, p->end);
    c.squared = (int16_t)__builtin_sqrtf(2147000000.0f / (float)(pixels_at_once(size) + 1));
    if (!float_hidden) c.height = height_of(activation, b->reach);
    c.half = 0.5f * p->unit;
    float power = p->unit;
    for (int i = 0; i < CURVE; i++, power *= p->unit * p->unit) c.coefficient[i] = p->coefficient[i] * power * p->unit;
    return c;
}

/* Whether hidden numbers have to be floats: before a layer of floats; for SiLU, whose exponential is not for 16 bits; and
 * where channels' factors would be so large that their int16 steps are no small part of fc2's: an eighth in the mean of
 * squares, which adds 1.6% to the power of what fc2's rounding costs, 0.07 dB, or in one channel all of it. */
static int hides_floats(const Block *b, int hidden, int activation) {
    if (!b->fc2.integers || activation == SILU) return 1;
    const float step = 1.0f / height_of(activation, b->reach);
    double squares = 0; /* of which each is exact: the same everywhere */
    for (int c = 0; c < hidden; c++) {
        const float base = b->base ? b->base[c] : 1.0f, gamma = b->grn ? b->gamma[c] : 0.0f;
        const float usual = (base < 0 ? -base : base) + 2.0f * (gamma < 0 ? -gamma : gamma), part = usual * step / b->fc2.scale;
        if (!(part <= 1.0f)) return 1;
        squares += (double)part * part;
    }
    return squares > hidden / 64.0;
}

void ecvx_shorten(float *x, size_t count, int bits) {
    const uint32_t left_out = 1u << (24 - bits);
    for (size_t i = 0; i < count; i++) {
        uint32_t all;
        memcpy(&all, x + i, sizeof all);
        all = (all + left_out / 2) & ~(left_out - 1);
        memcpy(x + i, &all, sizeof all);
    }
}

/* bits: of a weight that is a float, with those of an input at most 24 */
static void pack_layer(const Kernels *k, const Layer *l, int bits, int segments, int segment, int pitch, float unit, Products *to,
                       Arena *arena) {
    k->pack(l, segments, segment, pitch, unit, to, arena);
    if (arena->base && !l->integers) ecvx_shorten(to->weights, (size_t)to->n * (size_t)to->k, bits);
}

static void pack_block(const Network *net, const Block *b, const Stage *t, PackedBlock *to, Arena *arena) {
    const Kernels *k = net->kernels;
    const int channels = t->channels, kernel = t->kernel, width = padded(channels), hidden = 4 * channels;
    to->weights = ecvx_take(arena, (size_t)(kernel * kernel) * (size_t)width, sizeof(float));
    if (arena->base) k->pack_depthwise(b->weights, kernel * kernel, channels, to->weights);
    if (arena->base) ecvx_shorten(to->weights, (size_t)(kernel * kernel) * (size_t)width, BRIEF);
    to->bias = copied(b->bias, channels, width, 0.0f, arena);
    to->float_hidden = hides_floats(b, hidden, net->model.activation);
    to->curve = curve(net->model.activation, b, to->float_hidden, t->size);
    pack_layer(k, &b->fc1, BRIEF, 1, channels, width, unit_of(net->model.activation, &to->curve, to->float_hidden), &to->fc1, arena);
    pack_layer(k, &b->fc2, BRIEF, 1, hidden, padded(hidden), 1.0f, &to->fc2, arena);
    to->norm = normal(&b->norm, channels, &to->fc1, arena);
    to->grn = b->grn;
    to->epsilon = b->epsilon;
    to->gamma = b->grn ? copied(b->gamma, hidden, padded(hidden), 0.0f, arena) : NULL;
    to->base = copied(b->base, hidden, padded(hidden), 1.0f, arena);
}

static void pack_all(Network *net, Arena *arena) {
    const Model *m = &net->model;
    const Kernels *k = net->kernels;
    int blocks = 0, next = 0;
    for (int s = 0; s < 4; s++) blocks += m->stage[s].depth;
    PackedBlock *packed = ecvx_take(arena, (size_t)blocks, sizeof *packed), unused;
    for (int i = 0; i < m->stem; i++) {
        const Convolution *c = &m->convolution[i]; /* the picture's pixels lie side by side, those of a map padded */
        const int parts = i ? c->kernel * c->kernel : 1, part = i ? c->in : c->layer.k;
        const int bits = !i && m->input == ECVX_UINT8 ? 24 - 8 : BRIEF;
        pack_layer(k, &c->layer, bits, parts, part, i ? padded(part) : part, 1.0f, &net->stem[i], arena);
    }
    net->stem_norm = normal(&m->stem_norm, m->stage[0].channels, NULL, arena);
    net->stem_norm.brief = 1;
    for (int s = 0; s < 4; s++) {
        const Stage *t = &m->stage[s];
        PackedStage *to = &net->stage[s];
        if (s) {
            pack_layer(k, &t->down, BRIEF, 4, t[-1].channels, padded(t[-1].channels), 1.0f, &to->down, arena);
            to->norm = normal(&t->norm, t[-1].channels, &to->down, arena);
        }
        to->block = packed ? packed + next : NULL;
        next += t->depth;
        for (int b = 0; b < t->depth; b++)
            pack_block(net, &t->block[b], t, packed ? &to->block[b] : &unused, arena);
    }
    const int last = m->stage[3].channels;
    if (m->task == CLASSIFY) pack_layer(k, &m->classifier, BRIEF, 1, last, padded(last), 1.0f, &net->classifier, arena);
    if (m->task != FEATURES) net->head_norm = normal(&m->head_norm, last, &net->classifier, arena);
}

int ecvx_pack(Network *network, Model *model, const Kernels *kernels, char *error) {
    Arena arena = {0};
    *network = (Network){.model = *model, .kernels = kernels};
    pack_all(network, &arena);
    network->memory = ecvx_zeros(arena.used);
    if (!network->memory) {
        ecvx_model_drop(&network->model);
        return ecvx_fail(error, "there is not enough memory for # bytes of weights", (int64_t)arena.used);
    }
    network->bytes = arena.used;
    arena = (Arena){.base = network->memory};
    pack_all(network, &arena);
    return 0;
}

void ecvx_network_drop(Network *network) {
    ecvx_free(network->memory);
    ecvx_model_drop(&network->model);
    network->memory = NULL;
}
