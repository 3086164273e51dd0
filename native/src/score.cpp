// How likely a model finds a text: the measure of quality, and the check on the path that generates.
#include "context.hpp"
#include "guard.hpp"
#include "log.hpp"
#include "select.hpp"

#include <algorithm>

namespace rn {
namespace {

void check_text(const rn_ctx & ctx, int32_t seq, const int32_t * tokens, int32_t count) {
    ctx.check_seq(seq, "seq");
    if (count < 2) {
        fail(RN_E_ARG, "n: a score needs 2 tokens or more, got %d", count);
    }
    if (count > ctx.n_ctx_seq) {
        fail(RN_E_ARG, "n: %d tokens, a sequence holds %d", count, ctx.n_ctx_seq);
    }
    for (int32_t i = 0; i < count; ++i) {
        ctx.model->check_token(tokens[i], "tok");
    }
    if (ctx.next_pos(seq) != 0) {
        fail(RN_E_STATE, "sequence %d is not empty", seq);
    }
}

// Computes tokens first..end-1 of the text, each with an output but the text's last.
void compute(rn_ctx & ctx, int32_t seq, const int32_t * tokens, int32_t first, int32_t end, int32_t count) {
    llama_batch_ext * batch = ctx.batch.get();
    llama_batch_ext_clear(batch);
    for (int32_t pos = first; pos < end; ++pos) {
        const int32_t index = llama_batch_ext_add_token(batch, seq, tokens[pos]);
        if (index < 0) {
            fail(RN_E_EXC, "the batch did not take a row (%d)", index);
        }
        llama_batch_ext_set_pos(batch, index, &pos);
        llama_batch_ext_set_output_logits(batch, index, pos + 1 < count);
    }
    ctx.abort.store(false);
    const LogNoErrorIf no_error(ctx.abort);
    switch (const int32_t rc = llama_process(ctx.llama.get(), LLAMA_PROCESS_TYPE_DECODE, batch)) {
        case 0:  break;
        case 1:  fail(RN_E_STATE, "no room in KV memory for %d tokens", count);
        case 2:  fail(RN_E_CANCEL, "scoring was aborted");
        default: fail(RN_E_EXC, "the decode failed (%d)", rc);
    }
    llama_synchronize(ctx.llama.get());
    ctx.retired.clear();
}

void score(rn_ctx & ctx, int32_t seq, const int32_t * tokens, int32_t count, float * logprob) {
    const int32_t piece   = std::min(ctx.n_outputs_max, ctx.n_batch);
    const int32_t n_vocab = ctx.model->n_vocab;
    for (int32_t first = 0; first < count; first += piece) {
        const int32_t end = std::min(first + piece, count);
        compute(ctx, seq, tokens, first, end, count);
        for (int32_t i = first; i < std::min(end, count - 1); ++i) {
            const float * logits = llama_get_logits_ith(ctx.llama.get(), i - first);
            if (logits == nullptr) {
                fail(RN_E_EXC, "row %d has no logits", i - first);
            }
            logprob[i] = static_cast<float>(logits[tokens[i + 1]] - log_sum_exp(logits, n_vocab));
        }
    }
}

// Empties the sequence, however the scoring ends.
class Borrowed {
  public:
    Borrowed(rn_ctx & ctx, int32_t seq) : ctx_(ctx), seq_(seq) {}
    ~Borrowed() { llama_memory_seq_rm(ctx_.memory, seq_, -1, -1); }
    Borrowed(const Borrowed &)             = delete;
    Borrowed & operator=(const Borrowed &) = delete;

  private:
    rn_ctx & ctx_;
    int32_t  seq_;
};

} // namespace
} // namespace rn

int32_t rn_score(rn_ctx * ctx, int32_t seq, const int32_t * tok, int32_t n, float * logprob) {
    return rn::guard([&] {
        rn::need(ctx, "ctx");
        rn::need(logprob, "logprob");
        rn::check_text(*ctx, seq, &rn::need(tok, "tok"), n);
        const rn::Borrowed borrowed(*ctx, seq);
        rn::score(*ctx, seq, tok, n, logprob);
        return RN_OK;
    });
}
