// Grammars that constrain what a generator may say: compiled once a text, cloned into each generator, with limits that
// keep a hostile grammar from exhausting the stack, the memory or the engine thread.
#pragma once

#include "llama.h"
#include "trigger.hpp"

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

struct llama_grammar;

namespace rn {

// The state of one grammar in one generator.
class Grammar {
  public:
    // Throws Failure(RN_E_GRAMMAR) saying why the text cannot be used.
    Grammar(const llama_vocab * vocab, const std::string & gbnf);
    Grammar(const Grammar & other);
    ~Grammar();
    Grammar & operator=(const Grammar &) = delete;

    // Lets everything pass until the trigger has come.
    void wait_for(const Trigger & trigger);

    // Sets the logit of every candidate that may not come next to -infinity.
    void apply(llama_token_data_array & candidates) const;
    bool allows(llama_token token) const;
    // Goes on past an allowed token. False when the grammar has no way to go on: the generator is dead.
    bool accept(llama_token token);

  private:
    llama_grammar * grammar_;
    Thoughts        thoughts_; // while it waits
};

// The grammar of a JSON schema as GBNF. Throws Failure(RN_E_GRAMMAR).
std::string schema_to_gbnf(const char * schema_json);

// Compiled grammars of one vocabulary by their source, the least recently used giving way. Thread-safe.
class GrammarCache {
  public:
    explicit GrammarCache(const llama_vocab * vocab) : vocab_(vocab) {}

    Grammar of_gbnf(const std::string & gbnf);
    Grammar of_schema(const std::string & schema_json);

  private:
    using Prototype = std::shared_ptr<const Grammar>;
    struct Entry {
        std::string key;
        Prototype   grammar;
    };

    Prototype find(const std::string & key);
    Prototype keep(const std::string & key, Prototype grammar);

    const llama_vocab * vocab_;
    std::mutex          mutex_;
    std::list<Entry>    entries_; // most recently used first
};

} // namespace rn
