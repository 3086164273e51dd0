#include "activations.hpp"

#include "avx2.hpp"

#include <cstring>

#if RN_HAS_AVX2

namespace rn::kernels {
namespace {

float largest(__m256 values) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps(values, 1));
    four        = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

int32_t sum_of(__m256i values) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
    four         = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 1)));
}

// To 11 significant bits, as many as a half has.
float coarse(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x1000U) & ~0x1FFFU;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

} // namespace

void quantise(const float * x, Activations & out) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    __m256       values[4];
    __m256       most = _mm256_setzero_ps();
    for (int i = 0; i < 4; ++i) {
        values[i] = _mm256_loadu_ps(x + 8 * i);
        most      = _mm256_max_ps(most, _mm256_andnot_ps(sign, values[i]));
    }
    const float  top     = largest(most);
    const __m256 inverse = _mm256_set1_ps(top == 0.0F ? 0.0F : 127.0F / top);
    __m256i      codes[4];
    for (int i = 0; i < 4; ++i) {
        codes[i] = _mm256_cvtps_epi32(_mm256_mul_ps(values[i], inverse)); // to the nearest, ties to even
    }
    const int32_t low  = sum_of(_mm256_add_epi32(codes[0], codes[1]));
    const int32_t high = sum_of(_mm256_add_epi32(codes[2], codes[3]));
    out.scale          = coarse(top / 127.0F);
    out.sum            = out.scale * static_cast<float>(low + high);
    out.half[0]        = static_cast<int16_t>(low);
    out.half[1]        = static_cast<int16_t>(high);
    // Packing works within halves of a register; the permutation puts the groups of four back in order.
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]), _mm256_packs_epi32(codes[2], codes[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(out.codes), _mm256_permutevar8x32_epi32(bytes, order));
}

} // namespace rn::kernels

#endif
