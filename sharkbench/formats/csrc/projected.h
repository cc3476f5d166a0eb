/* Short rows times a matrix. Own words: pointer to Group [fields], longest short row. */

typedef struct {
    int64_t rows, matrix, bias, dimension, first;
    Codec codec;
} Group;

/* out = sum_k row[k] matrix[k] + bias, `width` wide. */
INLINE void project(const float *row, int64_t dimension, const float *matrix, const float *bias, float *out, int64_t width) {
    int64_t c = 0;
    for (; c + LANES <= width; c += LANES) {
        Vector sum = {0};
        for (int64_t k = 0; k < dimension; k++) sum += broadcast(row[k]) * load_vector(matrix + k * width + c);
        store_vector(out + c, bias ? sum + load_vector(bias + c) : sum);
    }
    for (; c < width; c++) {
        float sum = 0;
        for (int64_t k = 0; k < dimension; k++) sum += row[k] * matrix[k * width + c];
        out[c] = bias ? sum + bias[c] : sum;
    }
}

INLINE int projected_loop(const Job *job, int64_t begin, int64_t end, int64_t width) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, columns = program[COLUMNS];
    const int64_t *field = (const int64_t *)program[COLUMN_TABLE] + FIELD * columns;
    const Group *groups = (const Group *)own[0];
    float scratch[own[1]];
    Spot spots[BLOCK];
    Walk walk = walk_over(job, begin, end);
    for (int count; (count = walk_on(&walk, spots, BLOCK)) > 0;) {
        for (int i = 0; i < count; i++) {
            const Group *group = groups + field[spots[i].column];
            spots[i].source = (const uint8_t *)group->rows + (group->first + spots[i].local) * group->codec.row_bytes;
            prefetch_row(spots[i].source, group->codec.row_bytes);
        }
        for (int i = 0; i < count; i++) {
            const Group *group = groups + field[spots[i].column];
            const float *bias = (const float *)group->bias;
            if (group->matrix) {
                decode_any(&group->codec, group->dimension, spots[i].source, scratch);
                project(scratch, group->dimension, (const float *)group->matrix, bias, spots[i].target, width);
            } else {
                decode_any(&group->codec, width, spots[i].source, spots[i].target);
                if (bias) combine(spots[i].target, bias, 0, spots[i].target, width, 0);
            }
        }
    }
    return walk.outside;
}

static int projected_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (width == 16) return projected_loop(job, begin, end, 16);
    if (width == 64) return projected_loop(job, begin, end, 64);
    return projected_loop(job, begin, end, width);
}
