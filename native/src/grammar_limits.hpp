// Refuses grammars and JSON schemas that would exhaust the stack or the time of those who walk them. Every function
// throws Failure(RN_E_GRAMMAR) with the limit that was passed.
#pragma once

#include "llama-grammar.h"

#include <string>

namespace rn {

void check_schema_text(const char * text);
void check_grammar_text(const std::string & gbnf);

// All rules exist, "root" among them; no left recursion; and no rule that can begin in too many ways.
void check_grammar_rules(const llama_grammar_parser & parser);

} // namespace rn
