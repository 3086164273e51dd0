// One sequence's memory as bytes: taken out to be kept elsewhere, and put back later, perhaps into another sequence.
#include "context.hpp"
#include "guard.hpp"

namespace rn {
namespace {

// llama.cpp leaves what it read of a state that it then refuses; the sequence is to be empty after a failure.
[[noreturn]] void refuse(rn_ctx & ctx, int32_t seq, int32_t code, const char * reason) {
    llama_memory_seq_rm(ctx.memory, seq, -1, -1);
    ctx.refresh(seq);
    fail(code, "sequence %d: %s", seq, reason);
}

size_t size_of(const rn_ctx & ctx, int32_t seq) {
    return llama_state_seq_get_size(ctx.llama.get(), seq) + ctx.positions[static_cast<size_t>(seq)].size();
}

void check_empty(const rn_ctx & ctx, int32_t seq) {
    if (ctx.next_pos(seq) != 0) {
        fail(RN_E_STATE, "seq: sequence %d is not empty", seq);
    }
}

} // namespace
} // namespace rn

int64_t rn_seq_state_size(rn_ctx * ctx, int32_t seq) {
    return rn::guard<int64_t>([&] {
        rn::need(ctx, "ctx").check_seq(seq, "seq");
        const size_t size = rn::size_of(*ctx, seq);
        if (size == 0) {
            rn::fail(RN_E_UNSUP, "this memory cannot be written down");
        }
        return static_cast<int64_t>(size);
    });
}

int64_t rn_seq_state_get(rn_ctx * ctx, int32_t seq, void * dst, int64_t cap) {
    return rn::guard<int64_t>([&] {
        rn::need(ctx, "ctx").check_seq(seq, "seq");
        rn::need(static_cast<uint8_t *>(dst), "dst");
        if (ctx->next_pos(seq) == 0) {
            rn::fail(RN_E_STATE, "seq: sequence %d is empty", seq);
        }
        const size_t size = rn::size_of(*ctx, seq);
        if (cap < 0 || static_cast<size_t>(cap) < size) {
            rn::fail(RN_E_ARG, "cap: %zu bytes are needed, there are %lld", size, static_cast<long long>(cap));
        }
        const rn::Positions & positions = ctx->positions[static_cast<size_t>(seq)];
        uint8_t * const       bytes     = static_cast<uint8_t *>(dst);
        const size_t          written =
            llama_state_seq_get_data(ctx->llama.get(), bytes, size, seq) + positions.size();
        if (written != size) {
            rn::fail(RN_E_EXC, "%zu of %zu bytes were written", written, size);
        }
        positions.write(bytes + size - positions.size());
        return static_cast<int64_t>(written);
    });
}

int32_t rn_seq_state_set(rn_ctx * ctx, int32_t seq, const void * src, int64_t len, const int32_t * tokens,
                         int64_t n_tokens) {
    return rn::guard([&] {
        rn::need(ctx, "ctx").check_seq(seq, "seq");
        rn::check_empty(*ctx, seq);
        if (n_tokens < 1 || n_tokens > ctx->n_ctx_seq) {
            rn::fail(RN_E_ARG, "n_tokens: %lld is not in 1..%d", static_cast<long long>(n_tokens), ctx->n_ctx_seq);
        }
        rn::need(tokens, "tokens");
        for (int64_t i = 0; i < n_tokens; ++i) {
            if (tokens[i] >= LLAMA_TOKEN_NULL) { // below are rows of media
                ctx->model->check_token(tokens[i], "tokens");
            }
        }
        const uint8_t * bytes = &rn::need(static_cast<const uint8_t *>(src), "src");
        if (len < 1) {
            rn::fail(RN_E_ARG, "len: %lld bytes are no state", static_cast<long long>(len));
        }
        const size_t size = static_cast<size_t>(len);
        const size_t read = llama_state_seq_set_data(ctx->llama.get(), bytes, size, seq);
        if (read == 0) {
            rn::refuse(*ctx, seq, RN_E_STATE, "the state does not fit this context, or there is no room for it");
        }
        const int32_t   rows      = static_cast<int32_t>(n_tokens);
        const llama_pos last      = llama_memory_seq_pos_max(ctx->memory, seq);
        rn::Positions & positions = ctx->positions[static_cast<size_t>(seq)];
        if (read > size || !positions.read(bytes + read, size - read, rows) ||
            (read < size && !ctx->model->has_grids()) || positions.rows_until(last, rows) != rows) {
            rn::refuse(*ctx, seq, RN_E_ARG, "the state is of another size, or of another number of tokens");
        }
        ctx->tokens[static_cast<size_t>(seq)].assign(tokens, tokens + n_tokens);
        return RN_OK;
    });
}
