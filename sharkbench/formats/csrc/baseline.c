/* Plain C, for any processor. */
#define ISA 0
#define SET kernels_baseline
#define SET_NAME "c"
#include "all.h"
