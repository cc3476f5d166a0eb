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

/* What the steps know of a lookup of sparse rows. */
typedef struct {
    const uint8_t *values;
    int64_t dtype, value_bytes, width;
    const void *ends;
    int64_t end_bytes;
    const uint8_t *columns;
    int64_t column_bytes;
    const uint64_t *mask;
    int64_t words;
    const void *ranks;
    int64_t rank_bytes;
} SparseRows;

INLINE void csr_find(const void *what, Spots *spots, int i) {
    const SparseRows *rows = what;
    prefetch((const char *)rows->ends + spots->row[i] * rows->end_bytes);
}

/* The row's values begin at `place`; where they end goes to `local`, which is not needed any more. */
INLINE void csr_fetch(const void *what, Spots *spots, int i) {
    const SparseRows *rows = what;
    const int64_t row = spots->row[i], first = row ? read_count(rows->ends, rows->end_bytes, row - 1) : 0;
    spots->place[i] = first;
    spots->local[i] = read_count(rows->ends, rows->end_bytes, row);
    prefetch(rows->values + first * rows->value_bytes);
    prefetch(rows->columns + first * rows->column_bytes);
    prefetch_target(spots, i, rows->width);
}

INLINE void csr_serve(const void *what, Spots *spots, int i) {
    const SparseRows *rows = what;
    float *out = spots->target[i];
    clear_row(out, rows->width);
    for (int64_t at = spots->place[i]; at < spots->local[i]; at++) {
        const int64_t column = rows->column_bytes == 1   ? rows->columns[at]
                               : rows->column_bytes == 2 ? ((const int16_t *)rows->columns)[at]
                                                         : ((const int32_t *)rows->columns)[at];
        out[column] = read_value(rows->values, rows->dtype, at);
    }
}

INLINE int csr_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t dtype) {
    const int64_t *own = job->program + FIRST_OWN_WORD;
    const SparseRows rows = {(const uint8_t *)own[0], dtype, dtype == FP32 ? 4 : 2, width, (const void *)own[2], own[3],
                             (const uint8_t *)own[4], own[5], 0, 0, 0, 0};
    return pipeline(job, begin, end, width, &rows, 0, csr_find, 0, csr_fetch, csr_serve);
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

INLINE void bitmap_find(const void *what, Spots *spots, int i) {
    const SparseRows *rows = what;
    const int64_t bit = spots->row[i] * rows->width;
    prefetch(rows->mask + (bit >> 6));
    prefetch((const char *)rows->ranks + (bit >> 9) * rows->rank_bytes);
}

/* The row's values begin at `place`. */
INLINE void bitmap_fetch(const void *what, Spots *spots, int i) {
    const SparseRows *rows = what;
    const int64_t bit = spots->row[i] * rows->width, word = bit >> 6;
    int64_t at = read_count(rows->ranks, rows->rank_bytes, bit >> 9);
    for (int64_t w = word & ~(int64_t)7; w < word; w++) at += __builtin_popcountll(rows->mask[w]);
    at += __builtin_popcountll(rows->mask[word] & (((uint64_t)1 << (bit & 63)) - 1));
    spots->place[i] = at;
    prefetch(rows->values + at * rows->value_bytes);
    prefetch_target(spots, i, rows->width);
}

INLINE void bitmap_serve(const void *what, Spots *spots, int i) {
    const SparseRows *rows = what;
    int64_t at = spots->place[i];
    for (int64_t k = 0; k < rows->width; k += 64) {
        const int64_t left = rows->width - k;
        uint64_t bits = mask_from(rows->mask, rows->words, spots->row[i] * rows->width + k);
        if (left < 64) bits &= ((uint64_t)1 << left) - 1;
        at += expand(rows->values, rows->dtype, at, bits, spots->target[i] + k, left < 64 ? left : 64);
    }
}

INLINE int bitmap_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t dtype) {
    const int64_t *own = job->program + FIRST_OWN_WORD;
    const SparseRows rows = {(const uint8_t *)own[0], dtype, dtype == FP32 ? 4 : 2, width, 0, 0, 0, 0,
                             (const uint64_t *)own[2], own[3], (const void *)own[4], own[5]};
    return pipeline(job, begin, end, width, &rows, 0, bitmap_find, 0, bitmap_fetch, bitmap_serve);
}

#define SPARSE(LOOP, WIDTH_)                                          \
    switch (job->program[FIRST_OWN_WORD + 1]) {                       \
        case FP32: return LOOP(job, begin, end, WIDTH_, FP32);        \
        case FP16: return LOOP(job, begin, end, WIDTH_, FP16);        \
        default: return LOOP(job, begin, end, WIDTH_, BF16);          \
    }

static int csr_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (IS(width, 16)) SPARSE(csr_loop, 16)
    if (IS(width, 64)) SPARSE(csr_loop, 64)
    SPARSE(csr_loop, width)
}

static int bitmap_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (IS(width, 16)) SPARSE(bitmap_loop, 16)
    if (IS(width, 64)) SPARSE(bitmap_loop, 64)
    SPARSE(bitmap_loop, width)
}
