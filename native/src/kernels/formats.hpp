// The types of weights that have kernels, each as a table of functions.
#pragma once

#include "activations.hpp"
#include "ggml.h"

#include <cstddef>
#include <vector>

namespace rn::kernels {

constexpr int BAND_ROWS = 8; // rows of weights side by side in a band
constexpr int TILE_ROWS = 4; // most rows of activations that share the unpacking of weights

struct Format {
    ggml_type type;
    // Lays 8 rows of weights out as a band, which takes as many bytes as they. n_blocks: of 32 columns.
    void (*interleave)(const std::byte * rows, size_t row_bytes, int64_t n_blocks, std::byte * band);
    // multiply[n - 1]: out[i][0..7] = the products of n rows of activations with the 8 rows of a band.
    void (*multiply[TILE_ROWS])(const std::byte * band, int64_t n_blocks, const Activations * const * rows, float * const * out);
};

// Empty where the compiler's target lacks AVX2.
const std::vector<Format> & formats();

} // namespace rn::kernels
