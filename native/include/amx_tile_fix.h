/* Forced into every C++ file on x86-64 by CMakeLists.txt (-include).
 *
 * GCC's _tile_loadconfig tells the optimiser that ldtilecfg reads 8 bytes of memory. It reads 64 (Intel SDM, LDTILECFG), so GCC 12 drops
 * the stores to the other 56 and the CPU faults on the garbage. This states the true operand. Other compilers declare it well. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__AMX_TILE__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg\t%X0" ::"m"(*(const char(*)[64])(config)))
#endif
