#include "text.hpp"

#include <algorithm>
#include <utility>

namespace rn {
namespace {

constexpr std::string_view REPLACEMENT = "\xEF\xBF\xBD"; // U+FFFD

// One row of Unicode's table of well-formed sequences (core specification 3.9, table 3-7): the bytes that follow a
// lead byte, and the narrower range of the first of them that keeps out overlong forms, surrogates and the beyond.
struct Lead {
    size_t        followers;
    unsigned char low;
    unsigned char high;
};

Lead lead_of(unsigned char byte) {
    if (byte < 0x80) { return {0, 0, 0}; }
    if (byte >= 0xC2 && byte <= 0xDF) { return {1, 0x80, 0xBF}; }
    if (byte == 0xE0) { return {2, 0xA0, 0xBF}; }
    if (byte == 0xED) { return {2, 0x80, 0x9F}; }
    if (byte >= 0xE1 && byte <= 0xEF) { return {2, 0x80, 0xBF}; }
    if (byte == 0xF0) { return {3, 0x90, 0xBF}; }
    if (byte >= 0xF1 && byte <= 0xF3) { return {3, 0x80, 0xBF}; }
    if (byte == 0xF4) { return {3, 0x80, 0x8F}; }
    return {0, 1, 0}; // an empty range: no character begins so
}

// How many of the bytes from `at` belong together, and whether they are a whole character, or could still become one.
enum class Shape { WHOLE, UNFINISHED, WRONG };

Shape shape_at(std::string_view bytes, size_t at, size_t & size) {
    const Lead lead = lead_of(static_cast<unsigned char>(bytes[at]));
    size            = 1;
    if (lead.followers == 0) {
        return lead.low == 0 ? Shape::WHOLE : Shape::WRONG;
    }
    for (; size <= lead.followers; ++size) {
        if (at + size == bytes.size()) {
            return Shape::UNFINISHED;
        }
        const unsigned char byte = static_cast<unsigned char>(bytes[at + size]);
        const unsigned char low  = size == 1 ? lead.low : 0x80;
        const unsigned char high = size == 1 ? lead.high : 0xBF;
        if (byte < low || byte > high) {
            return Shape::WRONG;
        }
    }
    return Shape::WHOLE;
}

} // namespace

void Utf8Decoder::feed(std::string_view bytes, std::string & out) {
    std::string joined;
    if (!held_.empty()) {
        joined = held_.append(bytes);
        bytes  = joined;
        held_.clear();
    }
    for (size_t at = 0; at < bytes.size();) {
        size_t size = 0;
        switch (shape_at(bytes, at, size)) {
            case Shape::WHOLE:
                out.append(bytes.substr(at, size));
                break;
            case Shape::WRONG:
                out.append(REPLACEMENT);
                break;
            case Shape::UNFINISHED:
                held_.assign(bytes.substr(at));
                return;
        }
        at += size;
    }
}

void Utf8Decoder::finish(std::string & out) {
    if (!held_.empty()) {
        out.append(REPLACEMENT);
        held_.clear();
    }
}

StopScanner::StopScanner(std::vector<std::string> stops) : stops_(std::move(stops)) {
    for (const std::string & stop : stops_) {
        longest_ = std::max(longest_, stop.size());
    }
}

int StopScanner::feed(std::string_view text, std::string & out) {
    if (stops_.empty()) {
        out.append(text);
        return -1;
    }
    held_.append(text);
    int    met = -1;
    size_t end = std::string::npos;
    for (size_t i = 0; i < stops_.size(); ++i) {
        const size_t at = held_.find(stops_[i]);
        if (at == std::string::npos) {
            continue;
        }
        const size_t stop_end = at + stops_[i].size();
        if (stop_end < end || (stop_end == end && stops_[i].size() > stops_[static_cast<size_t>(met)].size())) {
            met = static_cast<int>(i);
            end = stop_end;
        }
    }
    if (met >= 0) {
        out.append(held_, 0, end - stops_[static_cast<size_t>(met)].size());
        held_.clear();
        return met;
    }
    const size_t shown = held_.size() - possible_beginning(held_);
    out.append(held_, 0, shown);
    held_.erase(0, shown);
    return -1;
}

void StopScanner::finish(std::string & out) {
    out.append(held_);
    held_.clear();
}

// Length of the longest end of the text that is the beginning of a stop string.
size_t StopScanner::possible_beginning(std::string_view text) const {
    for (size_t length = std::min(text.size(), longest_ - 1); length > 0; --length) {
        const std::string_view end = text.substr(text.size() - length);
        for (const std::string & stop : stops_) {
            if (length < stop.size() && std::string_view(stop).substr(0, length) == end) {
                return length;
            }
        }
    }
    return 0;
}

} // namespace rn
