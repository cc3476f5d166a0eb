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

INLINE int rows_of(const Job *job, int64_t begin, int64_t end, int64_t dtype, int64_t width, int64_t tail,
                   int64_t scale_bytes) {
    const int64_t *own = job->program + FIRST_OWN_WORD;
    Rows rows = {(const uint8_t *)own[0], read_codec(own + 1), dtype, width, 0};
    /* What the caller has specialised on is a constant here and in the steps. */
    rows.codec.tail = tail;
    if (scale_bytes) rows.codec.scale_bytes = scale_bytes, rows.codec.symmetric = 0;
    rows.row_bytes = dtype == FP32   ? 4 * width
                     : dtype <= BF16 ? 2 * width
                     : scale_bytes   ? ((width * bits_of(dtype) + 7) >> 3) + 2 * scale_bytes
                                     : rows.codec.row_bytes;
    return pipeline(job, begin, end, width, &rows, 0, 0, 0, rows_fetch, rows_serve);
}

#define FLOATS_OF_WIDTH(NAME_, WIDTH_)                                                                     \
    APART int NAME_(const Job *job, int64_t begin, int64_t end, int64_t width) {                           \
        switch (job->program[FIRST_OWN_WORD + 1]) {                                                        \
            case FP32: return rows_of(job, begin, end, FP32, WIDTH_, 0, 0);                                \
            case FP16: return rows_of(job, begin, end, FP16, WIDTH_, 0, 0);                                \
            default: return rows_of(job, begin, end, BF16, WIDTH_, 0, 0);                                  \
        }                                                                                                  \
    }

/* SCALE_: bytes of a scale that has an offset beside it, where that is all that follows the codes; else 0. */
#define CODES_OF_WIDTH(NAME_, WIDTH_, TAIL_, SCALE_)                                                       \
    APART int NAME_(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t tail) {             \
        switch (job->program[FIRST_OWN_WORD + 1]) {                                                        \
            case INT8: return rows_of(job, begin, end, INT8, WIDTH_, TAIL_, SCALE_);                       \
            case INT4: return rows_of(job, begin, end, INT4, WIDTH_, TAIL_, SCALE_);                       \
            case INT2: return rows_of(job, begin, end, INT2, WIDTH_, TAIL_, SCALE_);                       \
            default: return rows_of(job, begin, end, INT1, WIDTH_, TAIL_, SCALE_);                         \
        }                                                                                                  \
    }

FLOATS_OF_WIDTH(floats_16, 16)
FLOATS_OF_WIDTH(floats_64, 64)
FLOATS_OF_WIDTH(floats_any, width)
CODES_OF_WIDTH(codes_16_half, 16, 0, 2)
CODES_OF_WIDTH(codes_64_half, 64, 0, 2)
CODES_OF_WIDTH(codes_16_single, 16, 0, 4)
CODES_OF_WIDTH(codes_64_single, 64, 0, 4)
CODES_OF_WIDTH(codes_16, 16, 0, 0)
CODES_OF_WIDTH(codes_64, 64, 0, 0)
CODES_OF_WIDTH(codes_any, width, tail, 0)

static int rows_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    const Codec codec = read_codec(job->program + FIRST_OWN_WORD + 1);
    const int64_t scale_bytes = codec.symmetric ? 0 : codec.scale_bytes;
    if (codec.dtype <= BF16) {
        if (IS(width, 16)) return floats_16(job, begin, end, width);
        if (IS(width, 64)) return floats_64(job, begin, end, width);
        return floats_any(job, begin, end, width);
    }
    if (IS(width, 16) && !codec.tail)
        return (scale_bytes == 2 ? codes_16_half : scale_bytes == 4 ? codes_16_single : codes_16)(job, begin, end, width, 0);
    if (IS(width, 64) && !codec.tail)
        return (scale_bytes == 2 ? codes_64_half : scale_bytes == 4 ? codes_64_single : codes_64)(job, begin, end, width, 0);
    return codes_any(job, begin, end, width, codec.tail);
}
