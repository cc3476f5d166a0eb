/* AVX2, chosen at run time where the processor has it. */
#if defined(__x86_64__)
#if defined(__clang__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,popcnt")
#endif
#define ISA 2
#define SET kernels_avx2
#define SET_NAME "c avx2"
#include "all.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
