/* Reads a model's file (docs/native-file.md). Whatever is in it, nothing outside it is looked at. */
#include "model.h"

static const uint8_t ecvx_magic[8] = {0x89, 'E', 'C', 'V', 'X', '\r', '\n', 0x1a};
enum { HEADER = 32, ALIGNMENT = 64, LONGEST_TEXT = 4096, MOST_CHANNELS = 4096, MOST_INPUTS = 65536, MOST_TAPS = 4096 };

/* The description, read word by word; what is wrong first is kept, and nothing is read afterwards. */
typedef struct {
    const uint8_t *at, *end; /* what is left of the description */
    const uint8_t *file;     /* [size] */
    size_t size, tensors;    /* tensors begin behind the description */
    char *text;              /* where the next one goes; there is room for all of them */
    char *error;
    int failed;
} Reader;

static int reject(Reader *r, const char *text, int64_t number) {
    if (!r->failed) ecvx_fail(r->error, text, number);
    return r->failed = 1;
}

static uint32_t read_word(Reader *r) {
    uint32_t value = 0;
    if (r->failed) return 0;
    if (r->end - r->at < 4) return (uint32_t)(reject(r, "the model is damaged: its description ends too early", 0) & 0);
    memcpy(&value, r->at, 4);
    r->at += 4;
    return value;
}

static int read_number(Reader *r, int least, int most) {
    const uint32_t value = read_word(r);
    if (r->failed) return least;
    if (value < (uint32_t)least || value > (uint32_t)most) {
        reject(r, "the model is damaged: # stands where no such number can be", value);
        return least;
    }
    return (int)value;
}

static int is_finite(float x) { return x - x == 0.0f; }

static float read_real(Reader *r) {
    const uint32_t bits = read_word(r);
    float value;
    memcpy(&value, &bits, 4);
    if (!is_finite(value)) reject(r, "the model is damaged: it holds a number that is none", 0);
    return r->failed ? 1.0f : value;
}

static float read_positive(Reader *r) {
    const float value = read_real(r);
    if (!r->failed && !(value > 0.0f)) reject(r, "the model is damaged: a number that has to be positive is not", 0);
    return r->failed ? 1.0f : value;
}

static double read_double(Reader *r) {
    const uint64_t low = read_word(r), high = read_word(r), bits = low | high << 32;
    double value;
    memcpy(&value, &bits, 8);
    if (!(value - value == 0.0)) reject(r, "the model is damaged: it holds a number that is none", 0);
    return r->failed ? 1.0 : value;
}

static const char *read_text(Reader *r) {
    const size_t length = (size_t)read_number(r, 0, LONGEST_TEXT), padded = (length + 3) / 4 * 4;
    char *start = r->text;
    if (!r->failed && (size_t)(r->end - r->at) < padded) reject(r, "the model is damaged: a text ends too late", 0);
    if (r->failed) return "";
    for (size_t i = 0; i < length; i++)
        if (!r->at[i]) return reject(r, "the model is damaged: there is a 0 in a text", 0), "";
    memcpy(start, r->at, length);
    start[length] = 0;
    r->at += padded;
    r->text += length + 1;
    return start;
}

/* `count` values of `bytes` bytes each, or NULL where the file says there are none. */
static const void *read_tensor(Reader *r, size_t count, size_t bytes, int needed) {
    const uint64_t start = (uint64_t)read_word(r) * ALIGNMENT;
    if (r->failed) return NULL;
    if (!start) return needed ? (reject(r, "the model is damaged: a tensor is missing", 0), NULL) : NULL;
    if (start < r->tensors || start > r->size || (r->size - start) / bytes < count)
        return reject(r, "the model is damaged: a tensor lies outside the file", 0), NULL;
    return r->file + start;
}

static const float *read_floats(Reader *r, size_t count, int needed) {
    const float *values = read_tensor(r, count, 4, needed);
    for (size_t i = 0; values && i < count; i++)
        if (!is_finite(values[i])) return reject(r, "the model is damaged: a tensor holds a number that is none", 0), NULL;
    return values;
}

static Norm read_norm(Reader *r, int channels) {
    Norm n = {.epsilon = read_positive(r)};
    n.scale = read_floats(r, (size_t)channels, 0);
    n.shift = read_floats(r, (size_t)channels, 0);
    return n;
}

static Layer read_layer(Reader *r, int n, int k) {
    Layer l = {.n = n, .k = k};
    if (k > MOST_INPUTS) reject(r, "the model is too wide: # inputs of a layer are more than 65536", k);
    l.integers = read_number(r, 0, 1);
    if (!l.integers) {
        l.floats = read_floats(r, (size_t)n * (size_t)k, 1);
        l.bias = read_floats(r, (size_t)n, 0);
        return l;
    }
    l.scale = read_positive(r);
    l.zero = (int32_t)read_word(r);
    if (l.zero < -128 || l.zero > 127) reject(r, "the model is damaged: # is no zero point of int8", l.zero);
    l.bytes = read_tensor(r, (size_t)n * (size_t)k, 1, 1);
    l.scales = read_floats(r, (size_t)n, 1);
    l.bias = read_floats(r, (size_t)n, 0);
    return l;
}

static void read_preprocessing(Reader *r, Model *m) {
    ecvx_preprocessing *p = &m->preprocessing;
    p->size = m->image;
    p->resize = read_number(r, 0, 1);
    p->interpolation = read_number(r, 0, 3);
    read_number(r, 0, 1); /* EXIF is the caller's */
    p->crop_pct = read_double(r);
    for (int i = 0; i < 3; i++) p->mean[i] = read_double(r);
    for (int i = 0; i < 3; i++) p->std[i] = read_double(r);
    for (int i = 0; i < 3; i++)
        if (!r->failed && !(p->std[i] > 0)) reject(r, "the model is damaged: its standard deviations are not positive", 0);
    if (!r->failed && !(p->crop_pct >= 0.1 && p->crop_pct <= 1.0)) reject(r, "the model is damaged: its crop is none", 0);
}

/* How far a depthwise kernel reaches to each side: 1, 2 or 3. */
static int read_half(Reader *r) {
    const int kernel = read_number(r, 3, 7);
    if (kernel % 2 == 0) reject(r, "the model is damaged: # is no side of a depthwise kernel", kernel);
    return kernel / 2;
}

/* Returns the side of the map that the stem gives. */
static int read_stem(Reader *r, Model *m) {
    int side = m->image, channels = 3;
    m->stem = read_number(r, 1, 2);
    for (int i = 0; i < m->stem && !r->failed; i++) {
        Convolution *c = &m->convolution[i];
        c->out = read_number(r, 1, MOST_CHANNELS);
        c->in = read_number(r, channels, channels);
        c->kernel = read_number(r, 1, 8);
        c->stride = read_number(r, 1, 8);
        c->pad = read_number(r, 0, c->kernel - 1);
        c->layer = read_layer(r, c->out, c->kernel * c->kernel * c->in);
        side = c->size = (side + 2 * c->pad - c->kernel) / c->stride + 1;
        channels = c->out;
    }
    if (!r->failed && (channels != m->stage[0].channels || side != m->image / 4))
        reject(r, "the model is damaged: its stem does not fit the first stage", 0);
    return side;
}

static void read_block(Reader *r, Block *b, int c, int kernel) {
    const size_t hidden = 4 * (size_t)c;
    b->weights = read_floats(r, (size_t)kernel * (size_t)kernel * (size_t)c, 1);
    b->bias = read_floats(r, (size_t)c, 0);
    b->norm = read_norm(r, c);
    b->fc1 = read_layer(r, 4 * c, c);
    b->reach = read_positive(r);
    b->grn = read_number(r, 0, 1);
    if (b->grn) {
        b->epsilon = read_positive(r);
        b->gamma = read_floats(r, hidden, 1);
    }
    b->base = read_floats(r, hidden, 0);
    b->fc2 = read_layer(r, c, 4 * c);
}

static int read_stages(Reader *r, Model *m) {
    int blocks = 0, next = 0;
    for (int s = 0; s < 4; s++) blocks += m->stage[s].depth;
    m->blocks = r->failed ? NULL : ecvx_zeros((size_t)blocks * sizeof(Block));
    if (!m->blocks) return reject(r, "there is not enough memory for the model", 0);
    for (int s = 0; s < 4 && !r->failed; s++) {
        Stage *t = &m->stage[s];
        t->block = m->blocks + next;
        next += t->depth;
        if (s) {
            t->norm = read_norm(r, t[-1].channels);
            t->down = read_layer(r, t->channels, 4 * t[-1].channels);
        }
        for (int b = 0; b < t->depth && !r->failed; b++) read_block(r, &t->block[b], t->channels, t->kernel);
    }
    return r->failed;
}

static int read_labels(Reader *r, Model *m) {
    m->labels = read_number(r, 0, m->classes);
    if (m->labels && m->labels != m->classes) reject(r, "the model is damaged: it has # labels, not one a class", m->labels);
    m->label = r->failed ? NULL : ecvx_zeros(((size_t)m->labels + 1) * sizeof *m->label);
    if (!m->label) return reject(r, "there is not enough memory for the labels", 0);
    for (int i = 0; i < m->labels; i++) m->label[i] = read_text(r);
    return r->failed;
}

static int read_taps(Reader *r, Model *m) {
    m->taps = read_number(r, 0, MOST_TAPS);
    m->tap = r->failed ? NULL : ecvx_zeros(((size_t)m->taps + 1) * sizeof *m->tap);
    if (!m->tap) return reject(r, "there is not enough memory for the inner tensors", 0);
    for (int i = 0; i < m->taps && !r->failed; i++) {
        Tap *t = &m->tap[i];
        t->name = read_text(r);
        t->point = read_number(r, POINT_STEM, POINT_BLOCK);
        t->stage = read_number(r, t->point == POINT_DOWNSAMPLE, t->point == POINT_STEM ? 0 : 3);
        t->block = read_number(r, 0, t->point > POINT_DOWNSAMPLE ? m->stage[t->stage].depth - 1 : 0);
        for (int j = 0; j < i && !r->failed; j++)
            if (t->point == m->tap[j].point && t->stage == m->tap[j].stage && t->block == m->tap[j].block)
                reject(r, "the model is damaged: inner tensor # is asked for twice", i);
    }
    return r->failed;
}

static int read_description(Reader *r, Model *m) {
    m->name = read_text(r);
    m->license = read_text(r);
    m->task = read_number(r, CLASSIFY, EMBED);
    m->input = read_number(r, ECVX_FLOAT32, ECVX_UINT8);
    m->batch = read_number(r, 1, 65536);
    m->image = read_number(r, 32, 2048);
    if (m->image % 32) reject(r, "the model is damaged: # is no size of a picture", m->image);
    m->classes = m->task == CLASSIFY ? read_number(r, 1, 65536) : read_number(r, 0, 0);
    if (read_labels(r, m)) return 1;
    read_preprocessing(r, m);
    m->activation = read_number(r, GELU, SILU);
    for (int s = 0; s < 4; s++) m->stage[s].channels = read_number(r, 1, MOST_CHANNELS);
    for (int s = 0; s < 4; s++) m->stage[s].depth = read_number(r, 1, 64);
    for (int s = 0; s < 4; s++) m->stage[s].kernel = 2 * read_half(r) + 1;
    for (int s = 0, side = read_stem(r, m); s < 4; s++, side /= 2) m->stage[s].size = side;
    m->stem_norm = read_norm(r, m->stage[0].channels);
    if (r->failed || read_stages(r, m)) return 1;
    if (m->task != FEATURES) m->head_norm = read_norm(r, m->stage[3].channels);
    if (m->task == CLASSIFY) m->classifier = read_layer(r, m->classes, m->stage[3].channels);
    if (read_taps(r, m)) return 1;
    return r->at == r->end ? 0 : reject(r, "the model is damaged: its description goes on behind its end", 0);
}

static uint32_t crc32(const uint8_t *bytes, size_t size) {
    uint32_t table[4][256], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        table[0][i] = c;
    }
    for (int i = 0; i < 256; i++)
        for (int t = 1; t < 4; t++) table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
    for (; size >= 4; size -= 4, bytes += 4) { /* four bytes at a time */
        uint32_t next;
        memcpy(&next, bytes, 4);
        next ^= crc;
        crc = table[3][next & 255] ^ table[2][next >> 8 & 255] ^ table[1][next >> 16 & 255] ^ table[0][next >> 24];
    }
    for (; size; size--, bytes++) crc = crc >> 8 ^ table[0][(crc ^ *bytes) & 255];
    return ~crc;
}

static int read_frame(const uint8_t *file, size_t size, uint32_t *words, char *error) {
    uint64_t said;
    if (size < HEADER || memcmp(file, ecvx_magic, sizeof ecvx_magic)) return ecvx_fail(error, "the file is no model of edgecvx", 0);
    memcpy(words, file, HEADER);
    memcpy(&said, words + 4, 8);
    if (words[2] != ECVX_VERSION)
        return ecvx_fail(error, "the model is of version #, which this engine does not read: export it again", words[2]);
    if (said != size) return ecvx_fail(error, "the model is cut: # bytes of it are here", (int64_t)size);
    if (words[3] != crc32(file + 16, size - 16)) return ecvx_fail(error, "the model is damaged: its checksum is another", 0);
    if (size % ALIGNMENT || words[6] > size - HEADER || words[6] % 4 || words[7])
        return ecvx_fail(error, "the model is damaged: its description does not fit into it", 0);
    return 0;
}

int ecvx_model_read(Model *model, const uint8_t *file, size_t size, char *error) {
    uint32_t words[HEADER / 4];
    memset(model, 0, sizeof *model);
    if (read_frame(file, size, words, error)) return 1;
    model->file = file;
    model->size = size;
    model->checksum = words[3];
    model->texts = ecvx_zeros(words[6] + 1); /* each text was longer by its length's word than it is with its 0 */
    if (!model->texts) return ecvx_fail(error, "there is not enough memory for the model", 0);
    Reader r = {.at = file + HEADER, .end = file + HEADER + words[6], .file = file, .size = size, .text = model->texts};
    r.tensors = (HEADER + words[6] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    r.error = error;
    if (!read_description(&r, model)) return 0;
    ecvx_model_drop(model);
    return 1;
}

void ecvx_model_drop(Model *model) {
    ecvx_free(model->texts);
    ecvx_free(model->label);
    ecvx_free(model->blocks);
    ecvx_free(model->tap);
    memset(model, 0, sizeof *model);
}
