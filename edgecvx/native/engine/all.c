/* The engine as one unit: what is built is this file alone. */
#define _POSIX_C_SOURCE 200809L /* files and threads, which C11 alone hides */
#define _DARWIN_C_SOURCE        /* and what the first hides on a Mac */

#include "engine.c"
#include "kernels.c"
#include "model.c"
#include "network.c"
#include "run.c"
#include "preprocess.c"
#include "platform.c"
#include "lent_threads.c"
