/* The interface: models opened, described, run and closed. Handles of one file share its packed weights. */
#include "run.h"

enum { TENSORS = 4 };

/* Packed weights, and who else has them. */
typedef struct Shared {
    Network network;
    ecvx_mapping file;
    int handles, by_name; /* whether the kernels were named, not chosen */
    struct Shared *next;
} Shared;

static Shared *all_shared; /* under ecvx_lock_shared: the files that are open in this process */

struct ecvx_model {
    Shared *shared;
    Run *run;
    ecvx_lock *lock;
    ecvx_info info;
    ecvx_tensor *outputs; /* [info.outputs] */
};

static int same_text(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

const char *ecvx_kernels(int32_t index) {
    for (int i = 0; index >= 0 && ecvx_all_kernels[i]; i++) {
        const Kernels *k = ecvx_all_kernels[i];
        if (k->runs() && !same_text(k->name, i ? ecvx_all_kernels[i - 1]->name : "") && !index--) return k->name;
    }
    return NULL;
}

int32_t ecvx_version(void) { return ECVX_VERSION; }
void *ecvx_alloc(size_t size) { return ecvx_zeros(size); }
void ecvx_release(void *memory) { ecvx_free(memory); }

/* Whether kernels may be taken where these are asked for. */
static int goes_by(const Kernels *k, const char *name) {
    return !name || same_text(name, k->name) || same_text(name, k->form);
}

/* The best kernels of this processor whose sums are exact with a model's weights; or those of a name. */
static const Kernels *chosen(const Model *model, const char *name, char *error) {
    const Kernels *named = NULL;
    for (int i = 0; ecvx_all_kernels[i]; i++) {
        const Kernels *k = ecvx_all_kernels[i];
        if (!k->runs() || !goes_by(k, name)) continue;
        named = k;
        if (!k->fits || k->fits(model)) return k;
    }
    ecvx_fail(error, named ? "with these weights the sums of those kernels may not fit into 16 bits: leave the choice to the engine"
                           : "there are no kernels of this name for this processor", 0);
    return NULL;
}

/* ---------------------------------------------------------------- what handles share */

static int same_file(const Shared *s, ecvx_mapping file) {
    return s->file.mapped && s->file.size == file.size && !memcmp(s->file.bytes, file.bytes, file.size);
}

static Shared *made(ecvx_mapping file, const char *name, char *error) {
    Model model;
    Shared *s = ecvx_zeros(sizeof *s);
    if (!s) return ecvx_fail(error, "there is not enough memory to open the model", 0), NULL;
    if (!ecvx_model_read(&model, file.bytes, file.size, error)) {
        const Kernels *kernels = chosen(&model, name, error);
        if (!kernels) ecvx_model_drop(&model);
        else if (!ecvx_pack(&s->network, &model, kernels, error)) return s;
    }
    ecvx_free(s);
    return NULL;
}

/* Takes the file, which is unmapped with the last handle, or at once where it cannot be had. */
static Shared *shared(ecvx_mapping file, const char *name, char *error) {
    ecvx_lock_shared();
    Shared *s = file.mapped ? all_shared : NULL;
    while (s && !(s->by_name == (name != NULL) && goes_by(s->network.kernels, name) && same_file(s, file))) s = s->next;
    if (s) {
        ecvx_unmap(file);
    } else if ((s = made(file, name, error))) {
        s->by_name = name != NULL;
        s->file = file.mapped ? file : (ecvx_mapping){0};
        s->next = all_shared;
        all_shared = s;
    } else {
        ecvx_unmap(file);
    }
    if (s) s->handles++;
    ecvx_unlock_shared();
    return s;
}

static void leave(Shared *s) {
    if (!s) return;
    ecvx_lock_shared();
    const int last = !--s->handles;
    if (last) {
        Shared **at = &all_shared;
        while (*at != s) at = &(*at)->next;
        *at = s->next;
    }
    ecvx_unlock_shared();
    if (!last) return;
    ecvx_network_drop(&s->network);
    ecvx_unmap(s->file);
    ecvx_free(s);
}

/* ---------------------------------------------------------------- descriptions */

static ecvx_tensor map_tensor(const Model *m, const char *name, int stage, int times) {
    const Stage *t = &m->stage[stage];
    return (ecvx_tensor){name, ECVX_FLOAT32, 4, {m->batch, t->size, t->size, times * t->channels}};
}

static void describe_outputs(const Model *m, ecvx_tensor *to) {
    static const char *const features[4] = {"feature0", "feature1", "feature2", "feature3"};
    if (m->task == CLASSIFY) *to++ = (ecvx_tensor){"logits", ECVX_FLOAT32, 2, {m->batch, m->classes}};
    if (m->task == EMBED) *to++ = (ecvx_tensor){"embedding", ECVX_FLOAT32, 2, {m->batch, m->stage[3].channels}};
    for (int s = 0; m->task == FEATURES && s < 4; s++) *to++ = map_tensor(m, features[s], s, 1);
    for (int i = 0; i < m->taps; i++)
        *to++ = map_tensor(m, m->tap[i].name, m->tap[i].stage, m->tap[i].point == POINT_ACTIVATION ? 4 : 1);
}

/* Multiply-accumulates of a layer, and those of them in INT8. */
static void count(const Layer *l, double pixels, double *all, double *integers) {
    *all += pixels * l->n * l->k;
    if (l->integers) *integers += pixels * l->n * l->k;
}

static double int8_part(const Model *m) {
    double all = 0, integers = 0;
    for (int i = 0; i < m->stem; i++) {
        const Convolution *c = &m->convolution[i];
        count(&c->layer, (double)c->size * c->size, &all, &integers);
    }
    for (int s = 0; s < 4; s++) {
        const Stage *t = &m->stage[s];
        const double pixels = (double)t->size * t->size;
        if (s) count(&t->down, pixels, &all, &integers);
        all += pixels * t->depth * t->kernel * t->kernel * t->channels;
        for (int b = 0; b < t->depth; b++) {
            count(&t->block[b].fc1, pixels, &all, &integers);
            count(&t->block[b].fc2, pixels, &all, &integers);
        }
    }
    if (m->task == CLASSIFY) count(&m->classifier, 1, &all, &integers);
    return integers / all;
}

static int describe(ecvx_model *h, char *error) {
    const Network *net = &h->shared->network;
    const Model *m = &net->model;
    ecvx_info *info = &h->info;
    info->outputs = (m->task == FEATURES ? TENSORS : 1) + m->taps;
    h->outputs = ecvx_zeros((size_t)info->outputs * sizeof *h->outputs);
    if (!h->outputs) return ecvx_fail(error, "there is not enough memory to open the model", 0);
    describe_outputs(m, h->outputs);
    info->output = h->outputs;
    info->input = (ecvx_tensor){"image", m->input, 4, {m->batch, m->image, m->image, 3}};
    info->name = m->name;
    info->license = m->license;
    info->kernels = net->kernels->form;
    info->labels = m->labels;
    info->label = m->label;
    info->weight_bytes = (int64_t)net->bytes;
    info->arena_bytes = (int64_t)ecvx_run_bytes(h->run);
    info->int8_macs = int8_part(m);
    return 0;
}

/* ---------------------------------------------------------------- the interface */

static ecvx_model *opened(ecvx_mapping file, const ecvx_options *options, char *error) {
    const int threads = options && options->threads ? options->threads : 1;
    ecvx_model *h = ecvx_zeros(sizeof *h);
    if (!h) {
        ecvx_unmap(file);
        return ecvx_fail(error, "there is not enough memory to open the model", 0), NULL;
    }
    h->shared = shared(file, options ? options->kernels : NULL, error);
    if (h->shared) h->run = ecvx_run_make(&h->shared->network, threads, error);
    if (h->run) h->lock = ecvx_lock_make();
    if (h->lock && !describe(h, error)) return h;
    if (h->run && !h->lock) ecvx_fail(error, "there is not enough memory to open the model", 0);
    ecvx_close(h);
    return NULL;
}

ecvx_model *ecvx_open(const char *path, const ecvx_options *options, char *error) {
    const ecvx_mapping file = path ? ecvx_map(path, error) : (ecvx_mapping){0};
    if (!path) ecvx_fail(error, "there is no path to open", 0);
    return file.bytes ? opened(file, options, error) : NULL;
}

ecvx_model *ecvx_open_memory(const void *bytes, size_t size, const ecvx_options *options, char *error) {
    unsigned char *copy = NULL; /* tensors are read as floats: where these bytes are not aligned for it, others are */
    if (!bytes) return ecvx_fail(error, "there are no bytes to open", 0), NULL;
    if ((uintptr_t)bytes % sizeof(float)) {
        copy = ecvx_zeros(size);
        if (!copy) return ecvx_fail(error, "there is not enough memory for # bytes", (int64_t)size), NULL;
        memcpy(copy, bytes, size);
    }
    ecvx_model *h = opened((ecvx_mapping){copy ? copy : bytes, size, 0}, options, error);
    ecvx_free(copy);
    return h;
}

const ecvx_info *ecvx_describe(const ecvx_model *model) { return model ? &model->info : NULL; }

int ecvx_run(ecvx_model *model, const void *input, int32_t pictures, float *const *outputs, char *error) {
    if (!model || !input || !outputs) return ecvx_fail(error, "a run takes a model, an input and outputs", 0);
    if (pictures < 0) return ecvx_fail(error, "# pictures cannot be run", pictures);
    for (int i = 0; i < model->info.outputs; i++)
        if (!outputs[i]) return ecvx_fail(error, "output # has no room to be written to", i);
    if (model->info.input.type == ECVX_FLOAT32 && (uintptr_t)input % sizeof(float))
        return ecvx_fail(error, "the input's floats are not aligned", 0);
    ecvx_lock_take(model->lock);
    ecvx_run_pictures(model->run, input, pictures, outputs);
    ecvx_lock_give(model->lock);
    return 0;
}

int ecvx_preprocess(const ecvx_model *model, const uint8_t *rgb, int32_t width, int32_t height, void *input, char *error) {
    if (!model || !rgb || !input) return ecvx_fail(error, "a picture takes a model, its bytes and room for the input", 0);
    return ecvx_picture(&model->shared->network.model.preprocessing, rgb, width, height, model->info.input.type, input, error);
}

void ecvx_close(ecvx_model *model) {
    if (!model) return;
    ecvx_run_drop(model->run);
    ecvx_lock_drop(model->lock);
    leave(model->shared);
    ecvx_free(model->outputs);
    ecvx_free(model);
}
