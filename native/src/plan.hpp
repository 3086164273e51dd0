// What one step computes, checked before the model runs.
#pragma once

#include "generator.hpp"
#include "runner_native.h"

#include <memory>
#include <vector>

namespace rn {

struct Row {
    int32_t     token;
    int32_t     pos;
    int32_t     seq;
    Generator * generator; // samples from this row, or nullptr
    int32_t     id;        // of the generator
};

struct StepPlan {
    std::vector<Row>                        rows;
    std::vector<std::shared_ptr<Generator>> held; // keeps the generators alive until the step is over
    int32_t                                 n_outputs = 0;
};

// Throws Failure for everything that llama.cpp would abort on, and for a place of the caller that is too small.
StepPlan make_plan(rn_ctx & ctx, const rn_step_in & in, const rn_step_out & out);

} // namespace rn
