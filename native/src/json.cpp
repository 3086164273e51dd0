#include "json.hpp"

#include "guard.hpp"

#include <cmath>
#include <utility>

namespace rn {
namespace {

// Counts brackets outside strings; the real parser finds every other fault.
bool too_deep(const char * text) {
    size_t depth     = 0;
    bool   in_string = false;
    for (const char * c = text; *c != 0; ++c) {
        if (in_string) {
            if (*c == '\\' && c[1] != 0) {
                ++c;
            } else if (*c == '"') {
                in_string = false;
            }
        } else if (*c == '"') {
            in_string = true;
        } else if (*c == '{' || *c == '[') {
            if (++depth > MAX_JSON_DEPTH) {
                return true;
            }
        } else if ((*c == '}' || *c == ']') && depth > 0) {
            --depth;
        }
    }
    return false;
}

} // namespace

common_json parse_json(const char * text, const char * what) {
    if (text == nullptr) {
        fail(RN_E_ARG, "%s: the JSON text is NULL", what);
    }
    if (too_deep(text)) {
        fail(RN_E_PARSE, "%s: JSON nested deeper than %zu levels", what, MAX_JSON_DEPTH);
    }
    try {
        return common_json::parse(text);
    } catch (const common_json_error & e) {
        fail(RN_E_PARSE, "%s: %s", what, e.what());
    }
}

Fields::Fields(const char * text, const char * what) : Fields(parse_json(text, what), what) {}

Fields::Fields(common_json object, const char * what) : object_(std::move(object)), what_(what) {
    if (!object_.is_object()) {
        fail(RN_E_ARG, "%s: expected a JSON object", what);
    }
}

void Fields::wrong(const char * key, const char * expected) const {
    fail(RN_E_ARG, "%s: \"%s\" must be %s, got %.80s", what_.c_str(), key, expected, at(key).dump_safe().c_str());
}

bool Fields::has(const char * key) const {
    return object_.contains(key) && !object_.at(key).is_null();
}

const common_json & Fields::at(const char * key) const {
    if (!has(key)) {
        fail(RN_E_ARG, "%s: \"%s\" is missing", what_.c_str(), key);
    }
    return object_.at(key);
}

int64_t Fields::integer(const char * key, int64_t fallback, int64_t least, int64_t most) const {
    if (!has(key)) {
        return fallback;
    }
    if (!at(key).is_number_integer()) {
        wrong(key, "an integer");
    }
    const int64_t value = at(key).get<long>();
    if (value < least || value > most) {
        fail(RN_E_ARG, "%s: \"%s\" must be in %lld..%lld, got %lld", what_.c_str(), key, static_cast<long long>(least),
             static_cast<long long>(most), static_cast<long long>(value));
    }
    return value;
}

double Fields::number(const char * key, double fallback) const {
    if (!has(key)) {
        return fallback;
    }
    if (!at(key).is_number() || !std::isfinite(at(key).get<double>())) {
        wrong(key, "a finite number");
    }
    return at(key).get<double>();
}

bool Fields::boolean(const char * key, bool fallback) const {
    if (!has(key)) {
        return fallback;
    }
    if (!at(key).is_boolean()) {
        wrong(key, "true or false");
    }
    return at(key).get<bool>();
}

std::string Fields::string(const char * key, const std::string & fallback) const {
    if (!has(key)) {
        return fallback;
    }
    if (!at(key).is_string()) {
        wrong(key, "a string");
    }
    return at(key).get<std::string>();
}

std::vector<std::string> Fields::strings(const char * key) const {
    std::vector<std::string> values;
    if (!has(key)) {
        return values;
    }
    if (!at(key).is_array()) {
        wrong(key, "an array of strings");
    }
    for (const common_json & value : at(key)) {
        if (!value.is_string()) {
            wrong(key, "an array of strings");
        }
        values.push_back(value.get<std::string>());
    }
    return values;
}

} // namespace rn
