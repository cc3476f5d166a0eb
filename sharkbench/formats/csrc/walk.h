/* How the ids of a batch are walked: sample by sample, column by column, each checked against its field on the way.
 *
 * Needs ISA (0 plain C, 2 AVX2, 3 AVX-512).
 */
#if ISA
#include <immintrin.h>
#endif

#ifndef INLINE /* a build that looks for errors has functions stay functions: it is made in seconds, not in minutes */
#define INLINE static inline __attribute__((always_inline))
#endif
/* A compiler takes longer over one function that holds several loops than over them one by one. */
#define APART static __attribute__((noinline))

/* Whether to take the loop made for a width. Plain C has none on x86-64, where all but the oldest processors take one of
 * the other sets: a third of the time that a build takes would be for them. */
#if ISA || !defined(__x86_64__)
#define IS(width_, number) ((width_) == (number))
#else
#define IS(width_, number) 0
#endif

/* Ids that are under way at a time. A group waits for memory while the one before it is decoded, so it has to be long
 * enough to cover a trip to memory, and short enough for the first-level cache to hold what was fetched. */
enum { GROUP = 32, LANES_OF_IDS = 8 };

/* A group of ids, an array per property. Whole registers are stored, over the end of the group, hence the room. */
typedef struct {
    int64_t local[GROUP + LANES_OF_IDS]; /* id within its field */
    int64_t row[GROUP + LANES_OF_IDS];   /* row among those of all fields */
    int64_t column[GROUP + LANES_OF_IDS];
    float *target[GROUP + LANES_OF_IDS];         /* where its vector goes */
    const uint8_t *source[GROUP + LANES_OF_IDS]; /* where it is stored, for the kernel to say */
    int64_t place[GROUP + LANES_OF_IDS];         /* whatever else a kernel has to keep of it */
    int count, slot, streamed; /* slot: place in the ring of the pipeline; streamed: vectors are written past the cache */
} __attribute__((aligned(64))) Spots;

typedef struct {
    const Job *job;
    int64_t sample, end, column;
    int outside, dense; /* dense: columns are those of the ids, none left out and none moved */
} Walk;

static __attribute__((noinline)) Walk walk_over(const Job *job, int64_t begin, int64_t end) {
    Walk walk = {job, begin, end, 0, 0, 1};
    const int64_t columns = job->program[COLUMNS], *in = (const int64_t *)job->program[COLUMN_TABLE] + IN * columns;
    for (int64_t c = 0; c < columns; c++) walk.dense &= in[c] == in[0] + c;
    return walk;
}

#if ISA == 3
/* Columns `column` to `last` of one sample, eight at a time. */
INLINE int walk_columns(const Walk *walk, Spots *spots, int64_t column, int64_t last, int id_bytes) {
    const Job *job = walk->job;
    const int64_t columns = job->program[COLUMNS], *table = (const int64_t *)job->program[COLUMN_TABLE];
    const char *ids = (const char *)job->ids + walk->sample * job->id_stride * id_bytes;
    const __m512i target = _mm512_set1_epi64((int64_t)(job->out + walk->sample * job->out_stride));
    const __m512i steps = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    int outside = 0;
    for (int64_t c = column; c < last; c += LANES_OF_IDS) {
        const __mmask8 here = last - c < LANES_OF_IDS ? (__mmask8)((1 << (last - c)) - 1) : 0xff;
        const int at = spots->count;
        __m512i id;
        if (walk->dense) {
            const char *from = ids + (table[IN * columns] + c) * id_bytes;
            id = id_bytes == 4 ? _mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(here, from))
                               : _mm512_maskz_loadu_epi64(here, from);
        } else {
            const __m512i in = _mm512_maskz_loadu_epi64(here, table + IN * columns + c), none = _mm512_setzero_si512();
            id = id_bytes == 4 ? _mm512_cvtepi32_epi64(_mm512_mask_i64gather_epi32(_mm256_setzero_si256(), here, in, ids, 4))
                               : _mm512_mask_i64gather_epi64(none, here, in, ids, 8);
        }
        __m512i local = _mm512_sub_epi64(id, _mm512_maskz_loadu_epi64(here, table + START * columns + c));
        const __m512i cardinality = _mm512_maskz_loadu_epi64(here, table + CARDINALITY * columns + c);
        const __mmask8 wrong = _mm512_mask_cmpge_epu64_mask(here, local, cardinality);
        if (__builtin_expect(wrong, 0)) {
            const __m512i may_be_empty = _mm512_maskz_loadu_epi64(here, table + MAY_BE_EMPTY * columns + c);
            const __mmask8 empty = _mm512_cmpeq_epi64_mask(id, _mm512_set1_epi64(-1)) &
                                   _mm512_test_epi64_mask(may_be_empty, may_be_empty);
            outside |= wrong & ~empty;
            local = _mm512_maskz_mov_epi64((__mmask8)~wrong, local);
        }
        const __m512i out = _mm512_maskz_loadu_epi64(here, table + OUT * columns + c);
        const __m512i base = _mm512_maskz_loadu_epi64(here, table + BASE * columns + c);
        _mm512_storeu_si512(spots->local + at, local);
        _mm512_storeu_si512(spots->row + at, _mm512_add_epi64(local, base));
        _mm512_storeu_si512(spots->column + at, _mm512_add_epi64(_mm512_set1_epi64(c), steps));
        _mm512_storeu_si512(spots->target + at, _mm512_add_epi64(target, _mm512_slli_epi64(out, 2)));
        spots->count += last - c < LANES_OF_IDS ? (int)(last - c) : LANES_OF_IDS;
    }
    return outside;
}
#else
/* Columns `column` to `last` of one sample. */
INLINE int walk_columns(const Walk *walk, Spots *spots, int64_t column, int64_t last, int id_bytes) {
    const Job *job = walk->job;
    const int64_t columns = job->program[COLUMNS], *table = (const int64_t *)job->program[COLUMN_TABLE];
    const int64_t *in = table + IN * columns, *out = table + OUT * columns, *start = table + START * columns;
    const int64_t *cardinality = table + CARDINALITY * columns, *may_be_empty = table + MAY_BE_EMPTY * columns;
    const int64_t *base = table + BASE * columns;
    const char *ids = (const char *)job->ids + walk->sample * job->id_stride * id_bytes;
    float *target = job->out + walk->sample * job->out_stride;
    int outside = 0, at = spots->count;
    for (int64_t c = column; c < last; c++, at++) {
        const int64_t id = id_bytes == 4 ? ((const int32_t *)ids)[in[c]] : ((const int64_t *)ids)[in[c]];
        int64_t local = (int64_t)((uint64_t)id - (uint64_t)start[c]);
        if (__builtin_expect((uint64_t)local >= (uint64_t)cardinality[c], 0)) {
            outside |= !(id == -1 && may_be_empty[c]);
            local = 0;
        }
        spots->local[at] = local;
        spots->row[at] = local + base[c];
        spots->column[at] = c;
        spots->target[at] = target + out[c];
    }
    spots->count = at;
    return outside;
}
#endif

/* The next ids, as many as a group takes or as many as are left. Returns their number. */
static __attribute__((noinline)) int walk_on(Walk *walk, Spots *spots) {
    const int64_t columns = walk->job->program[COLUMNS];
    spots->count = 0;
    while (walk->sample < walk->end && spots->count < GROUP) {
        int64_t last = walk->column + (GROUP - spots->count);
        if (last > columns) last = columns;
        walk->outside |= walk->job->id_bytes == 4 ? walk_columns(walk, spots, walk->column, last, 4)
                                                  : walk_columns(walk, spots, walk->column, last, 8);
        walk->column = last;
        if (last == columns) walk->column = 0, walk->sample++;
    }
    return spots->count;
}

/* The empty asm: GCC takes a function that does nothing but prefetch for one that does nothing, and drops its calls. */
INLINE void prefetch(const void *line) {
    __asm__ volatile("");
    __builtin_prefetch(line);
}

INLINE void prefetch_row(const uint8_t *row, int64_t bytes) {
    for (int64_t line = 0; line < bytes; line += 64) prefetch(row + line);
    if (bytes & 63 || (uintptr_t)row & 63) prefetch(row + bytes - 1);
}

/* The place that a vector goes to, asked for ahead like the row that it comes from: else its store would wait. */
INLINE void prefetch_target(const Spots *spots, int i, int64_t width) {
    if (!spots->streamed) prefetch_row((const uint8_t *)spots->target[i], 4 * width);
}

/* A step of a kernel: for a whole group, or for one id of it. `what` is the kernel's own. */
typedef void (*GroupStep)(const void *what, Spots *spots);
typedef void (*Step)(const void *what, Spots *spots, int i);

enum { SLOTS = 3, STAGES = 4, WIDEST_STREAM = 1024 }; /* stages lie on the stack */

/* Vectors on their way past the cache. Each is made in a stage, as kernels make them in pieces, and moved from there as
 * whole lines; a few later, when all its pieces have arrived. */
typedef struct {
    float *stages, *targets[STAGES];
    int turn;
} Stream;

INLINE void drain(Stream *stream, int64_t width) {
    float *stage = stream->stages + stream->turn * width, *to = stream->targets[stream->turn];
    if (!to) return;
#if ISA == 3
    for (int64_t k = 0; k < width; k += 16) _mm512_stream_ps(to + k, _mm512_load_ps(stage + k));
#elif ISA == 2
    for (int64_t k = 0; k < width; k += 8) _mm256_stream_ps(to + k, _mm256_load_ps(stage + k));
#else
    memcpy(to, stage, 4 * width);
#endif
    stream->targets[stream->turn] = 0;
}

/* Where the vector that goes to `target` is made. */
INLINE float *staged(Stream *stream, float *target, int64_t width) {
    stream->turn = (stream->turn + 1) % STAGES;
    drain(stream, width);
    stream->targets[stream->turn] = target;
    return stream->stages + stream->turn * width;
}

/* Takes every id through four steps. Find asks for its entry of an index; a group later, locate reads there (both may be
 * none), fetch says where the row is and asks for it; another group later, serve decodes it. So memory is always busy with
 * what comes next. Finding, fetching and serving take turns id by id: a processor has room for a dozen or two lines under
 * way, and asking for a whole group's at once would wait for it. Prepare (may be none) computes for a whole group what
 * needs no memory. Returns whether an id was outside its field. */
INLINE int pipeline(const Job *job, int64_t begin, int64_t end, int64_t width, const void *what, GroupStep prepare,
                    Step find, GroupStep locate, Step fetch, Step serve) {
    Spots ring[SLOTS];
    Walk walk = walk_over(job, begin, end);
    const int streams = ISA && job->large && width % 16 == 0 && width <= WIDEST_STREAM;
    float stages[streams ? STAGES * width : 1] __attribute__((aligned(64)));
    Stream stream = {stages, {0}, 0};
    for (int slot = 0; slot < SLOTS; slot++) ring[slot].slot = slot, ring[slot].count = 0, ring[slot].streamed = streams;
    for (int at = 0, busy = 1; busy; at = at + 1 == SLOTS ? 0 : at + 1) {
        Spots *fresh = ring + at, *found = ring + (at + 2) % SLOTS, *fetched = ring + (at + 1) % SLOTS;
        busy = walk_on(&walk, fresh) + found->count + fetched->count;
        if (prepare) prepare(what, fresh);
        if (locate) locate(what, found);
        for (int i = 0; i < GROUP; i++) {
            if (find && i < fresh->count) find(what, fresh, i);
            if (i < found->count) fetch(what, found, i);
            if (i >= fetched->count) continue;
            if (streams) fetched->target[i] = staged(&stream, fetched->target[i], width);
            serve(what, fetched, i);
        }
    }
#if ISA
    for (int turn = 0; streams && turn < STAGES; turn++) stream.turn = turn, drain(&stream, width);
    if (streams) _mm_sfence(); /* whoever is told that the output is there will see it */
#endif
    return walk.outside;
}
