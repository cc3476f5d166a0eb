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
    const uint8_t *rows;
    int64_t size, dimension; /* size: of a row, 0 where dropped */
    Codec codec;
} Tier;

/* The tiers stand apart: a struct with an array in it stays in memory, where nothing of it is a constant. */
typedef struct {
    const Tier *tiers;
    TierIndex index;
    int64_t width;
} Tiers;

INLINE void tiers_find(const void *what, Spots *spots) {
    const Tiers *all = what;
    for (int i = 0; i < spots->count; i++) prefetch_index(&all->index, spots->row[i]);
}

INLINE void tiers_locate(const void *what, Spots *spots) {
    const Tiers *all = what;
    for (int i = 0; i < spots->count; i++) {
        int64_t rank;
        const int64_t t = find(&all->index, spots->row[i], &rank);
        spots->place[i] = t;
        spots->source[i] = all->tiers[t].rows + rank * all->tiers[t].size;
    }
}

INLINE void tiers_fetch(const void *what, Spots *spots, int i) {
    const Tiers *all = what;
    prefetch_row(spots->source[i], all->tiers[spots->place[i]].size);
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
        decode_any(&tier->codec, dimension, spots->source[i], out);
        memset(out + dimension, 0, 4 * (width - dimension));
    }
}

/* `width` and `count` are constants where the caller has specialised on them. */
INLINE int tiered_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t count) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD;
    Tier tiers[MOST_TIERS];
    for (int64_t t = 0; t < count; t++) {
        const int64_t *said = program + FIRST_TIER + t * TIER_WORDS;
        const Codec codec = read_codec(said + 2);
        tiers[t] = (Tier){(const uint8_t *)said[0], said[1] ? codec.row_bytes : 0, said[1], codec};
    }
    const Tiers all = {tiers, read_index(count, own + 1), width};
    return pipeline(job, begin, end, width, &all, tiers_find, tiers_locate, tiers_fetch, tiers_serve);
}

static int tiered_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH], count = job->program[FIRST_OWN_WORD];
    if (width == 16 && count == 3) return tiered_loop(job, begin, end, 16, 3);
    if (width == 64 && count == 3) return tiered_loop(job, begin, end, 64, 3);
    return tiered_loop(job, begin, end, width, count);
}
