// The rules of a format over a text that grows. llama.cpp's executor of the same rules begins anew with each call; this
// one goes on where the last call stopped, so that a text costs what its length is, in however many pieces it comes.
#pragma once

#include "peg-parser.h"
#include "trie.h"

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rn {

struct PegNode;
using PegNodes = std::vector<std::shared_ptr<const PegNode>>;
using PegRuns  = std::vector<common_peg_invalid_utf8>;

// What a named rule or a tag covers; names belong to the rules.
struct PegNode {
    const std::string * rule;
    const std::string * tag;
    size_t              start;
    size_t              end;
    bool                is_partial;
    PegNodes            children;
    PegRuns             invalid_utf8;
};

class PegParse {
  public:
    // The rules outlive the parse. Nodes of rules without a tag inside are left out unless they are wanted.
    PegParse(const common_peg_arena & rules, bool with_bare_rules, std::string beginning) :
        rules_(rules), with_bare_rules_(with_bare_rules), text_(std::move(beginning)) {}

    // Adds text. Whether what there is fits the rules so far, or did before and what follows is beyond them.
    bool feed(std::string_view piece);

    const std::string & text() const { return text_; }

    // No text that follows changes the outcome.
    bool is_settled() const { return outcome_.is_settled; }

    // What the named rules and tags cover; empty where the text does not fit.
    const PegNodes & nodes() const { return outcome_.nodes; }

    // Rules tried and bytes read until now.
    uint64_t work() const { return work_; }

  private:
    // One rule at one place, which the end of the text cut short: what of it is certain, and what inside it is not.
    struct Frame {
        common_peg_parser_id id    = COMMON_PEG_INVALID_PARSER_ID;
        size_t               start = 0;
        size_t               done  = 0; // children of a sequence or a choice, matches of a repetition
        size_t               pos   = 0; // where the certain part ends
        PegNodes             nodes;
        PegRuns              invalid_utf8;
        std::vector<Frame>   open;
    };

    struct Outcome {
        common_peg_parse_result_type type       = COMMON_PEG_PARSE_RESULT_FAIL;
        size_t                       end        = 0;
        bool                         is_settled = false; // the end of the text was not looked at
        PegNodes                     nodes;
        PegRuns                      invalid_utf8;
    };

    class Inside;
    class Row;

    const common_trie & delimiters(const common_peg_until_parser & rule);

    const common_peg_arena & rules_;
    const bool               with_bare_rules_;
    std::string              text_;
    std::vector<Frame>       open_; // of the root, one at most
    Outcome                  outcome_;
    uint64_t                 work_  = 0;
    int                      depth_ = 0;

    std::unordered_map<const common_peg_until_parser *, common_trie> tries_;
};

} // namespace rn
