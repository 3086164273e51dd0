#include "grammar_limits.hpp"

#include "guard.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace rn {
namespace {

constexpr size_t MAX_SCHEMA_BYTES  = 128 * 1024;
constexpr size_t MAX_GRAMMAR_BYTES = 1024 * 1024; // a schema's grammar is several times its size
constexpr size_t MAX_GROUP_DEPTH   = 128;         // the GBNF and regular expression parsers recurse at each "("
constexpr size_t MAX_ELEMENTS      = 1'000'000;
constexpr size_t MAX_RULE_DEPTH    = 2048;   // rules that begin with rules; llama.cpp recurses along them
constexpr size_t MAX_BEGINNINGS    = 20'000; // parse stacks made when one rule is entered

size_t group_depth(const char * text) {
    size_t depth   = 0;
    size_t deepest = 0;
    for (; *text != 0; ++text) {
        if (*text == '(') {
            deepest = std::max(deepest, ++depth);
        } else if (*text == ')' && depth > 0) {
            --depth;
        }
    }
    return deepest;
}

// Walks the rules along their beginnings: what may come first when a rule is entered.
class Beginnings {
  public:
    explicit Beginnings(const llama_grammar_rules & rules) : rules_(rules), found_(rules.size()) {}

    void check() {
        for (size_t rule = 0; rule < rules_.size(); ++rule) {
            visit(rule, 0);
        }
    }

  private:
    enum class State { UNSEEN, OPEN, DONE };
    struct Found {
        State  state     = State::UNSEEN;
        bool   may_empty = false;
        size_t ways      = 0;
    };

    const Found & visit(size_t rule, size_t depth) {
        Found & found = found_[rule];
        if (found.state == State::DONE) {
            return found;
        }
        if (found.state == State::OPEN) {
            fail(RN_E_GRAMMAR, "grammar: a rule begins with itself (left recursion)");
        }
        if (depth > MAX_RULE_DEPTH) {
            fail(RN_E_GRAMMAR, "grammar: rules nested deeper than %zu", MAX_RULE_DEPTH);
        }
        found.state = State::OPEN;
        bool at_beginning = true; // nothing but rules that may be empty was passed in this alternative
        for (const llama_grammar_element & element : rules_[rule]) {
            step(element, found, at_beginning, depth);
        }
        found.state = State::DONE;
        return found;
    }

    void step(const llama_grammar_element & element, Found & found, bool & at_beginning, size_t depth) {
        if (element.type == LLAMA_GRETYPE_ALT || element.type == LLAMA_GRETYPE_END) {
            found.may_empty = found.may_empty || at_beginning;
            at_beginning    = true;
            return;
        }
        if (!at_beginning) {
            return;
        }
        const bool  is_rule = element.type == LLAMA_GRETYPE_RULE_REF;
        const Found inner   = is_rule ? visit(element.value, depth + 1) : Found{State::DONE, false, 1};
        at_beginning        = inner.may_empty;
        found.ways += inner.ways;
        if (found.ways > MAX_BEGINNINGS) {
            fail(RN_E_GRAMMAR, "grammar: too ambiguous, a rule can begin in more than %zu ways", MAX_BEGINNINGS);
        }
    }

    const llama_grammar_rules & rules_;
    std::vector<Found>          found_;
};

void check_references(const llama_grammar_parser & parser) {
    size_t elements = 0;
    for (const auto & [name, id] : parser.symbol_ids) {
        if (id >= parser.rules.size() || parser.rules[id].empty()) {
            fail(RN_E_GRAMMAR, "grammar: rule \"%.80s\" is not defined", name.c_str());
        }
        elements += parser.rules[id].size();
    }
    if (elements > MAX_ELEMENTS) {
        fail(RN_E_GRAMMAR, "grammar: more than %zu elements", MAX_ELEMENTS);
    }
    if (parser.symbol_ids.count("root") == 0) {
        fail(RN_E_GRAMMAR, "grammar: there is no rule \"root\"");
    }
}

} // namespace

void check_schema_text(const char * text) {
    if (std::strlen(text) > MAX_SCHEMA_BYTES) {
        fail(RN_E_GRAMMAR, "JSON schema: more than %zu bytes", MAX_SCHEMA_BYTES);
    }
    if (group_depth(text) > MAX_GROUP_DEPTH) {
        fail(RN_E_GRAMMAR, "JSON schema: parentheses nested deeper than %zu", MAX_GROUP_DEPTH);
    }
}

void check_grammar_text(const std::string & gbnf) {
    if (gbnf.size() > MAX_GRAMMAR_BYTES) {
        fail(RN_E_GRAMMAR, "grammar: more than %zu bytes", MAX_GRAMMAR_BYTES);
    }
    if (gbnf.compare(0, 11, "%llguidance") == 0) {
        fail(RN_E_GRAMMAR, "grammar: %%llguidance grammars are not supported");
    }
    if (group_depth(gbnf.c_str()) > MAX_GROUP_DEPTH) {
        fail(RN_E_GRAMMAR, "grammar: parentheses nested deeper than %zu", MAX_GROUP_DEPTH);
    }
}

void check_grammar_rules(const llama_grammar_parser & parser) {
    check_references(parser);
    Beginnings(parser.rules).check();
}

} // namespace rn
