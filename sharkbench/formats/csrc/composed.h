/* Small tables read at index functions of the id, and combined. Own words: parts, codec, head, head index, then parts.
 *
 *   0 number of parts   1-5 codec (row bytes unused)   6 head rows, or 0   7 planes, 8 ranks and 9 firsts of the
 *   head's index (as in tiered.h)   10 row bytes of the head
 *   then per part: table, width, row bytes, operation (0 add, 1 mult, 2 concat), pointer to Function [fields]
 *   then per part: pointer to the same numbers as int64 [FUNCTION_WORDS][C + LANES_OF_IDS], an array per number over the
 *   columns and, from the first column on, over as many again as to find those of neighbouring ids side by side
 */

typedef struct {
    uint64_t hashed; /* 1: multiply-shift hash, 0: digit */
    uint64_t a, b;   /* hash: multiplier, increment; digit: reciprocals of divisor and modulus, 0 for none */
    uint64_t divisor, modulus;
    int64_t base;
} Function;
enum { HASHED, A, B, DIVISOR, MODULUS, FIRST, FUNCTION_WORDS };
enum { PART_WORDS = 5, FIRST_PART = FIRST_OWN_WORD + 11, ROOM = GROUP + LANES_OF_IDS };

/* What the steps know of a composed lookup. */
typedef struct {
    const int64_t *own, *parts, *lines, *field;
    int64_t columns, width, *places; /* places [SLOTS][number of parts][ROOM]: rows, then the addresses of rows */
    int count, narrow, head;
    const float *nothing; /* [2][width]: what changes nothing when added, when multiplied */
    Codec codec;
    TierIndex index;
    float *scratch;
} Composition;

#if ISA == 3
/* n // d by the reciprocal ceil(2^64 / d), exact for 32-bit n and d > 1 (Lemire, Kaser and Kurz, 2019); n itself where
 * the reciprocal is 0. */
INLINE __m512i divide(__m512i n, __m512i reciprocal) {
    const __m512i high = _mm512_mul_epu32(n, _mm512_srli_epi64(reciprocal, 32)), low = _mm512_mul_epu32(n, reciprocal);
    const __m512i quotient = _mm512_srli_epi64(_mm512_add_epi64(high, _mm512_srli_epi64(low, 32)), 32);
    return _mm512_mask_mov_epi64(n, _mm512_test_epi64_mask(reciprocal, reciprocal), quotient);
}

/* The rows of a part's table that a group of ids reads. */
INLINE void apply(const Composition *all, int64_t part, const Spots *spots, int64_t *rows) {
    const int64_t line = all->columns + LANES_OF_IDS;
    for (int i = 0; i < spots->count; i += LANES_OF_IDS) {
        const int64_t *at = (const int64_t *)all->lines[part] + spots->column[i];
        const __m512i id = _mm512_loadu_si512(spots->local + i), modulus = _mm512_loadu_si512(at + MODULUS * line);
        const __m512i a = _mm512_loadu_si512(at + A * line), b = _mm512_loadu_si512(at + B * line);
        const __m512i hashed = _mm512_loadu_si512(at + HASHED * line);
        const __mmask8 hashes = _mm512_test_epi64_mask(hashed, hashed);
        const __m512i quotient = divide(id, a), turns = divide(quotient, b);
        __m512i row = _mm512_mask_sub_epi64(quotient, _mm512_test_epi64_mask(b, b), quotient, _mm512_mul_epu32(turns, modulus));
        if (hashes) {
            const __m512i mixed = _mm512_srli_epi64(_mm512_add_epi64(_mm512_mullo_epi64(a, id), b), 32);
            row = _mm512_mask_srli_epi64(row, hashes, _mm512_mul_epu32(mixed, modulus), 32);
        }
        _mm512_storeu_si512(rows + i, _mm512_add_epi64(row, _mm512_loadu_si512(at + FIRST * line)));
    }
}
#else
/* n // d by the reciprocal ceil(2^64 / d), exact for 32-bit n and d > 1 (Lemire, Kaser and Kurz, 2019). */
INLINE uint64_t divide(uint64_t n, uint64_t reciprocal) {
    return (uint64_t)(((unsigned __int128)reciprocal * n) >> 64);
}

/* The rows of a part's table that a group of ids reads. */
INLINE void apply(const Composition *all, int64_t part, const Spots *spots, int64_t *rows) {
    for (int i = 0; i < spots->count; i++) {
        const Function *f = (const Function *)all->parts[part * PART_WORDS + 4] + all->field[spots->column[i]];
        uint64_t n = (uint64_t)spots->local[i];
        if (f->hashed) {
            n = ((f->a * n + f->b) >> 32) * f->modulus >> 32;
        } else {
            if (f->a) n = divide(n, f->a);
            if (f->b) n -= divide(n, f->b) * f->modulus;
        }
        rows[i] = f->base + (int64_t)n;
    }
}
#endif

/* The rank of a row that has one of its own, -1 for all others. */
INLINE int64_t rank_of(const TierIndex *index, int64_t row) {
    int64_t rank;
    return find(index, row, &rank) ? rank : -1;
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

INLINE Composition composition_of(const int64_t *program, int64_t *places) {
    const int64_t *own = program + FIRST_OWN_WORD, *parts = program + FIRST_PART, columns = program[COLUMNS];
    const Composition all = {own, parts, parts + own[0] * PART_WORDS, (const int64_t *)program[COLUMN_TABLE] + FIELD * columns,
                             columns, program[WIDTH], places, (int)own[0], 0, own[6] != 0, 0, read_codec(own + 1),
                             read_index(2, own + 7), 0};
    return all;
}

INLINE int64_t *places_of(const Composition *all, const Spots *spots, int64_t part) {
    return all->places + (spots->slot * all->count + part) * ROOM;
}

INLINE void composed_hash(const void *what, Spots *spots) {
    const Composition *all = what;
    for (int64_t j = 0; j < all->count; j++)
        apply(all, j, spots, places_of(all, spots, j));
}

INLINE void composed_find(const void *what, Spots *spots, int i) {
    const Composition *all = what;
    if (all->head) prefetch_index(&all->index, spots->row[i]);
}

/* One to three fp32 parts, added or multiplied; the others are as wide as the first, or single numbers all of them
 * (`narrow`): hash, QR, double hashing, MEmCom and, with rows of their own for chosen ids (`head`), FDH.
 *
 * `width`, `count`, `narrow` and `head` are constants where the caller has specialised on them. Who has a row of its own
 * is a matter of chance, so there is no branch on it: its row takes the place of the first part's, and the other parts
 * give what changes nothing, -0 (0 would turn -0) or 1.
 */
INLINE void floats_fetch(const void *what, Spots *spots, int i) {
    const Composition *all = what;
    const int64_t rank = all->head ? rank_of(&all->index, spots->row[i]) : -1;
    for (int64_t j = 0; j < all->count; j++) {
        const int64_t *part = all->parts + j * PART_WORDS, width = j && all->narrow ? 1 : all->width;
        int64_t *place = places_of(all, spots, j) + i;
        const float *source = (const float *)part[0] + *place * width;
        if (all->head) {
            const float *instead = j ? all->nothing + part[3] * width : (const float *)all->own[6] + (rank < 0 ? 0 : rank) * width;
            source = rank < 0 ? source : instead;
        }
        *place = (int64_t)source;
        prefetch_row((const uint8_t *)source, 4 * width);
    }
    prefetch_target(spots, i, all->width);
}

INLINE void floats_serve(const void *what, Spots *spots, int i) {
    const Composition *all = what;
    float *out = spots->target[i];
    const float *sources[3];
    for (int j = 0; j < all->count; j++) sources[j] = (const float *)places_of(all, spots, j)[i];
    if (all->count == 1)
        copy_floats((const uint8_t *)sources[0], out, all->width);
    else
        combine(sources[0], sources[1], all->narrow, out, all->width, all->parts[PART_WORDS + 3]);
    if (all->count == 3) combine(out, sources[2], all->narrow, out, all->width, all->parts[2 * PART_WORDS + 3]);
}

INLINE int composed_floats(const Job *job, int64_t begin, int64_t end, int64_t width, int count, int narrow, int head) {
    const int64_t *program = job->program;
    int64_t places[SLOTS * 3 * ROOM];
    float nothing[2][width];
    for (int64_t k = 0; head && k < width; k++) nothing[0][k] = -0.0f, nothing[1][k] = 1.0f;
    Composition all = composition_of(program, places);
    all.width = width, all.count = count, all.narrow = narrow, all.head = head, all.nothing = nothing[0];
    return pipeline(job, begin, end, width, &all, composed_hash, composed_find, 0, floats_fetch, floats_serve);
}

#define COMPOSED_FLOATS(NAME_, PARTS_, NARROW_, HEAD_)                                                     \
    APART int NAME_(const Job *job, int64_t begin, int64_t end, int64_t width) {                           \
        if (IS(width, 16)) return composed_floats(job, begin, end, 16, PARTS_, NARROW_, HEAD_);            \
        if (IS(width, 64)) return composed_floats(job, begin, end, 64, PARTS_, NARROW_, HEAD_);            \
        return composed_floats(job, begin, end, width, PARTS_, NARROW_, HEAD_);                            \
    }

COMPOSED_FLOATS(composed_one, 1, 0, 0)
COMPOSED_FLOATS(composed_two, 2, 0, 0)
COMPOSED_FLOATS(composed_two_and_head, 2, 0, 1)
COMPOSED_FLOATS(composed_and_number, 2, 1, 0)
COMPOSED_FLOATS(composed_and_numbers, 3, 1, 0)

/* Any parts of any codec; a chosen id has its row as the source, the others have none. */
INLINE void composed_fetch(const void *what, Spots *spots, int i) {
    const Composition *all = what;
    const int64_t rank = all->head ? rank_of(&all->index, spots->row[i]) : -1;
    spots->source[i] = rank < 0 ? 0 : (const uint8_t *)all->own[6] + rank * all->own[10];
    if (rank >= 0) prefetch_row(spots->source[i], all->own[10]);
    for (int64_t j = 0; rank < 0 && j < all->count; j++) {
        const int64_t *part = all->parts + j * PART_WORDS;
        int64_t *place = places_of(all, spots, j) + i;
        *place = part[0] + *place * part[2];
        prefetch_row((const uint8_t *)*place, part[2]);
    }
    prefetch_target(spots, i, all->width);
}

/* Two places that decode, not one for each case: a decoder is seven, and long to compile. */
INLINE void composed_serve(const void *what, Spots *spots, int i) {
    const Composition *all = what;
    const uint8_t *chosen = spots->source[i];
    const int64_t *part = all->parts;
    float *out = spots->target[i];
    int64_t width = part[1]; /* of what is there */
    decode_any(&all->codec, chosen ? all->width : width, chosen ? chosen : (const uint8_t *)places_of(all, spots, 0)[i], out);
    for (int64_t j = 1; !chosen && j < all->count; j++) {
        part += PART_WORDS;
        const int beside = part[3] == 2;
        decode_any(&all->codec, part[1], (const uint8_t *)places_of(all, spots, j)[i], beside ? out + width : all->scratch);
        if (beside)
            width += part[1];
        else
            combine(out, all->scratch, part[1] == 1, out, width, part[3]);
    }
}

static int composed_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD, *parts = program + FIRST_PART;
    const int64_t width = program[WIDTH];
    int full = own[1] == FP32 && parts[1] == width, narrow = full && !own[6] && own[0] > 1;
    for (int64_t j = 1; j < own[0]; j++) {
        const int64_t *part = parts + j * PART_WORDS;
        full = full && part[1] == width && part[3] < 2;
        narrow = narrow && part[1] == 1 && part[3] < 2;
    }
    if (full && own[0] == 1 && !own[6]) return composed_one(job, begin, end, width);
    if (full && own[0] == 2 && !own[6]) return composed_two(job, begin, end, width);
    if (full && own[0] == 2) return composed_two_and_head(job, begin, end, width);
    if (narrow && own[0] == 2) return composed_and_number(job, begin, end, width);
    if (narrow && own[0] == 3) return composed_and_numbers(job, begin, end, width);
    int64_t places[SLOTS * own[0] * ROOM];
    float scratch[width];
    Composition all = composition_of(program, places);
    all.scratch = scratch;
    return pipeline(job, begin, end, width, &all, composed_hash, composed_find, 0, composed_fetch, composed_serve);
}
