/* Part of the paths that have no shift that stops at 32767: the size of a number, doubled as often. */
typedef struct {
    VS most, times;
} P(Stretch);

INLINE P(Stretch) P(stretch)(int16_t doublings) {
    const VS none = {0};
    const P(Stretch) s = {none + (int16_t)(32767 >> doublings), none + (int16_t)(1 << doublings)};
    return s;
}
INLINE VS P(stretched)(VS size, P(Stretch) s) { return P(size_to)(size, s.most) * s.times; }
