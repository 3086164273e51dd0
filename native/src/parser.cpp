// From the model's text to content, reasoning and tool calls, piece by piece.
#include "chat.h"
#include "guard.hpp"
#include "json.hpp"

#include <algorithm>
#include <memory>
#include <random>

struct rn_parser {
    common_chat_parser_params params;
    bool                      is_plain = false; // text is content as it comes
    std::string               text;             // all of it: the parser begins anew each time
    size_t                    covered = 0;      // bytes of text that the deltas given so far were made from
    common_chat_msg           shown;            // what the deltas given so far add up to
    std::vector<std::string>  call_ids;
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

std::unique_ptr<rn_parser> make_parser(const char * json) {
    const Fields      fields(json, "rn_parser_new");
    const std::string arena          = fields.string("parser");
    auto              parser         = std::make_unique<rn_parser>();
    parser->params.format            = format_of(fields.string("format", "Content-only"));
    parser->params.reasoning_format  = common_reasoning_format_from_name(fields.string("reasoning_format", "auto"));
    parser->params.generation_prompt = fields.string("generation_prompt");
    parser->params.parse_tool_calls  = fields.boolean("parse_tool_calls", true);
    parser->is_plain                 = arena.empty();
    if (!parser->is_plain) {
        parser->params.parser.load(arena);
    }
    return parser;
}

constexpr size_t MAX_MARK = 64; // bytes

std::string new_call_id() {
    static const char  ALPHABET[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    std::random_device random;
    std::string        id = "call_";
    for (int i = 0; i < 24; ++i) {
        id += ALPHABET[random() % (sizeof ALPHABET - 1)];
    }
    return id;
}

enum class End { NOT_YET = 0, COMPLETE = 1, CUT = 2 };

common_json delta_of(const common_chat_msg_diff & diff) {
    common_json delta = common_json::object();
    if (!diff.reasoning_content_delta.empty()) {
        delta["reasoning_content"] = diff.reasoning_content_delta;
    }
    if (!diff.content_delta.empty()) {
        delta["content"] = diff.content_delta;
    }
    if (diff.tool_call_index != std::string::npos) {
        common_json call  = {{"index", diff.tool_call_index}};
        const auto & part = diff.tool_call_delta;
        if (!part.name.empty()) {
            call["id"]   = part.id;
            call["name"] = part.name;
        }
        call["arguments"] = part.arguments;
        delta["tool_call"] = call;
    }
    return delta;
}

// Parses all text so far and gives what is new. Throws where the text does not fit the format. An unfinished text that
// no longer fits comes back as a shorter message, whose differences are empty: what was shown stays shown.
common_json parse_all(rn_parser & parser, bool is_final) {
    common_chat_msg message = common_chat_parse(parser.text, !is_final, parser.params);
    message.set_tool_call_ids(parser.call_ids, new_call_id);
    common_json deltas = common_json::array();
    for (const common_chat_msg_diff & diff : common_chat_msg_diff::compute_diffs(parser.shown, message)) {
        const common_json delta = delta_of(diff);
        if (!delta.empty()) {
            deltas.push_back(delta);
        }
    }
    if (!deltas.empty()) {
        parser.covered = parser.text.size();
        parser.shown   = std::move(message);
    }
    return deltas;
}

// Of a text that was cut off within a mark there may be no parse: then, where nothing was shown yet, of what is before.
common_json parse_beginning(rn_parser & parser) {
    const std::string text   = parser.text;
    const size_t      most   = parser.covered > 0 ? 1 : std::min(MAX_MARK, text.size());
    common_json       deltas = common_json::array();
    for (size_t gone = 0; deltas.empty() && gone < most; ++gone) {
        parser.text.resize(text.size() - gone);
        try {
            deltas = parse_all(parser, false);
        } catch (const std::runtime_error &) {
            continue;
        }
    }
    parser.text = text;
    return deltas;
}

common_json feed(rn_parser & parser, std::string_view text, End end) {
    common_json deltas = common_json::array();
    const bool  is_final = end != End::NOT_YET;
    if (parser.is_plain) {
        if (!text.empty()) {
            deltas.push_back({{"content", text}});
        }
        return deltas;
    }
    parser.text.append(text);
    try {
        return parse_all(parser, is_final);
    } catch (const std::runtime_error &) {
        if (end == End::CUT) {
            deltas = parse_beginning(parser);
            if (parser.covered > 0) {
                return deltas;
            }
        }
        // An unfinished text may fit later. At the end what no delta has covered is shown as it is, so no text is lost.
        if (is_final) {
            deltas.push_back({{"content", parser.text.substr(parser.covered)}, {"unparsed", true}});
        }
        return deltas;
    }
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

void rn_parser_free(rn_parser * parser) {
    delete parser;
}
