#include "select.hpp"

#include <algorithm>
#include <cmath>

namespace rn {
namespace {

// Values looked at together, so that the compiler can use vector instructions: `a > b ? a : b` is exactly what a vector
// maximum computes, while std::max over one accumulator would have to keep the order.
constexpr int32_t LANES = 32;

bool any_at_least(const float * values, float floor) {
    int any = 0;
    for (int32_t i = 0; i < LANES; ++i) {
        any |= values[i] >= floor ? 1 : 0;
    }
    return any != 0;
}

float max_value(const float * values, int32_t count) {
    float lanes[LANES];
    std::fill_n(lanes, LANES, -INFINITY);
    int32_t at = 0;
    for (; at + LANES <= count; at += LANES) {
        for (int32_t i = 0; i < LANES; ++i) {
            lanes[i] = values[at + i] > lanes[i] ? values[at + i] : lanes[i];
        }
    }
    float best = -INFINITY;
    for (; at < count; ++at) {
        best = values[at] > best ? values[at] : best;
    }
    for (const float lane : lanes) {
        best = lane > best ? lane : best;
    }
    return best;
}

bool larger(const llama_token_data & a, const llama_token_data & b) {
    return a.logit > b.logit;
}

} // namespace

int32_t argmax(const float * values, int32_t count) {
    const float best = max_value(values, count);
    if (best == -INFINITY) {
        return -1;
    }
    return static_cast<int32_t>(std::find(values, values + count, best) - values);
}

void select_top(const float * values, int32_t count, int32_t k, std::vector<llama_token_data> & out) {
    out.clear();
    const size_t wanted = static_cast<size_t>(std::min(k, count));
    const size_t room   = std::max<size_t>(4 * wanted, 256);
    float        floor  = -INFINITY; // no smaller value is among the k largest
    const auto   shrink = [&] {
        std::nth_element(out.begin(), out.begin() + static_cast<ptrdiff_t>(wanted) - 1, out.end(), larger);
        out.resize(wanted);
        floor = out.back().logit;
    };
    for (int32_t at = 0; at < count; at += LANES) {
        const int32_t end = std::min(at + LANES, count);
        if (end - at == LANES && !any_at_least(values + at, floor)) {
            continue;
        }
        for (int32_t i = at; i < end; ++i) {
            if (values[i] >= floor) {
                out.push_back({i, values[i], 0.0f});
            }
        }
        if (out.size() >= room) {
            shrink();
        }
    }
    if (out.size() > wanted) {
        shrink();
    }
    std::sort(out.begin(), out.end(), larger);
}

double log_sum_exp(const float * values, int32_t count) {
    const float best = max_value(values, count);
    double      sum  = 0.0;
    for (int32_t i = 0; i < count; ++i) {
        sum += std::exp(values[i] - best);
    }
    return static_cast<double>(best) + std::log(sum);
}

} // namespace rn
