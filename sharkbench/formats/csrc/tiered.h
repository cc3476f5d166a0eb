/* Rows of unequal size, found through an index. Own words:
 *
 *   0 rows   1 number of tiers   2 planes (0 with a single tier)   3 number of planes   4 bases   5 bytes of a base
 *   then per tier: dimension, codec
 */

enum { TIER_WORDS = 1 + CODEC_WORDS, FIRST_TIER = FIRST_OWN_WORD + 6, MOST_TIERS = 8 };

typedef struct {
    const uint64_t *planes;
    const void *bases;
    int64_t num_planes, base_bytes, num_tiers;
    int64_t sizes[MOST_TIERS];
} TierIndex;

INLINE TierIndex read_index(const int64_t *words, int64_t num_tiers) {
    TierIndex index = {(const uint64_t *)words[0], (const void *)words[2], words[1], words[3], num_tiers, {0}};
    return index;
}

INLINE void prefetch_index(const TierIndex *index, int64_t row) {
    if (!index->planes) return;
    __builtin_prefetch(index->planes + (row >> 6) * index->num_planes);
    __builtin_prefetch((const char *)index->bases + (row >> 6) * index->base_bytes);
}

/* The tier of a row; its address goes to `address`. */
INLINE int64_t find(const TierIndex *index, int64_t row, int64_t *address) {
    if (!index->planes) {
        *address = row * index->sizes[0];
        return 0;
    }
    const int64_t block = row >> 6, bit = row & 63, count = index->num_planes;
    const uint64_t *planes = index->planes + block * count, before = ((uint64_t)1 << bit) - 1;
    int64_t at = index->base_bytes == 4 ? ((const int32_t *)index->bases)[block] : ((const int64_t *)index->bases)[block];
    if (count == 1) {
        const uint64_t ones = planes[0];
        const int64_t second = __builtin_popcountll(ones & before);
        *address = at + (bit - second) * index->sizes[0] + second * index->sizes[1];
        return ones >> bit & 1;
    }
    if (count == 2) {
        const uint64_t low = planes[0], high = planes[1];
        const int64_t one = __builtin_popcountll(low & ~high & before), two = __builtin_popcountll(high & ~low & before);
        const int64_t three = __builtin_popcountll(low & high & before);
        *address = at + (bit - one - two - three) * index->sizes[0] + one * index->sizes[1] + two * index->sizes[2] +
                   three * index->sizes[3];
        return (low >> bit & 1) | (high >> bit & 1) << 1;
    }
    int64_t tier = 0;
    for (int64_t p = 0; p < count; p++) tier |= (int64_t)(planes[p] >> bit & 1) << p;
    for (int64_t t = 0; t < index->num_tiers; t++) {
        uint64_t members = before;
        for (int64_t p = 0; p < count; p++) members &= t >> p & 1 ? planes[p] : ~planes[p];
        at += index->sizes[t] * __builtin_popcountll(members);
    }
    *address = at;
    return tier;
}

/* The next spots with their tier (in `column`) and source, and the order that puts rows of one tier side by side. */
INLINE int find_spots(Walk *walk, const TierIndex *index, const uint8_t *rows, Spot *spots, int16_t *order, int *ends) {
    const int64_t *program = walk->job->program, columns = program[COLUMNS];
    const int64_t *base = (const int64_t *)program[COLUMN_TABLE] + BASE * columns;
    const int count = walk_on(walk, spots, BLOCK);
    int sizes[MOST_TIERS] = {0};
    for (int i = 0; i < count; i++) prefetch_index(index, spots[i].local += base[spots[i].column]);
    for (int i = 0; i < count; i++) {
        int64_t address;
        spots[i].column = find(index, spots[i].local, &address);
        spots[i].source = rows + address;
        sizes[spots[i].column]++;
    }
    int next[MOST_TIERS];
    for (int t = 0, end = 0; t < MOST_TIERS; t++) next[t] = end, ends[t] = end += sizes[t];
    for (int i = 0; i < count; i++) order[next[spots[i].column]++] = (int16_t)i;
    return count;
}

INLINE void decode_tier(const Spot *spots, const int16_t *order, int begin, int end, int64_t width, int64_t dimension,
                        const Codec *codec, int64_t dtype) {
    for (int i = begin; i < end && i < begin + AHEAD; i++) prefetch_row(spots[order[i]].source, codec->row_bytes);
    for (int i = begin; i < end; i++) {
        const Spot *spot = spots + order[i];
        if (i + AHEAD < end) prefetch_row(spots[order[i + AHEAD]].source, codec->row_bytes);
        decode_row(codec, dtype, dimension, spot->source, spot->target);
        if (dimension < width) memset(spot->target + dimension, 0, 4 * (width - dimension));
    }
}

INLINE int tiered_loop(const Job *job, int64_t begin, int64_t end, int64_t width) {
    const int64_t *program = job->program, *own = program + FIRST_OWN_WORD;
    const uint8_t *rows = (const uint8_t *)own[0];
    TierIndex index = read_index(own + 2, own[1]);
    Codec codecs[MOST_TIERS];
    int64_t dimensions[MOST_TIERS];
    for (int64_t t = 0; t < own[1]; t++) {
        const int64_t *tier = program + FIRST_TIER + t * TIER_WORDS;
        dimensions[t] = tier[0];
        codecs[t] = read_codec(tier + 1);
        index.sizes[t] = tier[0] ? codecs[t].row_bytes : 0;
    }
    Spot spots[BLOCK];
    int16_t order[BLOCK];
    int ends[MOST_TIERS];
    Walk walk = walk_over(job, begin, end);
    while (find_spots(&walk, &index, rows, spots, order, ends) > 0) {
        for (int64_t t = 0; t < own[1]; t++) {
            const int from = t ? ends[t - 1] : 0;
            const int64_t dimension = dimensions[t] == width ? width : dimensions[t];
            if (!dimension) {
                for (int i = from; i < ends[t]; i++) memset(spots[order[i]].target, 0, 4 * width);
                continue;
            }
#define TIER(DTYPE)                                                                               \
    case DTYPE:                                                                                   \
        if (dimension == width)                                                                   \
            decode_tier(spots, order, from, ends[t], width, width, codecs + t, DTYPE);            \
        else                                                                                      \
            decode_tier(spots, order, from, ends[t], width, dimension, codecs + t, DTYPE);        \
        break;
            switch (codecs[t].dtype) {
                TIER(FP32)
                TIER(FP16)
                TIER(BF16)
                TIER(INT8)
                TIER(INT4)
                TIER(INT2)
                TIER(INT1)
            }
#undef TIER
        }
    }
    return walk.outside;
}

static int tiered_kernel(const Job *job, int64_t begin, int64_t end) {
    const int64_t width = job->program[WIDTH];
    if (width == 16) return tiered_loop(job, begin, end, 16);
    if (width == 64) return tiered_loop(job, begin, end, 64);
    return tiered_loop(job, begin, end, width);
}
