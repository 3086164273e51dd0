// Sounds to samples: miniaudio, read piece by piece, as what a file says of its length need not be so.
#include "media_files.hpp"

#include "guard.hpp"

#include <memory>
#include <vector>

#define MINIAUDIO_IMPLEMENTATION
#define MA_NO_ENCODING
#define MA_NO_DEVICE_IO
#define MA_NO_RESOURCE_MANAGER
#define MA_NO_NODE_GRAPH
#define MA_NO_ENGINE
#define MA_NO_GENERATION
#define MA_API static
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include "miniaudio/miniaudio.h"

namespace rn {

mtmd::bitmap decode_sound(const uint8_t * data, size_t size, int32_t sample_rate, int64_t & samples_left) {
    constexpr size_t        PIECE   = 1 << 16; // samples
    constexpr int64_t       LEAST_S = 10;      // a tenth of a second
    const ma_decoder_config config  = ma_decoder_config_init(ma_format_f32, 1, static_cast<ma_uint32>(sample_rate));
    ma_decoder              decoder;
    if (ma_decoder_init_memory(data, size, &config, &decoder) != MA_SUCCESS) {
        fail(RN_E_PARSE, "it is no WAV, MP3 or FLAC that can be read");
    }
    const std::unique_ptr<ma_decoder, ma_result (*)(ma_decoder *)> closer(&decoder, ma_decoder_uninit);
    std::vector<float> samples;
    for (ma_uint64 read = PIECE; read == PIECE;) {
        const size_t end = samples.size();
        samples.resize(end + PIECE);
        read = 0;
        ma_decoder_read_pcm_frames(&decoder, samples.data() + end, PIECE, &read);
        samples.resize(end + static_cast<size_t>(read));
        if (static_cast<int64_t>(samples.size()) > samples_left) {
            fail(RN_E_PARSE, "the sounds of this prompt are longer than %lld seconds", static_cast<long long>(MAX_SECONDS));
        }
    }
    if (static_cast<int64_t>(samples.size()) < sample_rate / LEAST_S) {
        fail(RN_E_PARSE, "it holds no sound of a tenth of a second");
    }
    samples_left -= static_cast<int64_t>(samples.size());
    return mtmd::bitmap(mtmd_bitmap_init_from_audio(samples.size(), samples.data()));
}

} // namespace rn
