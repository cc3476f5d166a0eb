/* Tensors in and out without the interpreter: the C functions that torch.Tensor offers as `__dlpack_c_exchange_api__`
 * (DLPack 1.3). Where they are missing, Python allocates the output and passes addresses.
 */
#ifndef SHARKBENCH_TENSORS_H
#define SHARKBENCH_TENSORS_H

#include <stdint.h>

enum { DEVICE_CPU = 1, CODE_INT = 0, CODE_FLOAT = 2, EXCHANGE_MAJOR = 1 };

typedef struct {
    void *data;
    int32_t device, device_number, dimensions;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t offset;
} TensorView;

typedef struct OwnedTensor {
    uint32_t major, minor;
    void *context;
    void (*drop)(struct OwnedTensor *self);
    uint64_t flags;
    TensorView view;
} OwnedTensor;

typedef void (*Complain)(void *context, const char *kind, const char *message);
typedef struct {
    uint32_t major, minor;
    void *older;
    int (*allocate)(TensorView *like, OwnedTensor **made, void *context, Complain complain);
    int (*own)(void *object, OwnedTensor **made);
    int (*wrap)(OwnedTensor *tensor, void **object); /* takes the tensor over */
    int (*view)(void *object, TensorView *out);      /* what it shows lives as long as the object */
    int (*stream)(int32_t device, int32_t number, void **out);
} Exchange;

#endif
