// Prompt lookup: guesses what follows a text from the text itself. Knows no model.
#pragma once

#include <cstdint>
#include <vector>

namespace rn {

// Appends to `guesses` up to `count` tokens that may follow `known` and then `last`: those that followed the earlier
// place which agrees with this end for longest, the latest of equals. Nothing where fewer than LEAST_AGREEMENT tokens
// agree. A guess may run over the end of the text into itself, so that a text which repeats is guessed for ever.
// A negative token in `known` stands for one that is not known, and is never guessed.
void look_up(const std::vector<int32_t> & known, int32_t last, int32_t count, std::vector<int32_t> & guesses);

constexpr int32_t LEAST_AGREEMENT = 2;  // one token alone foretells little
constexpr int32_t MOST_AGREEMENT  = 32; // what agrees for longer is not compared further: this bounds the cost

} // namespace rn
