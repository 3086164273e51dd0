#include "model.hpp"

#include "footprint.hpp"
#include "guard.hpp"
#include "json.hpp"
#include "llama-model.h"
#include "log.hpp"
#include "sampling.h"

#include <algorithm>
#include <cstdlib>

namespace rn {
namespace {

std::string metadata(const llama_model * model, const std::string & key) {
    char          text[512] = {0};
    const int32_t length    = llama_model_meta_val_str(model, key.c_str(), text, sizeof text);
    return length < 0 ? std::string() : std::string(text);
}

std::string hint(const llama_model * model, llama_model_meta_key key) {
    return metadata(model, llama_model_meta_key_str(key));
}

void read_hint(const llama_model * model, llama_model_meta_key key, int32_t & value) {
    const std::string text = hint(model, key);
    char *            end  = nullptr;
    const long        read = std::strtol(text.c_str(), &end, 10);
    if (end != text.c_str()) {
        value = static_cast<int32_t>(read);
    }
}

void read_hint(const llama_model * model, llama_model_meta_key key, float & value) {
    const std::string text = hint(model, key);
    char *            end  = nullptr;
    const float       read = std::strtof(text.c_str(), &end);
    if (end != text.c_str()) {
        value = read;
    }
}

// The same keys in the same way as common_init_from_params, so that answers agree with llama-server's.
common_params_sampling sampling_of(const llama_model * model) {
    common_params_sampling params;
    params.no_perf             = true;
    const std::string sequence = hint(model, LLAMA_MODEL_META_KEY_SAMPLING_SEQUENCE);
    if (!sequence.empty()) {
        params.samplers = common_sampler_types_from_names(string_split<std::string>(sequence, ';'));
    }
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_TOP_K, params.top_k);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_TOP_P, params.top_p);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_MIN_P, params.min_p);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_XTC_PROBABILITY, params.xtc_probability);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_XTC_THRESHOLD, params.xtc_threshold);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_TEMP, params.temp);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_LAST_N, params.penalty_last_n);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_REPEAT, params.penalty_repeat);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT, params.mirostat);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_TAU, params.mirostat_tau);
    read_hint(model, LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_ETA, params.mirostat_eta);
    return params;
}

std::string metadata_of_kind(const llama_model * model, const char * key) {
    return metadata(model, metadata(model, "general.architecture") + key);
}

enum llama_pooling_type pooling_of(const llama_model * model) {
    const int type = std::atoi(metadata_of_kind(model, ".pooling_type").c_str());
    return static_cast<enum llama_pooling_type>(std::clamp<int>(type, LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_RANK));
}

const char * pooling_name(enum llama_pooling_type type) {
    switch (type) {
        case LLAMA_POOLING_TYPE_MEAN: return "mean";
        case LLAMA_POOLING_TYPE_CLS:  return "cls";
        case LLAMA_POOLING_TYPE_LAST: return "last";
        case LLAMA_POOLING_TYPE_RANK: return "rank";
        default:                      return "none";
    }
}

size_t longest_piece(const llama_vocab * vocab, int32_t n_vocab) {
    size_t longest = 0;
    char   none    = 0;
    for (int32_t token = 0; token < n_vocab; ++token) {
        const int32_t length = llama_token_to_piece(vocab, token, &none, 0, 0, true); // no room: minus the length
        longest              = std::max(longest, static_cast<size_t>(std::abs(length)));
    }
    return longest;
}

struct LoadWatch {
    volatile float *         progress;
    const volatile int32_t * cancel;
};

bool on_progress(float fraction, void * data) {
    const auto * watch = static_cast<const LoadWatch *>(data);
    if (watch->progress != nullptr) {
        *watch->progress = fraction;
    }
    return watch->cancel == nullptr || *watch->cancel == 0;
}

std::shared_ptr<Model> load(const char * json, volatile float * progress, const volatile int32_t * cancel) {
    const Fields       fields(json, "rn_model_load");
    const std::string  path   = fields.at("path").get<std::string>();
    LoadWatch          watch  = {progress, cancel};
    llama_model_params params = llama_model_default_params();
    params.n_gpu_layers       = static_cast<int32_t>(fields.integer("gpu_layers", -1, -1, INT32_MAX));
    params.load_mode          = fields.boolean("use_mmap", true) ? LLAMA_LOAD_MODE_AUTO : LLAMA_LOAD_MODE_NONE;
    params.check_tensors      = fields.boolean("check_tensors", false);
    params.progress_callback  = on_progress;
    params.progress_callback_user_data = &watch;

    log_ensure();
    const uint64_t  mark = log_mark();
    llama_model_ptr loaded(llama_model_load_from_file(path.c_str(), params));
    if (loaded == nullptr) {
        if (cancel != nullptr && *cancel != 0) {
            fail(RN_E_CANCEL, "loading %s was cancelled", path.c_str());
        }
        const std::string reason = log_errors_since(mark);
        fail(RN_E_EXC, "cannot load %s: %s", path.c_str(), reason.empty() ? "no reason given" : reason.c_str());
    }
    forget_repacked(loaded.get());
    return std::make_shared<Model>(std::move(loaded));
}

const char * vocab_type_name(enum llama_vocab_type type) {
    switch (type) {
        case LLAMA_VOCAB_TYPE_NONE:   return "none";
        case LLAMA_VOCAB_TYPE_SPM:    return "spm";
        case LLAMA_VOCAB_TYPE_BPE:    return "bpe";
        case LLAMA_VOCAB_TYPE_WPM:    return "wpm";
        case LLAMA_VOCAB_TYPE_UGM:    return "ugm";
        case LLAMA_VOCAB_TYPE_RWKV:   return "rwkv";
        case LLAMA_VOCAB_TYPE_PLAMO2: return "plamo2";
        default:                      return "other";
    }
}

std::string piece_or_empty(const Model & model, llama_token token) {
    return token == LLAMA_TOKEN_NULL ? std::string() : common_token_to_piece(model.vocab, token, true);
}

// Layers that look back no further than n_swa tokens.
int32_t count_window_layers(const llama_model & llama) {
    int32_t count = 0;
    for (uint32_t layer = 0; layer < llama.hparams.n_layer(); ++layer) {
        count += llama.hparams.swa_type != LLAMA_SWA_TYPE_NONE && llama.hparams.is_swa(layer);
    }
    return count;
}

void describe_shape(const Model & model, common_json & info) {
    const llama_model * llama = model.llama.get();
    const std::string   arch  = metadata(llama, "general.architecture");
    char                description[256];
    llama_model_desc(llama, description, sizeof description);
    info["architecture"] = arch;
    info["description"]  = description;
    info["size_bytes"]   = llama_model_size(llama);
    info["parameters"]   = llama_model_n_params(llama);
    info["n_ctx_train"]  = llama_model_n_ctx_train(llama);
    info["n_embd"]       = llama_model_n_embd(llama);
    info["n_layer"]      = llama_model_n_layer(llama);
    info["n_head"]       = llama_model_n_head(llama);
    info["n_head_kv"]    = llama_model_n_head_kv(llama);
    info["n_swa"]        = llama_model_n_swa(llama);
    info["swa_layers"]   = count_window_layers(*llama);
    info["has_encoder"]  = llama_model_has_encoder(llama);
    info["has_decoder"]  = llama_model_has_decoder(llama);
    info["recurrent"]    = llama_model_is_recurrent(llama);
    info["hybrid"]       = llama_model_is_hybrid(llama);
    info["diffusion"]    = llama_model_is_diffusion(llama);
    info["pooling"]      = model.pooling > LLAMA_POOLING_TYPE_NONE;
    info["pooling_type"] = pooling_name(model.pooling);
}

// Bytes of a text that one token covers at most; 0 where it may be any number: some tokenizers put a token for any word
// they do not know or drop blanks, and so do tokens that strip what is beside them.
size_t most_covered(const Model & model) {
    const enum llama_vocab_type type = llama_vocab_type(model.vocab);
    if (type != LLAMA_VOCAB_TYPE_BPE && type != LLAMA_VOCAB_TYPE_SPM) {
        return 0;
    }
    for (int32_t token = 0; token < model.n_vocab; ++token) {
        if ((llama_vocab_get_attr(model.vocab, token) & (LLAMA_TOKEN_ATTR_LSTRIP | LLAMA_TOKEN_ATTR_RSTRIP)) != 0) {
            return 0;
        }
    }
    return model.max_piece;
}

common_json describe_fim(const llama_vocab * vocab) {
    common_json fim = common_json::object();
    fim["prefix"]   = llama_vocab_fim_pre(vocab);
    fim["suffix"]   = llama_vocab_fim_suf(vocab);
    fim["middle"]   = llama_vocab_fim_mid(vocab);
    fim["repo"]     = llama_vocab_fim_rep(vocab);
    fim["file"]     = llama_vocab_fim_sep(vocab);
    return fim;
}

void describe_vocab(const Model & model, common_json & info) {
    std::vector<int32_t> eog;
    for (int32_t token = 0; token < model.n_vocab; ++token) {
        if (llama_vocab_is_eog(model.vocab, token)) {
            eog.push_back(token);
        }
    }
    info["n_vocab"]           = model.n_vocab;
    info["vocab_type"]        = vocab_type_name(llama_vocab_type(model.vocab));
    info["token_bytes"]       = most_covered(model);
    info["add_bos"]           = llama_vocab_get_add_bos(model.vocab);
    info["add_eos"]           = llama_vocab_get_add_eos(model.vocab);
    info["add_sep"]           = llama_vocab_get_add_sep(model.vocab);
    info["bos"]               = llama_vocab_bos(model.vocab);
    info["eos"]               = llama_vocab_eos(model.vocab);
    info["sep"]               = llama_vocab_sep(model.vocab);
    info["bos_piece"]         = piece_or_empty(model, llama_vocab_bos(model.vocab));
    info["eos_piece"]         = piece_or_empty(model, llama_vocab_eos(model.vocab));
    info["has_chat_template"] = llama_model_chat_template(model.llama.get(), nullptr) != nullptr;
    info["eog"]               = eog;
    info["fim"]               = describe_fim(model.vocab);
    const char * reranking    = llama_model_chat_template(model.llama.get(), "rerank");
    info["rerank_template"]   = reranking == nullptr ? "" : reranking;
}

common_json describe_hints(const llama_model * model) {
    common_json hints = common_json::object();
    for (int key = LLAMA_MODEL_META_KEY_SAMPLING_SEQUENCE; key <= LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_ETA; ++key) {
        const std::string name  = llama_model_meta_key_str(static_cast<llama_model_meta_key>(key));
        const std::string value = metadata(model, name);
        if (!value.empty()) {
            hints[name.substr(name.rfind('.') + 1)] = value;
        }
    }
    return hints;
}

} // namespace

Model::Model(llama_model_ptr loaded) :
    llama(std::move(loaded)), vocab(llama_model_get_vocab(llama.get())), n_vocab(llama_vocab_n_tokens(vocab)),
    max_piece(longest_piece(vocab, n_vocab)), pooling(pooling_of(llama.get())),
    is_causal(metadata_of_kind(llama.get(), ".attention.causal") != "false"), sampling(sampling_of(llama.get())), grammars(vocab) {}

void Model::check_token(int32_t token, const char * name) const {
    if (token < 0 || token >= n_vocab) {
        fail(RN_E_ARG, "%s: token %d is outside the vocabulary of %d", name, token, n_vocab);
    }
}

void Model::need_vocab() const {
    if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
        fail(RN_E_UNSUP, "the model has no vocabulary");
    }
}

bool Model::has_grids() const {
    const llama_rope_type type = llama_model_rope_type(llama.get());
    return type == LLAMA_ROPE_TYPE_MROPE || type == LLAMA_ROPE_TYPE_IMROPE;
}

} // namespace rn

rn_model * rn_model_load(const char * json, volatile float * progress, const volatile int32_t * cancel) {
    return rn::guard_new<rn_model>([&] { return new rn_model{rn::load(json, progress, cancel)}; });
}

void rn_model_free(rn_model * model) {
    delete model;
}

int32_t rn_model_info(rn_model * handle, rn_buf * out) {
    return rn::guard([&] {
        const rn::Model & model = *rn::need(handle, "model").shared;
        common_json       info  = common_json::object();
        rn::describe_shape(model, info);
        rn::describe_vocab(model, info);
        info["sampling"] = rn::describe_hints(model.llama.get());
        rn::fill(out, info.dump_safe());
        return RN_OK;
    });
}
