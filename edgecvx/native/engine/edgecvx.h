/* edgecvx: small ConvNeXt networks in INT8, on any processor, with nothing but libc and threads.
 *
 *     char error[ECVX_ERROR];
 *     ecvx_model *model = ecvx_open("model.ecvx", NULL, error);
 *     if (!model) { fprintf(stderr, "%s\n", error); return 1; }
 *     ecvx_preprocess(model, rgb, width, height, input, error);
 *     ecvx_run(model, input, 1, outputs, error);
 *     ecvx_close(model);
 *
 * A handle belongs to nobody: any thread may use any handle, and two runs of one handle wait for each other.
 * What fails writes one sentence into `error`, which may be NULL, and returns NULL or a number other than 0.
 */
#ifndef EDGECVX_H
#define EDGECVX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifndef ECVX_API
#define ECVX_API
#endif

#define ECVX_VERSION 1 /* of this interface and of the file */
#define ECVX_ERROR 256 /* bytes of a sentence, its end included */

enum { ECVX_FLOAT32 = 0, ECVX_UINT8 = 1 };

typedef struct ecvx_model ecvx_model;

typedef struct {
    int32_t threads;     /* 0: one */
    const char *kernels; /* NULL: the best of this processor; or a name out of ecvx_kernels */
} ecvx_options;

typedef struct {
    const char *name;
    int32_t type;     /* ECVX_FLOAT32 or ECVX_UINT8 */
    int32_t rank;     /* 2 or 4 */
    int32_t shape[4]; /* pictures first, as many as the file was written for; then height, width, channels; or classes */
} ecvx_tensor;

typedef struct {
    const char *name, *license, *kernels;
    ecvx_tensor input; /* RGB, rows from the top; floats are normalized, bytes are as in the picture */
    int32_t outputs;
    const ecvx_tensor *output; /* always ECVX_FLOAT32 */
    int32_t labels;            /* 0 where the file names no classes */
    const char *const *label;
    int64_t weight_bytes, arena_bytes; /* held in memory: shared by handles of one file, and this handle's own */
    double int8_macs;                  /* the part of all multiply-accumulates that is INT8 */
} ecvx_info;

/* Opens a file, mapped where the system can; or bytes in memory, which may be freed afterwards. */
ECVX_API ecvx_model *ecvx_open(const char *path, const ecvx_options *options, char *error);
ECVX_API ecvx_model *ecvx_open_memory(const void *bytes, size_t size, const ecvx_options *options, char *error);
ECVX_API const ecvx_info *ecvx_describe(const ecvx_model *model);

/* `pictures` of them, any number, one behind the other; outputs[i] takes `pictures` times the size of output i for one. */
ECVX_API int ecvx_run(ecvx_model *model, const void *input, int32_t pictures, float *const *outputs, char *error);
ECVX_API void ecvx_close(ecvx_model *model);

/* From a picture, 8-bit RGB without gaps between rows, to one input: resized, cropped and normalized as the file says,
 * equal to Pillow to the bit. A picture's EXIF orientation is the caller's to apply. */
ECVX_API int ecvx_preprocess(const ecvx_model *model, const uint8_t *rgb, int32_t width, int32_t height, void *input,
                             char *error);

/* The kernels this processor can run, best first; NULL behind the last. */
ECVX_API const char *ecvx_kernels(int32_t index);
ECVX_API int32_t ecvx_version(void);

/* The engine's own memory, for who calls it without one: JavaScript. */
ECVX_API void *ecvx_alloc(size_t size);
ECVX_API void ecvx_release(void *memory);

#ifdef __cplusplus
}
#endif
#endif
