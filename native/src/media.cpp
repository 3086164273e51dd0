// Pictures and sounds into rows for a model: llama.cpp's mtmd over one projector, with our own reading of files.
#include "guard.hpp"
#include "json.hpp"
#include "log.hpp"
#include "media_files.hpp"
#include "model.hpp"
#include "positions.hpp"

#include <cstring>

struct rn_media {
    std::shared_ptr<rn::Model> model; // outlives mtmd, which looks things up in its vocabulary
    mtmd::context_ptr          mtmd;
    std::string                marker;
    int32_t                    n_embd;
    int32_t                    sample_rate; // -1: it hears nothing
};

struct rn_parts {
    mtmd::input_chunks chunks;
};

namespace rn {
namespace {

constexpr int32_t MAX_FILES         = 1024;
constexpr size_t  MIN_MARKER_LENGTH = 16; // shorter ones could be guessed

void on_log(ggml_log_level level, const char * text, void *) {
    log_write(level, text);
}

std::unique_ptr<rn_media> open_projector(const std::shared_ptr<Model> & model, const char * json) {
    const Fields      fields(json, "rn_media_new");
    const std::string path   = fields.string("path");
    const std::string marker = fields.string("marker");
    if (marker.size() < MIN_MARKER_LENGTH) {
        fail(RN_E_ARG, "marker: %zu bytes, at least %zu are needed", marker.size(), MIN_MARKER_LENGTH);
    }
    log_ensure();
    mtmd_log_set(on_log, nullptr);
    mtmd_context_params params = mtmd_context_params_default();
    params.use_gpu             = fields.boolean("use_gpu", true);
    params.n_threads           = static_cast<int32_t>(fields.integer("n_threads", 1, 1, GGML_MAX_N_THREADS));
    params.print_timings       = false;
    params.media_marker        = marker.c_str();
    const uint64_t    mark = log_mark();
    mtmd::context_ptr opened(mtmd_init_from_file(path.c_str(), model->llama.get(), params));
    if (opened == nullptr) {
        const std::string reason = log_errors_since(mark);
        fail(RN_E_EXC, "cannot load %s: %s", path.c_str(), reason.empty() ? "no reason given" : reason.c_str());
    }
    const int32_t rate = mtmd_support_audio(opened.get()) ? mtmd_get_audio_sample_rate(opened.get()) : -1;
    const int32_t width = llama_model_n_embd_inp(model->llama.get());
    return std::unique_ptr<rn_media>(new rn_media{model, std::move(opened), marker, width, rate});
}

// Decodes what was sent, in order; the error says which it is about, counted from 0.
std::vector<mtmd::bitmap> decode_files(const rn_media & media, const rn_file * files, int32_t count) {
    int64_t                   pixels_left  = MAX_PIXELS;
    int64_t                   samples_left = MAX_SECONDS * media.sample_rate;
    std::vector<mtmd::bitmap> bitmaps;
    for (int32_t i = 0; i < count; ++i) {
        const rn_file & file = files[i];
        const uint8_t & data = need(static_cast<const uint8_t *>(file.data), "data");
        if (file.is_sound != 0 ? media.sample_rate < 0 : !mtmd_support_vision(media.mtmd.get())) {
            fail(RN_E_UNSUP, "%d: the model takes no %s", i, file.is_sound != 0 ? "sound" : "images");
        }
        try {
            bitmaps.push_back(file.is_sound != 0 ? decode_sound(&data, file.len, media.sample_rate, samples_left)
                                                 : decode_picture(&data, file.len, pixels_left));
        } catch (const Failure & failure) {
            fail(failure.code, "%d: %s", i, failure.what());
        }
        bitmaps.back().set_id(&need(file.id, "id"));
    }
    return bitmaps;
}

// Columns of the grid that a part's rows are for the model, 0 for a line. Throws for what is neither.
int32_t columns_of(const rn_media & media, const mtmd_input_chunk * chunk) {
    const mtmd_image_tokens * image = mtmd_input_chunk_get_tokens_image(chunk);
    if (image == nullptr || !mtmd_decode_use_mrope(media.mtmd.get())) {
        return 0;
    }
    const size_t count   = mtmd_input_chunk_get_n_tokens(chunk);
    size_t       columns = 0;
    while (columns < count && mtmd_image_tokens_get_decoder_pos(image, 0, columns).y == 0) {
        ++columns;
    }
    const Picture picture  = {0, static_cast<int32_t>(count), static_cast<int32_t>(columns)};
    Positions     expected;
    bool          is_grid = expected.add(picture) && mtmd_input_chunk_get_n_pos(chunk) == picture.n_pos();
    for (size_t i = 0; is_grid && i < count; ++i) {
        const mtmd_decoder_pos pos = mtmd_image_tokens_get_decoder_pos(image, 0, i);
        is_grid = Position{static_cast<int32_t>(pos.t), static_cast<int32_t>(pos.y), static_cast<int32_t>(pos.x),
                           static_cast<int32_t>(pos.z)} == expected.in_grid(static_cast<int32_t>(i));
    }
    if (!is_grid) {
        fail(RN_E_UNSUP, "this model places the rows of an image in a way that is not supported");
    }
    return picture.columns;
}

common_json describe(const rn_media & media, const mtmd_input_chunk * chunk) {
    const mtmd_input_chunk_type type = mtmd_input_chunk_get_type(chunk);
    if (type == MTMD_INPUT_CHUNK_TYPE_TEXT) {
        size_t              count  = 0;
        const llama_token * tokens = mtmd_input_chunk_get_tokens_text(chunk, &count);
        return {{"tokens", std::vector<llama_token>(tokens, tokens + count)}};
    }
    const char * id = mtmd_input_chunk_get_id(chunk);
    return {{"id", id == nullptr ? "" : id},
            {"rows", mtmd_input_chunk_get_n_tokens(chunk)},
            {"is_whole", mtmd_decode_use_non_causal(media.mtmd.get(), chunk)},
            {"columns", columns_of(media, chunk)}};
}

std::unique_ptr<rn_parts> read_prompt(const rn_media & media, const char * text, uint64_t len, const rn_file * files,
                                      int32_t n_files) {
    if (n_files < 1 || n_files > MAX_FILES) {
        fail(RN_E_ARG, "n_files: %d is not in 1..%d", n_files, MAX_FILES);
    }
    const std::vector<mtmd::bitmap>  bitmaps = decode_files(media, &need(files, "files"), n_files);
    std::vector<const mtmd_bitmap *> pointers;
    for (const mtmd::bitmap & bitmap : bitmaps) {
        pointers.push_back(bitmap.ptr.get());
    }
    const mtmd_input_text     input = {&need(text, "text"), len, true, true};
    std::unique_ptr<rn_parts> parts(new rn_parts{mtmd::input_chunks(mtmd_input_chunks_init())});
    const uint64_t            mark = log_mark();
    const int32_t rc = mtmd_tokenize(media.mtmd.get(), parts->chunks.ptr.get(), &input, pointers.data(), pointers.size());
    if (rc != 0) {
        const std::string reason = log_errors_since(mark);
        fail(RN_E_PARSE, "%s", reason.empty() ? "the images or sounds cannot be prepared" : reason.c_str());
    }
    return parts;
}

} // namespace
} // namespace rn

rn_media * rn_media_new(rn_model * model, const char * json) {
    return rn::guard_new<rn_media>(
        [&] { return rn::open_projector(rn::need(model, "model").shared, json).release(); });
}

void rn_media_free(rn_media * media) {
    delete media;
}

int32_t rn_media_info(rn_media * media, rn_buf * out) {
    return rn::guard([&] {
        const common_json info = {{"vision", mtmd_support_vision(rn::need(media, "media").mtmd.get())},
                                  {"audio", media->sample_rate >= 0},
                                  {"n_embd", media->n_embd}};
        rn::fill(out, info.dump_safe());
        return RN_OK;
    });
}

rn_parts * rn_media_read(rn_media * media, const char * text, uint64_t len, const rn_file * files, int32_t n_files,
                         rn_buf * out) {
    return rn::guard_new<rn_parts>([&] {
        std::unique_ptr<rn_parts> parts = rn::read_prompt(rn::need(media, "media"), text, len, files, n_files);
        common_json described = common_json::array();
        for (size_t i = 0; i < parts->chunks.size(); ++i) {
            described.push_back(rn::describe(*media, parts->chunks[i]));
        }
        rn::fill(out, described.dump_safe());
        return parts.release();
    });
}

void rn_parts_free(rn_parts * parts) {
    delete parts;
}

int32_t rn_media_encode(rn_media * media, rn_parts * parts, int32_t part, float * out, int64_t cap) {
    return rn::guard([&] {
        rn::need(media, "media");
        rn::need(out, "out");
        if (part < 0 || static_cast<size_t>(part) >= rn::need(parts, "parts").chunks.size()) {
            rn::fail(RN_E_ARG, "part: %d of %zu", part, parts->chunks.size());
        }
        const mtmd_input_chunk * chunk = parts->chunks[static_cast<size_t>(part)];
        const size_t count = mtmd_input_chunk_get_n_tokens(chunk) * static_cast<size_t>(media->n_embd);
        if (mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT || cap < static_cast<int64_t>(count)) {
            rn::fail(RN_E_ARG, "part %d: text, or more than %lld numbers", part, static_cast<long long>(cap));
        }
        if (mtmd_encode_chunk(media->mtmd.get(), chunk) != 0) {
            rn::fail(RN_E_EXC, "the projector could not encode a part");
        }
        std::memcpy(out, mtmd_get_output_embd(media->mtmd.get()), count * sizeof(float));
        return RN_OK;
    });
}
