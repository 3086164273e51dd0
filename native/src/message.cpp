#include "message.hpp"

#include "chat-peg-parser.h"

#include <random>

namespace rn {
namespace {

std::string new_call_id() {
    static const char  ALPHABET[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    std::random_device random;
    std::string        id = "call_";
    for (int i = 0; i < 24; ++i) {
        id += ALPHABET[random() % (sizeof ALPHABET - 1)];
    }
    return id;
}

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

common_peg_ast_id add(common_peg_ast_arena & tree, const PegNode & node, std::string_view text) {
    std::vector<common_peg_ast_id> children;
    for (const auto & child : node.children) {
        children.push_back(add(tree, *child, text));
    }
    const std::string_view covered = node.start < text.size() ? text.substr(node.start, node.end - node.start) : "";
    return tree.add_node(*node.rule, *node.tag, node.start, node.end, covered, std::move(children), node.is_partial,
                         node.invalid_utf8);
}

common_chat_msg message_of(const PegParse & parse, common_chat_format format) {
    common_peg_ast_arena    tree;
    common_peg_parse_result root;
    for (const auto & node : parse.nodes()) {
        root.nodes.push_back(add(tree, *node, parse.text()));
    }
    common_chat_msg message;
    message.role = "assistant";
    if (format == COMMON_CHAT_FORMAT_PEG_GEMMA4) {
        common_chat_peg_gemma4_mapper(message).from_ast(tree, root);
    } else if (format == COMMON_CHAT_FORMAT_PEG_MINIMAX_M3) {
        common_chat_peg_minimax_m3_mapper(message).from_ast(tree, root);
    } else {
        common_chat_peg_mapper(message).from_ast(tree, root);
    }
    return message;
}

} // namespace

common_json Message::follow(const PegParse & parse) {
    if (sink_ != Sink::NONE) {
        const Growth growth = growth_of(nodes_, parse.nodes());
        if (growth.leaf != nullptr) {
            nodes_ = parse.nodes();
            return lengthen(*growth.leaf, growth.from, parse.text());
        }
    }
    return compare(parse);
}

// Makes the whole message anew. One that is shorter than what was told gives nothing: what was told stays told.
common_json Message::compare(const PegParse & parse) {
    sink_ = Sink::NONE;
    work_ += parse.text().size();
    common_chat_msg message = message_of(parse, format_);
    message.set_tool_call_ids(call_ids_, new_call_id);
    common_json deltas = common_json::array();
    for (const common_chat_msg_diff & diff : common_chat_msg_diff::compute_diffs(shown_, message)) {
        const common_json delta = delta_of(diff);
        if (!delta.empty()) {
            deltas.push_back(delta);
        }
    }
    if (!deltas.empty()) {
        shown_ = std::move(message);
        nodes_ = parse.nodes();
        sink_  = sink_of(nodes_, parse.text(), shown_, format_);
    }
    return deltas;
}

// Tells of the text of the last node from there on.
common_json Message::lengthen(const PegNode & leaf, size_t from, std::string_view text) {
    std::string_view more = text.substr(from, leaf.end - from);
    if (sink_ == Sink::ARGUMENTS) {
        from = leaf.start + shown_.tool_calls.back().arguments.size();
        more = without_space_behind(text.substr(from, leaf.end - from));
    }
    if (more.empty()) {
        return common_json::array();
    }
    const auto tell = [](std::string & told, const std::string & delta) {
        told += delta;
        return delta;
    };
    common_json delta = common_json::object();
    if (sink_ == Sink::CONTENT) {
        delta["content"] = tell(shown_.content, std::string(more));
    } else if (sink_ == Sink::REASONING) {
        delta["reasoning_content"] = tell(shown_.reasoning_content, std::string(more));
    } else {
        const std::string part = sink_ == Sink::ARGUMENT_STRING ? escaped(more) : std::string(more);
        delta["tool_call"] = {{"index", shown_.tool_calls.size() - 1},
                              {"arguments", tell(shown_.tool_calls.back().arguments, part)}};
    }
    common_json deltas = common_json::array();
    deltas.push_back(delta);
    return deltas;
}

} // namespace rn
