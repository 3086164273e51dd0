#include "grammar.hpp"

#include "grammar_limits.hpp"
#include "guard.hpp"
#include "json-schema-to-grammar.h"
#include "json.hpp"
#include "llama-grammar.h"
#include "llama-vocab.h"
#include "log.hpp"
#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

namespace rn {
namespace {

constexpr size_t MAX_CACHED = 32;

// A trigger is looked for in so many bytes at the end of the text: its regular expression is run anew for each token.
constexpr size_t TRIGGER_BYTES = 1024;

// Ambiguous grammars can double their parse stacks with each character; far fewer are alive in any sensible one.
constexpr size_t MAX_LIVE_STACKS = 4096;

const char * skip_space(const char * text) {
    while (*text != 0 && std::strchr(" \t\r\n#", *text) != nullptr) {
        text += *text == '#' ? std::strcspn(text, "\r\n") : 1;
    }
    return text;
}

// llama_grammar_parser::parse would print a faulty grammar to stderr and hide the reason; its parts throw it.
llama_grammar_parser parse(const llama_vocab * vocab, const std::string & gbnf) {
    check_grammar_text(gbnf);
    llama_grammar_parser parser(vocab);
    try {
        for (const char * next = skip_space(gbnf.c_str()); *next != 0;) {
            next = parser.parse_rule(next);
        }
    } catch (const std::runtime_error & e) {
        fail(RN_E_GRAMMAR, "grammar: %.300s", e.what());
    }
    check_grammar_rules(parser);
    return parser;
}

// What llama_grammar_clone_impl does, which compares every stack entry with every element of every rule: for a schema
// with some hundred alternatives that takes as long as compiling it anew.
llama_grammar * clone(const llama_grammar & from) {
    auto copy = std::make_unique<llama_grammar>(llama_grammar{
        from.vocab, from.rules, from.stacks, from.partial_utf8, from.lazy, from.awaiting_trigger, from.trigger_buffer,
        from.trigger_buffer_positions, from.trigger_tokens, from.trigger_patterns});
    std::map<const llama_grammar_element *, const llama_grammar_element *> moved; // first element of a rule: old, new
    for (size_t i = 0; i < from.rules.size(); ++i) {
        moved[from.rules[i].data()] = copy->rules[i].data();
    }
    for (llama_grammar_stack & stack : copy->stacks) {
        for (const llama_grammar_element *& element : stack) {
            const auto rule = std::prev(moved.upper_bound(element));
            element         = rule->second + (element - rule->first);
        }
    }
    return copy.release();
}

void forget_beginning(llama_grammar & waiting) {
    if (waiting.trigger_buffer.size() <= 2 * TRIGGER_BYTES) {
        return;
    }
    const size_t gone = waiting.trigger_buffer.size() - TRIGGER_BYTES;
    waiting.trigger_buffer.erase(0, gone);
    std::vector<llama_grammar::token_pos> kept;
    for (const auto & [token, span] : waiting.trigger_buffer_positions) {
        if (span.second > gone) {
            kept.push_back({token, {std::max(span.first, gone) - gone, span.second - gone}});
        }
    }
    waiting.trigger_buffer_positions = std::move(kept);
}

} // namespace

Grammar::Grammar(const llama_vocab * vocab, const std::string & gbnf) {
    const llama_grammar_parser parser = parse(vocab, gbnf);
    const uint64_t             mark   = log_mark();
    llama_grammar_stack        rules  = parser.c_rules();
    grammar_ = llama_grammar_init_impl(vocab, rules.data(), rules.size(), parser.symbol_ids.at("root"));
    if (grammar_ == nullptr) {
        fail(RN_E_GRAMMAR, "grammar: %s", log_errors_since(mark).c_str());
    }
}

Grammar::Grammar(const Grammar & other) : grammar_(clone(*other.grammar_)), thoughts_(other.thoughts_) {}

void Grammar::wait_for(const Trigger & trigger) {
    thoughts_                  = trigger.thoughts;
    grammar_->lazy             = true;
    grammar_->awaiting_trigger = true;
    grammar_->trigger_tokens   = trigger.tokens;
    for (const std::string & pattern : trigger.patterns) {
        try {
            grammar_->trigger_patterns.push_back({pattern, std::regex(pattern)});
        } catch (const std::regex_error & e) {
            fail(RN_E_GRAMMAR, "grammar_triggers: \"%.80s\": %.200s", pattern.c_str(), e.what());
        }
    }
}

Grammar::~Grammar() {
    llama_grammar_free_impl(grammar_);
}

void Grammar::apply(llama_token_data_array & candidates) const {
    llama_grammar_apply_impl(*grammar_, &candidates);
}

bool Grammar::allows(llama_token token) const {
    llama_token_data       one  = {token, 1.0f, 0.0f};
    llama_token_data_array only = {&one, 1, -1, false};
    apply(only);
    return one.logit != -INFINITY;
}

bool Grammar::accept(llama_token token) {
    if (grammar_->awaiting_trigger && thoughts_.holds(grammar_->vocab->token_to_piece(token))) {
        return true;
    }
    try {
        llama_grammar_accept_impl(*grammar_, token);
    } catch (const std::runtime_error &) {
        return false; // no stack is left; llama.cpp reports it so
    }
    if (grammar_->awaiting_trigger) {
        forget_beginning(*grammar_);
    }
    return llama_grammar_get_stacks(grammar_).size() <= MAX_LIVE_STACKS;
}

std::string schema_to_gbnf(const char * schema_json) {
    try {
        check_schema_text(&need(schema_json, "schema"));
        const common_json schema = parse_json(schema_json, "JSON schema");
        // An empty schema allows anything; a reply in JSON mode should be an object.
        return json_schema_to_grammar(schema.empty() ? common_json{{"type", "object"}} : schema);
    } catch (const Failure & e) {
        throw Failure(e.code == RN_E_PARSE ? RN_E_GRAMMAR : e.code, e.what());
    } catch (const std::exception & e) {
        fail(RN_E_GRAMMAR, "JSON schema: %.300s", e.what());
    }
}

Grammar GrammarCache::of_gbnf(const std::string & gbnf) {
    const std::string key   = "gbnf\n" + gbnf;
    Prototype         found = find(key);
    return Grammar(*(found ? found : keep(key, std::make_shared<const Grammar>(vocab_, gbnf))));
}

Grammar GrammarCache::of_schema(const std::string & schema_json) {
    const std::string key   = "schema\n" + schema_json;
    Prototype         found = find(key);
    if (found == nullptr) {
        found = keep(key, std::make_shared<const Grammar>(vocab_, schema_to_gbnf(schema_json.c_str())));
    }
    return Grammar(*found);
}

GrammarCache::Prototype GrammarCache::find(const std::string & key) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry & e) { return e.key == key; });
    if (found == entries_.end()) {
        return nullptr;
    }
    entries_.splice(entries_.begin(), entries_, found);
    return found->grammar;
}

// Two threads may compile the same text at once; one result is kept twice at worst, until it gives way.
GrammarCache::Prototype GrammarCache::keep(const std::string & key, Prototype grammar) {
    std::lock_guard<std::mutex> lock(mutex_);
    entries_.push_front({key, grammar});
    if (entries_.size() > MAX_CACHED) {
        entries_.pop_back();
    }
    return grammar;
}

} // namespace rn

int32_t rn_schema_to_grammar(const char * schema_json, rn_buf * gbnf) {
    return rn::guard([&] {
        rn::need(gbnf, "gbnf");
        rn::fill(gbnf, rn::schema_to_gbnf(schema_json));
        return RN_OK;
    });
}

int32_t rn_grammar_check(rn_model * handle, const char * gbnf) {
    return rn::guard([&] {
        rn::Model & model = *rn::need(handle, "model").shared;
        model.need_vocab();
        model.grammars.of_gbnf(&rn::need(gbnf, "gbnf"));
        return RN_OK;
    });
}
