// Requests into template input. Keeps to the rules of llama.cpp's common_chat_templates_apply, which does this and the
// analysis in one step; native/tests/templates.cpp compares the two over all of llama.cpp's own templates.
#include "grammar_limits.hpp"
#include "guard.hpp"
#include "template.hpp"

#include <algorithm>
#include <cctype>
#include <ctime>

namespace rn {
namespace {

std::vector<common_chat_msg> read_messages(const Fields & fields) {
    const std::string            marker = fields.string("media_marker");
    std::vector<common_chat_msg> messages;
    try {
        messages = common_chat_msgs_parse_oaicompat(fields.at("messages"));
    } catch (const Failure &) {
        throw;
    } catch (const std::exception & e) {
        fail(RN_E_ARG, "messages: %.500s", e.what());
    }
    for (const common_chat_msg & message : messages) {
        for (const common_chat_msg_content_part & part : message.content_parts) {
            const bool is_media = part.type == "media_marker" && !marker.empty() && part.text == marker;
            if (part.type != "text" && !is_media) { // llama.cpp would take media markers from anyone
                fail(RN_E_ARG, "messages: content of type \"%.40s\" is not supported", part.type.c_str());
            }
        }
    }
    return messages;
}

common_json read_tools(const Fields & fields) {
    if (!fields.has("tools")) {
        return common_json();
    }
    check_schema_text(fields.at("tools").dump_safe().c_str()); // the builders of parsers make grammars of them
    try {
        return common_chat_tools_to_json_oaicompat(common_chat_tools_parse_oaicompat(fields.at("tools")));
    } catch (const std::exception & e) {
        fail(RN_E_ARG, "tools: %.500s", e.what());
    }
}

// Texts in lines of their own; the place of an image or a sound is in the line where it stands.
std::string joined_parts(const common_chat_msg & message) {
    std::string text;
    bool        is_inline = true;
    for (const common_chat_msg_content_part & part : message.content_parts) {
        const bool is_media = part.type == "media_marker";
        text += (is_inline || is_media || text.empty() ? "" : "\n") + part.text;
        is_inline = is_media;
    }
    return text;
}

// Some templates know content only as a string, some only as a list of parts; none knows our markers.
void fit_content(common_chat_msg & message, const jinja::caps & caps) {
    const bool is_string_only = caps.supports_string_content && !caps.supports_typed_content;
    if (message.contains_media() || (is_string_only && !message.content_parts.empty())) {
        message.content = joined_parts(message);
        message.content_parts.clear();
    }
    if (!caps.supports_string_content && caps.supports_typed_content && message.content_parts.empty()) {
        message.content_parts = {{"text", message.content}};
        message.content.clear();
    }
}

// A template without a system role gets the system prompt in front of the next message.
void merge_system(std::vector<common_chat_msg> & messages) {
    if (messages.empty() || messages.front().role != "system") {
        return;
    }
    if (messages.size() > 1) {
        common_chat_msg & next = messages[1];
        const std::string lead = messages.front().render_content("\n") + "\n";
        if (next.content_parts.empty()) {
            next.content = lead + next.content;
        } else {
            next.content_parts.front().text = lead + next.content_parts.front().text;
        }
    }
    messages.erase(messages.begin());
}

std::string trimmed(const std::string & text) {
    const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
    const auto begin    = std::find_if_not(text.begin(), text.end(), is_space);
    const auto end      = std::find_if_not(text.rbegin(), std::make_reverse_iterator(begin), is_space).base();
    return std::string(begin, end);
}

// StepFun's models fall into loops over white space around messages (upstream issue 24181).
void trim_content(std::vector<common_chat_msg> & messages) {
    for (common_chat_msg & message : messages) {
        message.content           = trimmed(message.content);
        message.reasoning_content = trimmed(message.reasoning_content);
        for (common_chat_msg_content_part & part : message.content_parts) {
            part.text = trimmed(part.text);
        }
    }
}

// Templates that walk through the arguments of a call need an object where OpenAI's API has a string.
void open_arguments(common_json & messages) {
    for (common_json & message : messages) {
        if (!message.contains("tool_calls")) {
            continue;
        }
        for (common_json & call : message.at("tool_calls")) {
            common_json & arguments = call.at("function").at("arguments");
            if (arguments.is_string()) {
                arguments = parse_json(arguments.get<std::string>().c_str(), "arguments of a tool call");
            }
        }
    }
}

std::string local_date(std::time_t now, const char * format) {
    std::tm local = {};
#if defined(_WIN32)
    localtime_s(&local, &now);
#else
    localtime_r(&now, &local);
#endif
    char text[64];
    return std::string(text, std::strftime(text, sizeof text, format, &local));
}

common_json extra_context(const Fields & fields, std::time_t now) {
    common_json extra    = common_json::object();
    extra["datetime"]    = local_date(now, "%b %d %Y");
    extra["date_string"] = local_date(now, "%d %b %Y");
    if (fields.has("chat_template_kwargs")) {
        for (const auto & [key, value] : fields.at("chat_template_kwargs").items()) {
            extra[key] = value;
        }
    }
    return extra;
}

// Takes the message that the answer goes on with off the end of the conversation.
void read_continuation(const Fields & fields, std::vector<common_chat_msg> & messages,
                       autoparser::generation_params & params) {
    if (fields.has("continue_final_message")) {
        params.continue_final_message = common_chat_continuation_parse(fields.at("continue_final_message"));
    }
    if (params.continue_final_message == COMMON_CHAT_CONTINUATION_NONE) {
        return;
    }
    params.add_generation_prompt = false;
    if (messages.empty()) {
        fail(RN_E_ARG, "messages: there is no message to continue");
    }
    params.continue_msg = messages.back();
    messages.pop_back();
    if (params.continue_final_message == COMMON_CHAT_CONTINUATION_AUTO) {
        const common_chat_msg & last = params.continue_msg;
        const bool only_reasoning =
            !last.reasoning_content.empty() && last.content.empty() && last.content_parts.empty();
        params.continue_final_message =
            only_reasoning ? COMMON_CHAT_CONTINUATION_REASONING : COMMON_CHAT_CONTINUATION_CONTENT;
    }
}

common_json fit_messages(std::vector<common_chat_msg> messages, const common_chat_template & jinja) {
    const jinja::caps & caps = jinja.caps;
    // gpt-oss alone has a developer role of its own.
    const bool has_developer = jinja.source().find("<|channel|>") != std::string::npos;
    for (common_chat_msg & message : messages) {
        fit_content(message, caps);
        if (message.role == "developer" && !has_developer) {
            message.role = "system";
        }
    }
    if (!caps.supports_system_role) {
        merge_system(messages);
    }
    common_json fitted = common_json::array();
    for (const common_chat_msg & message : messages) {
        fitted.push_back(message.to_json_oaicompat());
    }
    if (caps.supports_object_arguments) {
        open_arguments(fitted);
    }
    return fitted;
}

} // namespace

Conversation read_conversation(rn_tmpl & tmpl, const Fields & fields) {
    autoparser::generation_params params;
    params.tools              = read_tools(fields);
    TemplateVariant & variant = params.tools.is_array() && tmpl.tool_use ? *tmpl.tool_use : tmpl.main;
    const std::string & source = variant.jinja().source();

    std::vector<common_chat_msg> messages = read_messages(fields);
    if (source.find("You have access to the following functions in JSONSchema format") != std::string::npos) {
        trim_content(messages);
    }
    params.add_generation_prompt = fields.boolean("add_generation_prompt", true);
    read_continuation(fields, messages, params);
    params.messages            = fit_messages(std::move(messages), variant.jinja());
    params.tool_choice         = common_chat_tool_choice_parse_oaicompat(fields.string("tool_choice", "auto"));
    params.parallel_tool_calls = fields.boolean("parallel_tool_calls", false);
    params.reasoning_format    = common_reasoning_format_from_name(fields.string("reasoning_format", "auto"));
    params.enable_thinking     = fields.boolean("enable_thinking", true);
    params.add_bos             = llama_vocab_get_add_bos(tmpl.model->vocab);
    params.add_eos             = llama_vocab_get_add_eos(tmpl.model->vocab);
    const std::time_t now      = static_cast<std::time_t>(fields.integer("now", std::time(nullptr), 0, INT64_MAX));
    params.now                 = std::chrono::system_clock::from_time_t(now);
    params.extra_context       = extra_context(fields, now);
    if (fields.has("json_schema")) {
        params.json_schema = fields.at("json_schema");
    }
    return {&variant, std::move(params)};
}

} // namespace rn
