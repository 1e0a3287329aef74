/* In each path, behind what it says of itself: its vectors. */
typedef float P(VF) __attribute__((vector_size(V * 4)));
typedef int32_t P(VI) __attribute__((vector_size(V * 4)));
typedef int16_t P(VS) __attribute__((vector_size(V * 4)));
#define VF P(VF)
#define VI P(VI)
#define VS P(VS)
