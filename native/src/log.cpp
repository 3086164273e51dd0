#include "log.hpp"

#include "footprint.hpp"
#include "guard.hpp"
#include "json.hpp"
#include "kernels/kernels.hpp"
#include "llama.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>

namespace rn {
namespace {

constexpr size_t MAX_LINES       = 2048;
constexpr size_t MAX_LINE_BYTES  = 4096;
constexpr size_t MAX_ERROR_LINES = 6; // enough to name the cause of a failed load

struct Line {
    uint64_t       number;
    ggml_log_level level;
    std::string    text;
};

class Ring {
  public:
    void write(ggml_log_level level, const char * text, size_t length) {
        std::lock_guard<std::mutex> lock(mutex_);
        while (length > 0) {
            const char * newline = static_cast<const char *>(std::memchr(text, '\n', length));
            const size_t size    = newline ? static_cast<size_t>(newline - text) : length;
            put(level, text, size);
            open_ = newline == nullptr;
            text += size + (newline ? 1 : 0);
            length -= size + (newline ? 1 : 0);
        }
    }

    std::deque<Line> drain() {
        std::lock_guard<std::mutex> lock(mutex_);
        open_ = false;
        std::deque<Line> taken;
        taken.swap(lines_);
        return taken;
    }

    uint64_t mark() {
        std::lock_guard<std::mutex> lock(mutex_);
        return next_;
    }

    std::string errors_since(uint64_t mark) {
        std::lock_guard<std::mutex> lock(mutex_);
        std::deque<const Line *>    found;
        for (auto line = lines_.rbegin(); line != lines_.rend() && line->number >= mark; ++line) {
            if (line->level == GGML_LOG_LEVEL_ERROR && found.size() < MAX_ERROR_LINES) {
                found.push_front(&*line);
            }
        }
        std::string text;
        for (const Line * line : found) {
            text += (text.empty() ? "" : "; ") + line->text;
        }
        return text;
    }

  private:
    // A CONT line goes on with the line before it; any other begins a new one.
    void put(ggml_log_level level, const char * text, size_t size) {
        if (level != GGML_LOG_LEVEL_CONT || !open_ || lines_.empty()) {
            if (size == 0) {
                return;
            }
            if (lines_.size() == MAX_LINES) {
                lines_.pop_front();
            }
            const ggml_log_level known = level == GGML_LOG_LEVEL_CONT ? GGML_LOG_LEVEL_INFO : level;
            lines_.push_back({next_++, known, {}});
        }
        std::string & line = lines_.back().text;
        line.append(text, std::min(size, MAX_LINE_BYTES - std::min(line.size(), MAX_LINE_BYTES)));
    }

    std::mutex       mutex_;
    std::deque<Line> lines_;
    uint64_t         next_ = 0;
    bool             open_ = false; // the last line has had no newline yet
};

// Leaked on purpose: a thread of a backend may log while the process exits.
Ring & ring() {
    static Ring & instance = *new Ring;
    return instance;
}

std::atomic<int> verbosity{DEFAULT_VERBOSITY};

int verbosity_of(ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_ERROR: return 1;
        case GGML_LOG_LEVEL_WARN:  return 2;
        case GGML_LOG_LEVEL_DEBUG: return 5;
        default:                   return 3;
    }
}

const char * name_of(ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_ERROR: return "error";
        case GGML_LOG_LEVEL_WARN:  return "warn";
        case GGML_LOG_LEVEL_DEBUG: return "debug";
        default:                   return "info";
    }
}

thread_local const std::atomic<bool> * is_asked_to_end = nullptr;

void on_log(ggml_log_level level, const char * text, void *) {
    const bool is_wanted = level == GGML_LOG_LEVEL_ERROR && is_asked_to_end != nullptr && is_asked_to_end->load();
    log_write(is_wanted ? GGML_LOG_LEVEL_DEBUG : level, text);
}

} // namespace

void log_ensure() {
    static std::once_flag once;
    std::call_once(once, [] {
        llama_log_set(on_log, nullptr);
        llama_backend_init();
        clear_buffers_lazily();
    });
}

void log_init(int wished) {
    verbosity.store(std::max(1, wished));
    log_ensure();
}

LogNoErrorIf::LogNoErrorIf(const std::atomic<bool> & asked) {
    is_asked_to_end = &asked;
}

LogNoErrorIf::~LogNoErrorIf() {
    is_asked_to_end = nullptr;
}

int log_verbosity() {
    return verbosity.load(std::memory_order_relaxed);
}

void log_write(ggml_log_level level, const char * text) {
    if (verbosity_of(level) <= log_verbosity()) {
        ring().write(level, text, std::strlen(text));
    }
}

uint64_t log_mark() {
    return ring().mark();
}

std::string log_errors_since(uint64_t mark) {
    return ring().errors_since(mark);
}

} // namespace rn

int32_t rn_init(const char * json) {
    return rn::guard([&] {
        const rn::Fields fields(json, "rn_init");
        if (fields.boolean("kernels", true)) {
            rn::kernels::enable();
        }
        rn::log_init(static_cast<int>(fields.integer("log_level", rn::DEFAULT_VERBOSITY, 0, 5)));
        return RN_OK;
    });
}

int32_t rn_log_drain(rn_buf * out) {
    return rn::guard([&] {
        rn::need(out, "out");
        common_json lines = common_json::array();
        for (const rn::Line & line : rn::ring().drain()) {
            lines.push_back({{"level", rn::name_of(line.level)}, {"text", line.text}});
        }
        rn::fill(out, lines.dump_safe());
        return RN_OK;
    });
}
