/* Codes that name codewords. Own words:
 *
 *   0 number of tiers   1 planes   2 ranks   3 firsts (as in tiered.h)
 *   4 parts   5 whether codewords are added   6 codewords per field, 0 if all fields share   7-11 codec (no row bytes)
 *   12-19 bits of a code, per tier   20-27 codes, per tier   28 pointer to int64 [parts][3]: codebook, width, row bytes
 */

typedef struct {
    int64_t book, width, row_bytes;
} Part;

INLINE uint32_t read_code(const uint8_t *codes, int64_t part, int64_t bits) {
    if (bits == 8) return codes[part];
    const int64_t at = part * bits, byte = at >> 3, shift = at & 7, last = (at + bits - 1) >> 3;
    uint32_t window = codes[byte];
    if (last > byte) window |= (uint32_t)codes[byte + 1] << 8;
    if (last > byte + 1) window |= (uint32_t)codes[byte + 2] << 16;
    return window >> shift & ((1u << bits) - 1);
}

INLINE void copy_word(float *out, const float *from, int64_t width) {
    switch (width) {
        case 1: out[0] = from[0]; break;
        case 2: memcpy(out, from, 8); break;
        case 4: memcpy(out, from, 16); break;
        case 8: memcpy(out, from, 32); break;
        default: copy_floats((const uint8_t *)from, out, width);
    }
}

/* Parts of equal width, fp32 codewords, concatenated: product quantization and value codebooks. */
INLINE void product_row(const uint8_t *codes, int64_t bits, int64_t parts, const Part *part, int64_t shift, int64_t width,
                        float *out) {
    for (int64_t j = 0; j < parts; j++) {
        const float *book = (const float *)part[j].book;
        copy_word(out + j * width, book + (shift + read_code(codes, j, bits)) * width, width);
    }
}

INLINE void any_row(const uint8_t *codes, int64_t bits, int64_t parts, const Part *part, int64_t shift, int64_t add,
                    const Codec *codec, float *out, float *scratch) {
    for (int64_t j = 0; j < parts; j++) {
        const int64_t width = part[j].width;
        const uint8_t *word = (const uint8_t *)part[j].book + (shift + read_code(codes, j, bits)) * part[j].row_bytes;
        if (!add || j == 0) {
            decode_any(codec, width, word, out);
            out += add ? 0 : width;
        } else {
            decode_any(codec, width, word, scratch);
            combine(out, scratch, 0, out, width, 0);
        }
    }
}

/* What the steps know of a lookup of codes. */
typedef struct {
    const int64_t *codes, *bits, *field; /* per tier: where its codes are, bits of a code */
    TierIndex index;
    const Part *parts;
    int64_t count, add, codewords, equal, width;
    Codec codec;
    float *scratch;
} Codebooks;

INLINE void codes_find(const void *what, Spots *spots, int i) {
    const Codebooks *books = what;
    prefetch_index(&books->index, spots->row[i]);
}

INLINE void codes_fetch(const void *what, Spots *spots, int i) {
    const Codebooks *books = what;
    int64_t rank;
    const int64_t tier = find(&books->index, spots->row[i], &rank), size = (books->count * books->bits[tier] + 7) >> 3;
    spots->place[i] = tier;
    spots->source[i] = (const uint8_t *)books->codes[tier] + rank * size;
    prefetch_row(spots->source[i], size);
    prefetch_target(spots, i, books->width);
}

INLINE void codes_serve(const void *what, Spots *spots, int i) {
    const Codebooks *books = what;
    const Part *part = books->parts;
    const int64_t bits = books->bits[spots->place[i]], shift = books->codewords * books->field[spots->column[i]];
    const uint8_t *codes = spots->source[i];
    float *out = spots->target[i];
    if (books->equal && bits == 8 && books->count == 8 && part[0].width == 2)
        product_row(codes, 8, 8, part, shift, 2, out);
    else if (books->equal && bits == 8 && books->count == 8 && part[0].width == 8)
        product_row(codes, 8, 8, part, shift, 8, out);
    else if (books->equal)
        product_row(codes, bits, books->count, part, shift, part[0].width, out);
    else
        any_row(codes, bits, books->count, part, shift, books->add, &books->codec, out, books->scratch);
}

static int codebooks_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, width = program[WIDTH];
    const int64_t *field = (const int64_t *)program[COLUMN_TABLE] + FIELD * program[COLUMNS];
    const Part *parts = (const Part *)own[28];
    float scratch[width];
    Codebooks books = {own + 20, own + 12, field, read_index(own[0], own + 1), parts, own[4], own[5], own[6], 0, width,
                       read_codec(own + 7), scratch};
    books.equal = books.codec.dtype == FP32 && !books.add;
    for (int64_t j = 1; j < books.count; j++) books.equal &= parts[j].width == parts[0].width;
    return pipeline(job, begin, end, width, &books, 0, codes_find, 0, codes_fetch, codes_serve);
}
