/* One handle's memory, and a picture's way through the network. */
#ifndef ECVX_RUN_H
#define ECVX_RUN_H

#include "network.h"

typedef struct Run Run;

Run *ecvx_run_make(const Network *network, int threads, char *error);
size_t ecvx_run_bytes(const Run *run);
/* outputs[i]: as many floats for each picture as output i has. */
void ecvx_run_pictures(Run *run, const void *input, int32_t pictures, float *const *outputs);
void ecvx_run_drop(Run *run);

#endif
