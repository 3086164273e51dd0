// How long a model may think: when its tokens for that are spent, the end of the thought is written for it.
#pragma once

#include "json.hpp"
#include "llama.h"
#include "trigger.hpp"

#include <optional>
#include <string>
#include <vector>

namespace rn {

class Budget {
  public:
    // `ending` are the tokens that end a thought; `tokens` may be spent on each one.
    Budget(const llama_vocab * vocab, Thoughts thoughts, int64_t tokens, std::vector<llama_token> ending);

    // The token that has to come next, or LLAMA_TOKEN_NULL: any may.
    llama_token next() const { return at_ < ending_.size() ? ending_[at_] : LLAMA_TOKEN_NULL; }
    // Goes on past a token. Another than the one that had to come: where no end may stand, it is tried again.
    void accept(llama_token token);

  private:
    void count(bool was_open);

    const llama_vocab *      vocab_;
    Thoughts                 thoughts_;
    int64_t                  tokens_;
    int64_t                  left_;
    std::vector<llama_token> ending_;
    size_t                   at_; // of ending_; its size while the model is free
    std::string              character_; // the last bytes of the thought: it does not end within a character
};

// From "reasoning_budget"; nothing where there is none, or the template knows no thoughts.
std::optional<Budget> read_budget(const llama_vocab * vocab, const Fields & settings);

} // namespace rn
