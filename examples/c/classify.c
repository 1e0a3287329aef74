/* classify MODEL.ecvx PICTURE.ppm: the five best classes of a picture. */
#include "edgecvx.h"

#include <stdio.h>
#include <stdlib.h>
#include <math.h>

static int fail(const char *sentence) {
    fprintf(stderr, "error: %s\n", sentence);
    return 1;
}

/* Reads a picture as `P6 WIDTH HEIGHT 255`, one white space, and RGB; NULL where it is none. */
static unsigned char *read_ppm(const char *path, int *width, int *height) {
    FILE *file = fopen(path, "rb");
    unsigned char *rgb = NULL;
    int most = 0;
    if (file && fscanf(file, "P6 %d %d %d", width, height, &most) == 3 && most == 255 && fgetc(file) != EOF &&
        *width > 0 && *height > 0 && *width < 32768 && *height < 32768) {
        const size_t bytes = (size_t)*width * (size_t)*height * 3;
        rgb = malloc(bytes);
        if (rgb && fread(rgb, 1, bytes, file) != bytes) free(rgb), rgb = NULL;
    }
    if (file) fclose(file);
    return rgb;
}

static void print_best(const ecvx_info *info, float *logits) {
    const int classes = info->output[0].shape[1];
    double sum = 0;
    float highest = logits[0];
    for (int i = 1; i < classes; i++) highest = logits[i] > highest ? logits[i] : highest;
    for (int i = 0; i < classes; i++) sum += exp(logits[i] - highest);
    for (int rank = 0; rank < 5 && rank < classes; rank++) {
        int best = 0;
        for (int i = 1; i < classes; i++) best = logits[i] > logits[best] ? i : best;
        printf("%5.1f%%  %s\n", 100 * exp(logits[best] - highest) / sum, info->labels ? info->label[best] : "?");
        logits[best] = -INFINITY;
    }
}

int main(int count, char **words) {
    char error[ECVX_ERROR];
    int width, height;
    if (count != 3) return fail("classify takes a model and a picture");
    unsigned char *rgb = read_ppm(words[2], &width, &height);
    if (!rgb) return fail("the picture cannot be read: make it a PPM, with `convert PICTURE PICTURE.ppm`");
    ecvx_model *model = ecvx_open(words[1], NULL, error);
    if (!model) return fail(error);
    const ecvx_info *info = ecvx_describe(model);
    const size_t pixels = (size_t)info->input.shape[1] * (size_t)info->input.shape[2];
    void *input = malloc(pixels * 3 * sizeof(float));
    float *logits = malloc((size_t)info->output[0].shape[1] * sizeof(float));
    if (!input || !logits || info->outputs != 1) return fail("the model is no classifier, or too large");
    if (ecvx_preprocess(model, rgb, width, height, input, error) || ecvx_run(model, input, 1, &logits, error)) return fail(error);
    print_best(info, logits);
    ecvx_close(model);
    return 0;
}
