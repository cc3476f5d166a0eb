/* One stored row per id (dense, int_rows). Own words: table, codec. */

INLINE int rows_loop(const Job *job, int64_t begin, int64_t end, int64_t dtype, int64_t width) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD;
    const int64_t columns = program[COLUMNS], *base = (const int64_t *)program[COLUMN_TABLE] + BASE * columns;
    const uint8_t *table = (const uint8_t *)own[0];
    const Codec codec = read_codec(own + 1);
    const int64_t row_bytes = codec.row_bytes;
    Spot spots[BLOCK + AHEAD];
    Walk walk = walk_over(job, begin, end);
    int kept = 0;
    for (;;) {
        const int fresh = walk_on(&walk, spots + kept, BLOCK + AHEAD - kept);
        for (int i = kept; i < kept + fresh; i++)
            spots[i].source = table + (spots[i].local + base[spots[i].column]) * row_bytes;
        if (kept == 0) /* the very first rows: nothing has asked for them yet */
            for (int i = 0; i < fresh && i < AHEAD; i++) prefetch_row(spots[i].source, row_bytes);
        const int count = kept + fresh, ready = count == BLOCK + AHEAD ? BLOCK : count;
        for (int i = 0; i < ready; i++) {
            if (i + AHEAD < count) prefetch_row(spots[i + AHEAD].source, row_bytes);
            decode_row(&codec, dtype, width, spots[i].source, spots[i].target);
        }
        if (ready == count) return walk.outside;
        kept = count - ready;
        memcpy(spots, spots + ready, kept * sizeof(Spot));
    }
}

#define ROWS_OF_WIDTH(WIDTH_)                                                     \
    switch (job->program[FIRST_OWN_WORD + 1]) {                                   \
        case FP32: return rows_loop(job, begin, end, FP32, WIDTH_);               \
        case FP16: return rows_loop(job, begin, end, FP16, WIDTH_);               \
        case BF16: return rows_loop(job, begin, end, BF16, WIDTH_);               \
        case INT8: return rows_loop(job, begin, end, INT8, WIDTH_);               \
        case INT4: return rows_loop(job, begin, end, INT4, WIDTH_);               \
        case INT2: return rows_loop(job, begin, end, INT2, WIDTH_);               \
        default: return rows_loop(job, begin, end, INT1, WIDTH_);                 \
    }

static int rows_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (width == 16) ROWS_OF_WIDTH(16)
    if (width == 64) ROWS_OF_WIDTH(64)
    ROWS_OF_WIDTH(width)
}
