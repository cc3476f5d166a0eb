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
    int large; /* the output is too large for the cache, and its vectors may begin at whole cache lines */
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

#endif
