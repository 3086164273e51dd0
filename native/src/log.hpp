// Every log line of ggml, llama.cpp and its common/ library goes into one bounded ring; nothing is printed.
#pragma once

#include "ggml.h"

#include <atomic>
#include <cstdint>
#include <string>

namespace rn {

// Verbosity as llama.cpp counts it: 1 error, 2 warn, 3 info, 5 debug. Errors are always kept.
constexpr int DEFAULT_VERBOSITY = 3;

// Installs the ring, the backends and how their buffers are cleared (footprint.hpp) once for the process; later calls
// only change the verbosity.
void log_init(int verbosity);
// The same with the default, unless rn_init was called before.
void log_ensure();

// While it lives, what this thread tells as an error is kept for debugging alone, once `asked` is true: llama.cpp calls a
// computation failed that ended because it was asked to.
class LogNoErrorIf {
  public:
    explicit LogNoErrorIf(const std::atomic<bool> & asked);
    ~LogNoErrorIf();
    LogNoErrorIf(const LogNoErrorIf &)             = delete;
    LogNoErrorIf & operator=(const LogNoErrorIf &) = delete;
};

int  log_verbosity();
void log_write(ggml_log_level level, const char * text);

// A mark in the stream of lines, and the last error lines since it: llama.cpp tells why a load failed only in its log.
uint64_t    log_mark();
std::string log_errors_since(uint64_t mark);

} // namespace rn
