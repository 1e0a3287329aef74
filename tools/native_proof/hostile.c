/* Files that anybody may have made, and calls in any order. Ends with 0, or is ended by a sanitizer or by abort().
 *
 *     hostile files SEED COUNT FILE...    each of COUNT files is one of those given, changed
 *     hostile calls SEED COUNT FILE...    COUNT sequences of calls on those given
 *     hostile leaks SEED COUNT FILE...    each opened, run and closed COUNT times
 *
 * Prints what came of it. Memory is scarce: what asks for much of it, or for more than is left, gets none.
 */
#define _POSIX_C_SOURCE 200809L
#undef malloc /* the engine, which is compiled beside this, is told to take its memory here */
#undef calloc
#undef free
#include "edgecvx.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 4 << 20, ALL = 12 << 20, MOST_FILES = 64, HANDLES = 4, SENTENCES = 64 };

void *scarce_malloc(size_t size);
void *scarce_calloc(size_t count, size_t size);
void scarce_free(void *memory);

static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static long blocks, left_blocks = -1; /* in use; and to be had yet, without end below 0 */
static size_t taken;                  /* bytes since the last one that counted */

void *scarce_malloc(size_t size) {
    pthread_mutex_lock(&counting);
    void *memory = size > LARGEST || taken + size > ALL || left_blocks == 0 ? NULL : malloc(size);
    if (memory) blocks++, taken += size;
    if (memory && left_blocks > 0) left_blocks--;
    pthread_mutex_unlock(&counting);
    return memory;
}

void *scarce_calloc(size_t count, size_t size) {
    void *memory = scarce_malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

void scarce_free(void *memory) {
    pthread_mutex_lock(&counting);
    blocks -= memory != NULL;
    pthread_mutex_unlock(&counting);
    free(memory);
}

typedef struct {
    const char *path;
    unsigned char *bytes;
    size_t size;
} File;

static File files[MOST_FILES];
static int file_count;
static uint64_t state;

static uint32_t draw(uint32_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return below ? (uint32_t)(state >> 33) % below : 0;
}

static void check(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "hostile: %s\n", what);
    abort();
}

/* ---------------------------------------------------------------- what is said */

static struct {
    char text[ECVX_ERROR];
    int count;
} said[SENTENCES];

static void check_sentence(const char *error) {
    const size_t length = strnlen(error, ECVX_ERROR);
    check(length > 10 && length < ECVX_ERROR && !strchr(error, '\n') && error[length - 1] != '.', "an error is no sentence");
    char text[ECVX_ERROR];
    size_t used = 0;
    for (size_t i = 0; i < length; i++) { /* numbers aside */
        if (error[i] >= '0' && error[i] <= '9' && used && text[used - 1] == '#') continue;
        text[used++] = error[i] >= '0' && error[i] <= '9' ? '#' : error[i];
    }
    text[used] = 0;
    for (int i = 0; i < SENTENCES; i++) {
        if (said[i].count && strcmp(said[i].text, text)) continue;
        memcpy(said[i].text, text, used + 1);
        said[i].count++;
        return;
    }
}

/* ---------------------------------------------------------------- a model that opened */

typedef struct {
    ecvx_model *model;
    float **outputs; /* for three pictures */
    int count;
    void *input;
    size_t values, floats[8]; /* of a picture; of an output for one picture */
} Opened;

static size_t floats_of(const ecvx_tensor *t) {
    size_t count = 1;
    for (int i = 1; i < t->rank; i++) count *= (size_t)t->shape[i];
    return count;
}

static void fill(Opened *o, int wild) {
    const int bytes = ecvx_describe(o->model)->input.type == ECVX_UINT8;
    const uint32_t extremes[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 1, 0x80000000};
    for (size_t i = 0; i < 3 * o->values; i++) {
        if (bytes) ((uint8_t *)o->input)[i] = (uint8_t)draw(256);
        else ((float *)o->input)[i] = (float)draw(2000) / 500.0f - 2.0f;
        if (!bytes && wild && !draw(50)) memcpy((float *)o->input + i, &extremes[draw(6)], 4);
    }
}

/* Whether there is room for what the model takes and returns. */
static int look(Opened *o, ecvx_model *model) {
    const ecvx_info *info = ecvx_describe(model);
    *o = (Opened){.model = model, .count = info->outputs};
    check(info->name && info->license && info->kernels && info->outputs > 0, "a model is not described");
    for (int i = 0; i < info->labels; i++) check(strlen(info->label[i]) <= 4096, "a label is too long");
    o->values = floats_of(&info->input);
    if (o->values > 128 * 128 * 3) return 0;
    o->input = malloc(3 * o->values * (info->input.type == ECVX_UINT8 ? 1 : 4));
    o->outputs = calloc((size_t)o->count, sizeof *o->outputs);
    size_t all = 0;
    for (int i = 0; i < o->count; i++) {
        const size_t size = floats_of(&info->output[i]);
        all += size;
        if (i < 8) o->floats[i] = size;
        o->outputs[i] = all < 4u << 20 ? malloc(3 * size * sizeof(float)) : NULL;
    }
    return all < 4u << 20;
}

static void forget(Opened *o) {
    for (int i = 0; o->outputs && i < o->count; i++) free(o->outputs[i]);
    free(o->outputs);
    free(o->input);
    ecvx_close(o->model);
    *o = (Opened){0};
}

static ecvx_options drawn_options(int threads) {
    const char *kernels = ecvx_kernels((int32_t)draw(6));
    return (ecvx_options){.threads = (int32_t)draw((uint32_t)threads + 1), .kernels = kernels};
}

/* ---------------------------------------------------------------- files */

static void put_word(unsigned char *at, uint32_t word) { memcpy(at, &word, 4); }

static uint32_t get_word(const unsigned char *at) {
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

static uint32_t extreme(size_t size) {
    const uint32_t words[] = {0,          1,          2,          3,          4,     5,     7,          31,         32,  33,
                              63,         64,         65,         127,        128,   129,   255,        256,        512, 1024,
                              2047,       2048,       2049,       4095,       4096,  4097,  65535,      65536,      65537,
                              0x7fffffff, 0x80000000, 0xffffffff, 0xffffff80, 0xffffff7f,   0x7f800000, 0x7fc00000, 0x7f7fffff,
                              0x00000001, 0x00800000, 0x3f800000, 0xbf800000, 0x4b000000,   0x01000000, 0x00ffffff};
    const uint32_t near = (uint32_t)(size / 64) + draw(5) - 2;
    return draw(8) ? words[draw(sizeof words / sizeof *words)] : near;
}

/* Opens a gap of `count` bytes, or closes one; the rest moves. Returns the new size. */
static size_t move(unsigned char *bytes, size_t size, size_t at, size_t count, int insert) {
    if (insert) {
        memmove(bytes + at + count, bytes + at, size - at);
        for (size_t i = 0; i < count; i++) bytes[at + i] = (unsigned char)draw(256);
        return size + count;
    }
    if (count > size - at) count = size - at;
    memmove(bytes + at, bytes + at + count, size - at - count);
    return size - count;
}

static size_t mutate(unsigned char *bytes, size_t size) {
    const size_t described = get_word(bytes + 24) < size - 36 ? get_word(bytes + 24) : 4, words = described / 4 + 1;
    const size_t word = 32 + 4 * draw((uint32_t)words), any = draw((uint32_t)(size - 8));
    const size_t some = 4 * (1 + draw(16));
    switch (draw(11)) {
    case 0: bytes[32 + draw((uint32_t)described)] ^= (unsigned char)(1u << draw(8)); break;
    case 1: bytes[any] = (unsigned char)draw(256); break;
    case 2:
    case 3:
    case 4: put_word(bytes + word, extreme(size)); break;
    case 5: put_word(bytes + word, get_word(bytes + word) + draw(5) - 2); break;
    case 6: put_word(bytes + word, get_word(bytes + 32 + 4 * draw((uint32_t)words))); break;
    case 7: put_word(bytes + any / 4 * 4, extreme(size)); break;
    case 8: return draw(2) ? size - any / 64 * 64 : size - draw(64);
    case 9:
        put_word(bytes + 24, get_word(bytes + 24) + (draw(2) ? (uint32_t)some : 0));
        return move(bytes, size, word, some, 1);
    default:
        put_word(bytes + 24, get_word(bytes + 24) - (draw(2) ? (uint32_t)some : 0));
        return move(bytes, size, word, some, 0);
    }
    return size;
}

static uint32_t checksum(const unsigned char *bytes, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return ~crc;
}

/* The frame says again what is true, so that what was changed is looked at. */
static size_t repair(unsigned char *bytes, size_t size) {
    const size_t whole = (size + 63) / 64 * 64;
    memset(bytes + size, 0, whole - size);
    const uint64_t said_size = whole;
    memcpy(bytes + 16, &said_size, 8);
    put_word(bytes + 12, checksum(bytes + 16, whole - 16));
    return whole;
}

static int try_file(const unsigned char *bytes, size_t size, const char *path) {
    char error[ECVX_ERROR];
    Opened o;
    const ecvx_options options = drawn_options(2);
    taken = 0;
    left_blocks = draw(40) ? -1 : (long)draw(12);
    ecvx_model *model = path ? ecvx_open(path, &options, error) : ecvx_open_memory(bytes, size, &options, error);
    left_blocks = -1;
    if (!model) {
        check_sentence(error);
        return 0;
    }
    if (look(&o, model)) {
        fill(&o, draw(2) == 0);
        if (ecvx_run(o.model, o.input, 1, o.outputs, error)) check_sentence(error);
    }
    forget(&o);
    return 1;
}

static void try_files(long count) {
    long opened = 0;
    for (long i = 0; i < count; i++) {
        const File *file = &files[draw((uint32_t)file_count)];
        const size_t room = file->size + 1024;
        unsigned char *bytes = malloc(room);
        memcpy(bytes, file->bytes, file->size);
        size_t size = file->size;
        for (uint32_t times = 1 + draw(3); times && size > 256 && size + 192 < room; times--) size = mutate(bytes, size);
        if (draw(12)) size = repair(bytes, size);
        unsigned char *exact = malloc(size + 1); /* nothing may be read behind it */
        memcpy(exact + (i % 7 == 0), bytes, size);
        if (i % 7) exact = realloc(exact, size ? size : 1);
        opened += try_file(exact + (i % 7 == 0), size, NULL);
        free(exact);
        free(bytes);
        check(blocks == 0, "memory was kept");
    }
    printf("%ld files, of which %ld could be opened, and were run\n", count, opened);
}

/* ---------------------------------------------------------------- calls */

static void call_run(Opened *o) {
    char text[ECVX_ERROR], *error = draw(4) ? text : NULL;
    const int32_t pictures = (int32_t)draw(5) - 1;
    float *missing = NULL, *const none[1] = {missing};
    const int wrong = o->model ? (int)draw(12) : 0;
    const void *input = wrong == 1 ? NULL : o->input;
    float *const *outputs = wrong == 2 ? NULL : wrong == 3 ? none : o->outputs;
    const int bad = !o->model || wrong == 1 || wrong == 2 || wrong == 3 || pictures < 0;
    if (o->model && !bad) fill(o, draw(8) == 0);
    check(!ecvx_run(o->model, input, pictures, outputs, error) == !bad, "a run did not answer as it should");
    if (bad && error) check_sentence(error);
}

static void call_preprocess(Opened *o) {
    static const int32_t sides[] = {-1, 0, 1, 2, 7, 40, 65, 65536};
    uint8_t *rgb = calloc(65 * 65, 3);
    char text[ECVX_ERROR], *error = draw(4) ? text : NULL;
    const int32_t width = sides[draw(8)], height = sides[draw(8)];
    void *input = draw(8) ? o->input : NULL;
    const uint8_t *picture = draw(8) ? rgb : NULL;
    const int bad = ecvx_preprocess(o->model, picture, width, height, input, error);
    if (bad && error) check_sentence(error);
    check(bad || (o->model && input && picture && width > 0 && height > 0 && width < 66 && height < 66), "a picture that is none");
    free(rgb);
}

static void call_open(Opened *o) {
    static const int32_t threads[] = {-1, 0, 1, 1, 2, 2, 3, 65};
    const File *file = &files[draw((uint32_t)file_count)];
    char text[ECVX_ERROR], *error = draw(4) ? text : NULL;
    ecvx_options options = drawn_options(0);
    options.threads = threads[draw(8)];
    if (!draw(10)) options.kernels = "none";
    if (o->model) forget(o);
    taken = 0;
    ecvx_model *model;
    switch (draw(6)) {
    case 0: model = ecvx_open(draw(2) ? NULL : "no/such/file", &options, error); break;
    case 1: model = ecvx_open_memory(draw(2) ? NULL : file->bytes, draw(2) ? 0 : draw(40), &options, error); break;
    case 2:
    case 3: model = ecvx_open_memory(file->bytes, file->size, draw(3) ? &options : NULL, error); break;
    default: model = ecvx_open(file->path, draw(3) ? &options : NULL, error); break;
    }
    if (!model && error) check_sentence(error);
    if (model) check(look(o, model), "a file of ours is too large");
}

static void call_something(Opened *handles) {
    Opened *o = &handles[draw(HANDLES)];
    switch (draw(10)) {
    case 0:
    case 1: call_open(o); break;
    case 2: forget(o); break;
    case 3: check(!ecvx_describe(o->model) == !o->model, "no description"); break;
    case 4: call_preprocess(o); break;
    case 5: check(ecvx_version() == ECVX_VERSION && !ecvx_kernels(-1) && !ecvx_kernels(99), "no version"); break;
    case 6: ecvx_release(draw(2) ? ecvx_alloc(draw(1000)) : NULL); break;
    default: call_run(o); break;
    }
}

static void try_calls(long count) {
    long calls = 0;
    for (long i = 0; i < count; i++) {
        Opened handles[HANDLES] = {{0}};
        for (uint32_t j = 3 + draw(16); j; j--, calls++) call_something(handles);
        for (int h = 0; h < HANDLES; h++) forget(&handles[(h + i) % HANDLES]);
        check(blocks == 0, "memory was kept");
    }
    printf("%ld sequences of %ld calls\n", count, calls);
}

static void try_leaks(long count) {
    for (long i = 0; i < count * file_count; i++) {
        const File *file = &files[i % file_count];
        try_file(file->bytes, file->size, i % 2 ? file->path : NULL);
        check(blocks == 0, "memory was kept");
    }
    printf("%ld times opened, run and closed, and nothing kept\n", count * file_count);
}

static void read_file(const char *path) {
    FILE *stream = fopen(path, "rb");
    File *file = &files[file_count++];
    check(stream != NULL && file_count < MOST_FILES, "a file is missing");
    fseek(stream, 0, SEEK_END);
    file->path = path;
    file->size = (size_t)ftell(stream);
    file->bytes = malloc(file->size);
    rewind(stream);
    check(fread(file->bytes, 1, file->size, stream) == file->size, "a file cannot be read");
    fclose(stream);
}

int main(int count, char **words) {
    if (count < 5) return 2;
    for (int i = 4; i < count; i++) read_file(words[i]);
    state = strtoull(words[2], NULL, 10);
    const long times = strtol(words[3], NULL, 10);
    if (!strcmp(words[1], "files")) try_files(times);
    else if (!strcmp(words[1], "calls")) try_calls(times);
    else try_leaks(times);
    for (int i = 0; i < SENTENCES && said[i].count; i++) printf("%7d  %s\n", said[i].count, said[i].text);
    for (int i = 0; i < file_count; i++) free(files[i].bytes);
    return 0;
}
