// How one generator chooses tokens: llama.cpp's sampler chain with cheaper paths that choose the same token.
#pragma once

#include "budget.hpp"
#include "grammar.hpp"
#include "json.hpp"
#include "sampling.h"

#include <optional>
#include <vector>

namespace rn {

struct Model;

// What a request asked, over the model's hints. Throws Failure(RN_E_ARG) where llama.cpp would abort.
common_params_sampling read_sampling(const Model & model, const Fields & fields, int32_t n_ctx);

// The request's grammar, if any, past the tokens of the generation prompt that the template has already written.
std::optional<Grammar> read_grammar(Model & model, const Fields & fields);

class Sampler {
  public:
    // common_sampler_init gets no grammar: it would parse the text for each request and cannot take a compiled one, and
    // a cached common_sampler could be cloned, but not with another seed. So the grammar stands beside the chain
    // and is used as common_sampler_sample uses its own.
    Sampler(const Model & model, common_params_sampling params, std::optional<Grammar> grammar, std::optional<Budget> budget);

    // The token for one row of logits, or LLAMA_TOKEN_NULL when none is possible. The row is left as it was.
    // `scratch` is reused between calls.
    llama_token pick(float * logits, int32_t n_vocab, std::vector<llama_token_data> & scratch);

    // Enters a token into the history of the penalties. False when the grammar cannot go on.
    bool accept(llama_token token, bool is_end);
    void prime(llama_token token);

  private:
    enum class Path { GREEDY, TOP_K_FIRST, WHOLE };

    Path        path_of(const common_params_sampling & params) const;
    llama_token first_choice(float * logits, int32_t n_vocab, std::vector<llama_token_data> & scratch);
    llama_token greedy(float * logits, int32_t n_vocab) const;
    llama_token whole(const float * logits, int32_t n_vocab, std::vector<llama_token_data> & scratch, bool constrained);
    llama_token run_chain(llama_token_data_array & candidates);

    common_sampler_ptr            sampler_;
    std::optional<Grammar>        grammar_;
    std::optional<Budget>         budget_;
    std::vector<llama_logit_bias> biases_;
    int32_t                       top_k_;
    Path                          path_;
};

} // namespace rn
