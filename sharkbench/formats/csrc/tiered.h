/* Rows of unequal size, found through an index. Own words:
 *
 *   0 rows   1 number of tiers   2 planes (0 with a single tier)   3 number of planes   4 bases   5 bytes of a base
 *   then per tier: dimension, codec
 */

enum { TIER_WORDS = 1 + CODEC_WORDS, FIRST_TIER = FIRST_OWN_WORD + 6, MOST_TIERS = 8 };

typedef struct {
    const uint64_t *planes;
    const void *bases;
    int64_t num_planes, base_bytes;
    int64_t sizes[MOST_TIERS]; /* of a row of each tier; 0 beyond the last */
    int64_t weights[MOST_TIERS];
} TierIndex;

/* The size of a row as a sum over sets of planes: a row of tier t takes the weights of all subsets of t's bits. So the
 * rows before one are counted once per set of planes that are all ones, whatever their tiers. */
INLINE void weigh(TierIndex *index) {
    for (int t = 0; t < MOST_TIERS; t++) index->weights[t] = index->sizes[t];
    for (int bit = 1; bit < MOST_TIERS; bit <<= 1)
        for (int t = 0; t < MOST_TIERS; t++)
            if (t & bit) index->weights[t] -= index->weights[t ^ bit];
}

INLINE TierIndex read_index(const int64_t *words) {
    TierIndex index = {(const uint64_t *)words[0], (const void *)words[2], words[1], words[3], {0}, {0}};
    return index;
}

INLINE void prefetch_index(const TierIndex *index, int64_t row) {
    if (!index->planes) return;
    prefetch(index->planes + (row >> 6) * index->num_planes);
    prefetch((const char *)index->bases + (row >> 6) * index->base_bytes);
}

/* The tier of a row; its address goes to `address`. */
INLINE int64_t find(const TierIndex *index, int64_t row, int64_t *address) {
    if (!index->planes) {
        *address = row * index->sizes[0];
        return 0;
    }
    const int64_t block = row >> 6, bit = row & 63, count = index->num_planes, *weights = index->weights;
    const uint64_t *planes = index->planes + block * count, before = ((uint64_t)1 << bit) - 1;
    int64_t at = index->base_bytes == 4 ? ((const int32_t *)index->bases)[block] : ((const int64_t *)index->bases)[block];
    const uint64_t low = planes[0], high = count > 1 ? planes[1] : 0, top = count > 2 ? planes[2] : 0;
    at += bit * weights[0] + __builtin_popcountll(low & before) * weights[1];
    if (count > 1)
        at += __builtin_popcountll(high & before) * weights[2] + __builtin_popcountll(low & high & before) * weights[3];
    if (count > 2)
        at += __builtin_popcountll(top & before) * weights[4] + __builtin_popcountll(top & low & before) * weights[5] +
              __builtin_popcountll(top & high & before) * weights[6] +
              __builtin_popcountll(top & high & low & before) * weights[7];
    *address = at;
    return (low >> bit & 1) | (high >> bit & 1) << 1 | (top >> bit & 1) << 2;
}

typedef struct {
    const uint8_t *rows;
    TierIndex index;
    Codec codecs[MOST_TIERS];
    int64_t dimensions[MOST_TIERS], width;
} Tiers;

INLINE void tiers_find(const void *what, Spots *spots) {
    const Tiers *tiers = what;
    for (int i = 0; i < spots->count; i++) prefetch_index(&tiers->index, spots->row[i]);
}

INLINE void tiers_fetch(const void *what, Spots *spots, int i) {
    const Tiers *tiers = what;
    int64_t address;
    const int64_t tier = find(&tiers->index, spots->row[i], &address);
    spots->place[i] = tier;
    spots->source[i] = tiers->rows + address;
    prefetch_row(spots->source[i], tiers->index.sizes[tier]);
    prefetch_target(spots->target[i], tiers->width);
}

INLINE void tiers_serve(const void *what, Spots *spots, int i) {
    const Tiers *tiers = what;
    const int64_t tier = spots->place[i], dimension = tiers->dimensions[tier], width = tiers->width;
    float *out = spots->target[i];
    if (dimension == width)
        decode_any(tiers->codecs + tier, width, spots->source[i], out);
    else {
        decode_any(tiers->codecs + tier, dimension, spots->source[i], out);
        memset(out + dimension, 0, 4 * (width - dimension));
    }
}

INLINE int tiered_loop(const Job *job, int64_t begin, int64_t end, int64_t width, int64_t planes, int64_t base_bytes) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD;
    Tiers tiers = {(const uint8_t *)own[0], read_index(own + 2), {{0}}, {0}, width};
    tiers.index.num_planes = planes, tiers.index.base_bytes = base_bytes; /* constants where the caller has specialised */
    for (int64_t t = 0; t < own[1]; t++) {
        const int64_t *tier = program + FIRST_TIER + t * TIER_WORDS;
        tiers.dimensions[t] = tier[0];
        tiers.codecs[t] = read_codec(tier + 1);
        tiers.index.sizes[t] = tier[0] ? tiers.codecs[t].row_bytes : 0;
    }
    weigh(&tiers.index);
    return pipeline(job, begin, end, &tiers, tiers_find, tiers_fetch, tiers_serve);
}

static int tiered_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH], *own = job->program + FIRST_OWN_WORD, planes = own[3], base_bytes = own[5];
    /* Three or four tiers, below 2 GiB. */
    if (width == 16 && planes == 2 && base_bytes == 4) return tiered_loop(job, begin, end, 16, 2, 4);
    if (width == 64 && planes == 2 && base_bytes == 4) return tiered_loop(job, begin, end, 64, 2, 4);
    return tiered_loop(job, begin, end, width, planes, base_bytes);
}
