// rn_lookup: which place of a text its end agrees with, and what is guessed from there.
#include "lookup.hpp"

#include <cstdio>
#include <cstdlib>

namespace {

using Tokens = std::vector<int32_t>;

void expect(const char * rule, const Tokens & known, int32_t last, int32_t count, const Tokens & wanted) {
    Tokens guesses;
    rn::look_up(known, last, count, guesses);
    if (guesses != wanted) {
        std::fprintf(stderr, "rn_lookup: %s\n", rule);
        std::exit(1);
    }
}

Tokens joined(std::initializer_list<Tokens> parts) {
    Tokens all;
    for (const Tokens & part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

} // namespace

int main() {
    expect("what followed before is guessed", {1, 2, 3, 4, 9, 1}, 2, 3, {3, 4, 9});
    expect("no more than asked", {1, 2, 3, 4, 9, 1}, 2, 1, {3});
    expect("none when none are asked", {1, 2, 3, 4, 9, 1}, 2, 0, {});
    expect("nothing is known", {}, 2, 4, {});
    expect("one token that agrees is too few", {1, 2, 3, 8}, 2, 4, {});
    expect("nothing agrees", {1, 2, 3, 4}, 5, 4, {});
    expect("the longest agreement wins over the latest", {1, 2, 3, 7, 8, 2, 3, 6, 1, 2}, 3, 2, {7, 8});
    expect("the latest of equals wins", {1, 2, 7, 1, 2, 8, 1}, 2, 2, {8, 1});
    expect("a text that repeats is guessed beyond its end", {5, 6, 7, 5, 6}, 7, 7, {5, 6, 7, 5, 6, 7, 5});
    expect("so is one token said again and again", {4, 4}, 4, 3, {4, 4, 4});
    expect("the first token may begin the place", {1, 2, 1}, 2, 1, {1});
    expect("an unknown token is never guessed", {1, 2, 3, -1, 4, 1}, 2, 4, {3});

    // Long texts: a place in every position of a block that is compared at once, and one that begins the text.
    for (int32_t before = 0; before < 70; ++before) {
        const Tokens text = joined({Tokens(static_cast<size_t>(before), 100), {1, 2, 3}, Tokens(80, 101), {1}});
        expect("a place is found wherever it lies", text, 2, 2, {3, 101});
    }

    // Beyond what is compared the latest place wins, although the older one agrees for longer.
    Tokens rising;
    for (int32_t token = 0; token < rn::MOST_AGREEMENT; ++token) {
        rising.push_back(200 + token);
    }
    const Tokens end(rising.begin(), rising.end() - 1);
    expect("agreement is bounded", joined({{7}, rising, {8}, rising, {9, 7}, end}), rising.back(), 1, {9});

    Tokens guesses = {5};
    rn::look_up({1, 2, 3, 1}, 2, 1, guesses);
    if (guesses != Tokens{5, 3}) {
        std::fputs("rn_lookup: guesses are appended\n", stderr);
        return 1;
    }
    std::puts("rn_lookup: ok");
    return 0;
}
