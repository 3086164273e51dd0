// A draft model: a smaller one with the same vocabulary, whose likeliest tokens serve as guesses.
#pragma once

#include <cstdint>
#include <vector>

struct rn_ctx;

namespace rn {

// What one sequence wants guessed: up to `count` tokens behind its pending one.
struct Wish {
    int32_t              seq;
    int32_t              pending;
    int32_t              count;
    std::vector<int32_t> guesses;
};

// Fills the wishes that have no guesses yet, all sequences in one batch. First the draft's memory follows the target's:
// what both begin with stays, the rest is computed, a batch in each call, so that a long prompt delays no step for long;
// a sequence gets guesses once it is complete. They end where the draft is unsure. Without room in the draft's memory
// there are none.
void ask_draft_model(const rn_ctx & target, rn_ctx & draft, std::vector<Wish> & wishes);

} // namespace rn
