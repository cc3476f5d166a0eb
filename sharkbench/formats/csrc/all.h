/* Every kernel for one instruction set: the including file names the set and its ISA level. */
#include "kernels.h"

#include "walk.h"

#include "decode.h"

#include "tiered.h" /* its index is read by the next two */

#include "composed.h" /* combines as the next ones do */

#include "codebooks.h"
#include "projected.h"
#include "rows.h"
#include "shared_array.h"
#include "sparse.h"
#include "tensor_train.h"

const KernelSet SET = {SET_NAME,
                       {rows_kernel, composed_kernel, tiered_kernel, csr_kernel, bitmap_kernel, shared_array_kernel,
                        codebooks_kernel, projected_kernel, tensor_train_kernel}};
