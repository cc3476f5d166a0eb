/* Rows cut from one circular array. Own words: array, its dtype, numbers in it, block, seed, signed. */

INLINE uint64_t mix(uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* `count` numbers from place `from` on, which do not pass the end of the array. */
INLINE void copy_piece(const uint8_t *array, int64_t dtype, int64_t from, int64_t count, float *out) {
    if (dtype == FP32)
        copy_floats(array + 4 * from, out, count);
    else if (dtype == FP16)
        decode_halves(array + 2 * from, out, count);
    else
        decode_bfloats(array + 2 * from, out, count);
}

enum { MOST_CHUNKS = 64 };

/* What the steps know of a lookup in a shared array. */
typedef struct {
    const uint8_t *array;
    const int64_t *start;
    int64_t dtype, size, block, is_signed, width, chunks;
    uint64_t seed;
    uint64_t *hashes; /* [SLOTS][GROUP][chunks]; 0 where rows have very many chunks, which are hashed a second time */
} SharedArray;

INLINE uint64_t hash_of(const SharedArray *shared, const Spots *spots, int i, int64_t chunk) {
    const uint64_t id = (uint64_t)(spots->local[i] + shared->start[spots->column[i]]);
    return mix((id * (uint64_t)shared->chunks + (uint64_t)chunk) ^ shared->seed);
}

INLINE uint64_t *hashes_of(const SharedArray *shared, const Spots *spots, int i) {
    return shared->hashes ? shared->hashes + (spots->slot * GROUP + i) * shared->chunks : 0;
}

INLINE void shared_fetch(const void *what, Spots *spots, int i) {
    const SharedArray *shared = what;
    uint64_t *hashes = hashes_of(shared, spots, i);
    for (int64_t c = 0; hashes && c < shared->chunks; c++) {
        hashes[c] = hash_of(shared, spots, i, c);
        const int64_t from = (int64_t)((hashes[c] >> 32) * (uint64_t)shared->size >> 32);
        prefetch_row(shared->array + from * (shared->dtype == FP32 ? 4 : 2), shared->block * (shared->dtype == FP32 ? 4 : 2));
    }
    prefetch_target(spots, i, shared->width);
}

INLINE void shared_serve(const void *what, Spots *spots, int i) {
    const SharedArray *shared = what;
    const uint64_t *hashes = hashes_of(shared, spots, i);
    const int64_t size = shared->size;
    for (int64_t c = 0; c < shared->chunks; c++) {
        const uint64_t hash = hashes ? hashes[c] : hash_of(shared, spots, i, c);
        const int64_t from = (int64_t)((hash >> 32) * (uint64_t)size >> 32), left = shared->width - c * shared->block;
        const int64_t wanted = left < shared->block ? left : shared->block;
        float *out = spots->target[i] + c * shared->block;
        if (from + wanted <= size) {
            copy_piece(shared->array, shared->dtype, from, wanted, out);
        } else {
            for (int64_t k = 0; k < wanted; k++) copy_piece(shared->array, shared->dtype, (from + k) % size, 1, out + k);
        }
        if (shared->is_signed && hash & 1)
            for (int64_t k = 0; k < wanted; k++) out[k] = -out[k];
    }
}

INLINE int shared_array_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t block, int64_t dtype) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, chunks = (width + block - 1) / block;
    const int64_t *start = (const int64_t *)program[COLUMN_TABLE] + START * program[COLUMNS];
    uint64_t hashes[SLOTS * GROUP * (chunks <= MOST_CHUNKS ? chunks : 1)];
    const SharedArray shared = {(const uint8_t *)own[0], start, dtype, own[2], block, own[5], width, chunks, (uint64_t)own[4],
                                chunks <= MOST_CHUNKS ? hashes : 0};
    return pipeline(job, begin, end, width, &shared, 0, 0, 0, shared_fetch, shared_serve);
}

#define SHARED_ARRAY_OF(WIDTH_, BLOCK_)                                                      \
    switch (job->program[FIRST_OWN_WORD + 1]) {                                              \
        case FP32: return shared_array_loop(job, begin, end, WIDTH_, BLOCK_, FP32);          \
        case FP16: return shared_array_loop(job, begin, end, WIDTH_, BLOCK_, FP16);          \
        default: return shared_array_loop(job, begin, end, WIDTH_, BLOCK_, BF16);            \
    }

static int shared_array_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH], block = job->program[FIRST_OWN_WORD + 3];
    if (IS(width, 16) && block == 16) SHARED_ARRAY_OF(16, 16)
    if (IS(width, 64) && block == 16) SHARED_ARRAY_OF(64, 16)
    if (IS(width, 64) && block == 64) SHARED_ARRAY_OF(64, 64)
    SHARED_ARRAY_OF(width, block)
}
