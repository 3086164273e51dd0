#include "trigger.hpp"

#include "common.h"
#include "guard.hpp"

#include <algorithm>

namespace rn {
namespace {

constexpr size_t MAX_TRIGGERS = 32;

// llama.cpp matches a pattern of the form ^...$ against the whole text.
std::string anchored(const std::string & pattern) {
    const bool begins = !pattern.empty() && pattern.front() == '^';
    const bool ends   = !pattern.empty() && pattern.back() == '$';
    return (begins ? "" : "^") + pattern + (ends ? "" : "$");
}

void add(Trigger & trigger, const Fields & from) {
    const std::string value = from.string("value");
    switch (from.integer("type", -1, 0, INT32_MAX)) {
        case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN:
            trigger.tokens.push_back(static_cast<int32_t>(from.integer("token", -1, 0, INT32_MAX)));
            break;
        case COMMON_GRAMMAR_TRIGGER_TYPE_WORD:         trigger.patterns.push_back(regex_escape(value)); break;
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN:      trigger.patterns.push_back(value); break;
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL: trigger.patterns.push_back(anchored(value)); break;
        default:                                       fail(RN_E_ARG, "grammar_triggers: unknown type");
    }
}

} // namespace

Thoughts::Thoughts(std::string start, std::vector<std::string> ends, const std::string & written) :
    start_(std::move(start)), ends_(std::move(ends)) {
    holds(written);
}

bool Thoughts::holds(const std::string & piece) {
    if (start_.empty() || ends_.empty()) {
        return false;
    }
    const bool was_open = open_;
    tail_ += piece;
    for (bool moved = true; moved;) { // a piece may close one thought and open the next
        size_t at   = std::string::npos;
        size_t size = 0;
        for (const std::string & mark : open_ ? ends_ : std::vector<std::string>{start_}) {
            const size_t found = tail_.find(mark);
            if (!mark.empty() && found < at) {
                at   = found;
                size = mark.size();
            }
        }
        moved = at != std::string::npos;
        if (moved) {
            tail_.erase(0, at + size);
            open_ = !open_;
        }
    }
    size_t longest = start_.size();
    for (const std::string & end : ends_) {
        longest = std::max(longest, end.size());
    }
    tail_.erase(0, tail_.size() - std::min(tail_.size(), longest));
    return was_open || open_;
}

std::optional<Trigger> read_trigger(const Fields & fields) {
    if (!fields.boolean("grammar_lazy", false)) {
        return std::nullopt;
    }
    const common_json & triggers = fields.at("grammar_triggers");
    if (!triggers.is_array() || triggers.size() == 0 || triggers.size() > MAX_TRIGGERS) {
        fail(RN_E_ARG, "grammar_triggers: a lazy grammar needs 1 to %zu", MAX_TRIGGERS);
    }
    Trigger trigger;
    for (const common_json & one : triggers) {
        add(trigger, Fields(one, "grammar_triggers"));
    }
    trigger.thoughts = Thoughts(fields.string("thinking_start_tag"), fields.strings("thinking_end_tags"),
                                fields.string("generation_prompt"));
    return trigger;
}

} // namespace rn
