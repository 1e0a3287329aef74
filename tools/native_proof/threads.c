/* Handles and threads, for a sanitizer of threads: threads FILE... Ends with 0, or is ended.
 *
 * Two handles of each file, with two threads of their own each, are run from four threads, two a handle: so they wait for
 * each other within a handle, and share packed weights between handles. Then files are opened, described, run and closed
 * from all threads at once.
 */
#include "edgecvx.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 4, TIMES = 3, MOST = 1 << 20 };

typedef struct {
    const char *path;
    ecvx_model *model; /* NULL: one of its own each time */
    float *first;      /* what the others answer too */
    int differ;
} Caller;

static void check(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "threads: %s\n", what);
    abort();
}

static size_t values_of(const ecvx_tensor *t, int32_t pictures) {
    size_t values = (size_t)pictures;
    for (int i = 1; i < t->rank; i++) values *= (size_t)t->shape[i];
    return values;
}

static ecvx_model *opened(const char *path) {
    char error[ECVX_ERROR];
    const ecvx_options options = {.threads = 2};
    ecvx_model *model = ecvx_open(path, &options, error);
    check(model != NULL, error);
    return model;
}

/* Two pictures that are always the same; the first output of them, which the caller frees. */
static float *answer_of(ecvx_model *model) {
    const ecvx_info *info = ecvx_describe(model);
    const size_t values = values_of(&info->input, 2);
    unsigned char *input = malloc(values * 4);
    float **outputs = calloc((size_t)info->outputs, sizeof *outputs);
    for (size_t i = 0; i < values; i++) {
        const float value = (float)(i * 7919 % 1000) / 300.0f;
        if (info->input.type == ECVX_UINT8) input[i] = (unsigned char)(i * 7919 % 251);
        else memcpy(input + 4 * i, &value, 4);
    }
    for (int i = 0; i < info->outputs; i++) outputs[i] = malloc(values_of(&info->output[i], 2) * sizeof(float));
    check(!ecvx_run(model, input, 2, outputs, NULL), "a run failed");
    float *first = outputs[0];
    for (int i = 1; i < info->outputs; i++) free(outputs[i]);
    free(outputs);
    free(input);
    return first;
}

static void *call(void *what) {
    Caller *caller = what;
    for (int i = 0; i < TIMES; i++) {
        ecvx_model *model = caller->model ? caller->model : opened(caller->path);
        const size_t size = values_of(ecvx_describe(model)->output, 2) * sizeof(float);
        float *answer = answer_of(model);
        caller->differ |= memcmp(answer, caller->first, size) != 0;
        free(answer);
        if (!caller->model) ecvx_close(model);
    }
    return NULL;
}

static void together(Caller *callers) {
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) check(!pthread_create(&threads[i], NULL, call, &callers[i]), "there is no thread");
    for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < CALLERS; i++) check(!callers[i].differ, "an answer differs");
}

static void try_file(const char *path) {
    ecvx_model *one = opened(path), *other = opened(path);
    float *first = answer_of(one);
    Caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) callers[i] = (Caller){path, i % 2 ? one : other, first, 0};
    together(callers);
    ecvx_close(one);
    ecvx_close(other);
    for (int i = 0; i < CALLERS; i++) callers[i].model = NULL;
    together(callers);
    free(first);
}

int main(int count, char **words) {
    for (int i = 1; i < count; i++) try_file(words[i]);
    printf("%d files, each on two handles from four threads\n", count - 1);
    return 0;
}
