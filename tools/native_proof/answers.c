/* A model's answers: answers KERNELS THREADS < model's size (int64), model, pictures (int32), pictures > outputs.
 *
 * Written is the number of outputs, and of each its rank, its shape and its floats. KERNELS may be -, for the best.
 */
#include "edgecvx.h"

#include "program.h"

static void *read_bytes(size_t bytes) {
    void *to = malloc(bytes + 1);
    if (!to || fread(to, 1, bytes, stdin) != bytes) exit(3);
    return to;
}

static size_t values_of(const ecvx_tensor *t) {
    size_t values = 1;
    for (int i = 1; i < t->rank; i++) values *= (size_t)t->shape[i];
    return values;
}

static void write_output(const ecvx_tensor *t, int32_t pictures, const float *values) {
    fwrite(&t->rank, 4, 1, stdout);
    fwrite(&pictures, 4, 1, stdout);
    fwrite(t->shape + 1, 4, (size_t)t->rank - 1, stdout);
    fwrite(values, sizeof(float), (size_t)pictures * values_of(t), stdout);
}

int main(int count, char **words) {
    char error[ECVX_ERROR];
    if (count < 2) { /* which kernels there are */
        for (int i = 0; ecvx_kernels(i); i++) printf("%s\n", ecvx_kernels(i));
        return 0;
    }
    const int64_t size = *(int64_t *)read_bytes(8);
    const void *file = read_bytes((size_t)size);
    const int32_t pictures = *(int32_t *)read_bytes(4);
    const ecvx_options options = {count > 2 ? atoi(words[2]) : 1, strcmp(words[1], "-") ? words[1] : NULL};
    ecvx_model *model = ecvx_open_memory(file, (size_t)size, &options, error);
    if (!model) return fprintf(stderr, "%s\n", error), 2;
    const ecvx_info *info = ecvx_describe(model);
    const size_t pixels = values_of(&info->input) * (info->input.type == ECVX_UINT8 ? 1 : 4);
    const void *input = read_bytes((size_t)pictures * pixels);
    float **outputs = calloc((size_t)info->outputs, sizeof *outputs);
    for (int i = 0; i < info->outputs; i++)
        outputs[i] = calloc((size_t)pictures * values_of(&info->output[i]), sizeof(float));
    if (ecvx_run(model, input, pictures, outputs, error)) return fprintf(stderr, "%s\n", error), 2;
    fwrite(&info->outputs, 4, 1, stdout);
    for (int i = 0; i < info->outputs; i++) write_output(&info->output[i], pictures, outputs[i]);
    ecvx_close(model);
    return 0;
}
