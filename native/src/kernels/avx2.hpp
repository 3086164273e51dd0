// Tells whether kernels are wished (the cmake option) and compiled for a CPU that has what they need; brings the intrinsics.
#pragma once

// MSVC tells of AVX2 alone, which has the other two wherever it is.
#if RN_KERNELS && defined(__AVX2__) && ((defined(__FMA__) && defined(__F16C__)) || defined(_MSC_VER))
#define RN_HAS_AVX2 1
#include <immintrin.h>
#else
#define RN_HAS_AVX2 0
#endif
