// From token bytes to text that may be shown: whole UTF-8 characters, stop strings cut. Knows no model.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace rn {

// Decodes UTF-8 that arrives in any pieces. A byte that fits no character becomes U+FFFD, as Python's
// decode("utf-8", "replace") does it: one for each longest beginning of a character that did not go on.
class Utf8Decoder {
  public:
    // Appends all complete characters to out; keeps at most 3 bytes of an unfinished one.
    void feed(std::string_view bytes, std::string & out);
    void finish(std::string & out);

  private:
    std::string held_;
};

// Finds stop strings in text that arrives in any pieces, with a result that does not depend on the pieces: the first
// stop string to be complete ends the text where it begins; of several that end together, the longest.
class StopScanner {
  public:
    explicit StopScanner(std::vector<std::string> stops);

    // Appends the text that can no longer be part of a stop string; returns the index of the one that was met, or -1.
    int  feed(std::string_view text, std::string & out);
    void finish(std::string & out); // releases what was held back

    size_t longest() const { return longest_; }

  private:
    size_t possible_beginning(std::string_view text) const;

    std::vector<std::string> stops_;
    std::string              held_;
    size_t                   longest_ = 0;
};

} // namespace rn
