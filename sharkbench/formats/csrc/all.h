/* Every kernel for one instruction set: the including file names the set and its ISA level. */
#include "kernels.h"

#include "decode.h"

#include "composed.h"
#include "rows.h"
#include "tiered.h"

const KernelSet SET = {SET_NAME, {rows_kernel, composed_kernel, tiered_kernel}};
