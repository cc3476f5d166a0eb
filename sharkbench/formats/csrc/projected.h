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

/* What the steps know of a lookup of short rows. */
typedef struct {
    const Group *groups;
    const int64_t *field;
    int64_t width;
    float *scratch;
} Projection;

INLINE void projected_fetch(const void *what, Spots *spots, int i) {
    const Projection *all = what;
    const Group *group = all->groups + all->field[spots->column[i]];
    spots->source[i] = (const uint8_t *)group->rows + (group->first + spots->local[i]) * group->codec.row_bytes;
    prefetch_row(spots->source[i], group->codec.row_bytes);
    prefetch_target(spots, i, all->width);
}

INLINE void projected_serve(const void *what, Spots *spots, int i) {
    const Projection *all = what;
    const Group *group = all->groups + all->field[spots->column[i]];
    const float *bias = (const float *)group->bias;
    float *out = spots->target[i];
    if (group->matrix) {
        const float *row = group->codec.dtype == FP32 ? (const float *)spots->source[i] : all->scratch;
        if (row == all->scratch) decode_any(&group->codec, group->dimension, spots->source[i], all->scratch);
        project(row, group->dimension, (const float *)group->matrix, bias, out, all->width);
    } else {
        decode_any(&group->codec, all->width, spots->source[i], out);
        if (bias) combine(out, bias, 0, out, all->width, 0);
    }
}

INLINE int projected_loop(const Job *job, int64_t begin, int64_t end, int64_t width) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD;
    float scratch[own[1]];
    const Projection all = {(const Group *)own[0], (const int64_t *)program[COLUMN_TABLE] + FIELD * program[COLUMNS], width,
                            scratch};
    return pipeline(job, begin, end, width, &all, 0, 0, 0, projected_fetch, projected_serve);
}

static int projected_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (IS(width, 16)) return projected_loop(job, begin, end, 16);
    if (IS(width, 64)) return projected_loop(job, begin, end, 64);
    return projected_loop(job, begin, end, width);
}
