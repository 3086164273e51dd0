#include "budget.hpp"

#include "common.h"
#include "unicode.h"

namespace rn {
namespace {

constexpr size_t MAX_CHARACTER_BYTES = 4;

} // namespace

Budget::Budget(const llama_vocab * vocab, Thoughts thoughts, int64_t tokens, std::vector<llama_token> ending) :
    vocab_(vocab), thoughts_(std::move(thoughts)), tokens_(tokens), left_(tokens), ending_(std::move(ending)),
    at_(thoughts_.is_open() && left_ == 0 ? 0 : ending_.size()) {}

void Budget::accept(llama_token token) {
    const std::string piece    = common_token_to_piece(vocab_, token, true);
    const bool        was_open = thoughts_.is_open();
    thoughts_.holds(piece);
    character_ += piece;
    character_.erase(0, character_.size() - std::min(character_.size(), MAX_CHARACTER_BYTES));
    if (token == next()) {
        ++at_;
        return;
    }
    at_ = ending_.size();
    if (thoughts_.is_open()) {
        count(was_open);
    }
}

void Budget::count(bool was_open) {
    left_ = was_open ? left_ - 1 : tokens_;
    if (left_ <= 0 && common_utf8_is_complete(character_)) {
        at_ = 0;
    }
}

std::optional<Budget> read_budget(const llama_vocab * vocab, const Fields & settings) {
    if (!settings.has("reasoning_budget")) {
        return std::nullopt;
    }
    const Fields                   fields(settings.at("reasoning_budget"), "reasoning_budget");
    const int64_t                  tokens = fields.integer("tokens", 0, 0, INT32_MAX);
    const std::string              start  = fields.string("thinking_start_tag");
    const std::vector<std::string> ends   = fields.strings("thinking_end_tags");
    if (start.empty() || ends.empty()) {
        return std::nullopt;
    }
    // What a client wrote names no special tokens; the tag may be one.
    std::vector<llama_token>       ending = common_tokenize(vocab, fields.string("message"), false, false);
    const std::vector<llama_token> tag    = common_tokenize(vocab, ends.front(), false, true);
    ending.insert(ending.end(), tag.begin(), tag.end());
    return Budget(vocab, Thoughts(start, ends, fields.string("generation_prompt")), tokens, std::move(ending));
}

} // namespace rn
