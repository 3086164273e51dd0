// The rules here are those of llama.cpp's mappers in common/chat-peg-parser.cpp; native/tests/parsing.cpp compares.
#include "growth.hpp"

#include "chat-peg-parser.h"

#include <algorithm>
#include <cctype>

namespace rn {
namespace {

using Tags = common_chat_peg_builder;
using M3   = common_chat_peg_minimax_m3_mapper;

size_t count(const PegNodes & nodes, std::string_view tag) {
    size_t found = 0;
    for (const auto & node : nodes) {
        found += (*node->tag == tag ? 1 : 0) + count(node->children, tag);
    }
    return found;
}

// From a root to the last node; empty where one that holds others is complete. The last one may seem so for a while,
// as what follows it may be the mark of its end.
std::vector<const PegNode *> open_nodes(const PegNodes & nodes) {
    std::vector<const PegNode *> open;
    for (const PegNodes * level = &nodes; !level->empty(); level = &level->back()->children) {
        if (!level->back()->is_partial && !level->back()->children.empty()) {
            return {};
        }
        open.push_back(level->back().get());
    }
    return open;
}

bool is_among(const PegNode & node, std::initializer_list<std::string_view> tags) {
    return std::find(tags.begin(), tags.end(), *node.tag) != tags.end();
}

std::string_view text_of(const PegNode & node, std::string_view text) {
    return text.substr(node.start, node.end - node.start);
}

bool begins_object(const PegNode & node, std::string_view text) {
    return node.start < text.size() && text[node.start] == '{';
}

bool ends_with(std::string_view text, std::string_view end) {
    return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool is_string(const PegNode & leaf, common_chat_format format) {
    return format == COMMON_CHAT_FORMAT_PEG_GEMMA4 ? *leaf.rule == "gemma4-string-content" :
                                                     is_among(leaf, {Tags::TOOL_ARG_STRING_VALUE});
}

} // namespace

Sink sink_of(const PegNodes & nodes, std::string_view text, const common_chat_msg & message,
             common_chat_format format) {
    std::vector<const PegNode *> holders = open_nodes(nodes);
    if (holders.empty()) {
        return Sink::NONE;
    }
    const PegNode & leaf = *holders.back();
    holders.pop_back();
    const auto all_hold = [&](auto && holds) { return std::all_of(holders.begin(), holders.end(), holds); };
    if (is_among(leaf, {Tags::CONTENT, Tags::REASONING})) {
        const bool is_alone = all_hold([](const PegNode * node) { return is_among(*node, {"", Tags::REASONING_BLOCK}); });
        if (is_among(leaf, {Tags::CONTENT})) {
            return is_alone ? Sink::CONTENT : Sink::NONE;
        }
        // White space alone is not shown.
        return is_alone && !message.reasoning_content.empty() ? Sink::REASONING : Sink::NONE;
    }
    // The call that was begun last is the last one shown, and nothing around the node has a text of its own in it.
    const bool is_default = format != COMMON_CHAT_FORMAT_PEG_GEMMA4 && format != COMMON_CHAT_FORMAT_PEG_MINIMAX_M3;
    const size_t calls    = count(nodes, is_default ? Tags::TOOL_OPEN : Tags::TOOL);
    if (calls == 0 || calls != message.tool_calls.size() || !all_hold([&](const PegNode * node) {
            return is_among(*node, {"", Tags::TOOL, Tags::TOOL_ARG, M3::TOOL_ARG_OBJECT, M3::TOOL_ARG_ARRAY,
                                    M3::TOOL_ARG_ITEM}) ||
                   (is_among(*node, {Tags::TOOL_ARGS}) && (!is_default || !begins_object(*node, text)));
        })) {
        return Sink::NONE;
    }
    const std::string & arguments = message.tool_calls.back().arguments;
    if (is_string(leaf, format)) {
        return ends_with(arguments, escaped(text_of(leaf, text))) ? Sink::ARGUMENT_STRING : Sink::NONE;
    }
    const bool is_json = is_default && is_among(leaf, {Tags::TOOL_ARGS}) && begins_object(leaf, text);
    return is_json && arguments == without_space_behind(text_of(leaf, text)) ? Sink::ARGUMENTS : Sink::NONE;
}

Growth growth_of(const PegNodes & before, const PegNodes & now) {
    Growth           growth;
    const PegNodes * old_level = &before;
    const PegNodes * level     = &now;
    for (; !level->empty() && level->size() == old_level->size(); level = &growth.leaf->children) {
        const PegNode & old = *old_level->back();
        growth              = {level->back().get(), old.end};
        const bool is_same  = std::equal(level->begin(), level->end() - 1, old_level->begin()) &&
                              growth.leaf->rule == old.rule && growth.leaf->tag == old.tag &&
                              growth.leaf->start == old.start &&
                              (growth.leaf->is_partial == old.is_partial || old.children.empty());
        if (!is_same || growth.leaf->end < old.end || !growth.leaf->invalid_utf8.empty()) {
            return {};
        }
        old_level = &old.children;
    }
    return level->empty() && old_level->empty() ? growth : Growth();
}

std::string escaped(std::string_view text) {
    const std::string quoted = common_json(std::string(text)).dump();
    return quoted.substr(1, quoted.size() - 2);
}

std::string_view without_space_behind(std::string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
        text.remove_suffix(1);
    }
    return text;
}

} // namespace rn
