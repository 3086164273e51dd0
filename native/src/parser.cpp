// From the model's text to content, reasoning and tool calls, piece by piece.
#include "guard.hpp"
#include "json.hpp"
#include "message.hpp"
#include "peg.hpp"

#include <algorithm>
#include <memory>

struct rn_parser {
    explicit rn_parser(common_chat_format f) : format(f), message(f) {}

    common_chat_format            format;
    bool                          is_plain = false; // text is content as it comes
    common_peg_arena              rules;
    std::unique_ptr<rn::PegParse> parse;            // of the end of the prompt, then of the answer
    rn::Message                   message;
    size_t                        began   = 0;      // bytes of the parse's text that are the prompt's
    size_t                        covered = 0;      // bytes of it that the deltas given so far were made from
    bool                          is_told = false;  // all that the rules will ever find in it
};

namespace rn {
namespace {

common_chat_format format_of(const std::string & name) {
    for (int i = 0; i < COMMON_CHAT_FORMAT_COUNT; ++i) {
        const auto format = static_cast<common_chat_format>(i);
        if (name == common_chat_format_name(format)) {
            return format;
        }
    }
    fail(RN_E_ARG, "format: \"%.40s\" is unknown", name.c_str());
}

std::unique_ptr<rn::PegParse> make_parse(const rn_parser & parser, std::string text) {
    // Gemma 4's mapper alone looks at rules that have no tags.
    const bool with_bare_rules = parser.format == COMMON_CHAT_FORMAT_PEG_GEMMA4;
    return std::make_unique<rn::PegParse>(parser.rules, with_bare_rules, std::move(text));
}

std::unique_ptr<rn_parser> make_parser(const char * json) {
    const Fields      fields(json, "rn_parser_new");
    const std::string rules  = fields.string("parser");
    const std::string prompt = fields.string("generation_prompt");
    auto              parser = std::make_unique<rn_parser>(format_of(fields.string("format", "Content-only")));
    parser->is_plain         = rules.empty();
    if (!parser->is_plain) {
        parser->rules.load(rules);
        parser->parse = make_parse(*parser, prompt);
        parser->began = parser->covered = prompt.size();
    }
    return parser;
}

constexpr size_t MAX_MARK = 64; // bytes

enum class End { NOT_YET = 0, COMPLETE = 1, CUT = 2 };

// What is new in the message. Throws where it does not continue what was shown.
common_json show(rn_parser & parser, const PegParse & parse) {
    common_json deltas = parser.message.follow(parse);
    if (!deltas.empty()) {
        parser.covered = parse.text().size();
    }
    return deltas;
}

// Of a text that was cut off within a mark there may be no parse: then, where nothing was shown yet, of what is before.
common_json show_beginning(rn_parser & parser) {
    const std::string & text   = parser.parse->text();
    const size_t        most   = parser.covered > parser.began ? 0 : std::min(MAX_MARK, text.size() - parser.began);
    common_json         deltas = common_json::array();
    for (size_t gone = 1; deltas.empty() && gone < most; ++gone) {
        const auto parse = make_parse(parser, text.substr(0, text.size() - gone));
        if (parse->feed("")) {
            deltas = show(parser, *parse);
        }
    }
    return deltas;
}

common_json feed(rn_parser & parser, std::string_view text, End end) {
    common_json deltas = common_json::array();
    if (parser.is_plain) {
        if (!text.empty()) {
            deltas.push_back({{"content", text}});
        }
        return deltas;
    }
    try {
        if (parser.parse->feed(text)) {
            if (!parser.is_told) {
                deltas         = show(parser, *parser.parse);
                parser.is_told = parser.parse->is_settled();
            }
            return deltas;
        }
    } catch (const std::runtime_error &) {
        // The rules took back what was shown.
    }
    if (end == End::CUT) {
        deltas = show_beginning(parser);
        if (parser.covered > parser.began) {
            return deltas;
        }
    }
    // An unfinished text may fit later. At the end what no delta has covered is shown as it is, so no text is lost.
    if (end != End::NOT_YET) {
        deltas.push_back({{"content", parser.parse->text().substr(parser.covered)}, {"unparsed", true}});
    }
    return deltas;
}

} // namespace
} // namespace rn

rn_parser * rn_parser_new(const char * json) {
    return rn::guard_new<rn_parser>([&] { return rn::make_parser(json).release(); });
}

int32_t rn_parser_feed(rn_parser * parser, const char * text, uint64_t len, int32_t is_final, rn_buf * deltas) {
    return rn::guard([&] {
        rn::need(parser, "parser");
        rn::need(deltas, "deltas");
        const std::string_view piece = len > 0 ? std::string_view(&rn::need(text, "text"), len) : std::string_view();
        if (is_final < 0 || is_final > 2) {
            rn::fail(RN_E_ARG, "is_final: %d is not in 0..2", is_final);
        }
        rn::fill(deltas, rn::feed(*parser, piece, static_cast<rn::End>(is_final)).dump_safe());
        return RN_OK;
    });
}

uint64_t rn_parser_work(const rn_parser * parser) {
    return parser == nullptr || parser->is_plain ? 0 : parser->parse->work() + parser->message.work();
}

void rn_parser_free(rn_parser * parser) {
    delete parser;
}
