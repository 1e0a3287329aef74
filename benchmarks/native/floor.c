/* What the products of a network cost alone, beside the whole of it: the floor the engine is measured against.
 *
 * For each set of kernels of this processor, in turn: the network; its integer products with nothing before or after them
 * (same tiles, same bands, same packed weights); and the register peak, products of registers with registers.
 *
 *     floor MODEL.ecvx ROUNDS
 *
 * Prints a row for each: its name, milliseconds of both, their ratio, and how much of the peak the products reach.
 */
#include "all.c"

#include <stdio.h>
#include <time.h>

enum { MOST = 8 };

typedef struct {
    const char *name;
    void (*products)(const Products *l, const void *a, int rows); /* all outputs, thrown away */
    double (*peak)(int turns);                                     /* multiply-accumulates of that many turns */
} Floor;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static volatile int32_t sink;

#define FLOOR(path, V, NV, MR, KG, VI)                                                                                       \
    INLINE int32_t bare_##path(const int mr, const int nv, const Products *l, const void *a, int row, int n0) {              \
        VI acc[MR][NV];                                                                                                      \
        UNROLL for (int m = 0; m < mr; m++) UNROLL for (int n = 0; n < nv; n++) acc[m][n] = (VI){0};                         \
        const size_t at = (size_t)n0 * (size_t)l->k;                                                                         \
        sums_##path(mr, nv, acc, (const RA_##path *)a + (ptrdiff_t)row * l->k, l->k, (const RW_##path *)l->weights + at,    \
                    l->k, beside_##path(l, n0, nv, row));                                                                    \
        VI all = {0};                                                                                                        \
        UNROLL for (int m = 0; m < mr; m++) UNROLL for (int n = 0; n < nv; n++) all ^= acc[m][n];                            \
        return all[0];                                                                                                       \
    }                                                                                                                        \
    static void products_##path(const Products *l, const void *a, int rows) {                                               \
        for (int n0 = 0; n0 + (NV) * (V) <= l->n; n0 += (NV) * (V)) {                                                        \
            int m = 0;                                                                                                       \
            for (; m + (MR) <= rows; m += (MR)) sink ^= bare_##path(MR, NV, l, a, m, n0);                                    \
            for (; m < rows; m++) sink ^= bare_##path(1, NV, l, a, m, n0);                                                   \
        }                                                                                                                    \
    }                                                                                                                        \
    static double peak_##path(int turns) {                                                                                   \
        VI acc[12], a = (VI){0} + 0x01020304, w = (VI){0} + 0x01010101;                                                      \
        UNROLL for (int i = 0; i < 12; i++) acc[i] = (VI){0} + i;                                                            \
        for (int t = 0; t < turns; t++) UNROLL for (int i = 0; i < 12; i++) {                                                \
                OWN_REGISTER(w);                                                                                             \
                acc[i] = dot_##path(acc[i], a, w);                                                                           \
            }                                                                                                                \
        VI all = {0};                                                                                                        \
        UNROLL for (int i = 0; i < 12; i++) all ^= acc[i];                                                                   \
        sink ^= all[0];                                                                                                      \
        return 12.0 * turns * (V) * (KG);                                                                                    \
    }

#if defined(__x86_64__)
typedef int16_t RA_avx2wide, RW_avx2wide;
typedef uint8_t RA_avx2, RA_avxvnni, RA_avx512vnni;
typedef int8_t RW_avx2, RW_avxvnni, RW_avx512vnni;
BEGIN_TARGET("avx2,fma")
FLOOR(avx2, 8, 2, 6, 4, VI_avx2)
FLOOR(avx2wide, 8, 2, 6, 2, VI_avx2wide)
END_TARGET
BEGIN_TARGET("avx2,fma,avxvnni")
FLOOR(avxvnni, 8, 2, 6, 4, VI_avxvnni)
END_TARGET
BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
FLOOR(avx512vnni, 16, 3, 7, 4, VI_avx512vnni)
END_TARGET
static const Floor floors[] = {{"avx512vnni", products_avx512vnni, peak_avx512vnni},
                               {"avxvnni", products_avxvnni, peak_avxvnni},
                               {"avx2", products_avx2, peak_avx2},
                               {"avx2wide", products_avx2wide, peak_avx2wide}};
#else
#error "the floor is measured on x86-64"
#endif

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

/* The integer products of the whole network, in the bands the engine takes; returns how many there are. */
static double all_products(const Run *r, const Floor *f, const unsigned char *room) {
    const Model *m = &r->net->model;
    double macs = 0;
    for (int s = 0; s < 4; s++) {
        const Stage *t = &m->stage[s];
        const int pixels = t->size * t->size;
        for (int b = s ? -1 : 0; b < t->depth; b++)
            for (int second = 0; second < (b < 0 ? 1 : 2); second++) {
                const PackedStage *p = &r->net->stage[s];
                const Products *l = b < 0 ? &p->down : second ? &p->block[b].fc2 : &p->block[b].fc1;
                if (!l->integers) continue;
                int band = second ? pixels_in_band(r, l, t->size) : rows_in_band(l, t->size) * t->size;
                if (fits_whole(t->size)) band = pixels;
                for (int i = 0; i < pixels; i += band) f->products(l, room, smaller(band, pixels - i));
                macs += (double)pixels * l->n * l->k;
            }
    }
    return macs;
}

int main(int count, char **arguments) {
    char error[ECVX_ERROR] = "floor MODEL.ecvx ROUNDS";
    const int rounds = count == 3 ? atoi(arguments[2]) : 0, many = (int)(sizeof floors / sizeof *floors);
    static double whole[MOST][1000], alone[MOST][1000], rate[MOST][1000];
    ecvx_model *models[MOST] = {0};
    if (rounds < 1 || rounds > 1000) return fprintf(stderr, "%s\n", error), 2;
    for (int i = 0; i < many; i++) models[i] = ecvx_open(arguments[1], &(ecvx_options){1, floors[i].name}, error);
    double macs = 0;
    unsigned char *room = ecvx_zeros(1 << 24);
    for (int round = -3; round < rounds; round++)
        for (int i = 0; i < many; i++) {
            if (!models[i]) continue;
            const ecvx_info *info = ecvx_describe(models[i]);
            float *const input = (float *)(void *)room, *output = (float *)(void *)(room + (1 << 23));
            const int at = round < 0 ? 0 : round;
            if (info->input.shape[1] * info->input.shape[2] * 12 > 1 << 23) return fprintf(stderr, "too large\n"), 2;
            if (ecvx_run(models[i], input, 1, &output, error)) return fprintf(stderr, "%s\n", error), 2;
            double begun = now(); /* of the second, which finds its own in the caches, as the products then do */
            if (ecvx_run(models[i], input, 1, &output, error)) return fprintf(stderr, "%s\n", error), 2;
            whole[i][at] = now() - begun;
            begun = now();
            macs = all_products(models[i]->run, &floors[i], room);
            alone[i][at] = now() - begun;
            begun = now();
            const double peak = floors[i].peak(200000);
            rate[i][at] = peak / (now() - begun) * 1e-6;
        }
    for (int i = 0; i < many; i++) {
        if (!models[i]) continue;
        const double w = median(whole[i], rounds), a = median(alone[i], rounds), r = median(rate[i], rounds);
        printf("%s | %.2f | %.2f | %.2f | %.0f%% of %.0f G MAC/s\n", floors[i].name, w, a, w / a, 100 * macs / a * 1e-6 / r, r);
        ecvx_close(models[i]);
    }
    ecvx_free(room);
    return 0;
}
