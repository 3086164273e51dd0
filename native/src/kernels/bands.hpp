// Weights as the kernels take them: bands of 8 rows, interleaved four columns at a time.
//
// A register of 32 bytes holds columns 4j..4j+3 of 8 rows. Multiplied with four activations repeated 8 times, it gives each row's
// products side by side. A type tells how a row of ggml's blocks goes into a band, and how a band gives its codes and scales back:
//   weight = scale * code + least, for codes of 0..2^bits - 1.
#pragma once

#include "avx2.hpp"
#include "formats.hpp"

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"
#include "ggml.h"

#include <cstring>

#if RN_HAS_AVX2

namespace rn::kernels {

inline __m256i load(const void * bytes) {
    return _mm256_loadu_si256(static_cast<const __m256i *>(bytes));
}

inline __m256 load_halves(const ggml_half * halves) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(halves)));
}

// Two registers of codes: columns 4j..4j+3 and 16+4j..16+4j+3 of a block, which ggml keeps as low and high halves of bytes.
struct Codes {
    __m256i first;
    __m256i second;
};

inline Codes nibbles(const void * bytes) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i both = load(bytes);
    return {_mm256_and_si256(both, mask), _mm256_and_si256(_mm256_srli_epi16(both, 4), mask)};
}

struct Q4_1 {
    static constexpr ggml_type TYPE = GGML_TYPE_Q4_1;
    using Source                    = block_q4_1;

    ggml_half scales[BAND_ROWS];
    ggml_half leasts[BAND_ROWS];
    uint8_t   pairs[4][BAND_ROWS][4];

    void take(const Source & from, int row) {
        scales[row] = from.data.data.d;
        leasts[row] = from.data.data.m;
        for (int j = 0; j < 4; ++j) {
            std::memcpy(pairs[j][row], from.qs + 4 * j, 4);
        }
    }

    __m256 scale() const { return load_halves(scales); }
    __m256 least(__m256 /*scale*/) const { return load_halves(leasts); }
    Codes  codes(int j) const { return nibbles(pairs[j]); }
};
static_assert(sizeof(Q4_1) == BAND_ROWS * sizeof(block_q4_1), "a band takes the room of its rows");

} // namespace rn::kernels

#endif
