/* Codes that name codewords. Own words:
 *
 *   0 codes   1 number of tiers   2 planes   3 number of planes   4 bases   5 bytes of a base (as in tiered.h)
 *   6 parts   7 whether codewords are added   8 codewords per field, 0 if all fields share   9-13 codec (no row bytes)
 *   14-21 bits of a code, per tier   22 pointer to int64 [parts][3]: codebook, width, row bytes
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

INLINE void copy_floats(float *out, const float *from, int64_t width) {
    switch (width) {
        case 1: out[0] = from[0]; break;
        case 2: memcpy(out, from, 8); break;
        case 4: memcpy(out, from, 16); break;
        case 8: memcpy(out, from, 32); break;
        case 16: memcpy(out, from, 64); break;
        default: memcpy(out, from, 4 * width);
    }
}

/* Parts of equal width, fp32 codewords, concatenated: product quantization and value codebooks. */
INLINE void product_row(const uint8_t *codes, int64_t bits, int64_t parts, const Part *part, int64_t shift, int64_t width,
                        float *out) {
    for (int64_t j = 0; j < parts; j++) {
        const float *book = (const float *)part[j].book;
        copy_floats(out + j * width, book + (shift + read_code(codes, j, bits)) * width, width);
    }
}

INLINE void any_row(const uint8_t *codes, int64_t bits, int64_t parts, const Part *part, int64_t shift, int64_t add,
                    const Codec *codec, float *out, float *scratch) {
    for (int64_t j = 0; j < parts; j++) {
        const int64_t width = part[j].width;
        const uint8_t *word = (const uint8_t *)part[j].book + (shift + read_code(codes, j, bits)) * part[j].row_bytes;
        if (!add) {
            decode_any(codec, width, word, out);
            out += width;
        } else if (j == 0) {
            decode_any(codec, width, word, out);
        } else {
            decode_any(codec, width, word, scratch);
            combine(out, scratch, 0, out, width, 0);
        }
    }
}

static int codebooks_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, columns = program[COLUMNS];
    const int64_t *table = (const int64_t *)program[COLUMN_TABLE], *base = table + BASE * columns;
    const int64_t *field = table + FIELD * columns, *bits = own + 14;
    const uint8_t *codes = (const uint8_t *)own[0];
    const int64_t parts = own[6], add = own[7], codewords = own[8];
    const Part *part = (const Part *)own[22];
    const Codec codec = read_codec(own + 9);
    int64_t equal = codec.dtype == FP32 && !add;
    for (int64_t j = 1; j < parts; j++) equal &= part[j].width == part[0].width;
    TierIndex index = read_index(own + 2, own[1]);
    for (int64_t t = 0; t < own[1]; t++) index.sizes[t] = (parts * bits[t] + 7) >> 3;
    float scratch[program[WIDTH]];
    Spot spots[BLOCK];
    Walk walk = walk_over(job, begin, end);
    for (int count; (count = walk_on(&walk, spots, BLOCK)) > 0;) {
        for (int i = 0; i < count; i++) prefetch_index(&index, spots[i].local += base[spots[i].column]);
        for (int i = 0; i < count; i++) {
            int64_t address;
            spots[i].local = find(&index, spots[i].local, &address);
            spots[i].source = codes + address;
            prefetch_row(spots[i].source, index.sizes[spots[i].local]);
        }
        for (int i = 0; i < count; i++) {
            const int64_t width = bits[spots[i].local], shift = codewords * field[spots[i].column];
            if (equal && width == 8 && parts == 8 && part[0].width == 2)
                product_row(spots[i].source, 8, 8, part, shift, 2, spots[i].target);
            else if (equal && width == 8 && parts == 8 && part[0].width == 8)
                product_row(spots[i].source, 8, 8, part, shift, 8, spots[i].target);
            else if (equal)
                product_row(spots[i].source, width, parts, part, shift, part[0].width, spots[i].target);
            else
                any_row(spots[i].source, width, parts, part, shift, add, &codec, spots[i].target, scratch);
        }
    }
    return walk.outside;
}
