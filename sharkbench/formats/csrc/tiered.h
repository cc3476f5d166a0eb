/* Rows of several tiers, found through an index. Own words:
 *
 *   0 number of tiers   1 planes (0 with a single tier)   2 ranks   3 firsts
 *   then per tier: rows (0 where they are dropped), dimension, codec
 */

enum { TIER_WORDS = 2 + CODEC_WORDS, FIRST_TIER = FIRST_OWN_WORD + 4, MOST_TIERS = 8 };

/* Of each row its tier and its rank there: TierIndex in sharkbench/formats/tier_index.py. */
typedef struct {
    int64_t tiers, planes;
    const uint64_t *words;
    const uint16_t *ranks;
    const int64_t *firsts;
} TierIndex;

/* `arrays` are three words of a program. */
INLINE TierIndex read_index(int64_t tiers, const int64_t *arrays) {
    TierIndex index = {tiers, tiers > 4 ? 3 : tiers > 2 ? 2 : 1, (const uint64_t *)arrays[0], (const uint16_t *)arrays[1],
                       (const int64_t *)arrays[2]};
    return index;
}

/* The few `firsts` stay in the cache. */
INLINE void prefetch_index(const TierIndex *index, int64_t row) {
    if (!index->words) return;
    prefetch(index->words + (row >> 6) * index->planes);
    prefetch(index->ranks + (row >> 6) * index->tiers);
}

/* The tier of a row; its rank there goes to `rank`. */
INLINE int64_t find(const TierIndex *index, int64_t row, int64_t *rank) {
    if (!index->words) {
        *rank = row;
        return 0;
    }
    const int64_t block = row >> 6, bit = row & 63;
    const uint64_t *words = index->words + block * index->planes;
    uint64_t members = ((uint64_t)1 << bit) - 1; /* rows before this one, to become those of its tier */
    int64_t tier = 0;
    for (int64_t p = 0; p < index->planes; p++) {
        const uint64_t own = words[p] >> bit & 1;
        members &= ~(words[p] ^ -own);
        tier |= (int64_t)own << p;
    }
    *rank = index->firsts[(row >> 16) * index->tiers + tier] + index->ranks[block * index->tiers + tier] +
            __builtin_popcountll(members);
    return tier;
}

typedef struct {
    int64_t dimension;
    Codec codec;
} Tier;

/* The arrays stand apart: a struct with an array in it stays in memory, where nothing of it is a constant. */
typedef struct {
    const Tier *tiers;
    const int64_t *rows, *sizes; /* [MOST_TIERS]: where a tier's rows begin, and bytes of one, 0 where they are dropped */
    TierIndex index;
    int64_t width;
} Tiers;

INLINE void tiers_find(const void *what, Spots *spots, int i) {
    const Tiers *all = what;
    prefetch_index(&all->index, spots->row[i]);
}

#if ISA == 3
/* How many bits of each word are set. */
INLINE __m512i bits_set(__m512i words) {
    const __m512i of_nibble = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i pairs = _mm512_add_epi8(_mm512_shuffle_epi8(of_nibble, _mm512_and_si512(words, low)),
                                          _mm512_shuffle_epi8(of_nibble, _mm512_and_si512(_mm512_srli_epi16(words, 4), low)));
    return _mm512_sad_epu8(pairs, _mm512_setzero_si512());
}

/* As `find`, eight rows at a time, those `here`. */
INLINE __m512i find_eight(const TierIndex *index, __m512i row, __mmask8 here, __m512i *rank) {
    const __m512i none = _mm512_setzero_si512(), one = _mm512_set1_epi64(1);
    if (!index->words) {
        *rank = row;
        return none;
    }
    const __m512i block = _mm512_srli_epi64(row, 6), bit = _mm512_and_si512(row, _mm512_set1_epi64(63));
    const __m512i words = _mm512_mullo_epi64(block, _mm512_set1_epi64(index->planes));
    __m512i members = _mm512_sub_epi64(_mm512_sllv_epi64(one, bit), one), tier = none;
    for (int64_t p = 0; p < index->planes; p++) {
        const __m512i word = _mm512_mask_i64gather_epi64(none, here, words, index->words + p, 8);
        const __mmask8 own = _mm512_test_epi64_mask(_mm512_srlv_epi64(word, bit), one);
        members = _mm512_mask_and_epi64(_mm512_andnot_si512(word, members), own, word, members);
        tier = _mm512_mask_or_epi64(tier, own, tier, _mm512_set1_epi64(1 << p));
    }
    /* Ranks have 16 bits and are read with those before them, or after them where there are none before. */
    const __m512i tiers = _mm512_set1_epi64(index->tiers);
    const __m512i at = _mm512_add_epi64(_mm512_mullo_epi64(block, tiers), tier);
    const __m512i from = _mm512_max_epi64(_mm512_sub_epi64(at, one), none);
    const __m512i both = _mm512_cvtepu32_epi64(_mm512_mask_i64gather_epi32(_mm256_setzero_si256(), here, from, index->ranks, 2));
    const __m512i in_span = _mm512_and_si512(_mm512_srlv_epi64(both, _mm512_slli_epi64(_mm512_sub_epi64(at, from), 4)),
                                             _mm512_set1_epi64(0xffff));
    const __m512i span = _mm512_add_epi64(_mm512_mullo_epi64(_mm512_srli_epi64(row, 16), tiers), tier);
    const __m512i first = _mm512_mask_i64gather_epi64(none, here, span, index->firsts, 8);
    *rank = _mm512_add_epi64(_mm512_add_epi64(first, in_span), bits_set(members));
    return tier;
}
#endif

/* The rows of a group are put in the order of their tiers, as the processor guesses the tier of a row by that of the one
 * before. */
INLINE void tiers_locate(const void *what, Spots *spots) {
    const Tiers *all = what;
#if ISA == 3
    enum { PARTS = GROUP / LANES_OF_IDS };
    const __m512i rows = _mm512_loadu_si512(all->rows), sizes = _mm512_loadu_si512(all->sizes);
    __m512i tier[PARTS], source[PARTS], target[PARTS];
    uint32_t here = (uint32_t)((1ull << spots->count) - 1);
    for (int p = 0; p < PARTS; p++) {
        __m512i rank;
        tier[p] = find_eight(&all->index, _mm512_loadu_si512(spots->row + p * LANES_OF_IDS), (__mmask8)(here >> 8 * p), &rank);
        const __m512i within = _mm512_mullo_epi64(rank, _mm512_permutexvar_epi64(tier[p], sizes));
        source[p] = _mm512_add_epi64(_mm512_permutexvar_epi64(tier[p], rows), within);
        target[p] = _mm512_loadu_si512(spots->target + p * LANES_OF_IDS);
    }
    for (int64_t t = 0, at = 0; t < all->index.tiers; t++)
        for (int p = 0; p < PARTS; p++) {
            const __mmask8 own = _mm512_mask_cmpeq_epi64_mask((__mmask8)(here >> 8 * p), tier[p], _mm512_set1_epi64(t));
            _mm512_storeu_si512(spots->place + at, _mm512_set1_epi64(t));
            _mm512_storeu_si512(spots->source + at, _mm512_maskz_compress_epi64(own, source[p]));
            _mm512_storeu_si512(spots->target + at, _mm512_maskz_compress_epi64(own, target[p]));
            at += __builtin_popcount(own);
        }
#else
    for (int i = 0; i < spots->count; i++) {
        int64_t rank;
        const int64_t t = find(&all->index, spots->row[i], &rank);
        spots->place[i] = t;
        spots->source[i] = (const uint8_t *)all->rows[t] + rank * all->sizes[t];
    }
#endif
}

INLINE void tiers_fetch(const void *what, Spots *spots, int i) {
    const Tiers *all = what;
    prefetch_row(spots->source[i], all->sizes[spots->place[i]]);
    prefetch_target(spots, i, all->width);
}

INLINE void tiers_serve(const void *what, Spots *spots, int i) {
    const Tiers *all = what;
    const Tier *tier = all->tiers + spots->place[i];
    const int64_t dimension = tier->dimension, width = all->width;
    float *out = spots->target[i];
    if (dimension == width)
        decode_any(&tier->codec, width, spots->source[i], out);
    else {
        if (dimension) decode_any(&tier->codec, dimension, spots->source[i], out); /* dropped rows lie nowhere */
        memset(out + dimension, 0, 4 * (width - dimension));
    }
}

/* `width` and `count` are constants where the caller has specialised on them. */
INLINE int tiered_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t count) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD;
    Tier tiers[MOST_TIERS];
    int64_t rows[MOST_TIERS] = {0}, sizes[MOST_TIERS] = {0};
    for (int64_t t = 0; t < count; t++) {
        const int64_t *said = program + FIRST_TIER + t * TIER_WORDS;
        const Codec codec = read_codec(said + 2);
        tiers[t] = (Tier){said[1], codec};
        rows[t] = said[0], sizes[t] = said[1] ? codec.row_bytes : 0;
    }
    const Tiers all = {tiers, rows, sizes, read_index(count, own + 1), width};
    return pipeline(job, begin, end, width, &all, 0, tiers_find, tiers_locate, tiers_fetch, tiers_serve);
}

static int tiered_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH], count = job->program[FIRST_OWN_WORD];
    if (IS(width, 16) && count == 3) return tiered_loop(job, begin, end, 16, 3);
    if (IS(width, 64) && count == 3) return tiered_loop(job, begin, end, 64, 3);
    return tiered_loop(job, begin, end, width, count);
}
