// Passes over one row of logits, without an array of the whole vocabulary.
#pragma once

#include "llama.h"

#include <vector>

namespace rn {

// Index of the largest value, the first of equals; -1 when no value is finite or +inf.
int32_t argmax(const float * values, int32_t count);

// The k largest values, largest first, NaN left out; fewer when there are not as many. Equal values in any order.
void select_top(const float * values, int32_t count, int32_t k, std::vector<llama_token_data> & out);

// log(sum(exp(values))).
double log_sum_exp(const float * values, int32_t count);

} // namespace rn
