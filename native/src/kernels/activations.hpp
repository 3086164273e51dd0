// Rows of activations as the kernels take them: 8-bit numbers with a scale for each block of 32.
#pragma once

#include <cstdint>

namespace rn::kernels {

constexpr int64_t BLOCK = 32;

// x[k] is about scale * codes[k], rounded as ggml's q8_1 does: codes to 8 bits, the scale to the precision of a half (but not to its range).
// The coarse scale has a use of its own: attention adds up in another order for another number of rows, and such tiny differences
// mostly end here instead of travelling through the model.
struct Activations {
    float   scale;
    float   sum;     // scale * (codes[0] + ... + codes[31]), exactly
    int16_t half[2]; // codes[0] + ... + codes[15], and the rest
    int8_t  codes[BLOCK];
};

// One block: 32 floats.
void quantise(const float * x, Activations & out);

} // namespace rn::kernels
