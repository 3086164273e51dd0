// Samples from the rows of a step and writes its records.
#pragma once

#include "plan.hpp"

#include <string>

namespace rn {

class Recorder {
  public:
    Recorder(rn_ctx & ctx, rn_step_out & out);

    // Samples from one row of the batch and enters the token into the row's generator.
    void record(const Row & row);

    // Tells how likely the token is that a row was asked about, and the `top` likeliest ones.
    void score(const Row & row, int32_t top);

  private:
    int32_t give_up(Generator & generator);
    int32_t take(Generator & generator, llama_token token);
    void    add_piece(Generator & generator, llama_token token);
    void    finish_text(Generator & generator);
    void    put(int32_t id, llama_token token, int32_t flags);
    float * logits_of(const Row & row) const;
    void    put_logprobs(int32_t top, llama_token token, const float * logits);

    rn_ctx &      ctx_;
    rn_step_out & out_;
    int32_t       n_vocab_;
    int           stop_index_ = -1;
    std::string   piece_;
    std::string   decoded_;
    std::string   text_;
};

} // namespace rn
