#include "template.hpp"

#include "guard.hpp"

#include <algorithm>

namespace rn {
namespace {

// A template comes with a model from anywhere; the longest known is 30 kB. llama.cpp's Jinja has no limit of its own
// for loops and recursion: who calls keeps a time limit, and a worker process that may die.
constexpr size_t MAX_TEMPLATE_BYTES = 1024 * 1024;
constexpr size_t MAX_PROMPT_BYTES   = 64 * 1024 * 1024;

common_chat_templates_ptr choose(const Model & model, const char * override_src) {
    const std::string source = override_src == nullptr ? "" : override_src;
    if (source.size() > MAX_TEMPLATE_BYTES) {
        fail(RN_E_PARSE, "the chat template has %zu bytes, at most %zu are allowed", source.size(), MAX_TEMPLATE_BYTES);
    }
    return common_chat_templates_init(model.llama.get(), source);
}

std::string special_piece(const llama_vocab * vocab, llama_token token) {
    return token == LLAMA_TOKEN_NULL ? std::string() : common_token_to_piece(vocab, token, true);
}

// The source with the newline at its end that the lexer takes off: it will be taken off once more.
std::string source_of(const common_chat_templates * chosen, const char * variant) {
    return common_chat_templates_source(chosen, variant) + "\n";
}

std::string trimmed(std::string text) {
    const char * const SPACE = " \t\r\n\v\f";
    text.erase(text.find_last_not_of(SPACE) + 1);
    return text.erase(0, std::min(text.find_first_not_of(SPACE), text.size()));
}

// Whether the answer is text as it comes: nothing in it has to be parsed.
bool is_plain(const autoparser::autoparser & analysis, const autoparser::generation_params & params) {
    return analysis.reasoning.mode == autoparser::reasoning_mode::NONE &&
           analysis.content.mode == autoparser::content_mode::PLAIN && params.tools.empty() && params.json_schema.empty();
}

// The prompt and what add_generation_prompt adds to it: two renders, where llama.cpp needs three and builds a parser.
common_chat_params render_plain(const common_chat_template & jinja, autoparser::generation_params params,
                                const autoparser::autoparser & analysis) {
    common_chat_params result;
    result.preserved_tokens = analysis.preserved_tokens;
    result.additional_stops = analysis.additional_stops;
    result.prompt           = common_chat_template_direct_apply(jinja, params);

    params.add_generation_prompt = !params.add_generation_prompt;
    const std::string   other    = common_chat_template_direct_apply(jinja, params);
    const std::string & with     = params.add_generation_prompt ? other : result.prompt;
    const std::string & without  = params.add_generation_prompt ? result.prompt : other;
    const auto          parting  = std::mismatch(with.begin(), with.end(), without.begin(), without.end());
    result.generation_prompt.assign(parting.first, with.end());
    return result;
}

bool thinks(rn_tmpl & tmpl) {
    const char * const PROBE = R"({"messages":[{"role":"user","content":"test"}],"reasoning_format":"deepseek"})";
    return render(read_conversation(tmpl, Fields(PROBE, "probe"))).supports_thinking;
}

common_json triggers_of(const common_chat_params & params) {
    common_json triggers = common_json::array();
    for (const common_grammar_trigger & trigger : params.grammar_triggers) {
        const int type = static_cast<int>(trigger.type);
        triggers.push_back({{"type", type}, {"value", trigger.value}, {"token", trigger.token}});
    }
    return triggers;
}

std::string to_json(const common_chat_params & params) {
    common_json out            = common_json::object();
    out["prompt"]              = params.prompt;
    out["grammar"]             = params.grammar;
    out["grammar_lazy"]        = params.grammar_lazy;
    out["grammar_triggers"]    = triggers_of(params);
    out["generation_prompt"]   = params.generation_prompt;
    out["additional_stops"]    = params.additional_stops;
    out["preserved_tokens"]    = params.preserved_tokens;
    out["format"]              = common_chat_format_name(params.format);
    out["parser"]              = params.parser;
    out["supports_thinking"]   = params.supports_thinking;
    out["thinking_start_tag"]  = params.thinking_start_tag;
    out["thinking_end_tags"]   = params.thinking_end_tags;
    return out.dump_safe();
}

common_json describe(rn_tmpl & tmpl) {
    common_json caps = common_json::object();
    for (const auto & [name, has] : common_chat_templates_get_caps(tmpl.upstream.get())) {
        caps[name] = has;
    }
    return {{"caps", caps}, {"source", common_chat_templates_source(tmpl.upstream.get())},
            {"explicit", common_chat_templates_was_explicit(tmpl.upstream.get())}, {"supports_thinking", thinks(tmpl)}};
}

// Whatever the template engine throws means that this template and this conversation do not go together.
template <class Body> auto as_template_error(Body && body) {
    try {
        return body();
    } catch (const Failure &) {
        throw;
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception & e) {
        fail(RN_E_PARSE, "chat template: %.900s", e.what());
    }
}

} // namespace

const autoparser::autoparser & TemplateVariant::analysis() {
    std::call_once(analysed_, [this] { analysis_.analyze_template(jinja_); });
    return analysis_;
}

common_chat_params render(const Conversation & conversation) {
    const common_chat_template &  jinja  = conversation.variant->jinja();
    autoparser::generation_params params = conversation.params; // the specialised builders edit the messages
    if (auto special = common_chat_try_specialized_template(jinja, jinja.source(), params)) {
        return std::move(*special);
    }
    const autoparser::autoparser & analysis = conversation.variant->analysis();
    const bool                     plain    = is_plain(analysis, params);
    if (plain && params.continue_final_message == COMMON_CHAT_CONTINUATION_NONE) {
        return render_plain(jinja, std::move(params), analysis);
    }
    common_chat_params result = autoparser::peg_generator::generate_parser(jinja, params, analysis);
    if (plain) {
        result.format = COMMON_CHAT_FORMAT_CONTENT_ONLY;
        result.parser.clear();
    }
    result.supports_thinking = analysis.reasoning.mode != autoparser::reasoning_mode::NONE;
    if (result.supports_thinking) {
        result.thinking_start_tag = trimmed(analysis.reasoning.start);
        const std::string end     = trimmed(analysis.reasoning.end);
        if (!end.empty()) {
            result.thinking_end_tags = {end};
        }
    }
    return result;
}

} // namespace rn

rn_tmpl::rn_tmpl(std::shared_ptr<rn::Model> shared, common_chat_templates_ptr chosen) :
    model(std::move(shared)), upstream(std::move(chosen)),
    main(rn::source_of(upstream.get(), ""), rn::special_piece(model->vocab, llama_vocab_bos(model->vocab)),
         rn::special_piece(model->vocab, llama_vocab_eos(model->vocab))) {
    if (!common_chat_templates_source(upstream.get(), "tool_use").empty()) {
        tool_use = std::make_unique<rn::TemplateVariant>(rn::source_of(upstream.get(), "tool_use"),
                                                         main.jinja().bos_token(), main.jinja().eos_token());
    }
}

rn_tmpl * rn_tmpl_new(rn_model * handle, const char * override_src, rn_buf * info) {
    return rn::guard_new<rn_tmpl>([&] {
        const std::shared_ptr<rn::Model> model = rn::need(handle, "model").shared;
        model->need_vocab();
        return rn::as_template_error([&] {
            auto tmpl = std::make_unique<rn_tmpl>(model, rn::choose(*model, override_src));
            if (info != nullptr) {
                rn::fill(info, rn::describe(*tmpl).dump_safe());
            }
            return tmpl.release();
        });
    });
}

void rn_tmpl_free(rn_tmpl * tmpl) {
    delete tmpl;
}

int32_t rn_tmpl_apply(rn_tmpl * tmpl, const char * json_in, rn_buf * json_out) {
    return rn::guard([&] {
        rn::need(tmpl, "tmpl");
        rn::need(json_out, "json_out");
        const rn::Fields         fields(json_in, "rn_tmpl_apply");
        const common_chat_params rendered =
            rn::as_template_error([&] { return rn::render(rn::read_conversation(*tmpl, fields)); });
        if (rendered.prompt.size() > rn::MAX_PROMPT_BYTES) {
            rn::fail(RN_E_PARSE, "the template made a prompt of %zu bytes", rendered.prompt.size());
        }
        rn::fill(json_out, rn::to_json(rendered));
        return RN_OK;
    });
}
