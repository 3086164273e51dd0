// Stands in for llama.cpp's common/log.cpp, which starts a thread and prints to stderr: its functions over our ring.
#include "log.h"

#include "log.hpp"

#include <cstdarg>
#include <cstdio>

// The handle is only ever passed back to the functions below.
common_log * common_log_main() {
    return nullptr;
}

int common_log_get_verbosity_thold(void) {
    return rn::log_verbosity();
}

bool common_log_get_jsonl(void) {
    return false;
}

void common_log_add(common_log *, ggml_log_level level, const char * format, ...) {
    char    text[4096]; // longer lines are cut, as the ring would
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rn::log_write(level, text);
}

void common_log_default_callback(ggml_log_level level, const char * text, void *) {
    rn::log_write(level, text);
}

void common_log_add_json(common_log *, const char *, const common_json &) {}
void common_log_set_prefix(common_log *, bool) {}
void common_log_set_timestamps(common_log *, bool) {}
