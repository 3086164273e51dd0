// A chat template, parsed once, with what llama.cpp can find out about it kept: only the prompt is rendered anew.
#pragma once

#include "chat-auto-parser.h"
#include "chat.h"
#include "json.hpp"
#include "model.hpp"

#include <memory>
#include <mutex>

namespace rn {

// One Jinja source. llama.cpp analyses it anew in each request (dozens of probe renders); here once, at the first need.
class TemplateVariant {
  public:
    TemplateVariant(const std::string & source, const std::string & bos, const std::string & eos) :
        jinja_(source, bos, eos) {}

    const common_chat_template & jinja() const { return jinja_; }

    // Thread-safe. Throws what the analysis throws.
    const autoparser::autoparser & analysis();

  private:
    common_chat_template   jinja_;
    std::once_flag         analysed_;
    autoparser::autoparser analysis_;
};

// A conversation as the template engine takes it, and the variant that renders it.
struct Conversation {
    TemplateVariant *             variant;
    autoparser::generation_params params;
};

} // namespace rn

struct rn_tmpl {
    std::shared_ptr<rn::Model>           model;
    common_chat_templates_ptr            upstream; // source and capabilities; llama.cpp's choice of the template
    rn::TemplateVariant                  main;
    std::unique_ptr<rn::TemplateVariant> tool_use; // a second template that some models have for requests with tools

    rn_tmpl(std::shared_ptr<rn::Model> shared, common_chat_templates_ptr chosen);
};

namespace rn {

// The request's messages, made into what this template can take. Throws Failure(RN_E_ARG) for a wrong member.
Conversation read_conversation(rn_tmpl & tmpl, const Fields & fields);

// The prompt, and all that is needed to constrain and to parse the answer. No parser: the answer is text as it comes.
common_chat_params render(const Conversation & conversation);

} // namespace rn
