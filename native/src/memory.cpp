// The KV memory of one context: what may be removed and copied, checked before llama.cpp would assert it.
#include "context.hpp"
#include "guard.hpp"

#include <algorithm>
#include <memory>

namespace rn {
namespace {

// llama.cpp copies a stream with all its cells, used or not. A text that fills less than half of them is copied with
// fewer bytes by way of its state, which also touches no page that holds no token. A state leaves out what a sliding
// window has passed, which a copy out of a full-size cache is to have.
bool is_short(const rn_ctx & ctx, int32_t src) {
    return !ctx.kv_unified && ctx.seq_rm == COMMON_CONTEXT_SEQ_RM_TYPE_PART &&
           (ctx.window == 0 || !ctx.full_window) && 2 * ctx.next_pos(src) < ctx.n_ctx_seq;
}

bool copy_state(rn_ctx & ctx, int32_t src, int32_t dst) {
    llama_context * llama = ctx.llama.get();
    const size_t    size  = llama_state_seq_get_size(llama, src);
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[size]);
    return llama_state_seq_get_data(llama, bytes.get(), size, src) == size &&
           llama_state_seq_set_data(llama, bytes.get(), size, dst) == size;
}

} // namespace
} // namespace rn

int32_t rn_seq_rm(rn_ctx * ctx, int32_t seq, int32_t p0) {
    return rn::guard([&] {
        rn::need(ctx, "ctx").check_seq(seq, "seq");
        return ctx->can_cut(seq, p0) && ctx->cut(seq, std::max(p0, 0)) ? 1 : 0;
    });
}

int32_t rn_seq_cp(rn_ctx * ctx, int32_t src, int32_t dst, int32_t p0, int32_t p1) {
    return rn::guard([&] {
        rn::need(ctx, "ctx").check_seq(src, "src");
        ctx->check_seq(dst, "dst");
        if (src == dst) {
            rn::fail(RN_E_ARG, "src and dst are both sequence %d", src);
        }
        if (ctx->next_pos(dst) != 0) {
            rn::fail(RN_E_STATE, "dst: sequence %d is not empty", dst);
        }
        const bool is_whole = p0 <= 0 && p1 < 0;
        // A stream is copied as a whole, and a recurrent state exists only at its last position.
        if (!is_whole && (!ctx->kv_unified || ctx->seq_rm != COMMON_CONTEXT_SEQ_RM_TYPE_PART)) {
            rn::fail(RN_E_ARG, "this memory copies whole sequences only: p0 must be 0 and p1 -1");
        }
        if (!is_whole && p1 >= 0 && !ctx->can_cut(src, p1)) {
            rn::fail(RN_E_STATE, "sequence %d: row %d is behind its window, or inside a picture", src, p1);
        }
        if (!rn::is_short(*ctx, src) || !rn::copy_state(*ctx, src, dst)) {
            const bool is_to_end = p1 < 0 || p1 >= ctx->next_pos(src);
            llama_memory_seq_cp(ctx->memory, src, dst, is_whole ? -1 : ctx->position(src, std::max(p0, 0)),
                                is_to_end ? -1 : ctx->position(src, p1));
        }
        ctx->tokens[static_cast<size_t>(dst)]    = ctx->tokens[static_cast<size_t>(src)];
        ctx->positions[static_cast<size_t>(dst)] = ctx->positions[static_cast<size_t>(src)];
        ctx->refresh(dst);
        return RN_OK;
    });
}

int32_t rn_seq_range(rn_ctx * ctx, int32_t seq, int32_t * pos_min, int32_t * pos_max) {
    return rn::guard([&] {
        rn::need(ctx, "ctx").check_seq(seq, "seq");
        const llama_pos first = llama_memory_seq_pos_min(ctx->memory, seq);
        rn::need(pos_min, "pos_min") =
            first < 0 ? first : ctx->positions[static_cast<size_t>(seq)].first_row(first);
        rn::need(pos_max, "pos_max") = ctx->next_pos(seq) - 1;
        return RN_OK;
    });
}

int32_t rn_kv_clear(rn_ctx * ctx) {
    return rn::guard([&] {
        llama_memory_clear(rn::need(ctx, "ctx").memory, true); // with the pages: see footprint.hpp
        ctx->tokens.assign(ctx->tokens.size(), {});
        ctx->positions.assign(ctx->positions.size(), {});
        return RN_OK;
    });
}
