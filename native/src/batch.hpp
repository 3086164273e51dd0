// Rows through a model: the one place where a batch is computed, and undone when that fails.
#pragma once

#include "plan.hpp"

namespace rn {

constexpr int32_t NO_CELL = 1; // what llama_process answers when KV memory is full

// Computes the rows, enters their tokens into their sequences and says where in the batch each was. Returns llama_process's answer; on other than 0 memory
// is as before, where it can give back a part.
int32_t compute(rn_ctx & ctx, std::vector<Row> & rows);

// Takes rows out of memory again, where it can give back a part; with rows of a picture goes all of the picture.
void roll_back(rn_ctx & ctx, const std::vector<Row> & rows);

} // namespace rn
