/* A product of cores. Own words: number of cores, most numbers of a row under way, then per core:
 * core, rank before, columns, rank after, combinations of the digits that follow. */

enum { CORE_WORDS = 5, FIRST_CORE = FIRST_OWN_WORD + 2, MOST_CORES = 8 };

/* right is [inner][outer]; out[row] = sum_k left[row][k] right[k]. */
INLINE void multiply(const float *left, const float *right, float *out, int64_t rows, int64_t inner, int64_t outer) {
    for (int64_t r = 0; r < rows; r++) project(left + r * inner, inner, right, 0, out + r * outer, outer);
}

/* What the steps know of a lookup in a tensor train. */
typedef struct {
    const int64_t *cores;
    int64_t count, width;
    float *scratch[2];
    const float *(*factors)[GROUP][MOST_CORES]; /* [SLOTS] */
} Train;

INLINE void train_fetch(const void *what, Spots *spots, int i) {
    const Train *train = what;
    uint64_t rest = (uint64_t)spots->row[i];
    for (int64_t k = 0; k < train->count; k++) {
        const int64_t *core = train->cores + k * CORE_WORDS, size = core[1] * core[2] * core[3];
        const uint64_t digit = rest / (uint64_t)core[4];
        rest -= digit * (uint64_t)core[4];
        const float *factor = (const float *)core[0] + digit * size;
        train->factors[spots->slot][i][k] = factor;
        prefetch_row((const uint8_t *)factor, 4 * size < 512 ? 4 * size : 512);
    }
    prefetch_target(spots, i, train->width);
}

INLINE void train_serve(const void *what, Spots *spots, int i) {
    const Train *train = what;
    const int64_t *cores = train->cores;
    const float *const *factors = train->factors[spots->slot][i], *left = factors[0];
    int64_t rows = cores[2], inner = cores[3];
    for (int64_t k = 1; k < train->count; k++) {
        const int64_t *core = cores + k * CORE_WORDS, outer = core[2] * core[3];
        float *out = k + 1 == train->count ? spots->target[i] : train->scratch[k & 1];
        if (inner == 8 && outer == 16)
            multiply(left, factors[k], out, rows, 8, 16);
        else if (inner == 8 && outer == 32)
            multiply(left, factors[k], out, rows, 8, 32);
        else if (inner == 8 && outer == 4)
            multiply(left, factors[k], out, rows, 8, 4);
        else
            multiply(left, factors[k], out, rows, inner, outer);
        left = out, rows *= core[2], inner = core[3];
    }
}

static int tensor_train_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD;
    float scratch[2][own[1]];
    const float *factors[SLOTS][GROUP][MOST_CORES];
    const Train train = {program + FIRST_CORE, own[0], program[WIDTH], {scratch[0], scratch[1]}, factors};
    return pipeline(job, begin, end, train.width, &train, 0, 0, 0, train_fetch, train_serve);
}
