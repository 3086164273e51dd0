#include "batch.hpp"

#include "context.hpp"
#include "guard.hpp"

namespace rn {
namespace {

void fill_batch(rn_ctx & ctx, const std::vector<Row> & rows) {
    llama_batch_ext * batch = ctx.batch.get();
    llama_batch_ext_clear(batch);
    for (const Row & row : rows) {
        const int32_t index = llama_batch_ext_add_token(batch, row.seq, row.token);
        if (index < 0) {
            fail(RN_E_EXC, "the batch did not take a row (%d)", index);
        }
        llama_batch_ext_set_pos(batch, index, &row.pos);
        llama_batch_ext_set_output_logits(batch, index, row.has_output);
    }
}

// After an abort or a failure the parts of the batch that were computed stay in memory: take them out again.
void roll_back(rn_ctx & ctx, const std::vector<Row> & rows) {
    for (const Row & row : rows) {
        if (llama_memory_seq_pos_max(ctx.memory, row.seq) >= row.pos) {
            llama_memory_seq_rm(ctx.memory, row.seq, row.pos, -1);
        }
        ctx.refresh(row.seq);
    }
}

} // namespace

int32_t compute(rn_ctx & ctx, const std::vector<Row> & rows) {
    fill_batch(ctx, rows);
    const int32_t rc = llama_process(ctx.llama.get(), LLAMA_PROCESS_TYPE_DECODE, ctx.batch.get());
    if (rc != 0) {
        roll_back(ctx, rows);
        return rc;
    }
    llama_synchronize(ctx.llama.get());
    ctx.retired.clear();
    for (const Row & row : rows) {
        ctx.tokens[static_cast<size_t>(row.seq)].push_back(row.token);
    }
    return rc;
}

} // namespace rn
