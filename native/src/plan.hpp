// What one step computes, checked before the model runs.
#pragma once

#include "generator.hpp"
#include "positions.hpp"
#include "runner_native.h"

#include <memory>
#include <vector>

namespace rn {

struct Row {
    int32_t     token;
    int32_t     pos; // counted in rows
    int32_t     seq;
    Generator * generator; // samples from this row, or nullptr
    int32_t     id;        // of the generator
    bool        has_output = false;
    int32_t     index      = -1; // in the batch, once it is computed
    int32_t     score      = -1; // the token to be told of: how likely it is behind this row
    const float * embd     = nullptr; // of a row of media: in place of the token, which is only its name
};

// Rows of one piece of media, computed by themselves: a batch has tokens or numbers.
struct Piece {
    std::vector<Row> rows;
    bool             is_whole; // they look at one another
    bool             is_grid;  // the rows are of this picture
    Picture          picture;
};

// The rows that hold guesses of what follows one generator's pending token.
struct Guesses {
    size_t  first;
    int32_t count;
};

struct StepPlan {
    std::vector<Row>                        rows;     // tokens, as asked: decode part, prompt part; then the guesses
    std::vector<Piece>                      media;
    size_t                                  n_asked = 0;
    std::vector<Guesses>                    guesses;  // one for each row of the decode part, or empty: none at all
    std::vector<std::shared_ptr<Generator>> held;     // keeps the generators alive until the step is over
    int32_t                                 n_outputs = 0; // of the rows asked

    // Without its guesses; false when it has none.
    bool drop_guesses();
};

// Throws Failure for everything that llama.cpp would abort on, and for a place of the caller that is too small.
StepPlan make_plan(rn_ctx & ctx, const rn_step_in & in, const rn_step_out & out);

} // namespace rn
