#include "plan.hpp"

#include "context.hpp"
#include "draft.hpp"
#include "guard.hpp"
#include "lookup.hpp"

#include <algorithm>

namespace rn {
namespace {

class Planner {
  public:
    explicit Planner(rn_ctx & ctx) : ctx_(ctx) {
        for (int32_t seq = 0; seq < ctx.n_seq_max; ++seq) {
            next_pos_.push_back(ctx.next_pos(seq));
        }
    }

    StepPlan plan(const rn_step_in & in) {
        check_counts(in);
        for (int32_t i = 0; i < in.n_gen; ++i) {
            add_decode(in.gen[i]);
        }
        int32_t i = 0;
        for (int32_t piece = 0; piece < in.n_media; ++piece) {
            const rn_rows & media = in.media[piece];
            check_media(in, media, i);
            add_tokens(in, i, media.first);
            i = media.first + media.n;
            add_media(in, media);
        }
        add_tokens(in, i, in.n_rows);
        if (plan_.rows.size() > static_cast<size_t>(ctx_.n_batch)) {
            fail(RN_E_ARG, "%zu tokens: a step has at most %d", plan_.rows.size(), ctx_.n_batch);
        }
        if (plan_.n_outputs > ctx_.n_outputs_max) {
            fail(RN_E_ARG, "%d rows to sample from, the context allows %d", plan_.n_outputs, ctx_.n_outputs_max);
        }
        plan_.n_asked = plan_.rows.size();
        return std::move(plan_);
    }

  private:
    void check_counts(const rn_step_in & in) const {
        const int64_t total = static_cast<int64_t>(in.n_gen) + in.n_rows;
        if (in.n_gen < 0 || in.n_rows < 0 || total < 1 || (in.n_media == 0 && total > ctx_.n_batch)) {
            fail(RN_E_ARG, "%d generators and %d rows: a step has 1 to %d rows", in.n_gen, in.n_rows, ctx_.n_batch);
        }
        if (in.n_media > 0) {
            need(in.media, "media");
        }
        if (in.n_gen > 0) {
            need(in.gen, "gen");
        }
        for (int32_t i = 0; in.n_draft != nullptr && i < in.n_gen; ++i) {
            if (in.n_draft[i] < 0) {
                fail(RN_E_ARG, "n_draft: %d for generator %d", in.n_draft[i], in.gen[i]);
            }
        }
        if (in.n_rows > 0) {
            need(in.tok, "tok");
            need(in.pos, "pos");
            need(in.seq, "seq");
            need(in.out_gen, "out_gen");
        }
    }

    void add_decode(int32_t id) {
        const std::shared_ptr<Generator> generator = ctx_.generators.get(id);
        if (generator->pending < 0) {
            fail(RN_E_STATE, "generator %d has no token to feed: sample from a prompt row first", id);
        }
        add_row({generator->pending, generator->n_past, generator->seq, nullptr, id});
    }

    void add_tokens(const rn_step_in & in, int32_t begin, int32_t end) {
        for (int32_t i = begin; i < end; ++i) {
            ctx_.model->check_token(in.tok[i], "tok");
            Row row = {in.tok[i], in.pos[i], in.seq[i], nullptr, in.out_gen[i]};
            row.score = score_of(in, i);
            add_row(row);
        }
    }

    int32_t score_of(const rn_step_in & in, int32_t i) const {
        if (in.score == nullptr || in.score[i] == LLAMA_TOKEN_NULL) {
            return LLAMA_TOKEN_NULL;
        }
        ctx_.model->check_token(in.score[i], "score");
        if (in.out_gen[i] >= 0) {
            fail(RN_E_ARG, "row %d has a score and a generator", i);
        }
        return in.score[i];
    }

    void check_media(const rn_step_in & in, const rn_rows & media, int32_t least) const {
        const int32_t most = media.is_whole != 0 ? std::min(ctx_.n_batch, ctx_.n_ubatch) : ctx_.n_batch;
        if (media.first < least || media.n < 1 || media.first > in.n_rows - media.n) {
            fail(RN_E_ARG, "media: rows %d.. are not between %d and %d", media.first, least, in.n_rows);
        }
        if (media.n > most) {
            fail(RN_E_ARG, "media: %d rows, at most %d can be computed at once", media.n, most);
        }
        for (int32_t i = media.first; i < media.first + media.n; ++i) {
            const bool is_asked = in.out_gen[i] >= 0 || (in.score != nullptr && in.score[i] != LLAMA_TOKEN_NULL);
            if (in.tok[i] >= LLAMA_TOKEN_NULL || is_asked || in.seq[i] != in.seq[media.first]) {
                fail(RN_E_ARG, "media: row %d has a token, a generator, a score or another sequence", i);
            }
        }
    }

    void add_media(const rn_step_in & in, const rn_rows & media) {
        const int32_t n_embd = llama_model_n_embd_inp(ctx_.model->llama.get());
        Piece         piece  = {{}, media.is_whole != 0, media.columns > 0, {}};
        if (piece.is_grid) {
            piece.picture = picture_of(in, media);
        }
        for (int32_t at = 0; at < media.n; ++at) {
            const int32_t i   = media.first + at;
            Row           row = {in.tok[i], in.pos[i], in.seq[i], nullptr, -1};
            take_place(row);
            row.embd = &need(media.embd, "embd") + static_cast<size_t>(at) * static_cast<size_t>(n_embd);
            piece.rows.push_back(row);
        }
        plan_.media.push_back(std::move(piece));
    }

    // Rows of a grid begin it, or go on with the one that is there; and the model must know such positions.
    Picture picture_of(const rn_step_in & in, const rn_rows & media) const {
        const int32_t row = in.pos[media.first];
        const int32_t seq = in.seq[media.first];
        ctx_.check_seq(seq, "seq");
        if (!ctx_.model->has_grids() || media.start < 0 || media.start > row || media.of < 1 ||
            media.of > ctx_.n_ctx_seq || media.of % media.columns != 0 || media.n > media.of - media.start) {
            fail(RN_E_ARG, "media: rows %d.. are no part of a grid of %d rows, %d a line", media.start, media.of,
                 media.columns);
        }
        const Picture     picture   = {row - media.start, media.of, media.columns};
        const Positions & positions = ctx_.positions[static_cast<size_t>(seq)];
        if (media.start > 0 ? !positions.holds(picture) : positions.is_inside(row)) {
            fail(RN_E_STATE, "media: sequence %d goes on with another picture at row %d", seq, row);
        }
        return picture;
    }

    void take_place(const Row & row) {
        ctx_.check_seq(row.seq, "seq");
        int32_t & next = next_pos_[static_cast<size_t>(row.seq)];
        if (row.pos != next) {
            fail(RN_E_ARG, "sequence %d must go on at position %d, got %d", row.seq, next, row.pos);
        }
        if (row.pos >= ctx_.n_ctx_seq) {
            fail(RN_E_STATE, "sequence %d is full: %d positions", row.seq, ctx_.n_ctx_seq);
        }
        ++next;
    }

    void add_row(Row row) {
        take_place(row);
        if (row.id >= 0) {
            row.generator = output_of(row);
        }
        row.has_output = row.id >= 0 || row.score != LLAMA_TOKEN_NULL;
        plan_.n_outputs += row.has_output ? 1 : 0;
        plan_.rows.push_back(row);
    }

    // The generator of a row with an output: bound to this sequence, alive, once in a step, and at its own place.
    Generator * output_of(const Row & row) {
        std::shared_ptr<Generator> generator = ctx_.generators.get(row.id);
        if (generator->ended) {
            fail(RN_E_STATE, "generator %d has ended", row.id);
        }
        if (generator->seq != row.seq) {
            fail(RN_E_STATE, "generator %d is bound to sequence %d, not %d", row.id, generator->seq, row.seq);
        }
        for (const auto & other : plan_.held) {
            if (other == generator) {
                fail(RN_E_ARG, "generator %d is twice in one step", row.id);
            }
        }
        // A pending token is not computed yet: its row is the one after the n_past known ones.
        const int32_t place = generator->pending < 0 ? generator->n_past - 1 : generator->n_past;
        if (row.pos != place || (generator->pending >= 0 && row.token != generator->pending)) {
            fail(RN_E_ARG, "generator %d samples at position %d, got token %d at %d", row.id, place, row.token,
                 row.pos);
        }
        plan_.held.push_back(generator);
        return generator.get();
    }

    rn_ctx &             ctx_;
    std::vector<int32_t> next_pos_;
    StepPlan             plan_;
};

void check_room(const rn_ctx & ctx, const rn_step_in & in, const StepPlan & plan, const rn_step_out & out) {
    if (out.cap_out < plan.n_outputs) {
        fail(RN_E_ARG, "cap_out: %d records are needed, there is room for %d", plan.n_outputs, out.cap_out);
    }
    if (out.cap_text < ctx.text_per_record * plan.n_outputs) {
        fail(RN_E_ARG, "cap_text: %lld bytes are needed, there are %lld",
             static_cast<long long>(ctx.text_per_record * plan.n_outputs), static_cast<long long>(out.cap_text));
    }
    need(out.text_off, "text_off");
    if (in.n_draft != nullptr && in.n_gen > 0) {
        need(out.n_drafted, "n_drafted");
    }
    if (plan.n_outputs > 0) {
        need(out.gen, "gen");
        need(out.tok, "tok");
        need(out.flags, "flags");
        need(out.stop_index, "stop_index");
        need(out.text, "text");
        need(out.logprob, "logprob");
        need(out.n_top, "n_top");
    }
    int32_t top = in.score == nullptr ? 0 : in.score_top;
    for (const auto & generator : plan.held) {
        top = std::max(top, generator->top_logprobs);
    }
    if (top > out.cap_top) {
        fail(RN_E_ARG, "cap_top: %d are needed, there is room for %d", top, out.cap_top);
    }
    if (top > 0) {
        need(out.top_tok, "top_tok");
        need(out.top_logprob, "top_logprob");
    }
}

// Rows beyond those asked for: no step fails for its guesses. A window's cache has room for one pass behind the window:
// guesses that took two would push out what is needed again when they were wrong.
int64_t spare_rows(const rn_ctx & ctx, const StepPlan & plan, const rn_step_out & out) {
    const int64_t records = std::min<int64_t>({ctx.n_outputs_max, out.cap_out, out.cap_text / ctx.text_per_record});
    const int64_t rows    = ctx.window > 0 && !ctx.full_window ? std::min(ctx.n_batch, ctx.n_ubatch) : ctx.n_batch;
    return std::max<int64_t>(0, std::min(records - plan.n_outputs, rows - static_cast<int64_t>(plan.rows.size())));
}

// Tokens behind the pending one that this generator may still take, and its sequence hold.
int64_t room_after(const rn_ctx & ctx, const Row & pending) {
    const Generator & generator = *pending.generator;
    const int64_t     positions = ctx.n_ctx_seq - 1 - pending.pos;
    return generator.max_tokens < 0 ? positions : std::min(positions, generator.max_tokens - generator.sampled - 1);
}

// What follows an end is never computed.
void cut_at_end(const llama_vocab * vocab, std::vector<int32_t> & guesses) {
    const auto is_end = [vocab](int32_t token) { return llama_vocab_is_eog(vocab, token); };
    guesses.erase(std::find_if(guesses.begin(), guesses.end(), is_end), guesses.end());
}

// Most tokens to guess for each generator: no step fails for its guesses.
std::vector<Wish> wishes_of(const rn_ctx & ctx, const rn_step_in & in, const StepPlan & plan, int64_t spare) {
    std::vector<Wish> wishes;
    for (int32_t i = 0; i < in.n_gen; ++i) {
        const Row &   row  = plan.rows[static_cast<size_t>(i)];
        const int64_t most = std::min({static_cast<int64_t>(in.n_draft[i]), room_after(ctx, row), spare});
        wishes.push_back({row.seq, row.token, static_cast<int32_t>(std::max<int64_t>(most, 0)), {}});
    }
    return wishes;
}

void add_guesses(rn_ctx & ctx, const rn_step_in & in, int64_t spare, StepPlan & plan) {
    std::vector<Wish> wishes = wishes_of(ctx, in, plan, spare);
    for (Wish & wish : wishes) {
        look_up(ctx.tokens[static_cast<size_t>(wish.seq)], wish.pending, wish.count, wish.guesses);
    }
    if (ctx.draft != nullptr) {
        ask_draft_model(ctx, *ctx.draft, wishes);
    }
    for (size_t i = 0; i < wishes.size(); ++i) {
        std::vector<int32_t> & guesses = wishes[i].guesses;
        cut_at_end(ctx.model->vocab, guesses);
        guesses.resize(std::min(guesses.size(), static_cast<size_t>(spare)));
        spare -= static_cast<int64_t>(guesses.size());
        plan.guesses.push_back({plan.rows.size(), static_cast<int32_t>(guesses.size())});
        Row row = plan.rows[i];
        for (const int32_t guess : guesses) {
            row.token = guess;
            ++row.pos;
            plan.rows.push_back(row);
        }
    }
}

} // namespace

bool StepPlan::drop_guesses() {
    if (rows.size() == n_asked) {
        return false;
    }
    rows.resize(n_asked);
    guesses.clear();
    return true;
}

StepPlan make_plan(rn_ctx & ctx, const rn_step_in & in, const rn_step_out & out) {
    StepPlan plan = Planner(ctx).plan(in);
    check_room(ctx, in, plan, out);
    // Where memory cannot be cut back a wrong guess would stay in it.
    if (in.n_draft != nullptr && ctx.seq_rm == COMMON_CONTEXT_SEQ_RM_TYPE_PART) {
        add_guesses(ctx, in, spare_rows(ctx, plan, out), plan);
    }
    return plan;
}

} // namespace rn
