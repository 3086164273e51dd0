// A loaded model: weights and vocabulary. Shared by the contexts made from it, so handles may be freed in any order.
#pragma once

#include "common.h"
#include "grammar.hpp"
#include "llama-cpp.h"
#include "runner_native.h"

#include <memory>
#include <vector>

namespace rn {

struct Model {
    llama_model_ptr        llama;
    const llama_vocab *    vocab     = nullptr;
    int32_t                n_vocab   = 0;
    size_t                 max_piece = 0; // bytes of the longest token
    enum llama_pooling_type pooling;      // of a text to one vector or rank; NONE: it generates
    bool                   is_causal;     // no token sees those behind it
    common_params_sampling sampling;      // llama.cpp's defaults under the hints of the GGUF
    GrammarCache           grammars;
    std::vector<llama_adapter_lora *> adapters; // by the order of loading; the llama_model owns them

    explicit Model(llama_model_ptr loaded);

    // Throws RN_E_ARG, naming the argument, when the id is outside the vocabulary: llama.cpp throws std::out_of_range.
    void check_token(int32_t token, const char * name) const;
    // Throws RN_E_UNSUP for a model without a vocabulary: tokenising would abort.
    void need_vocab() const;
    // Whether its positions have lines and columns (M-RoPE).
    bool has_grids() const;
};

} // namespace rn

struct rn_model {
    std::shared_ptr<rn::Model> shared;
};
