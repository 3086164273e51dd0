// rn_text: the result of the UTF-8 decoder and the stop scanner must not depend on where the bytes were split.
#include "text.hpp"

#include <cstdio>
#include <cstdlib>
#include <random>

namespace {

struct Result {
    std::string text;
    int         stop = -1;

    bool operator==(const Result & other) const { return text == other.text && stop == other.stop; }
};

Result run(const std::string & bytes, const std::vector<std::string> & stops, const std::vector<size_t> & cuts) {
    rn::Utf8Decoder decoder;
    rn::StopScanner scanner(stops);
    Result          result;
    size_t          from = 0;
    for (size_t to : cuts) {
        std::string decoded;
        decoder.feed(std::string_view(bytes).substr(from, to - from), decoded);
        result.stop = scanner.feed(decoded, result.text);
        if (result.stop >= 0) {
            return result;
        }
        from = to;
    }
    std::string rest;
    decoder.finish(rest);
    result.stop = scanner.feed(rest, result.text);
    if (result.stop < 0) {
        scanner.finish(result.text);
    }
    return result;
}

void check(bool condition, const char * what) {
    if (!condition) {
        std::fprintf(stderr, "rn_text: %s\n", what);
        std::exit(1);
    }
}

// Every way to cut up to 12 bytes.
void every_split(const std::string & bytes, const std::vector<std::string> & stops) {
    const Result whole = run(bytes, stops, {bytes.size()});
    for (unsigned mask = 0; mask < 1u << (bytes.size() - 1); ++mask) {
        std::vector<size_t> cuts;
        for (size_t at = 1; at < bytes.size(); ++at) {
            if ((mask >> (at - 1) & 1) != 0) {
                cuts.push_back(at);
            }
        }
        cuts.push_back(bytes.size());
        check(run(bytes, stops, cuts) == whole, "a split changed the result");
    }
}

std::string random_word(std::mt19937 & random, const std::string & alphabet, size_t longest) {
    std::string word;
    for (size_t size = 1 + random() % longest; word.size() < size;) {
        word += alphabet[random() % alphabet.size()];
    }
    return word;
}

} // namespace

int main() {
    std::mt19937 random(1);
    for (int i = 0; i < 3000; ++i) {
        std::vector<std::string> stops;
        for (size_t count = random() % 4; stops.size() < count;) {
            stops.push_back(random_word(random, "ab<", 4));
        }
        every_split(random_word(random, "ab<", 10), stops);
    }
    for (int i = 0; i < 3000; ++i) {
        const std::string bytes = random_word(random, "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82\xED\xA0\xFF\xF4\x90", 9);
        every_split(bytes, {"a"});
        every_split(bytes, {});
    }
    check(run("<b<", {"b", "<b<"}, {3}) == Result{"<", 0}, "the first stop string to be complete must win");
    check(run("xabc", {"bc", "abc"}, {4}) == Result{"x", 1}, "of those that end together the longest must win");
    check(run("a\xF0\x9F", {}, {3}).text == "a\xEF\xBF\xBD", "one U+FFFD for an unfinished character");
    check(run("\xE2\x28\xA1", {}, {3}).text == "\xEF\xBF\xBD(\xEF\xBF\xBD", "one U+FFFD for each broken beginning");
    std::puts("rn_text: ok");
    return 0;
}
