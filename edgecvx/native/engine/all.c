/* The engine as one unit: what is built is this file alone. */
#define _POSIX_C_SOURCE 200809L /* files and threads, which C11 alone hides */

#include "engine.c"
#include "kernels.c"
#include "model.c"
#include "network.c"
#include "run.c"
#include "preprocess.c"
#include "platform.c"
