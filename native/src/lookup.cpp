#include "lookup.hpp"

#include <algorithm>

namespace rn {
namespace {

// Values compared together, so that the compiler can use vector instructions: 8,000 tokens take about a microsecond.
constexpr size_t LANES = 32;

bool any_equal(const int32_t * values, int32_t wanted) {
    int any = 0;
    for (size_t i = 0; i < LANES; ++i) {
        any |= values[i] == wanted ? 1 : 0;
    }
    return any != 0;
}

// How many tokens before `at` agree with as many at the end, where `last` is already known to agree with `at`.
int32_t agreement(const std::vector<int32_t> & known, size_t at) {
    const size_t most  = std::min<size_t>(at, MOST_AGREEMENT - 1);
    const size_t end   = known.size();
    size_t       count = 0;
    while (count < most && known[at - 1 - count] == known[end - 1 - count]) {
        ++count;
    }
    return static_cast<int32_t>(count) + 1;
}

struct Match {
    size_t  next   = 0; // where what followed begins
    int32_t length = 0;
};

Match longest_match(const std::vector<int32_t> & known, int32_t last) {
    Match      best;
    const auto compare = [&](size_t at) {
        const int32_t length = known[at] == last ? agreement(known, at) : 0;
        if (length > best.length) {
            best = {at + 1, length};
        }
    };
    size_t end = known.size();
    while (end > 0 && best.length < MOST_AGREEMENT) { // the latest first
        const size_t begin = end - std::min(end, LANES);
        if (end - begin < LANES || any_equal(&known[begin], last)) {
            for (size_t at = end; at > begin && best.length < MOST_AGREEMENT; --at) {
                compare(at - 1);
            }
        }
        end = begin;
    }
    return best;
}

} // namespace

void look_up(const std::vector<int32_t> & known, int32_t last, int32_t count, std::vector<int32_t> & guesses) {
    const Match match = longest_match(known, last);
    if (match.length < LEAST_AGREEMENT) {
        return;
    }
    const size_t first = guesses.size();
    for (size_t at = match.next; guesses.size() - first < static_cast<size_t>(std::max(count, 0)); ++at) {
        const size_t  beyond = at - std::min(at, known.size());
        const int32_t guess  = at < known.size() ? known[at] : beyond == 0 ? last : guesses[first + beyond - 1];
        if (guess < 0) {
            return;
        }
        guesses.push_back(guess);
    }
}

} // namespace rn
