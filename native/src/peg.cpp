// Each rule answers as in llama.cpp's common/peg-parser.cpp, always in its lenient way; native/tests/parsing.cpp compares
// the two. What is added: an outcome is settled where no rule below it met the end of the text, as then no text that
// follows can change it. Whatever is not settled keeps a frame: what of it is settled, and the frames inside it.
#include "peg.hpp"

#include "unicode.h"

#include <cctype>
#include <utility>

namespace rn {
namespace {

// Rules within rules, eight for a level of JSON, in less than a MiB of stack: what is nested deeper does not fit.
constexpr int MAX_DEPTH = 1000;

constexpr auto FAIL    = COMMON_PEG_PARSE_RESULT_FAIL;
constexpr auto SUCCESS = COMMON_PEG_PARSE_RESULT_SUCCESS;
constexpr auto MORE    = COMMON_PEG_PARSE_RESULT_NEED_MORE_INPUT;

template <class T> void append(std::vector<T> & to, std::vector<T> && from) {
    if (to.empty()) {
        to = std::move(from);
    } else {
        to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
    }
}

bool contains(const common_peg_chars_parser & rule, uint32_t codepoint) {
    for (const auto & range : rule.ranges) {
        if (range.contains(codepoint)) {
            return !rule.negated;
        }
    }
    return rule.negated;
}

// How an escape in a string goes on from the backslash at `pos`, and behind it.
common_peg_parse_result_type skip_escape(std::string_view text, size_t & pos, char delimiter) {
    if (pos + 1 >= text.size()) {
        return MORE;
    }
    const char kind = text[pos + 1];
    if (kind != 'u') {
        pos += 2;
        return kind == delimiter || std::string_view("\\/bfnrt").find(kind) != std::string_view::npos ? SUCCESS : FAIL;
    }
    for (size_t digit = pos + 2; digit < pos + 6; ++digit) {
        if (digit >= text.size()) {
            return MORE;
        }
        if (std::isxdigit(static_cast<unsigned char>(text[digit])) == 0) {
            return FAIL;
        }
    }
    pos += 6;
    return SUCCESS;
}

} // namespace

// Goes through the children of one frame: what they give is the frame's as long as all is settled, and lent after that.
class PegParse::Row {
  public:
    Row(Frame & frame) : frame_(frame), pos_(frame.pos) {}

    size_t pos() const { return pos_; }
    bool   is_settled() const { return is_settled_; }
    void   unsettle() { is_settled_ = false; }

    void take(Outcome && child) {
        is_settled_ = is_settled_ && child.is_settled;
        pos_        = child.end;
        append(is_settled_ ? frame_.nodes : nodes_, std::move(child.nodes));
        append(is_settled_ ? frame_.invalid_utf8 : invalid_utf8_, std::move(child.invalid_utf8));
        if (is_settled_) {
            frame_.pos = pos_;
            ++frame_.done;
        }
    }

    Outcome end(common_peg_parse_result_type type) {
        Outcome all{type, pos_, is_settled_, {}, {}};
        if (type != FAIL) {
            all.nodes        = frame_.nodes;
            all.invalid_utf8 = frame_.invalid_utf8;
            append(all.nodes, std::move(nodes_));
            append(all.invalid_utf8, std::move(invalid_utf8_));
        }
        return all;
    }

  private:
    Frame &  frame_;
    size_t   pos_;
    bool     is_settled_ = true;
    PegNodes nodes_;
    PegRuns  invalid_utf8_;
};

// One rule in its frame.
class PegParse::Inside {
  public:
    Inside(PegParse & parse, Frame & frame) :
        parse_(parse), text_(parse.text_), frame_(frame), read_from_(frame.pos),
        former_(std::exchange(frame.open, {})) {}

    // Tries a rule at a place, from the frame that it left there if it did, and keeps its frame if it is not settled.
    static Outcome attempt(PegParse & parse, common_peg_parser_id id, size_t start, std::vector<Frame> & former,
                           std::vector<Frame> & open) {
        ++parse.work_;
        if (parse.depth_ == MAX_DEPTH) {
            return {FAIL, start, true, {}, {}};
        }
        Frame frame;
        frame.id    = id;
        frame.start = frame.pos = start;
        for (Frame & known : former) {
            if (known.id == id && known.start == start) {
                frame    = std::move(known);
                known.id = COMMON_PEG_INVALID_PARSER_ID; // nothing is left in it
                break;
            }
        }
        ++parse.depth_;
        Outcome outcome = std::visit(Inside(parse, frame), parse.rules_.get(id));
        --parse.depth_;
        if (!outcome.is_settled) {
            open.push_back(std::move(frame));
        }
        return outcome;
    }

    Outcome operator()(const common_peg_epsilon_parser &) { return settled(SUCCESS, frame_.start); }

    Outcome operator()(const common_peg_start_parser &) {
        return settled(frame_.start == 0 ? SUCCESS : FAIL, frame_.start);
    }

    Outcome operator()(const common_peg_end_parser &) {
        return is_end(frame_.start) ? cut(SUCCESS, frame_.start) : settled(FAIL, frame_.start);
    }

    Outcome operator()(const common_peg_literal_parser & rule) {
        const std::string_view here = text_.substr(frame_.start, rule.literal.size());
        if (rule.literal.compare(0, here.size(), here) != 0) {
            return settled(FAIL, frame_.start);
        }
        frame_.pos = frame_.start + here.size();
        return here.size() == rule.literal.size() ? settled(SUCCESS, frame_.pos) : cut(MORE, frame_.pos);
    }

    Outcome operator()(const common_peg_sequence_parser & rule) {
        Row row(frame_);
        for (size_t i = frame_.done; i < rule.children.size(); ++i) {
            Outcome                            child = inner(rule.children[i], row.pos());
            const common_peg_parse_result_type type  = child.type;
            row.take(std::move(child));
            if (type != SUCCESS) {
                return row.end(type);
            }
        }
        return row.end(SUCCESS);
    }

    Outcome operator()(const common_peg_choice_parser & rule) {
        bool is_settled = true;
        for (size_t i = frame_.done; i < rule.children.size(); ++i) {
            Outcome child = inner(rule.children[i], frame_.start);
            is_settled    = is_settled && child.is_settled;
            if (child.type != FAIL) {
                child.is_settled = is_settled;
                return child;
            }
            frame_.done += is_settled ? 1 : 0;
        }
        return {FAIL, frame_.start, is_settled, {}, {}};
    }

    Outcome operator()(const common_peg_repetition_parser & rule) {
        Row row(frame_);
        int count = static_cast<int>(frame_.done);
        for (; rule.max_count == -1 || count < rule.max_count; ++count) {
            if (is_end(row.pos())) {
                row.unsettle();
                break;
            }
            const size_t before = row.pos();
            Outcome      child  = inner(rule.child, before);
            if (child.type == MORE) {
                row.take(std::move(child));
                return row.end(MORE);
            }
            if (child.type == FAIL || child.end == before) {
                if (!child.is_settled) {
                    row.unsettle();
                }
                break;
            }
            row.take(std::move(child));
        }
        if (count >= rule.min_count) {
            return row.end(SUCCESS);
        }
        return row.end(is_end(row.pos()) ? MORE : FAIL);
    }

    Outcome operator()(const common_peg_and_parser & rule) {
        const Outcome child = inner(rule.child, frame_.start);
        return {child.type, frame_.start, child.is_settled, {}, {}};
    }

    Outcome operator()(const common_peg_not_parser & rule) {
        const Outcome child = inner(rule.child, frame_.start);
        const auto    type  = child.type == MORE ? MORE : child.type == SUCCESS ? FAIL : SUCCESS;
        return {type, frame_.start, child.is_settled, {}, {}};
    }

    Outcome operator()(const common_peg_any_parser &) {
        const utf8_parse_result symbol = common_parse_utf8_codepoint(text_, frame_.start);
        if (symbol.status == utf8_parse_result::INCOMPLETE) {
            return cut(MORE, frame_.start);
        }
        return symbol.status == utf8_parse_result::SUCCESS ? settled(SUCCESS, frame_.start + symbol.bytes_consumed) :
                                                             settled(FAIL, frame_.start);
    }

    Outcome operator()(const common_peg_space_parser &) {
        while (!is_end(frame_.pos) && std::isspace(static_cast<unsigned char>(text_[frame_.pos])) != 0) {
            ++frame_.pos;
        }
        return is_end(frame_.pos) ? cut(SUCCESS, frame_.pos) : settled(SUCCESS, frame_.pos);
    }

    Outcome operator()(const common_peg_chars_parser & rule) {
        const auto is_enough = [&] { return static_cast<int>(frame_.done) >= rule.min_count; };
        while (rule.max_count == -1 || static_cast<int>(frame_.done) < rule.max_count) {
            const utf8_parse_result symbol = common_parse_utf8_codepoint(text_, frame_.pos);
            if (symbol.status == utf8_parse_result::INCOMPLETE) {
                return cut(is_enough() ? SUCCESS : MORE, frame_.pos);
            }
            if (symbol.status == utf8_parse_result::INVALID || !contains(rule, symbol.codepoint)) {
                break;
            }
            frame_.pos += symbol.bytes_consumed;
            ++frame_.done;
        }
        return settled(is_enough() ? SUCCESS : FAIL, frame_.pos);
    }

    Outcome operator()(const common_peg_string_parser & rule) {
        while (!is_end(frame_.pos)) {
            if (text_[frame_.pos] == rule.delimiter) {
                return settled(SUCCESS, frame_.pos);
            }
            if (text_[frame_.pos] == '\\') {
                const auto type = skip_escape(text_, frame_.pos, rule.delimiter);
                if (type != SUCCESS) {
                    return type == MORE ? cut(MORE, frame_.pos) : settled(FAIL, frame_.start);
                }
                continue;
            }
            const utf8_parse_result symbol = common_parse_utf8_codepoint(text_, frame_.pos);
            if (symbol.status == utf8_parse_result::INVALID) {
                return settled(FAIL, frame_.start);
            }
            if (symbol.status == utf8_parse_result::INCOMPLETE) {
                break;
            }
            frame_.pos += symbol.bytes_consumed;
        }
        return cut(MORE, frame_.pos);
    }

    Outcome operator()(const common_peg_until_parser & rule) {
        const common_trie & delimiters = parse_.delimiters(rule);
        while (!is_end(frame_.pos)) {
            const utf8_parse_result symbol = common_parse_utf8_codepoint(text_, frame_.pos);
            if (symbol.status == utf8_parse_result::INCOMPLETE) {
                break;
            }
            if (symbol.status == utf8_parse_result::INVALID) {
                frame_.invalid_utf8.push_back({frame_.pos, symbol.bytes_consumed});
            } else if (const auto match = delimiters.check_at(text_, frame_.pos); match != common_trie::NO_MATCH) {
                return match == common_trie::COMPLETE_MATCH ? settled(SUCCESS, frame_.pos) : cut(SUCCESS, frame_.pos);
            }
            frame_.pos += symbol.bytes_consumed;
        }
        return cut(MORE, frame_.pos);
    }

    Outcome operator()(const common_peg_rule_parser & rule) {
        Outcome child = inner(rule.child, frame_.start);
        if (child.type == FAIL || (child.nodes.empty() && !parse_.with_bare_rules_)) {
            return child;
        }
        return covered(std::move(child), rule.name, NO_NAME);
    }

    Outcome operator()(const common_peg_tag_parser & rule) {
        Outcome child = inner(rule.child, frame_.start);
        return child.type == FAIL ? std::move(child) : covered(std::move(child), NO_NAME, rule.tag);
    }

    Outcome operator()(const common_peg_atomic_parser & rule) {
        Outcome child = inner(rule.child, frame_.start);
        if (child.type == MORE) {
            child.nodes.clear();
        }
        return child;
    }

    Outcome operator()(const common_peg_ref_parser & rule) {
        return inner(parse_.rules_.get_rule(rule.name), frame_.start);
    }

    Outcome operator()(const common_peg_schema_parser & rule) { return inner(rule.child, frame_.start); }
    Outcome operator()(const common_peg_gbnf_parser & rule) { return inner(rule.child, frame_.start); }
    Outcome operator()(const common_peg_ac_parser & rule) { return inner(rule.child, frame_.start); }

  private:
    inline static const std::string NO_NAME;

    bool is_end(size_t pos) const { return pos >= text_.size(); }

    Outcome inner(common_peg_parser_id id, size_t start) { return attempt(parse_, id, start, former_, frame_.open); }

    // What a rule without others inside answers.
    Outcome settled(common_peg_parse_result_type type, size_t end) { return leaf(type, end, true); }
    Outcome cut(common_peg_parse_result_type type, size_t end) { return leaf(type, end, false); }

    Outcome leaf(common_peg_parse_result_type type, size_t end, bool is_settled) {
        parse_.work_ += frame_.pos - read_from_;
        return {type, end, is_settled, {}, frame_.invalid_utf8};
    }

    Outcome covered(Outcome && child, const std::string & rule, const std::string & tag) const {
        child.nodes = {std::make_shared<const PegNode>(PegNode{&rule, &tag, frame_.start, child.end, child.type == MORE,
                                                               std::move(child.nodes), child.invalid_utf8})};
        return std::move(child);
    }

    PegParse &         parse_;
    std::string_view   text_;
    Frame &            frame_;
    size_t             read_from_;
    std::vector<Frame> former_; // frames of last time
};

const common_trie & PegParse::delimiters(const common_peg_until_parser & rule) {
    return tries_.try_emplace(&rule, rule.delimiters).first->second;
}

bool PegParse::feed(std::string_view piece) {
    text_.append(piece);
    if (!outcome_.is_settled) {
        std::vector<Frame> former = std::exchange(open_, {});
        depth_                    = 0;
        outcome_                  = Inside::attempt(*this, rules_.root(), 0, former, open_);
    }
    return outcome_.type != FAIL;
}

} // namespace rn
