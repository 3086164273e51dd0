// Files that clients send, decoded within bounds whatever their headers claim. Throw Failure(RN_E_PARSE) with a reason for a person.
#pragma once

#include "mtmd.h"

#include <cstddef>
#include <cstdint>

namespace rn {

constexpr int64_t MAX_PIXELS  = 40'000'000; // of all pictures of one prompt
constexpr int64_t MAX_SECONDS = 1800;       // of all sounds of one prompt

// JPEG, PNG, GIF (its first frame) or BMP. What it takes is subtracted from `pixels_left`.
mtmd::bitmap decode_picture(const uint8_t * data, size_t size, int64_t & pixels_left);

// WAV, MP3 or FLAC, as one channel of so many samples a second; subtracted from `samples_left`.
mtmd::bitmap decode_sound(const uint8_t * data, size_t size, int32_t sample_rate, int64_t & samples_left);

} // namespace rn
