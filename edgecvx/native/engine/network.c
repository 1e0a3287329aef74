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
    if (!n->scale && !n->shift) return to;
    to.scale = copied(n->scale, channels, padded(channels), 1.0f, arena);
    to.shift = copied(n->shift, channels, padded(channels), 0.0f, arena);
    for (int c = 0; arena->base && c < channels; c++) {
        to.scale[c] *= by;
        to.shift[c] = to.shift[c] * by + plus;
    }
    return to;
}

/* x * (1/2 + t * q(t²)), t = x held to -unit..unit, with q(unit²) * unit = 1/2: the best of its degree. Seven coefficients
 * are at most 1.7e-4 from GELU and 1.5e-4 from its form by tanh anywhere, six for float16 5e-4. */
typedef struct {
    float unit, coefficient[CURVE];
} Polynomial;
static const Polynomial curves[2][2] = {
    {{3.95f, {0.39798668026924133f, -0.06472273916006088f, 0.008842915296554565f, -0.0008290389087051153f,
              4.9551894335309044e-05f, -1.6811503655844717e-06f, 2.4435738765760107e-08f}},
     {3.85f, {0.39806312322616577f, -0.06511535495519638f, 0.009069147519767284f, -0.0008791224681772292f,
              5.488349052029662e-05f, -1.955933385033859e-06f, 2.994342551687623e-08f}}},
    {{3.65f, {0.39653363823890686f, -0.06265812367200851f, 0.007875436916947365f, -0.0006218428607098758f,
              2.7203657737118192e-05f, -4.983652388546034e-07f, 0.0f}},
     {3.60f, {0.3966588079929352f, -0.06303569674491882f, 0.00805441290140152f, -0.0006530110258609056f,
              2.952314207504969e-05f, -5.609076652035583e-07f, 0.0f}}},
};

static const Polynomial *polynomial(int activation, const Kernels *k) { return &curves[k->half][activation]; }

static float unit_of(int activation, const Kernels *k) { return activation == SILU ? 1.0f : polynomial(activation, k)->unit; }

/* From a polynomial in u to the same in v = 2 u - 1: u = t² lies in 0..1, where the terms of the first are many times their sum,
 * which float16 would show. */
static void recentre(float *coefficient) {
    double to[CURVE] = {0};
    for (int i = CURVE - 1; i >= 0; i--) { /* to = to * (v + 1) / 2 + coefficient[i] */
        for (int j = CURVE - 1; j > 0; j--) to[j] = (to[j] + to[j - 1]) / 2;
        to[0] = to[0] / 2 + (double)coefficient[i];
    }
    for (int i = 0; i < CURVE; i++) coefficient[i] = (float)to[i];
}

/* Hidden numbers have room for twice what was seen when calibrating: in int16 that leaves 14 bits and a sign; float16
 * loses nothing, and squares of a tile of them fit into one. */
static Curve curve(int activation, const Block *b, int float_hidden, const Kernels *k) {
    const float unit = unit_of(activation, k);
    Curve c = {.silu = activation == SILU, .height = 1.0f};
    if (!float_hidden) c.height = (k->half ? 32.0f : 16383.0f) / b->reach;
    c.top = 96.0f / c.height / unit;
    c.half = 0.5f * unit * c.height;
    if (c.silu) return c;
    float power = unit;
    for (int i = 0; i < CURVE; i++, power *= unit * unit)
        c.coefficient[i] = polynomial(activation, k)->coefficient[i] * power * unit * c.height;
    if (k->half && !float_hidden) recentre(c.coefficient);
    return c;
}

/* Whether hidden numbers have to be floats: before a layer of floats; for SiLU, whose exponential is not for 16 bits; and
 * where a channel's factor would be so large that one int16 step of it is more than a small part of one of fc2's. */
static int hides_floats(const Block *b, int hidden, int activation, const Kernels *k) {
    if (!b->fc2.integers || activation == SILU) return 1;
    if (k->half && b->reach < 1.0f / 64.0f) return 1; /* so small a unit would leave float16 */
    for (int c = 0; !k->half && c < hidden; c++) {
        const float base = b->base ? b->base[c] : 1.0f, gamma = b->grn ? b->gamma[c] : 0.0f;
        const float usual = (base < 0 ? -base : base) + 2.0f * (gamma < 0 ? -gamma : gamma);
        if (usual * b->reach / b->fc2.scale > 16383.0f / 4.0f) return 1;
    }
    return 0;
}

static void pack_block(const Network *net, const Block *b, int channels, int kernel, PackedBlock *to, Arena *arena) {
    const Kernels *k = net->kernels;
    const int width = padded(channels), hidden = 4 * channels;
    to->weights = ecvx_take(arena, (size_t)(kernel * kernel) * (size_t)width, sizeof(float));
    if (arena->base) k->pack_depthwise(b->weights, kernel * kernel, channels, to->weights);
    to->bias = copied(b->bias, channels, width, 0.0f, arena);
    k->pack(&b->fc1, 1, channels, width, unit_of(net->model.activation, k), &to->fc1, arena);
    k->pack(&b->fc2, 1, hidden, padded(hidden), 1.0f, &to->fc2, arena);
    to->norm = normal(&b->norm, channels, &to->fc1, arena);
    to->float_hidden = hides_floats(b, hidden, net->model.activation, k);
    to->curve = curve(net->model.activation, b, to->float_hidden, k);
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
        k->pack(&c->layer, parts, part, i ? padded(part) : part, 1.0f, &net->stem[i], arena);
    }
    net->stem_norm = normal(&m->stem_norm, m->stage[0].channels, NULL, arena);
    for (int s = 0; s < 4; s++) {
        const Stage *t = &m->stage[s];
        PackedStage *to = &net->stage[s];
        if (s) {
            k->pack(&t->down, 4, t[-1].channels, padded(t[-1].channels), 1.0f, &to->down, arena);
            to->norm = normal(&t->norm, t[-1].channels, &to->down, arena);
        }
        to->block = packed ? packed + next : NULL;
        next += t->depth;
        for (int b = 0; b < t->depth; b++)
            pack_block(net, &t->block[b], t->channels, t->kernel, packed ? &to->block[b] : &unused, arena);
    }
    const int last = m->stage[3].channels;
    if (m->task == CLASSIFY) k->pack(&m->classifier, 1, last, padded(last), 1.0f, &net->classifier, arena);
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
