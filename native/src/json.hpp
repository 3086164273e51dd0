// Reading JSON arguments: bounded parsing, and typed members whose errors name the member.
#pragma once

#include "json.h"

#include <cstdint>
#include <string>
#include <vector>

namespace rn {

// The parser and every walker after it recurse at most this deep, whatever a client sends.
constexpr size_t MAX_JSON_DEPTH = 64;

// Throws Failure(RN_E_PARSE) when the text is NULL, not JSON, or nested too deeply.
common_json parse_json(const char * text, const char * what);

// The members of one JSON object. A member that is null counts as absent; one of a wrong type is RN_E_ARG by name.
class Fields {
  public:
    Fields(const char * text, const char * what);
    Fields(common_json object, const char * what);

    bool                has(const char * key) const;
    const common_json & at(const char * key) const;

    int64_t     integer(const char * key, int64_t fallback, int64_t least, int64_t most) const;
    double      number(const char * key, double fallback) const;
    bool        boolean(const char * key, bool fallback) const;
    std::string string(const char * key, const std::string & fallback = "") const;

    std::vector<std::string> strings(const char * key) const;

  private:
    [[noreturn]] void wrong(const char * key, const char * expected) const;

    common_json object_;
    std::string what_;
};

} // namespace rn
