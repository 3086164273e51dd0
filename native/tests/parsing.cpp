// rn_parsing MODEL.gguf FOLDER [ROUNDS]: for every template of a folder, texts made at random from the rules of its
// format, whole and damaged, come in pieces: what rn_parser_feed answers to each piece must be what llama.cpp's own
// common_chat_parse tells of all the text so far, which it parses anew each time.
#include "chat.h"
#include "common.h"
#include "log.h"
#include "runner_native.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace {

const char * const TOOLS = R"([{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":
    "object","properties":{"city":{"type":"string"},"days":{"type":"integer"},"tags":{"type":"array","items":{"type":
    "string"}},"at":{"type":"object","properties":{"x":{"type":"number"}}}},"required":["city"]}}},
    {"type":"function","function":{"name":"time","description":"d","parameters":{"type":"object","properties":{}}}}])";
const char * const REQUESTS[] = {
    R"({"messages":[{"role":"user","content":"?"}]})",
    R"({"messages":[{"role":"user","content":"?"}],"tools":$,"parallel_tool_calls":true})",
    R"({"messages":[{"role":"user","content":"?"}],"tools":$,"tool_choice":"required"})",
    R"({"messages":[{"role":"user","content":"?"}],"tools":$,"enable_thinking":false})",
    R"({"messages":[{"role":"user","content":"?"}],"json_schema":{"type":"object","properties":{"x":{"const":1}}}})",
};
const char * const WORDS[] = {"a", "Rome", " ", "\n", "<", "</", "{", "}", "[", "]", "\"", "'", ":", ",", "é", "日本",
                              "😀", "7", "-1.5e3", "true", "<|", "|>", "\\n", "\\", "call", "=", "(", ")"};

using Chance = std::mt19937;

size_t below(Chance & chance, size_t limit) {
    return chance() % limit;
}

// A text that the rules may have been written for; rules that only look ahead add nothing.
struct Writer {
    static constexpr size_t MOST_BYTES = 600;

    const common_peg_arena & rules;
    Chance &                 chance;
    std::string              text  = {};
    int                      depth = 0;

    void write(common_peg_parser_id id) {
        if (depth > 120 || text.size() > MOST_BYTES) {
            return;
        }
        ++depth;
        std::visit(*this, rules.get(id));
        --depth;
    }

    void words(size_t most) {
        for (size_t i = below(chance, most + 1); i > 0; --i) {
            text += WORDS[below(chance, std::size(WORDS))];
        }
    }

    void operator()(const common_peg_epsilon_parser &) {}
    void operator()(const common_peg_start_parser &) {}
    void operator()(const common_peg_end_parser &) {}
    void operator()(const common_peg_and_parser &) {}
    void operator()(const common_peg_not_parser &) {}
    void operator()(const common_peg_literal_parser & rule) { text += rule.literal; }
    void operator()(const common_peg_any_parser &) { text += "x"; }
    void operator()(const common_peg_space_parser &) { text += below(chance, 3) == 0 ? "\n" : ""; }

    void operator()(const common_peg_sequence_parser & rule) {
        for (const common_peg_parser_id child : rule.children) {
            write(child);
        }
    }

    void operator()(const common_peg_choice_parser & rule) {
        if (!rule.children.empty()) {
            write(rule.children[below(chance, rule.children.size())]);
        }
    }

    void operator()(const common_peg_repetition_parser & rule) {
        const int most = rule.max_count == -1 ? rule.min_count + 3 : std::min(rule.max_count, rule.min_count + 3);
        for (int i = rule.min_count + static_cast<int>(below(chance, most - rule.min_count + 1)); i > 0; --i) {
            write(rule.child);
        }
    }

    void operator()(const common_peg_chars_parser & rule) {
        for (int i = std::max(rule.min_count, 1) + static_cast<int>(below(chance, 3)); i > 0; --i) {
            const bool is_any = rule.negated || rule.ranges.empty();
            text += is_any ? 'k' : static_cast<char>(rule.ranges[below(chance, rule.ranges.size())].start);
        }
    }

    void operator()(const common_peg_string_parser &) { words(8); }

    void operator()(const common_peg_until_parser & rule) {
        words(12);
        if (!rule.delimiters.empty() && below(chance, 3) == 0) { // what looks like its end and is not
            const std::string & end = rule.delimiters[below(chance, rule.delimiters.size())];
            text += end.substr(0, below(chance, end.size() + 1));
            words(4);
        }
    }

    void operator()(const common_peg_ref_parser & rule) { write(rules.get_rule(rule.name)); }
    template <class Rule> void operator()(const Rule & rule) { write(rule.child); }
};

std::string damaged(std::string text, Chance & chance) {
    const size_t at = below(chance, text.size() + 1);
    switch (below(chance, 6)) {
        case 0: return text.substr(0, at);
        case 1: return text.erase(at, 1 + below(chance, 4));
        case 2: return text.insert(at, WORDS[below(chance, std::size(WORDS))]);
        case 3: return text + WORDS[below(chance, std::size(WORDS))];
        default: return text;
    }
}

// llama.cpp's message of all text so far, and what is new in it.
struct Anew {
    common_chat_parser_params params  = {};
    std::string               text    = {};
    size_t                    covered = 0;
    common_chat_msg           shown   = {};
    std::vector<std::string>  ids     = {};

    common_json parse(const std::string & of, bool is_final) {
        common_chat_msg message = common_chat_parse(of, !is_final, params);
        message.set_tool_call_ids(ids, [] { return "call_id"; });
        common_json deltas = common_json::array();
        for (const auto & diff : common_chat_msg_diff::compute_diffs(shown, message)) {
            common_json delta = common_json::object();
            if (!diff.reasoning_content_delta.empty()) {
                delta["reasoning_content"] = diff.reasoning_content_delta;
            }
            if (!diff.content_delta.empty()) {
                delta["content"] = diff.content_delta;
            }
            if (diff.tool_call_index != std::string::npos) {
                delta["tool_call"] = {{"index", diff.tool_call_index}, {"name", diff.tool_call_delta.name},
                                      {"arguments", diff.tool_call_delta.arguments}};
            }
            if (!delta.empty()) {
                deltas.push_back(delta);
            }
        }
        if (!deltas.empty()) {
            covered = of.size();
            shown   = message;
        }
        return deltas;
    }

    common_json feed(const std::string & piece, int end) {
        text += piece;
        try {
            return parse(text, end != 0);
        } catch (const std::runtime_error &) {
        }
        common_json deltas = common_json::array();
        for (size_t gone = 0; end == 2 && deltas.empty() && covered == 0 && gone < std::min<size_t>(64, text.size()); ++gone) {
            try {
                deltas = parse(text.substr(0, text.size() - gone), false);
            } catch (const std::runtime_error &) {
            }
        }
        if (end == 1 || (end == 2 && covered == 0)) {
            deltas.push_back({{"content", text.substr(covered)}, {"unparsed", true}});
        }
        return deltas;
    }
};

common_json ours(rn_parser * parser, const std::string & piece, int end) {
    rn_buf buf = {nullptr, 0};
    if (rn_parser_feed(parser, piece.data(), piece.size(), end, &buf) != RN_OK) {
        return {{"error", rn_last_error()}};
    }
    common_json deltas = common_json::parse(buf.ptr);
    rn_buf_free(&buf);
    for (common_json & delta : deltas) {
        if (delta.contains("tool_call")) { // an id is made at random, a name comes once
            const common_json & call = delta.at("tool_call");
            delta["tool_call"] = {{"index", call.at("index")}, {"name", call.value("name", "")},
                                  {"arguments", call.at("arguments")}};
        }
    }
    return deltas;
}

bool same(const common_json & rendered, const std::string & text, Chance & chance) {
    Anew anew;
    anew.params.generation_prompt = rendered.at("generation_prompt").get<std::string>();
    anew.params.parser.load(rendered.at("parser").get<std::string>());
    for (int i = 0; i < COMMON_CHAT_FORMAT_COUNT; ++i) {
        const auto format = static_cast<common_chat_format>(i);
        if (rendered.at("format").get<std::string>() == common_chat_format_name(format)) {
            anew.params.format = format;
        }
    }
    rn_parser * parser = rn_parser_new(rendered.dump().c_str());
    bool        agree  = parser != nullptr;
    const size_t size  = 1 + below(chance, 9);
    const int    end   = 1 + static_cast<int>(below(chance, 2));
    for (size_t at = 0; agree && at <= text.size(); at += size) {
        const std::string piece    = text.substr(at, size);
        const bool        is_last  = at + size > text.size();
        const common_json expected = anew.feed(piece, is_last ? end : 0);
        const common_json got      = ours(parser, piece, is_last ? end : 0);
        if (expected.dump_safe() != got.dump_safe()) {
            agree = false;
            std::fprintf(stderr, "%s size %zu end %d prompt %s\n  after:     %s\n  llama.cpp: %s\n  ours:      %s\n",
                         rendered.at("format").get<std::string>().c_str(), size, end, rendered.at("generation_prompt").dump().c_str(),
                         common_json(text.substr(0, at + size)).dump_safe().c_str(), expected.dump_safe().c_str(),
                         got.dump_safe().c_str());
        }
    }
    rn_parser_free(parser);
    return agree;
}

std::string request_of(std::string request) {
    const size_t at = request.find('$');
    return at == std::string::npos ? request : request.replace(at, 1, TOOLS);
}

int compare(rn_model * model, const std::filesystem::path & path, int rounds, Chance & chance, int & count) {
    std::ifstream      file(path, std::ios::binary);
    std::ostringstream source;
    source << file.rdbuf();
    rn_tmpl * tmpl   = rn_tmpl_new(model, source.str().c_str(), nullptr);
    int       faults = 0;
    for (const char * request : REQUESTS) {
        rn_buf buf = {nullptr, 0};
        if (tmpl == nullptr || rn_tmpl_apply(tmpl, request_of(request).c_str(), &buf) != RN_OK) {
            continue; // not every template takes every conversation
        }
        const common_json rendered = common_json::parse(buf.ptr);
        rn_buf_free(&buf);
        common_peg_arena rules;
        if (!rendered.at("parser").get<std::string>().empty()) {
            rules.load(rendered.at("parser").get<std::string>());
        }
        const std::string prompt = rendered.at("generation_prompt").get<std::string>();
        for (int round = 0; !rules.empty() && round < rounds; ++round) {
            Writer writer{rules, chance};
            writer.write(rules.root());
            const bool  is_whole = writer.text.compare(0, prompt.size(), prompt) == 0; // the rules begin with the prompt
            const std::string text = damaged(writer.text.substr(is_whole ? prompt.size() : 0), chance);
            faults += same(rendered, text, chance) ? 0 : 1;
            ++count;
        }
    }
    rn_tmpl_free(tmpl);
    if (faults > 0) {
        std::fprintf(stderr, "%s: %d faults\n", path.filename().string().c_str(), faults);
    }
    return faults;
}

} // namespace

int main(int argc, char ** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: rn_parsing MODEL.gguf FOLDER [ROUNDS]\n");
        return 2;
    }
    const common_json path  = {{"path", argv[1]}};
    rn_model *        model = rn_model_load(path.dump().c_str(), nullptr, nullptr);
    common_log_set_verbosity_thold(-1);
    if (model == nullptr) {
        std::fprintf(stderr, "cannot load %s: %s\n", argv[1], rn_last_error());
        return 1;
    }
    Chance chance(1);
    int    count = 0, faults = 0;
    for (const auto & entry : std::filesystem::directory_iterator(argv[2])) {
        if (entry.path().extension() == ".jinja") {
            faults += compare(model, entry.path(), argc > 3 ? std::atoi(argv[3]) : 20, chance, count);
        }
    }
    rn_model_free(model);
    std::printf("rn_parsing: %d texts, %d faults\n", count, faults);
    return faults == 0 && count > 0 ? 0 : 1;
}
