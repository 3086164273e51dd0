// A generator: one answer in the making. Its sampler, its text on the way out, and where its next token goes.
#pragma once

#include "sampler.hpp"
#include "text.hpp"

#include <memory>
#include <mutex>
#include <set>
#include <vector>

namespace rn {

struct Generator {
    Generator(Model & model, const Fields & fields, int32_t n_ctx);

    Sampler           sampler;
    Utf8Decoder       decoder;
    StopScanner       scanner;
    std::set<int32_t> preserved;    // special tokens that are shown all the same
    int64_t           max_tokens;   // -1: none
    int32_t           top_logprobs; // -1: none asked

    int32_t seq     = -1; // -1: not bound yet
    int32_t n_past  = 0;  // where the next row of this sequence goes
    int32_t pending = -1; // sampled, not yet computed
    int64_t sampled = 0;
    bool    primed  = false;
    bool    ended   = false;
};

// The generators of one context by small ids that are used again. Thread-safe; who holds a pointer keeps it alive.
class Generators {
  public:
    int32_t                    add(std::shared_ptr<Generator> generator);
    std::shared_ptr<Generator> get(int32_t id); // throws Failure(RN_E_ARG)
    void                       remove(int32_t id);

  private:
    std::mutex                              mutex_;
    std::vector<std::shared_ptr<Generator>> slots_;
};

} // namespace rn
