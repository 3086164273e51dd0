// The hot path: one batch through the model, and one token out for each generator in it, or more where guesses were right.
#include "batch.hpp"
#include "context.hpp"
#include "guard.hpp"
#include "recorder.hpp"

namespace rn {
namespace {

// While it lives every row of a batch sees all others of its sequence.
class LookAround {
  public:
    LookAround(llama_context * llama, bool is_on) : llama_(is_on ? llama : nullptr) { set(false); }
    LookAround(const LookAround &)             = delete;
    LookAround & operator=(const LookAround &) = delete;
    ~LookAround() { set(true); }

  private:
    void set(bool is_causal) const {
        if (llama_ != nullptr) {
            llama_set_causal_attn(llama_, is_causal);
        }
    }

    llama_context * llama_;
};

int32_t compute_tokens(rn_ctx & ctx, StepPlan & plan) {
    const int32_t rc = plan.rows.empty() ? 0 : compute(ctx, plan.rows);
    return rc == NO_CELL && plan.drop_guesses() ? compute(ctx, plan.rows) : rc;
}

// Enters a picture where it begins; what failed takes it out again.
int32_t compute_media(rn_ctx & ctx, Piece & piece) {
    if (piece.is_grid && piece.rows.front().pos == piece.picture.first) {
        Positions & positions = ctx.positions[static_cast<size_t>(piece.rows.front().seq)];
        positions.cut(piece.picture.first); // of a step that threw
        positions.add(piece.picture);
    }
    const LookAround around(ctx.llama.get(), piece.is_whole);
    return compute(ctx, piece.rows);
}

// Media first: only the rows that were computed last can be sampled from.
int32_t compute(rn_ctx & ctx, StepPlan & plan) {
    size_t  done = 0;
    int32_t rc   = 0;
    while (rc == 0 && done < plan.media.size()) {
        rc = compute_media(ctx, plan.media[done]);
        done += rc == 0 ? 1 : 0;
    }
    rc = rc == 0 ? compute_tokens(ctx, plan) : rc;
    if (rc == 0) {
        return rc;
    }
    bool is_as_before = done == 0 || ctx.seq_rm == COMMON_CONTEXT_SEQ_RM_TYPE_PART;
    for (size_t i = 0; i < plan.media.size() && i < done + 1; ++i) {
        const Piece & piece = plan.media[i];
        roll_back(ctx, piece.rows);
        is_as_before = is_as_before && !(piece.is_grid && piece.rows.front().pos > piece.picture.first);
    }
    return is_as_before ? rc : -1; // what memory holds now is for rn_seq_range to say
}

// When sampling is over, or has thrown, memory holds no more than what the generators went past: every guess that was
// not confirmed goes.
class CutBack {
  public:
    CutBack(rn_ctx & ctx, const StepPlan & plan) : ctx_(ctx), plan_(plan) {}
    CutBack(const CutBack &)             = delete;
    CutBack & operator=(const CutBack &) = delete;

    ~CutBack() {
        for (const auto & generator : plan_.held) {
            if (ctx_.next_pos(generator->seq) > generator->n_past) {
                ctx_.cut(generator->seq, generator->n_past);
            }
        }
    }

  private:
    rn_ctx &         ctx_;
    const StepPlan & plan_;
};

// A score of each row that was asked for one; one token from each that was asked for that, and from the guesses behind it for as long as they are what was sampled.
void sample(rn_ctx & ctx, const StepPlan & plan, int32_t score_top, rn_step_out & out) {
    const CutBack cut_back(ctx, plan);
    Recorder      recorder(ctx, out);
    for (size_t i = 0; i < plan.n_asked; ++i) {
        const Generator * generator = plan.rows[i].generator;
        if (plan.rows[i].score != LLAMA_TOKEN_NULL) {
            recorder.score(plan.rows[i], score_top);
        }
        if (generator == nullptr) {
            continue;
        }
        recorder.record(plan.rows[i]);
        const Guesses guesses = i < plan.guesses.size() ? plan.guesses[i] : Guesses{i, 0};
        for (size_t at = guesses.first; at < guesses.first + static_cast<size_t>(guesses.count); ++at) {
            if (generator->ended || generator->pending != plan.rows[at].token) {
                break;
            }
            recorder.record(plan.rows[at]);
        }
    }
}

void run_step(rn_ctx & ctx, const rn_step_in & in, rn_step_out & out) {
    const int64_t began = ggml_time_us();
    ctx.abort.store(false);
    StepPlan      plan     = make_plan(ctx, in, out);
    out.n_out              = 0;
    out.rc                 = compute(ctx, plan);
    const int64_t computed = ggml_time_us();
    out.us_decode          = computed - began;
    out.us_sample          = 0;
    for (int32_t i = 0; in.n_draft != nullptr && i < in.n_gen; ++i) {
        const bool is_checked = out.rc == 0 && !plan.guesses.empty();
        out.n_drafted[i]      = is_checked ? plan.guesses[static_cast<size_t>(i)].count : 0;
    }
    if (out.rc == 0) {
        sample(ctx, plan, in.score_top, out);
        out.us_sample = ggml_time_us() - computed;
    }
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
