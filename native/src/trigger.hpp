// When a lazy grammar begins to constrain: at its trigger, unless the model is still thinking.
#pragma once

#include "json.hpp"

#include <optional>
#include <string>
#include <vector>

namespace rn {

// Follows the text through its thoughts, which no grammar looks into.
class Thoughts {
  public:
    Thoughts() = default;
    // `written` is what of the answer the prompt already holds: it may open a thought.
    Thoughts(std::string start, std::vector<std::string> ends, const std::string & written);

    // Goes on past a piece; whether it belongs to a thought.
    bool holds(const std::string & piece);
    bool is_open() const { return open_; }

  private:
    std::string              start_;
    std::vector<std::string> ends_;
    bool                     open_ = false;
    std::string              tail_; // long enough for a mark that comes in several pieces
};

// What a lazy grammar waits for.
struct Trigger {
    std::vector<std::string> patterns; // regular expressions; the grammar begins at the first group
    std::vector<int32_t>     tokens;
    Thoughts                 thoughts;
};

// From "grammar_lazy", "grammar_triggers", "thinking_start_tag", "thinking_end_tags" and "generation_prompt"; nothing for
// a grammar that constrains from the beginning.
std::optional<Trigger> read_trigger(const Fields & fields);

} // namespace rn
