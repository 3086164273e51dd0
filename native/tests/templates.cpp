// rn_templates MODEL.gguf FOLDER: for every template of a folder, what rn_tmpl_apply answers from its kept analysis
// must be what llama.cpp's own common_chat_templates_apply answers, which analyses each time.
#include "chat.h"
#include "common.h"
#include "llama-cpp.h"
#include "log.h"
#include "runner_native.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace {

const char * const CONVERSATIONS[] = {
    R"({"messages":[{"role":"user","content":"Hi"}]})",
    R"({"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":" two \n lines "}]})",
    R"({"messages":[{"role":"user","content":"1"},{"role":"assistant","content":"2"},{"role":"user","content":"3"}],
        "enable_thinking":false})",
    R"({"messages":[{"role":"user","content":"Hi"}],"add_generation_prompt":false})",
    R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})",
    R"({"messages":[{"role":"user","content":"?"}],"json_schema":{"type":"object","properties":{"x":{"const":1}}}})",
    R"({"messages":[{"role":"user","content":"Weather?"}],"tools":[{"type":"function","function":{"name":"weather",
        "description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]})",
    R"({"messages":[{"role":"developer","content":"Be kind."},{"role":"user","content":"Weather?"},
        {"role":"assistant","content":"","tool_calls":[{"id":"abcdefghi","type":"function","function":{"name":"weather",
        "arguments":"{\"city\":\"Rome\"}"}}]},{"role":"tool","tool_call_id":"abcdefghi","content":"sunny"}],
        "tools":[{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object",
        "properties":{"city":{"type":"string"}}}}}],"tool_choice":"required"})",
    R"({"messages":[{"role":"user","content":"Go on"},{"role":"assistant","content":"The answer"}],
        "continue_final_message":true})",
};

std::string read(const std::filesystem::path & path) {
    std::ifstream      file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// llama.cpp's answer in the names of rn_tmpl_apply, or its error.
common_json upstream(const common_chat_templates * templates, const common_json & request, bool add_bos, bool add_eos) {
    common_chat_templates_inputs inputs;
    inputs.messages         = common_chat_msgs_parse_oaicompat(request.at("messages"));
    inputs.tools            = common_chat_tools_parse_oaicompat(request.value("tools", common_json()));
    inputs.tool_choice      = common_chat_tool_choice_parse_oaicompat(request.value("tool_choice", "auto"));
    inputs.json_schema      = request.contains("json_schema") ? request.at("json_schema").dump() : "";
    inputs.enable_thinking  = request.value("enable_thinking", true);
    inputs.add_generation_prompt = request.value("add_generation_prompt", true);
    inputs.reasoning_format = COMMON_REASONING_FORMAT_AUTO;
    inputs.add_bos          = add_bos;
    inputs.add_eos          = add_eos;
    if (request.contains("continue_final_message")) {
        inputs.continue_final_message = common_chat_continuation_parse(request.at("continue_final_message"));
    }
    try {
        const common_chat_params params = common_chat_templates_apply(templates, inputs);
        return {{"prompt", params.prompt}, {"generation_prompt", params.generation_prompt}, {"grammar", params.grammar},
                {"grammar_lazy", params.grammar_lazy}, {"additional_stops", params.additional_stops},
                {"preserved_tokens", params.preserved_tokens}, {"supports_thinking", params.supports_thinking},
                {"thinking_start_tag", params.thinking_start_tag}, {"thinking_end_tags", params.thinking_end_tags},
                {"format", common_chat_format_name(params.format)}, {"parser", params.parser}};
    } catch (const std::exception &) {
        return {{"error", true}};
    }
}

common_json ours(rn_tmpl * tmpl, const std::string & request) {
    rn_buf buf = {nullptr, 0};
    if (rn_tmpl_apply(tmpl, request.c_str(), &buf) != RN_OK) {
        return {{"error", true}};
    }
    const common_json answer = common_json::parse(buf.ptr);
    rn_buf_free(&buf);
    return answer;
}

bool same(const std::string & name, const common_json & expected, const common_json & got) {
    // A plain answer needs no parser: the format and the parser are left out then on purpose.
    const bool is_plain = got.contains("parser") && got.at("parser").get<std::string>().empty();
    for (const auto & [key, value] : expected.items()) {
        if (is_plain && (key == "parser" || key == "format")) {
            continue;
        }
        if (!got.contains(key) || got.at(key).dump() != value.dump()) {
            std::fprintf(stderr, "%s: \"%s\" differs\n  llama.cpp: %.400s\n  ours:      %.400s\n", name.c_str(),
                         key.c_str(), value.dump_safe().c_str(), got.dump_safe().c_str());
            return false;
        }
    }
    return true;
}

// Two rounds over the conversations, so that an answer cannot depend on what was asked before.
int compare(const std::string & name, const std::string & source, const llama_model * reference, rn_model * model) {
    common_chat_templates_ptr templates;
    try {
        templates = common_chat_templates_init(reference, source);
    } catch (const std::exception &) {
    }
    rn_tmpl * tmpl = rn_tmpl_new(model, source.c_str(), nullptr);
    if (templates == nullptr || tmpl == nullptr) {
        const bool agree = templates == nullptr && tmpl == nullptr;
        std::fprintf(stderr, "%s: %s\n", name.c_str(), agree ? "refused by both" : rn_last_error());
        return agree ? 0 : 1;
    }
    const llama_vocab * vocab  = llama_model_get_vocab(reference);
    int                 faults = 0;
    for (int round = 0; round < 2; ++round) {
        for (const char * request : CONVERSATIONS) {
            const common_json expected = upstream(templates.get(), common_json::parse(request),
                                                  llama_vocab_get_add_bos(vocab), llama_vocab_get_add_eos(vocab));
            faults += same(name, expected, ours(tmpl, request)) ? 0 : 1;
        }
    }
    rn_tmpl_free(tmpl);
    return faults;
}

} // namespace

int main(int argc, char ** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: rn_templates MODEL.gguf FOLDER\n");
        return 2;
    }
    const common_json path = {{"path", argv[1]}};
    rn_model *        model = rn_model_load(path.dump().c_str(), nullptr, nullptr);
    common_log_set_verbosity_thold(-1);
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params params = llama_model_default_params();
    params.vocab_only         = true;
    llama_model_ptr reference(llama_model_load_from_file(argv[1], params));
    if (model == nullptr || reference == nullptr) {
        std::fprintf(stderr, "cannot load %s: %s\n", argv[1], rn_last_error());
        return 1;
    }
    int count = 0, faults = 0;
    for (const auto & entry : std::filesystem::directory_iterator(argv[2])) {
        if (entry.path().extension() == ".jinja") {
            faults += compare(entry.path().filename().string(), read(entry.path()), reference.get(), model);
            ++count;
        }
    }
    rn_model_free(model);
    std::printf("rn_templates: %d templates, %d faults\n", count, faults);
    return faults == 0 && count > 0 ? 0 : 1;
}
