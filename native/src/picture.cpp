// Pictures to pixels: stb_image with fewer formats than it knows, and with an end to its memory.
#include "media_files.hpp"

#include "guard.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace rn {
namespace {

// Compressed data says how much it unfolds to only by unfolding. A decoder that asks for more than any picture of
// MAX_PIXELS needs gets nothing, and gives up.
constexpr size_t MAX_ALLOCATION = 256 << 20;

void * bounded_alloc(size_t size) {
    return size > MAX_ALLOCATION ? nullptr : std::malloc(size);
}

void * bounded_realloc(void * pointer, size_t size) {
    return size > MAX_ALLOCATION ? nullptr : std::realloc(pointer, size);
}

// Names of what people send that is not read; nullptr: it is none of these.
const char * foreign_format(const uint8_t * data, size_t size) {
    const auto has = [=](size_t at, const char * word) {
        return size >= at + 4 && std::memcmp(data + at, word, 4) == 0;
    };
    if (has(0, "RIFF") && has(8, "WEBP")) {
        return "WebP";
    }
    if (has(4, "ftyp")) {
        return has(8, "avif") ? "AVIF" : "HEIC";
    }
    return has(0, "II*\0") || has(0, "MM\0*") ? "TIFF" : nullptr;
}

} // namespace
} // namespace rn

#define STBI_MALLOC(size)           rn::bounded_alloc(size)
#define STBI_REALLOC(pointer, size) rn::bounded_realloc(pointer, size)
#define STBI_FREE(pointer)          std::free(pointer)
#define STBI_MAX_DIMENSIONS         16384
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_GIF
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include "stb/stb_image.h"

namespace rn {

mtmd::bitmap decode_picture(const uint8_t * data, size_t size, int64_t & pixels_left) {
    constexpr int MAX_RATIO = 200; // of the sides: thinner pictures have no patches
    const int     length    = static_cast<int>(std::min<size_t>(size, INT32_MAX));
    int           width = 0, height = 0, channels = 0;
    if (const char * format = foreign_format(data, size)) {
        fail(RN_E_PARSE, "it is %s; JPEG, PNG, GIF and BMP can be read: convert it to one of these", format);
    }
    if (stbi_info_from_memory(data, length, &width, &height, &channels) == 0) {
        fail(RN_E_PARSE, "it is no JPEG, PNG, GIF or BMP that can be read");
    }
    pixels_left -= static_cast<int64_t>(width) * height;
    if (pixels_left < 0) {
        fail(RN_E_PARSE, "with %d x %d pixels the images of this prompt have more than %lld", width, height,
             static_cast<long long>(MAX_PIXELS));
    }
    if (width < 1 || height < 1 || std::max(width, height) / std::min(width, height) >= MAX_RATIO) {
        fail(RN_E_PARSE, "%d x %d pixels are no picture", width, height);
    }
    const std::unique_ptr<stbi_uc, void (*)(void *)> pixels(
        stbi_load_from_memory(data, length, &width, &height, &channels, 3), stbi_image_free);
    if (pixels == nullptr) {
        fail(RN_E_PARSE, "it is damaged: %s", stbi_failure_reason());
    }
    return mtmd::bitmap(static_cast<uint32_t>(width), static_cast<uint32_t>(height), pixels.get());
}

} // namespace rn
