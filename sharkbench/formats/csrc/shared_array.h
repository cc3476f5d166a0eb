/* Rows cut from one circular array. Own words: array, its dtype, numbers in it, block, seed, signed. */

INLINE uint64_t mix(uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* `count` numbers from place `from` on, which do not pass the end of the array. */
INLINE void copy_piece(const uint8_t *array, int64_t dtype, int64_t from, int64_t count, float *out) {
    if (dtype == FP32)
        for (int64_t k = 0; k < count; k++) out[k] = load_float(array + 4 * (from + k));
    else if (dtype == FP16)
        decode_halves(array + 2 * from, out, count);
    else
        decode_bfloats(array + 2 * from, out, count);
}

enum { MOST_CHUNKS = 64 };

INLINE int shared_array_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t block, int64_t dtype) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, columns = program[COLUMNS];
    const int64_t *start = (const int64_t *)program[COLUMN_TABLE] + START * columns;
    const uint8_t *array = (const uint8_t *)own[0];
    const int64_t size = own[2], is_signed = own[5], bytes = dtype == FP32 ? 4 : 2;
    const uint64_t seed = (uint64_t)own[4];
    const int64_t chunks = (width + block - 1) / block;
    uint64_t hashes[SMALL_BLOCK * MOST_CHUNKS];
    Spot spots[SMALL_BLOCK];
    Walk walk = walk_over(job, begin, end);
    /* Rows of very many chunks are hashed a second time instead of kept. */
    const int keeps = chunks <= MOST_CHUNKS;
    for (int count; (count = walk_on(&walk, spots, SMALL_BLOCK)) > 0;) {
        for (int i = 0; keeps && i < count; i++) {
            const uint64_t key = (uint64_t)(spots[i].local + start[spots[i].column]) * (uint64_t)chunks;
            for (int64_t c = 0; c < chunks; c++) {
                const uint64_t hash = mix((key + (uint64_t)c) ^ seed);
                hashes[i * chunks + c] = hash;
                const uint8_t *piece = array + (int64_t)((hash >> 32) * (uint64_t)size >> 32) * bytes;
                prefetch_row(piece, block * bytes);
            }
        }
        for (int i = 0; i < count; i++) {
            const uint64_t key = (uint64_t)(spots[i].local + start[spots[i].column]) * (uint64_t)chunks;
            for (int64_t c = 0; c < chunks; c++) {
                const uint64_t hash = keeps ? hashes[i * chunks + c] : mix((key + (uint64_t)c) ^ seed);
                const int64_t from = (int64_t)((hash >> 32) * (uint64_t)size >> 32);
                const int64_t wanted = width - c * block < block ? width - c * block : block;
                float *out = spots[i].target + c * block;
                if (from + wanted <= size) {
                    copy_piece(array, dtype, from, wanted, out);
                } else {
                    for (int64_t k = 0; k < wanted; k++) copy_piece(array, dtype, (from + k) % size, 1, out + k);
                }
                if (is_signed && hash & 1)
                    for (int64_t k = 0; k < wanted; k++) out[k] = -out[k];
            }
        }
    }
    return walk.outside;
}

#define SHARED_ARRAY_OF(WIDTH_, BLOCK_)                                                      \
    switch (job->program[FIRST_OWN_WORD + 1]) {                                              \
        case FP32: return shared_array_loop(job, begin, end, WIDTH_, BLOCK_, FP32);          \
        case FP16: return shared_array_loop(job, begin, end, WIDTH_, BLOCK_, FP16);          \
        default: return shared_array_loop(job, begin, end, WIDTH_, BLOCK_, BF16);            \
    }

static int shared_array_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH], block = job->program[FIRST_OWN_WORD + 3];
    if (width == 16 && block == 16) SHARED_ARRAY_OF(16, 16)
    if (width == 64 && block == 16) SHARED_ARRAY_OF(64, 16)
    if (width == 64 && block == 64) SHARED_ARRAY_OF(64, 64)
    SHARED_ARRAY_OF(width, block)
}
