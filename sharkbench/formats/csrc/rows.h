/* One stored row per id (dense, int_rows). Own words: table, codec. */

typedef struct {
    const uint8_t *table;
    Codec codec;
    int64_t dtype, width, row_bytes;
} Rows;

INLINE void rows_fetch(const void *what, Spots *spots, int i) {
    const Rows *rows = what;
    prefetch_row(rows->table + spots->row[i] * rows->row_bytes, rows->row_bytes);
    prefetch_target(spots, i, rows->width);
}

INLINE void rows_serve(const void *what, Spots *spots, int i) {
    const Rows *rows = what;
    decode_row(&rows->codec, rows->dtype, rows->width, rows->table + spots->row[i] * rows->row_bytes, spots->target[i]);
}

INLINE int rows_of(const Job *job, int64_t begin, int64_t end, int64_t dtype, int64_t width, int64_t tail) {
    const int64_t *own = job->program + FIRST_OWN_WORD;
    Rows rows = {(const uint8_t *)own[0], read_codec(own + 1), dtype, width, 0};
    /* What the caller has specialised on is a constant here and in the steps. */
    rows.codec.tail = tail;
    rows.row_bytes = dtype == FP32 ? 4 * width : dtype <= BF16 ? 2 * width : rows.codec.row_bytes;
    return pipeline(job, begin, end, width, &rows, 0, 0, 0, rows_fetch, rows_serve);
}

#define ROWS_OF_WIDTH(WIDTH_, TAIL_)                                                 \
    switch (own[1]) {                                                                \
        case FP32: return rows_of(job, begin, end, FP32, WIDTH_, TAIL_);             \
        case FP16: return rows_of(job, begin, end, FP16, WIDTH_, TAIL_);             \
        case BF16: return rows_of(job, begin, end, BF16, WIDTH_, TAIL_);             \
        case INT8: return rows_of(job, begin, end, INT8, WIDTH_, TAIL_);             \
        case INT4: return rows_of(job, begin, end, INT4, WIDTH_, TAIL_);             \
        case INT2: return rows_of(job, begin, end, INT2, WIDTH_, TAIL_);             \
        default: return rows_of(job, begin, end, INT1, WIDTH_, TAIL_);               \
    }

static int rows_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t *own = job->program + FIRST_OWN_WORD, width = job->program[WIDTH], tail = read_codec(own + 1).tail;
    if (width == 16 && !tail) ROWS_OF_WIDTH(16, 0)
    if (width == 64 && !tail) ROWS_OF_WIDTH(64, 0)
    ROWS_OF_WIDTH(width, tail)
}
