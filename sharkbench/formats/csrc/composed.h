/* Small tables read at index functions of the id, and combined. Own words: parts, codec, head, head index, then parts.
 *
 *   0 number of parts   1-5 codec (row bytes unused)   6 head rows, or 0   7 planes and 8 bases of the head's index
 *   9 bytes of a base (4 or 8)   10 row bytes of the head
 *   then per part: table, width, row bytes, operation (0 add, 1 mult, 2 concat), pointer to Function [fields]
 */

typedef struct {
    uint64_t hashed; /* 1: multiply-shift hash, 0: digit */
    uint64_t a, b;   /* hash: multiplier, increment; digit: reciprocals of divisor and modulus, 0 for none */
    uint64_t divisor, modulus;
    int64_t base;
} Function;

enum { PART_WORDS = 5, FIRST_PART = FIRST_OWN_WORD + 11 };

/* n // d by the reciprocal ceil(2^64 / d), exact for 32-bit n and d > 1 (Lemire, Kaser and Kurz, 2019). */
INLINE uint64_t divide(uint64_t n, uint64_t reciprocal) {
    return (uint64_t)(((unsigned __int128)reciprocal * n) >> 64);
}

INLINE int64_t apply(const Function *f, uint64_t local) {
    if (f->hashed) return f->base + (int64_t)((((f->a * local + f->b) >> 32) * f->modulus) >> 32);
    if (f->a) local = divide(local, f->a);
    if (f->b) local -= divide(local, f->b) * f->modulus;
    return f->base + (int64_t)local;
}

/* Whether the row is in the set and, if so, its rank: TierIndex with sizes (0, 1). */
INLINE int64_t rank_of(const int64_t *own, int64_t row) {
    const uint64_t word = ((const uint64_t *)own[7])[row >> 6], bit = (uint64_t)1 << (row & 63);
    const int64_t before = own[9] == 4 ? ((const int32_t *)own[8])[row >> 6] : ((const int64_t *)own[8])[row >> 6];
    const int64_t rank = before + __builtin_popcountll(word & (bit - 1));
    return word & bit ? rank : -1;
}

/* out = left op right, element by element; right may be one number for all (`one`). */
INLINE void combine(const float *left, const float *right, int one, float *out, int64_t width, int64_t operation) {
    int64_t k = 0;
    for (; k + LANES <= width; k += LANES) {
        const Vector x = load_vector(left + k), y = one ? broadcast(*right) : load_vector(right + k);
        store_vector(out + k, operation == 0 ? x + y : x * y);
    }
    for (; k < width; k++) {
        const float x = left[k], y = one ? *right : right[k];
        out[k] = operation == 0 ? x + y : x * y;
    }
}

INLINE void decode_any(const Codec *codec, int64_t width, const uint8_t *row, float *out) {
    switch (codec->dtype) {
        case FP32: decode_row(codec, FP32, width, row, out); break;
        case FP16: decode_row(codec, FP16, width, row, out); break;
        case BF16: decode_row(codec, BF16, width, row, out); break;
        case INT8: decode_row(codec, INT8, width, row, out); break;
        case INT4: decode_row(codec, INT4, width, row, out); break;
        case INT2: decode_row(codec, INT2, width, row, out); break;
        default: decode_row(codec, INT1, width, row, out);
    }
}

/* One to three fp32 parts, added or multiplied; the others are as wide as the first, or single numbers all of them
 * (`narrow`): hash, QR, double hashing, MEmCom and, with rows of their own for chosen ids (`head`), FDH.
 *
 * `width`, `parts`, `narrow` and `head` are constants where the caller has specialised on them. Who has a row of its own
 * is a matter of chance, so there is no branch on it: its row takes the place of the first part's, and the other parts
 * give what changes nothing, -0 (0 would turn -0) or 1.
 */
INLINE int composed_floats(const Job *job, int64_t begin, int64_t end, int64_t width, int parts, int narrow, int head) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, *words = program + FIRST_PART;
    const int64_t columns = program[COLUMNS], *table = (const int64_t *)program[COLUMN_TABLE];
    const int64_t *field = table + FIELD * columns, *base = table + BASE * columns;
    const float *sources[3][BLOCK];
    float nothing[2][width];
    for (int64_t k = 0; head && k < width; k++) nothing[0][k] = -0.0f, nothing[1][k] = 1.0f;
    Spot spots[BLOCK];
    Walk walk = walk_over(job, begin, end);
    for (int count; (count = walk_on(&walk, spots, BLOCK)) > 0;) {
        for (int i = 0; i < count; i++) {
            const int64_t at = field[spots[i].column];
            const int64_t rank = head ? rank_of(own, base[spots[i].column] + spots[i].local) : -1;
            for (int j = 0; j < parts; j++) {
                const int64_t *part = words + j * PART_WORDS, step = j && narrow ? 1 : width;
                const float *source = (const float *)part[0] + apply((const Function *)part[4] + at, spots[i].local) * step;
                if (head) {
                    const float *instead = j ? nothing[part[3]] : (const float *)own[6] + (rank < 0 ? 0 : rank) * width;
                    source = rank < 0 ? source : instead;
                }
                sources[j][i] = source;
                __builtin_prefetch(source);
                if (!(j && narrow) && width > 16) prefetch_row((const uint8_t *)source, 4 * width);
            }
        }
        for (int i = 0; i < count; i++) {
            if (parts == 1)
                memcpy(spots[i].target, sources[0][i], 4 * width);
            else
                combine(sources[0][i], sources[1][i], narrow, spots[i].target, width, words[PART_WORDS + 3]);
            if (parts == 3)
                combine(spots[i].target, sources[2][i], narrow, spots[i].target, width, words[2 * PART_WORDS + 3]);
        }
    }
    return walk.outside;
}

#define COMPOSED_FLOATS(PARTS_, NARROW_, HEAD_)                                                   \
    switch (width) {                                                                              \
        case 16: return composed_floats(job, begin, end, 16, PARTS_, NARROW_, HEAD_);             \
        case 64: return composed_floats(job, begin, end, 64, PARTS_, NARROW_, HEAD_);             \
        default: return composed_floats(job, begin, end, width, PARTS_, NARROW_, HEAD_);          \
    }

INLINE void composed_row(const int64_t *program, const uint8_t *const *sources, const Codec *codec, float *out, float *scratch) {
    const int64_t *own = program + FIRST_OWN_WORD, *part = program + FIRST_PART;
    int64_t width = part[1];
    decode_any(codec, width, sources[0], out);
    for (int64_t j = 1; j < own[0]; j++) {
        part += PART_WORDS;
        if (part[3] == 2) {
            decode_any(codec, part[1], sources[j], out + width);
            width += part[1];
        } else {
            decode_any(codec, part[1], sources[j], scratch);
            combine(out, scratch, part[1] == 1, out, width, part[3]);
        }
    }
}

enum { MOST_PARTS = 64, SMALL_BLOCK = 32 };

static int composed_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, *parts = program + FIRST_PART;
    const int64_t width = program[WIDTH], columns = program[COLUMNS], *table = (const int64_t *)program[COLUMN_TABLE];
    const int64_t *field = table + FIELD * columns, *base = table + BASE * columns;
    int full = own[1] == FP32 && parts[1] == width, narrow = full && !own[6] && own[0] > 1;
    for (int64_t j = 1; j < own[0]; j++) {
        const int64_t *part = parts + j * PART_WORDS;
        full = full && part[1] == width && part[3] < 2;
        narrow = narrow && part[1] == 1 && part[3] < 2;
    }
    if (full && own[0] == 1 && !own[6]) COMPOSED_FLOATS(1, 0, 0)
    if (full && own[0] == 2 && !own[6]) COMPOSED_FLOATS(2, 0, 0)
    if (full && own[0] == 2) COMPOSED_FLOATS(2, 0, 1)
    if (narrow && own[0] == 2) COMPOSED_FLOATS(2, 1, 0)
    if (narrow && own[0] == 3) COMPOSED_FLOATS(3, 1, 0)
    const Codec codec = read_codec(own + 1);
    const uint8_t *sources[SMALL_BLOCK][MOST_PARTS];
    float scratch[width];
    Spot spots[SMALL_BLOCK];
    Walk walk = walk_over(job, begin, end);
    for (int count; (count = walk_on(&walk, spots, SMALL_BLOCK)) > 0;) {
        for (int i = 0; i < count; i++) {
            const int64_t rank = own[6] ? rank_of(own, base[spots[i].column] + spots[i].local) : -1;
            spots[i].source = rank < 0 ? 0 : (const uint8_t *)own[6] + rank * own[10];
            if (rank >= 0) {
                prefetch_row(spots[i].source, own[10]);
                continue;
            }
            for (int64_t j = 0; j < own[0]; j++) {
                const int64_t *part = parts + j * PART_WORDS;
                const int64_t row = apply((const Function *)part[4] + field[spots[i].column], spots[i].local);
                sources[i][j] = (const uint8_t *)part[0] + row * part[2];
                prefetch_row(sources[i][j], part[2]);
            }
        }
        for (int i = 0; i < count; i++) {
            if (spots[i].source)
                decode_any(&codec, width, spots[i].source, spots[i].target);
            else
                composed_row(program, sources[i], &codec, spots[i].target, scratch);
        }
    }
    return walk.outside;
}
