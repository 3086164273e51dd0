// Weights as the kernels take them: bands of 8 rows, interleaved four columns at a time.
//
// A register of 32 bytes holds four columns of 8 rows. Multiplied with four activations repeated 8 times, it gives each row's products side
// by side. A type tells how a row of ggml's blocks goes into a band (take) and how a band gives its numbers back. Of a span, which is 32
// columns or 8 steps of four:
//   weight = scale(span) * factors(span, half of the span) * (codes<step>(span) - CENTRE) + least(span)
// where each type lacks some of it. Codes are 0 or more, but for Q8_0.
#pragma once

#include "avx2.hpp"
#include "formats.hpp"

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"
#include "ggml.h"

#include <cstring>

#if RN_HAS_AVX2

namespace rn::kernels {

using Rows8  = ggml_half[BAND_ROWS];
using Codes4 = uint8_t[BAND_ROWS][4]; // four columns of each row

inline __m256i load(const void * bytes) {
    return _mm256_loadu_si256(static_cast<const __m256i *>(bytes));
}

inline __m128i load_8(const void * bytes) {
    return _mm_loadl_epi64(static_cast<const __m128i *>(bytes));
}

inline __m256 load_halves(const Rows8 & halves) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(halves)));
}

// Four bits of each code: steps 0 to 3 in the low halves of the bytes, 4 to 7 in the high ones.
struct Nibbles {
    Codes4 pairs[4];

    void take(const uint8_t (&codes)[BLOCK], int row) {
        for (int k = 0; k < 16; ++k) {
            pairs[k / 4][row][k % 4] = static_cast<uint8_t>((codes[k] & 15) | (codes[16 + k] & 15) << 4);
        }
    }

    template <int STEP> __m256i get() const {
        const __m256i both = load(pairs[STEP % 4]);
        return _mm256_and_si256(STEP < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
    }
};

// BITS more of each code above those four: step s at bit BITS * s of a byte for 8 / BITS steps, then in the next bytes.
template <int BITS> struct HighBits {
    static constexpr int STEPS = 8 / BITS; // in a byte
    static constexpr int MASK  = ((1 << BITS) - 1) << 4;

    Codes4 bits[BITS];

    void take(const uint8_t (&codes)[BLOCK], int row) {
        for (Codes4 & one : bits) {
            std::memset(one[row], 0, sizeof one[row]);
        }
        for (int k = 0; k < BLOCK; ++k) {
            const int step = k / 4;
            bits[step / STEPS][row][k % 4] |= static_cast<uint8_t>(codes[k] >> 4 << BITS * (step % STEPS));
        }
    }

    template <int STEP> __m256i get() const {
        constexpr int AT   = BITS * (STEP % STEPS); // the bit to be moved to bit 4
        const __m256i all  = load(bits[STEP / STEPS]);
        const __m256i here = AT < 4 ? _mm256_slli_epi16(all, AT < 4 ? 4 - AT : 0) : _mm256_srli_epi16(all, AT < 4 ? 0 : AT - 4);
        return _mm256_and_si256(here, _mm256_set1_epi8(MASK));
    }
};

// What types have in common: one span, four bits, nothing but a scale and a least value.
struct Simple {
    static constexpr int  SPANS     = 1;
    static constexpr int  SUMMANDS  = 8; // registers of two products of at most 15 * 127 that 16 bits hold the sum of
    static constexpr bool HAS_LEAST = true;
    static constexpr int  CENTRE    = 0;

    static __m256i factors(int /*span*/, int /*half*/) { return _mm256_set1_epi16(1); }
    static __m256i products(__m256i codes, __m256i activations) { return _mm256_maddubs_epi16(codes, activations); }
};

struct FiveBits : Simple {
    static constexpr int SUMMANDS = 4; // of at most 31 * 127
};

inline void split(const uint8_t (&nibbles)[16], uint8_t (&codes)[BLOCK]) {
    for (int k = 0; k < 16; ++k) {
        codes[k]      = nibbles[k] & 15;
        codes[16 + k] = nibbles[k] >> 4;
    }
}

inline void split(const uint8_t (&nibbles)[16], const uint8_t (&fifth)[4], uint8_t (&codes)[BLOCK]) {
    split(nibbles, codes);
    for (int k = 0; k < BLOCK; ++k) {
        codes[k] |= static_cast<uint8_t>((fifth[k / 8] >> k % 8 & 1) << 4);
    }
}

struct Q4_0 : Simple {
    static constexpr ggml_type TYPE = GGML_TYPE_Q4_0;
    using Source                    = block_q4_0;

    Rows8   scales;
    Nibbles nibbles;

    void take(const Source & from, int row) {
        uint8_t codes[BLOCK];
        split(from.qs, codes);
        scales[row] = from.d;
        nibbles.take(codes, row);
    }

    __m256                      scale(int /*span*/) const { return load_halves(scales); }
    __m256                      least(int /*span*/) const { return _mm256_mul_ps(load_halves(scales), _mm256_set1_ps(-8.0F)); }
    template <int STEP> __m256i codes(int /*span*/) const { return nibbles.get<STEP>(); }
};

struct Q4_1 : Simple {
    static constexpr ggml_type TYPE = GGML_TYPE_Q4_1;
    using Source                    = block_q4_1;

    Rows8   scales;
    Rows8   leasts;
    Nibbles nibbles;

    void take(const Source & from, int row) {
        uint8_t codes[BLOCK];
        split(from.qs, codes);
        scales[row] = from.data.data.d;
        leasts[row] = from.data.data.m;
        nibbles.take(codes, row);
    }

    __m256                      scale(int /*span*/) const { return load_halves(scales); }
    __m256                      least(int /*span*/) const { return load_halves(leasts); }
    template <int STEP> __m256i codes(int /*span*/) const { return nibbles.get<STEP>(); }
};

struct Q5_0 : FiveBits {
    static constexpr ggml_type TYPE = GGML_TYPE_Q5_0;
    using Source                    = block_q5_0;

    Rows8       scales;
    Nibbles     nibbles;
    HighBits<1> fifth;

    void take(const Source & from, int row) {
        uint8_t codes[BLOCK];
        split(from.qs, from.qh, codes);
        scales[row] = from.d;
        nibbles.take(codes, row);
        fifth.take(codes, row);
    }

    __m256 scale(int /*span*/) const { return load_halves(scales); }
    __m256 least(int /*span*/) const { return _mm256_mul_ps(load_halves(scales), _mm256_set1_ps(-16.0F)); }
    template <int STEP> __m256i codes(int /*span*/) const { return _mm256_or_si256(nibbles.get<STEP>(), fifth.get<STEP>()); }
};

struct Q5_1 : FiveBits {
    static constexpr ggml_type TYPE = GGML_TYPE_Q5_1;
    using Source                    = block_q5_1;

    Rows8       scales;
    Rows8       leasts;
    Nibbles     nibbles;
    HighBits<1> fifth;

    void take(const Source & from, int row) {
        uint8_t codes[BLOCK];
        split(from.qs, from.qh, codes);
        scales[row] = from.data.data.d;
        leasts[row] = from.data.data.m;
        nibbles.take(codes, row);
        fifth.take(codes, row);
    }

    __m256                      scale(int /*span*/) const { return load_halves(scales); }
    __m256                      least(int /*span*/) const { return load_halves(leasts); }
    template <int STEP> __m256i codes(int /*span*/) const { return _mm256_or_si256(nibbles.get<STEP>(), fifth.get<STEP>()); }
};

struct Q8_0 : Simple {
    static constexpr ggml_type TYPE      = GGML_TYPE_Q8_0;
    static constexpr int       SUMMANDS  = 1; // of at most 128 * 127
    static constexpr bool      HAS_LEAST = false;
    using Source                         = block_q8_0;

    Rows8  scales;
    Codes4 signed_codes[8];

    void take(const Source & from, int row) {
        scales[row] = from.d;
        for (int step = 0; step < 8; ++step) {
            std::memcpy(signed_codes[step][row], from.qs + 4 * step, 4);
        }
    }

    // The instruction wants one side without signs.
    static __m256i products(__m256i codes, __m256i activations) {
        return _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(activations, codes));
    }
    __m256                      scale(int /*span*/) const { return load_halves(scales); }
    template <int STEP> __m256i codes(int /*span*/) const { return load(signed_codes[STEP]); }
};

// The K-quants' two scales, and 6-bit scales and minima of 32 columns each, repacked into as many bytes as ggml's.
struct SixBitScales {
    Rows8   scales;
    Rows8   leasts;
    uint8_t low[8][BAND_ROWS];  // for each span four bits of the scale, four of the minimum
    uint8_t high[4][BAND_ROWS]; // for each two spans the other two bits of each

    // ggml's get_scale_min_k4 has the layout.
    void take(ggml_half d, ggml_half dmin, const uint8_t (&packed)[K_SCALE_SIZE], int row) {
        scales[row] = d;
        leasts[row] = dmin;
        for (int span = 0; span < 8; ++span) {
            const int scale = span < 4 ? packed[span] & 63 : (packed[span + 4] & 15) | packed[span - 4] >> 6 << 4;
            const int least = span < 4 ? packed[span + 4] & 63 : packed[span + 4] >> 4 | packed[span] >> 6 << 4;
            const int rest  = scale >> 4 | least >> 4 << 2;
            low[span][row]  = static_cast<uint8_t>((scale & 15) | (least & 15) << 4);
            high[span / 2][row] = static_cast<uint8_t>(span % 2 == 0 ? rest : high[span / 2][row] | rest << 4);
        }
    }

    __m256 scale(int span) const {
        const __m256i bits = _mm256_and_si256(rest(span), _mm256_set1_epi32(3));
        return product(scales, _mm256_and_si256(four_bits(span), _mm256_set1_epi32(15)), bits);
    }

    __m256 least(int span) const {
        const __m256i bits = _mm256_and_si256(_mm256_srli_epi32(rest(span), 2), _mm256_set1_epi32(3));
        return _mm256_xor_ps(product(leasts, _mm256_srli_epi32(four_bits(span), 4), bits), _mm256_set1_ps(-0.0F));
    }

  private:
    __m256i four_bits(int span) const { return _mm256_cvtepu8_epi32(load_8(low[span])); }
    __m256i rest(int span) const {
        return _mm256_srlv_epi32(_mm256_cvtepu8_epi32(load_8(high[span / 2])), _mm256_set1_epi32(span % 2 * 4));
    }
    static __m256 product(const Rows8 & halves, __m256i low, __m256i high) {
        return _mm256_mul_ps(load_halves(halves), _mm256_cvtepi32_ps(_mm256_or_si256(low, _mm256_slli_epi32(high, 4))));
    }
};

struct Q4_K : Simple {
    static constexpr ggml_type TYPE  = GGML_TYPE_Q4_K;
    static constexpr int       SPANS = QK_K / BLOCK;
    using Source                     = block_q4_K;

    SixBitScales scales;
    Nibbles      nibbles[SPANS];

    void take(const Source & from, int row) {
        scales.take(from.data.data.d, from.data.data.dmin, from.scales, row);
        for (int span = 0; span < SPANS; ++span) {
            uint8_t codes[BLOCK];
            for (int k = 0; k < BLOCK; ++k) {
                codes[k] = from.qs[32 * (span / 2) + k] >> 4 * (span % 2) & 15;
            }
            nibbles[span].take(codes, row);
        }
    }

    __m256                      scale(int span) const { return scales.scale(span); }
    __m256                      least(int span) const { return scales.least(span); }
    template <int STEP> __m256i codes(int span) const { return nibbles[span].get<STEP>(); }
};

struct Q5_K : FiveBits {
    static constexpr ggml_type TYPE  = GGML_TYPE_Q5_K;
    static constexpr int       SPANS = QK_K / BLOCK;
    using Source                     = block_q5_K;

    SixBitScales scales;
    Nibbles      nibbles[SPANS];
    HighBits<1>  fifth[SPANS];

    // Two spans share bytes of low bits, and all eight those of the fifth.
    void take(const Source & from, int row) {
        scales.take(from.data.data.d, from.data.data.dmin, from.scales, row);
        for (int span = 0; span < SPANS; ++span) {
            uint8_t codes[BLOCK];
            for (int k = 0; k < BLOCK; ++k) {
                const int low = from.qs[32 * (span / 2) + k] >> 4 * (span % 2) & 15;
                codes[k]      = static_cast<uint8_t>(low | (from.qh[k] >> span & 1) << 4);
            }
            nibbles[span].take(codes, row);
            fifth[span].take(codes, row);
        }
    }

    __m256 scale(int span) const { return scales.scale(span); }
    __m256 least(int span) const { return scales.least(span); }
    template <int STEP> __m256i codes(int span) const { return _mm256_or_si256(nibbles[span].get<STEP>(), fifth[span].get<STEP>()); }
};

struct Q6_K {
    static constexpr ggml_type TYPE      = GGML_TYPE_Q6_K;
    static constexpr int       SPANS     = QK_K / BLOCK;
    static constexpr int       SUMMANDS  = 2; // of at most 63 * 127
    static constexpr bool      HAS_LEAST = false;
    static constexpr int       CENTRE    = 32;
    using Source                         = block_q6_K;

    Rows8       scales;
    int8_t      inner[SPANS][2][BAND_ROWS]; // scales of 16 columns each
    Nibbles     nibbles[SPANS];
    HighBits<2> high[SPANS];

    // A block is two parts of 128 columns, each four runs of 32: the low bits of runs 0 and 2 share bytes, and so do those of 1 and 3;
    // the high bits of all four share bytes.
    void take(const Source & from, int row) {
        scales[row] = from.d;
        for (int span = 0; span < SPANS; ++span) {
            const int part = span / 4, run = span % 4;
            uint8_t   codes[BLOCK];
            for (int k = 0; k < BLOCK; ++k) {
                const int low = from.ql[64 * part + 32 * (run % 2) + k] >> 4 * (run / 2) & 15;
                codes[k]      = static_cast<uint8_t>(low | (from.qh[32 * part + k] >> 2 * run & 3) << 4);
            }
            nibbles[span].take(codes, row);
            high[span].take(codes, row);
            inner[span][0][row] = from.scales[2 * span];
            inner[span][1][row] = from.scales[2 * span + 1];
        }
    }

    static __m256i products(__m256i codes, __m256i activations) { return _mm256_maddubs_epi16(codes, activations); }
    __m256 scale(int /*span*/) const { return load_halves(scales); }
    // Each row's factor twice, for the two sums of 16 bits that a row has.
    __m256i factors(int span, int half) const {
        const __m128i eight = _mm_cvtepi8_epi16(load_8(inner[span][half]));
        return _mm256_set_m128i(_mm_unpackhi_epi16(eight, eight), _mm_unpacklo_epi16(eight, eight));
    }
    // Each row's factors of both halves.
    __m256i both_factors(int span) const {
        const __m128i first = _mm_cvtepi8_epi16(load_8(inner[span][0])), second = _mm_cvtepi8_epi16(load_8(inner[span][1]));
        return _mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second));
    }
    template <int STEP> __m256i codes(int span) const { return _mm256_or_si256(nibbles[span].get<STEP>(), high[span].get<STEP>()); }
};

// A band takes the room of its rows.
static_assert(sizeof(Q4_0) == BAND_ROWS * sizeof(block_q4_0));
static_assert(sizeof(Q4_1) == BAND_ROWS * sizeof(block_q4_1));
static_assert(sizeof(Q5_0) == BAND_ROWS * sizeof(block_q5_0));
static_assert(sizeof(Q5_1) == BAND_ROWS * sizeof(block_q5_1));
static_assert(sizeof(Q8_0) == BAND_ROWS * sizeof(block_q8_0));
static_assert(sizeof(Q4_K) == BAND_ROWS * sizeof(block_q4_K));
static_assert(sizeof(Q5_K) == BAND_ROWS * sizeof(block_q5_K));
static_assert(sizeof(Q6_K) == BAND_ROWS * sizeof(block_q6_K));

} // namespace rn::kernels

#endif
