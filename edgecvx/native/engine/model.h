/* A model's file, read: what it describes, with every tensor where it lies in the file. Nothing is copied but texts. */
#ifndef ECVX_MODEL_H
#define ECVX_MODEL_H

#include "edgecvx.h"
#include "platform.h"
#include "preprocess.h"

enum { CLASSIFY, FEATURES, EMBED };
enum { GELU, GELU_TANH, SILU };
enum { POINT_STEM, POINT_DOWNSAMPLE, POINT_DEPTHWISE, POINT_ACTIVATION, POINT_BLOCK };

typedef struct {
    float epsilon;
    const float *scale, *shift; /* [channels], or NULL: 1 and 0 */
} Norm;

/* A layer's products: n outputs of k inputs each. */
typedef struct {
    int n, k, integers;
    float scale;         /* of the inputs' grid, where there are integers */
    int zero;            /* its zero point */
    const int8_t *bytes; /* [n][k] integer weights, with */
    const float *scales; /* [n] */
    const float *floats; /* [n][k] float weights, where there are no integers */
    const float *bias;   /* [n], or NULL */
} Layer;

typedef struct {
    int out, in, kernel, stride, pad, size; /* of what it returns: size * size pixels */
    Layer layer;
} Convolution;

typedef struct {
    const float *weights, *bias; /* [kernel * kernel][channels]; [channels] or NULL */
    Norm norm;
    Layer fc1, fc2;
    float reach; /* of the activation function's outputs, when calibrated */
    int grn;
    float epsilon;
    const float *gamma, *base; /* [4 * channels]; gamma with GRN only, base NULL for 1 */
} Block;

typedef struct {
    int channels, depth, kernel, size; /* of the map: size * size pixels */
    Norm norm;                         /* before the downsample; none in the first stage */
    Layer down;
    Block *block; /* [depth] */
} Stage;

typedef struct {
    const char *name;
    int point, stage, block;
} Tap;

typedef struct {
    const uint8_t *file; /* [size] */
    size_t size;
    uint32_t checksum;
    char *texts; /* all that are named below, each with a 0 behind it */
    const char *name, *license;
    int task, input, batch, image, classes, labels, activation, stem, taps;
    const char **label; /* [labels] */
    ecvx_preprocessing preprocessing;
    Convolution convolution[2];
    Norm stem_norm, head_norm;
    Stage stage[4];
    Block *blocks; /* of all stages, one behind the other */
    Layer classifier;
    Tap *tap; /* [taps] */
} Model;

/* Reads a file that may be anybody's. Returns 0; or a sentence, and a model with nothing in it. */
int ecvx_model_read(Model *model, const uint8_t *file, size_t size, char *error);
void ecvx_model_drop(Model *model);

#endif
