/* A product of cores. Own words: number of cores, most numbers of a row under way, then per core:
 * core, rank before, columns, rank after, combinations of the digits that follow. */

enum { CORE_WORDS = 5, FIRST_CORE = FIRST_OWN_WORD + 2, MOST_CORES = 8 };

/* right is [inner][outer]; out[row] = sum_k left[row][k] right[k]. */
INLINE void multiply(const float *left, const float *right, float *out, int64_t rows, int64_t inner, int64_t outer) {
    for (int64_t r = 0; r < rows; r++) project(left + r * inner, inner, right, 0, out + r * outer, outer);
}

static int tensor_train_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, *cores = program + FIRST_CORE;
    const int64_t columns = program[COLUMNS], *base = (const int64_t *)program[COLUMN_TABLE] + BASE * columns;
    float scratch[2][own[1]];
    const float *factors[SMALL_BLOCK][MOST_CORES];
    Spot spots[SMALL_BLOCK];
    Walk walk = walk_over(job, begin, end);
    for (int count; (count = walk_on(&walk, spots, SMALL_BLOCK)) > 0;) {
        for (int i = 0; i < count; i++) {
            uint64_t rest = (uint64_t)(spots[i].local + base[spots[i].column]);
            for (int64_t k = 0; k < own[0]; k++) {
                const int64_t *core = cores + k * CORE_WORDS, size = core[1] * core[2] * core[3];
                const uint64_t digit = rest / (uint64_t)core[4];
                rest -= digit * (uint64_t)core[4];
                factors[i][k] = (const float *)core[0] + digit * size;
                prefetch_row((const uint8_t *)factors[i][k], 4 * size < 512 ? 4 * size : 512);
            }
        }
        for (int i = 0; i < count; i++) {
            const float *left = factors[i][0];
            int64_t rows = cores[2], inner = cores[3];
            for (int64_t k = 1; k < own[0]; k++) {
                const int64_t *core = cores + k * CORE_WORDS, outer = core[2] * core[3];
                float *out = k + 1 == own[0] ? spots[i].target : scratch[k & 1];
                if (inner == 8 && outer == 16)
                    multiply(left, factors[i][k], out, rows, 8, 16);
                else if (inner == 8 && outer == 32)
                    multiply(left, factors[i][k], out, rows, 8, 32);
                else if (inner == 8 && outer == 4)
                    multiply(left, factors[i][k], out, rows, 8, 4);
                else
                    multiply(left, factors[i][k], out, rows, inner, outer);
                left = out, rows *= core[2], inner = core[3];
            }
        }
    }
    return walk.outside;
}
