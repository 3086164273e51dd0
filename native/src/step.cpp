// The hot path: one batch through the model, and one token out for each generator in it.
#include "context.hpp"
#include "guard.hpp"
#include "recorder.hpp"

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
        llama_batch_ext_set_output_logits(batch, index, row.generator != nullptr);
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

int32_t compute(rn_ctx & ctx, const std::vector<Row> & rows) {
    fill_batch(ctx, rows);
    ctx.abort.store(false);
    const int32_t rc = llama_process(ctx.llama.get(), LLAMA_PROCESS_TYPE_DECODE, ctx.batch.get());
    if (rc != 0) {
        roll_back(ctx, rows);
        return rc;
    }
    llama_synchronize(ctx.llama.get());
    ctx.retired.clear();
    for (const Row & row : rows) {
        ctx.next_pos[static_cast<size_t>(row.seq)] = row.pos + 1;
    }
    return rc;
}

void run_step(rn_ctx & ctx, const rn_step_in & in, rn_step_out & out) {
    const StepPlan plan = make_plan(ctx, in, out);
    const int64_t  began = ggml_time_us();
    out.n_out            = 0;
    out.rc               = compute(ctx, plan.rows);
    const int64_t computed = ggml_time_us();
    out.us_decode          = computed - began;
    out.us_sample          = 0;
    if (out.rc != 0) {
        return;
    }
    Recorder recorder(ctx, out);
    for (size_t i = 0; i < plan.rows.size(); ++i) {
        if (plan.rows[i].generator != nullptr) {
            recorder.record(plan.rows[i], static_cast<int32_t>(i));
        }
    }
    out.us_sample = ggml_time_us() - computed;
}

} // namespace
} // namespace rn

int32_t rn_step(rn_ctx * ctx, const rn_step_in * in, rn_step_out * out) {
    return rn::guard([&] {
        rn::need(ctx, "ctx");
        if (rn::need(in, "in").size < sizeof(rn_step_in) || rn::need(out, "out").size < sizeof(rn_step_out)) {
            rn::fail(RN_E_ARG, "size: the caller's structs are older than ABI %d", RN_ABI);
        }
        rn::run_step(*ctx, *in, *out);
        return RN_OK;
    });
}
