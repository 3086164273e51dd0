#include "formats.hpp"

#include "bands.hpp"

namespace rn::kernels {

#if RN_HAS_AVX2

namespace {

template <class Band> void interleave(const std::byte * rows, size_t row_bytes, int64_t n_blocks, std::byte * band) {
    Band * to = reinterpret_cast<Band *>(band);
    for (int row = 0; row < BAND_ROWS; ++row) {
        const auto * from = reinterpret_cast<const typename Band::Source *>(rows + row * row_bytes);
        for (int64_t block = 0; block < n_blocks; ++block) {
            to[block].take(from[block], row);
        }
    }
}

inline __m256i four_times_8(const int8_t * codes) {
    int32_t four;
    std::memcpy(&four, codes, sizeof four);
    return _mm256_set1_epi32(four);
}

// The products of a block, added up for each row of weights. In 16 bits: 8 registers of 2 products of at most 15 * 127 are 30,480.
template <class Band, int N>
inline void multiply_block(const Band & band, const Activations * const (&rows)[N], int64_t block, __m256i (&sums)[N]) {
    for (int j = 0; j < 4; ++j) {
        const Codes codes = band.codes(j);
        for (int i = 0; i < N; ++i) {
            const int8_t * activations = rows[i][block].codes;
            const __m256i  first       = _mm256_maddubs_epi16(codes.first, four_times_8(activations + 4 * j));
            const __m256i  second      = _mm256_maddubs_epi16(codes.second, four_times_8(activations + 16 + 4 * j));
            const __m256i  both        = _mm256_add_epi16(first, second);
            sums[i]                    = j == 0 ? both : _mm256_add_epi16(sums[i], both);
        }
    }
}

// The order of the floating-point operations on an element of out is the same for every N: results do not depend on the tile.
template <class Band, int N>
void multiply(const std::byte * bytes, int64_t n_blocks, const Activations * const * given, float * const * out) {
    const Band *        band = reinterpret_cast<const Band *>(bytes);
    const __m256i       ones = _mm256_set1_epi16(1);
    const Activations * rows[N];
    __m256              totals[N];
    for (int i = 0; i < N; ++i) {
        rows[i]   = given[i];
        totals[i] = _mm256_setzero_ps();
    }
    for (int64_t block = 0; block < n_blocks; ++block) {
        __m256i sums[N];
        multiply_block<Band, N>(band[block], rows, block, sums);
        const __m256 scale = band[block].scale();
        const __m256 least = band[block].least(scale);
        for (int i = 0; i < N; ++i) {
            const __m256 products = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums[i], ones));
            const __m256 both     = _mm256_mul_ps(scale, _mm256_broadcast_ss(&rows[i][block].scale));
            totals[i]             = _mm256_fmadd_ps(least, _mm256_broadcast_ss(&rows[i][block].sum), totals[i]);
            totals[i]             = _mm256_fmadd_ps(products, both, totals[i]);
        }
    }
    for (int i = 0; i < N; ++i) {
        _mm256_storeu_ps(out[i], totals[i]);
    }
}

template <class Band> constexpr Format format_of() {
    return {Band::TYPE, interleave<Band>, {multiply<Band, 1>, multiply<Band, 2>, multiply<Band, 3>, multiply<Band, 4>}};
}

} // namespace

const std::vector<Format> & formats() {
    static const std::vector<Format> all = {format_of<Q4_1>()};
    return all;
}

#else

const std::vector<Format> & formats() {
    static const std::vector<Format> none;
    return none;
}

#endif

} // namespace rn::kernels
