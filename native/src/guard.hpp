// The boundary: one exception guard around the body of every exported function, and the thread's last error.
#pragma once

#include "runner_native.h"

#include <cstdint>
#include <stdexcept>
#include <string>

namespace rn {

// What our own code throws: an RN_E_* code and a sentence that names what was wrong.
struct Failure : std::runtime_error {
    Failure(int32_t code, const std::string & message) : std::runtime_error(message), code(code) {}
    int32_t code;
};

#if defined(__GNUC__)
#define RN_PRINTF(format_at, arguments_at) __attribute__((format(printf, format_at, arguments_at)))
#else
#define RN_PRINTF(format_at, arguments_at)
#endif

[[noreturn]] void fail(int32_t code, const char * format, ...) RN_PRINTF(2, 3);

void clear_error() noexcept;
// Stores what rn_last_error and rn_last_code tell, and returns the code. Without memory a fixed text is shown.
int32_t set_error(int32_t code, const char * message) noexcept;

// Turns the exception being handled into a code and a stored message. Call it inside a catch block only.
int32_t translate_exception() noexcept;

template <class Status = int32_t, class Body> Status guard(Body && body) noexcept {
    clear_error();
    try {
        return body();
    } catch (...) {
        return translate_exception();
    }
}

template <class Handle, class Body> Handle * guard_new(Body && body) noexcept {
    clear_error();
    try {
        return body();
    } catch (...) {
        translate_exception();
        return nullptr;
    }
}

template <class T> T & need(T * pointer, const char * name) {
    if (pointer == nullptr) {
        fail(RN_E_ARG, "%s is NULL", name);
    }
    return *pointer;
}

// Gives text to the caller: he releases it with rn_buf_free.
void fill(rn_buf * out, const std::string & text);

} // namespace rn
