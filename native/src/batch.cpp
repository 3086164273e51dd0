#include "batch.hpp"

#include "context.hpp"
#include "guard.hpp"
#include "log.hpp"

#include <algorithm>

namespace rn {
namespace {

// Streams are computed in one pass where they follow each other in the batch without a gap; in one buffer rows are
// computed as they come.
std::vector<Row *> in_batch_order(const rn_ctx & ctx, std::vector<Row> & rows) {
    std::vector<Row *> ordered;
    for (Row & row : rows) {
        ordered.push_back(&row);
    }
    if (!ctx.kv_unified) {
        std::stable_sort(ordered.begin(), ordered.end(), [](const Row * a, const Row * b) { return a->seq < b->seq; });
    }
    return ordered;
}

void fill_batch(rn_ctx & ctx, std::vector<Row> & rows) {
    llama_batch_ext * batch = ctx.batch.get();
    llama_batch_ext_clear(batch);
    const size_t n_embd = static_cast<size_t>(llama_model_n_embd_inp(ctx.model->llama.get()));
    for (Row * row : in_batch_order(ctx, rows)) {
        row->index = row->embd == nullptr ? llama_batch_ext_add_token(batch, row->seq, row->token)
                                          : llama_batch_ext_add_embd(batch, row->seq, {row->embd, 1, n_embd});
        if (row->index < 0) {
            fail(RN_E_EXC, "the batch did not take a row (%d)", row->index);
        }
        const Position position = ctx.positions[static_cast<size_t>(row->seq)].in_grid(row->pos);
        llama_batch_ext_set_pos(batch, row->index, position.data());
        llama_batch_ext_set_output_logits(batch, row->index, row->has_output);
    }
}

} // namespace

void roll_back(rn_ctx & ctx, const std::vector<Row> & rows) {
    for (const Row & row : rows) {
        if (llama_memory_seq_pos_max(ctx.memory, row.seq) >= ctx.position(row.seq, row.pos)) {
            ctx.cut(row.seq, row.pos);
        }
        ctx.refresh(row.seq);
    }
}

int32_t compute(rn_ctx & ctx, std::vector<Row> & rows) {
    fill_batch(ctx, rows);
    const LogNoErrorIf no_error(ctx.abort);
    const int32_t      rc = llama_process(ctx.llama.get(), LLAMA_PROCESS_TYPE_DECODE, ctx.batch.get());
    if (rc != 0) {
        roll_back(ctx, rows); // parts of the batch that were computed stay in memory
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
