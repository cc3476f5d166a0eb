/* Rows of which only some numbers are kept. Own words: values, type of a value (a float dtype), then
 *
 *   csr:     ends, bytes of an end, columns, bytes of a column
 *   bitmap:  mask, words of it, ranks, bytes of a rank
 */

INLINE float read_value(const uint8_t *values, int64_t dtype, int64_t at) {
    if (dtype == FP32) return load_float(values + 4 * at);
    if (dtype == FP16) return load_half(values + 2 * at);
    uint16_t high;
    memcpy(&high, values + 2 * at, 2);
    const uint32_t bits = (uint32_t)high << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE int64_t read_count(const void *counts, int64_t bytes, int64_t at) {
    if (bytes == 2) return ((const int16_t *)counts)[at];
    if (bytes == 4) return ((const int32_t *)counts)[at];
    return ((const int64_t *)counts)[at];
}

INLINE void clear_row(float *out, int64_t width) {
    for (int64_t k = 0; k < width; k++) out[k] = 0;
}

typedef struct {
    int64_t first, last;
} Span;

INLINE int csr_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t dtype) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, columns = program[COLUMNS];
    const int64_t *base = (const int64_t *)program[COLUMN_TABLE] + BASE * columns;
    const uint8_t *values = (const uint8_t *)own[0], *places = (const uint8_t *)own[4];
    const void *ends = (const void *)own[2];
    const int64_t end_bytes = own[3], place_bytes = own[5], value_bytes = dtype == FP32 ? 4 : 2;
    Spot spots[BLOCK];
    Span spans[BLOCK];
    Walk walk = walk_over(job, begin, end);
    for (int count; (count = walk_on(&walk, spots, BLOCK)) > 0;) {
        for (int i = 0; i < count; i++) {
            spots[i].local += base[spots[i].column];
            __builtin_prefetch((const char *)ends + spots[i].local * end_bytes);
        }
        for (int i = 0; i < count; i++) {
            const int64_t row = spots[i].local;
            const Span span = {row ? read_count(ends, end_bytes, row - 1) : 0, read_count(ends, end_bytes, row)};
            spans[i] = span;
            __builtin_prefetch(values + span.first * value_bytes);
            __builtin_prefetch(places + span.first * place_bytes);
        }
        for (int i = 0; i < count; i++) {
            float *out = spots[i].target;
            clear_row(out, width);
            for (int64_t at = spans[i].first; at < spans[i].last; at++) {
                const int64_t column = place_bytes == 1   ? places[at]
                                       : place_bytes == 2 ? ((const int16_t *)places)[at]
                                                          : ((const int32_t *)places)[at];
                out[column] = read_value(values, dtype, at);
            }
        }
    }
    return walk.outside;
}

/* 64 bits of the mask from bit `at` on; those beyond its end are zero. */
INLINE uint64_t mask_from(const uint64_t *mask, int64_t words, int64_t at) {
    const int64_t word = at >> 6, shift = at & 63;
    uint64_t bits = mask[word] >> shift;
    if (shift && word + 1 < words) bits |= mask[word + 1] << (64 - shift);
    return bits;
}

/* Up to 64 numbers whose bits are set in `bits`, from `at` on; returns how many there were. */
INLINE int64_t expand(const uint8_t *values, int64_t dtype, int64_t at, uint64_t bits, float *out, int64_t width) {
    const int64_t total = __builtin_popcountll(bits);
#if ISA == 3
    if (dtype == FP32) {
        for (int64_t k = 0; k < width; k += 16, bits >>= 16) {
            const __mmask16 here = (__mmask16)bits, room = width - k < 16 ? (1 << (width - k)) - 1 : 0xffff;
            _mm512_mask_storeu_ps(out + k, room, _mm512_maskz_expandloadu_ps(here, values + 4 * at));
            at += __builtin_popcount(here);
        }
        return total;
    }
#endif
    clear_row(out, width);
    for (; bits; bits &= bits - 1) out[__builtin_ctzll(bits)] = read_value(values, dtype, at++);
    return total;
}

INLINE int bitmap_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t dtype) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, columns = program[COLUMNS];
    const int64_t *base = (const int64_t *)program[COLUMN_TABLE] + BASE * columns;
    const uint8_t *values = (const uint8_t *)own[0];
    const uint64_t *mask = (const uint64_t *)own[2];
    const void *ranks = (const void *)own[4];
    const int64_t words = own[3], rank_bytes = own[5], value_bytes = dtype == FP32 ? 4 : 2;
    Spot spots[BLOCK];
    int64_t firsts[BLOCK];
    Walk walk = walk_over(job, begin, end);
    for (int count; (count = walk_on(&walk, spots, BLOCK)) > 0;) {
        for (int i = 0; i < count; i++) {
            const int64_t bit = (spots[i].local + base[spots[i].column]) * width;
            spots[i].local = bit;
            __builtin_prefetch(mask + (bit >> 6));
            __builtin_prefetch((const char *)ranks + (bit >> 9) * rank_bytes);
        }
        for (int i = 0; i < count; i++) {
            const int64_t bit = spots[i].local, word = bit >> 6;
            int64_t at = read_count(ranks, rank_bytes, bit >> 9);
            for (int64_t w = word & ~(int64_t)7; w < word; w++) at += __builtin_popcountll(mask[w]);
            firsts[i] = at + __builtin_popcountll(mask[word] & (((uint64_t)1 << (bit & 63)) - 1));
            __builtin_prefetch(values + firsts[i] * value_bytes);
        }
        for (int i = 0; i < count; i++) {
            int64_t at = firsts[i];
            for (int64_t k = 0; k < width; k += 64) {
                const int64_t left = width - k;
                uint64_t bits = mask_from(mask, words, spots[i].local + k);
                if (left < 64) bits &= ((uint64_t)1 << left) - 1;
                at += expand(values, dtype, at, bits, spots[i].target + k, left < 64 ? left : 64);
            }
        }
    }
    return walk.outside;
}

#define SPARSE(LOOP, WIDTH_)                                          \
    switch (job->program[FIRST_OWN_WORD + 1]) {                       \
        case FP32: return LOOP(job, begin, end, WIDTH_, FP32);        \
        case FP16: return LOOP(job, begin, end, WIDTH_, FP16);        \
        default: return LOOP(job, begin, end, WIDTH_, BF16);          \
    }

static int csr_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (width == 16) SPARSE(csr_loop, 16)
    if (width == 64) SPARSE(csr_loop, 64)
    SPARSE(csr_loop, width)
}

static int bitmap_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (width == 16) SPARSE(bitmap_loop, 16)
    if (width == 64) SPARSE(bitmap_loop, 64)
    SPARSE(bitmap_loop, width)
}
