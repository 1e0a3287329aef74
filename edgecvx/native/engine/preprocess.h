/* From a picture to a network's input, equal to Pillow and numpy to the bit: edgecvx/board/pictures.py in C. */
#ifndef ECVX_PREPROCESS_H
#define ECVX_PREPROCESS_H

#include "edgecvx.h"

enum { ECVX_SHORTEST = 0, ECVX_SQUASH = 1 };
enum { ECVX_NEAREST = 0, ECVX_BILINEAR = 1, ECVX_BICUBIC = 2, ECVX_LANCZOS = 3 };

/* The numbers of a file's preprocessing, checked by nobody before. */
typedef struct {
    int32_t size, resize, interpolation;
    double crop_pct, mean[3], std[3];
} ecvx_preprocessing;

/* `rgb` is [height][width][3] without gaps; `out` takes [size][size][3] of `type`, ECVX_FLOAT32 or ECVX_UINT8.
 * A few MB are held meanwhile, whatever the picture. */
int ecvx_picture(const ecvx_preprocessing *how, const uint8_t *rgb, int32_t width, int32_t height, int32_t type,
                 void *out, char *error);

#endif
