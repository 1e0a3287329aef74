/* A model with its weights packed for one set of kernels: what handles of one file share. */
#ifndef ECVX_NETWORK_H
#define ECVX_NETWORK_H

#include "kernels.h"

typedef struct {
    float *weights, *bias; /* depthwise: packed; [padded] */
    Normal norm;
    Products fc1, fc2;
    Curve curve;
    int float_hidden; /* what lies between fc1 and fc2 is not rounded to 16 bits */
    int grn;
    float epsilon;
    float *gamma, *base; /* [padded 4 * channels] */
} PackedBlock;

typedef struct {
    Normal norm;
    Products down;
    PackedBlock *block;
} PackedStage;

typedef struct {
    Model model; /* of which only texts and numbers are used once it is packed */
    const Kernels *kernels;
    Products stem[2], classifier;
    Normal stem_norm, head_norm;
    PackedStage stage[4];
    unsigned char *memory;
    size_t bytes;
} Network;

/* Rounds floats to so many bits: to BRIEF maps, what else layers of floats take, and weights; with inputs of 8 bits weights have 16.
 * Their products are exact then, and their sums the same whether a processor multiplies and adds in one operation or in two. That
 * makes all answers the same, bit for bit, on every processor. */
void ecvx_shorten(float *x, size_t count, int bits);

/* Packs a model, which then belongs to the network. Returns 0; or a sentence, and the model is dropped. */
int ecvx_pack(Network *network, Model *model, const Kernels *kernels, char *error);
void ecvx_network_drop(Network *network);

#endif
