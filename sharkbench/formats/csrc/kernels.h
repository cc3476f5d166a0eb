/* What the kernels of all formats share: how a lookup is described, and how its ids are walked.
 *
 * A program is an array of int64 made in Python: pointers and sizes. Words 0 to 3 are the same for all kernels:
 *   0 kernel   1 columns C   2 width W   3 pointer to int64 [COLUMN_ROWS][C], one array per line of `enum column`
 */
#ifndef SHARKBENCH_KERNELS_H
#define SHARKBENCH_KERNELS_H

#include <stdint.h>
#include <string.h>

enum { KERNEL, COLUMNS, WIDTH, COLUMN_TABLE, FIRST_OWN_WORD };
enum column { IN, OUT, START, CARDINALITY, MAY_BE_EMPTY, FIELD, BASE, COLUMN_ROWS };
enum { ROWS_KERNEL, COMPOSED_KERNEL, TIERED_KERNEL, CSR_KERNEL, BITMAP_KERNEL, SHARED_ARRAY_KERNEL, CODEBOOKS_KERNEL, PROJECTED_KERNEL, TENSOR_TRAIN_KERNEL, NUM_KERNELS };

/* One call: the ids of a batch, and where their vectors go. Strides are in elements. */
typedef struct {
    const int64_t *program;
    const void *ids;
    int id_bytes; /* 4 or 8 */
    int64_t id_stride;
    float *out;
    int64_t out_stride;
} Job;

/* Serves samples begin to end. Returns 1 if an id was outside its field; such an id read the field's first row. */
typedef int (*Kernel)(const Job *job, int64_t begin, int64_t end);
typedef struct {
    const char *name;
    Kernel kernels[NUM_KERNELS];
} KernelSet;

extern const KernelSet kernels_baseline;
#if defined(__x86_64__)
extern const KernelSet kernels_avx2, kernels_avx512;
#endif

enum { BLOCK = 256, AHEAD = 16 };

/* One id to serve: its local id in the field of its column, and the place of its vector. */
typedef struct {
    const uint8_t *source;
    float *target;
    int64_t local;
    int64_t column;
} Spot;

/* Walks the ids of samples begin to end, column by column. */
typedef struct {
    const Job *job;
    int64_t sample, end, column;
    int outside;
} Walk;

static inline Walk walk_over(const Job *job, int64_t begin, int64_t end) {
    Walk walk = {job, begin, end, 0, 0};
    return walk;
}

/* The next `most` ids, or as many as are left. */
static inline __attribute__((always_inline)) int walk_typed(Walk *walk, Spot *spots, int most, int id_bytes) {
    const Job *job = walk->job;
    const int64_t columns = job->program[COLUMNS];
    const int64_t *table = (const int64_t *)job->program[COLUMN_TABLE];
    const int64_t *in = table + IN * columns, *out = table + OUT * columns, *start = table + START * columns;
    const int64_t *cardinality = table + CARDINALITY * columns, *may_be_empty = table + MAY_BE_EMPTY * columns;
    int64_t sample = walk->sample, column = walk->column;
    int count = 0, outside = 0;
    while (sample < walk->end && count < most) {
        const char *ids = (const char *)job->ids + sample * job->id_stride * id_bytes;
        float *target = job->out + sample * job->out_stride;
        int64_t last = column + (most - count);
        if (last > columns) last = columns;
        for (int64_t c = column; c < last; c++, count++) {
            const int64_t id = id_bytes == 4 ? ((const int32_t *)ids)[in[c]] : ((const int64_t *)ids)[in[c]];
            int64_t local = (int64_t)((uint64_t)id - (uint64_t)start[c]);
            if (__builtin_expect((uint64_t)local >= (uint64_t)cardinality[c], 0)) {
                outside |= !(id == -1 && may_be_empty[c]);
                local = 0;
            }
            spots[count].local = local;
            spots[count].column = c;
            spots[count].target = target + out[c];
        }
        column = last;
        if (column == columns) column = 0, sample++;
    }
    walk->sample = sample, walk->column = column, walk->outside |= outside;
    return count;
}

static inline int walk_on(Walk *walk, Spot *spots, int most) {
    return walk->job->id_bytes == 4 ? walk_typed(walk, spots, most, 4) : walk_typed(walk, spots, most, 8);
}

static inline void prefetch_row(const uint8_t *row, int64_t bytes) {
    for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(row + line);
    __builtin_prefetch(row + bytes - 1);
}

#endif
