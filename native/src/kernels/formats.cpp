#include "formats.hpp"

#include "bands.hpp"

#include <utility>

namespace rn::kernels {

#if RN_HAS_AVX2

namespace {

template <class Band> void interleave(const std::byte * rows, size_t row_bytes, int64_t n_blocks, std::byte * band) {
    Band * to = reinterpret_cast<Band *>(band);
    for (int row = 0; row < BAND_ROWS; ++row) {
        const auto * from = reinterpret_cast<const typename Band::Source *>(rows + row * row_bytes);
        for (int64_t block = 0; block < n_blocks / Band::SPANS; ++block) {
            to[block].take(from[block], row);
        }
    }
}

inline __m256i eight_times(const void * four_bytes) {
    int32_t four;
    std::memcpy(&four, four_bytes, sizeof four);
    return _mm256_set1_epi32(four);
}

// Four columns: products of two add up in 16 bits as long as they fit, then in 32 bits.
template <class Band, int N, int STEP>
inline void multiply_step(const Band & band, int span, const Activations * const (&at)[N], __m256i (&sums)[N], __m256i (&products)[N]) {
    const __m256i codes = band.template codes<STEP>(span);
    for (int i = 0; i < N; ++i) {
        const __m256i added = Band::products(codes, eight_times(at[i]->codes + 4 * STEP));
        sums[i]             = STEP % Band::SUMMANDS == 0 ? added : _mm256_add_epi16(sums[i], added);
    }
    if constexpr ((STEP + 1) % Band::SUMMANDS == 0) {
        const __m256i factors = band.factors(span, STEP / 4);
        for (int i = 0; i < N; ++i) {
            const __m256i wide = _mm256_madd_epi16(sums[i], factors);
            products[i]        = STEP < Band::SUMMANDS ? wide : _mm256_add_epi32(products[i], wide);
        }
    }
}

template <class Band, int N, int... STEPS>
inline void multiply_span(const Band & band, int span, const Activations * const (&at)[N], __m256i (&products)[N],
                          std::integer_sequence<int, STEPS...>) {
    __m256i sums[N];
    (multiply_step<Band, N, STEPS>(band, span, at, sums, products), ...);
    if constexpr (Band::CENTRE != 0) {
        const __m256i factors = band.both_factors(span);
        for (int i = 0; i < N; ++i) {
            const __m256i all = _mm256_madd_epi16(factors, eight_times(at[i]->half));
            products[i]       = _mm256_sub_epi32(products[i], _mm256_mullo_epi32(all, _mm256_set1_epi32(Band::CENTRE)));
        }
    }
}

// The order of the floating-point operations on an element of out is the same for every N: results do not depend on the tile.
template <class Band, int N>
void multiply(const std::byte * bytes, int64_t n_blocks, const Activations * const * rows, float * const * out) {
    const Band * band = reinterpret_cast<const Band *>(bytes);
    __m256       totals[N];
    for (__m256 & total : totals) {
        total = _mm256_setzero_ps();
    }
    for (int64_t block = 0; block < n_blocks; ++block) {
        const int           span = static_cast<int>(block % Band::SPANS);
        const Activations * at[N];
        __m256i             products[N];
        for (int i = 0; i < N; ++i) {
            at[i] = rows[i] + block;
        }
        multiply_span<Band, N>(*band, span, at, products, std::make_integer_sequence<int, BLOCK / 4>());
        const __m256 scale = band->scale(span);
        for (int i = 0; i < N; ++i) {
            const __m256 both = _mm256_mul_ps(scale, _mm256_broadcast_ss(&at[i]->scale));
            totals[i]         = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[i]), both, totals[i]);
        }
        if constexpr (Band::HAS_LEAST) {
            const __m256 least = band->least(span);
            for (int i = 0; i < N; ++i) {
                totals[i] = _mm256_fmadd_ps(least, _mm256_broadcast_ss(&at[i]->sum), totals[i]);
            }
        }
        band += span == Band::SPANS - 1 ? 1 : 0;
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
    static const std::vector<Format> all = {format_of<Q4_0>(), format_of<Q4_1>(), format_of<Q5_0>(), format_of<Q5_1>(),
                                            format_of<Q8_0>(), format_of<Q4_K>(), format_of<Q5_K>(), format_of<Q6_K>()};
    return all;
}

#else

const std::vector<Format> & formats() {
    static const std::vector<Format> none;
    return none;
}

#endif

} // namespace rn::kernels
