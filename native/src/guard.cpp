#include "guard.hpp"

#include "json.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace rn {
namespace {

struct LastError {
    int32_t      code = RN_OK;
    std::string  text;
    const char * shown = "";
};

thread_local LastError last_error;

} // namespace

void fail(int32_t code, const char * format, ...) {
    char    text[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    throw Failure(code, text);
}

void clear_error() noexcept {
    last_error.code  = RN_OK;
    last_error.shown = "";
}

int32_t set_error(int32_t code, const char * message) noexcept {
    last_error.code = code;
    try {
        last_error.text  = message;
        last_error.shown = last_error.text.c_str();
    } catch (const std::bad_alloc &) {
        last_error.shown = "out of memory";
    }
    return code;
}

int32_t translate_exception() noexcept {
    try {
        throw;
    } catch (const Failure & e) {
        return set_error(e.code, e.what());
    } catch (const std::bad_alloc &) {
        return set_error(RN_E_NOMEM, "out of memory");
    } catch (const common_json_error & e) {
        return set_error(RN_E_PARSE, e.what());
    } catch (const std::invalid_argument & e) {
        return set_error(RN_E_ARG, e.what());
    } catch (const std::exception & e) {
        return set_error(RN_E_EXC, e.what());
    } catch (...) {
        return set_error(RN_E_EXC, "an exception that is not a std::exception");
    }
}

void fill(rn_buf * out, const std::string & text) {
    need(out, "out");
    char * copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, text.c_str(), text.size() + 1);
    out->ptr = copy;
    out->len = text.size();
}

} // namespace rn

int32_t rn_abi_version(void) {
    return RN_ABI;
}

const char * rn_last_error(void) {
    return rn::last_error.shown;
}

int32_t rn_last_code(void) {
    return rn::last_error.code;
}

void rn_buf_free(rn_buf * buf) {
    if (buf != nullptr) {
        std::free(buf->ptr);
        *buf = rn_buf{nullptr, 0};
    }
}
