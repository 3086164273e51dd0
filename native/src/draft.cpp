#include "draft.hpp"

#include "batch.hpp"
#include "context.hpp"
#include "guard.hpp"
#include "select.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace rn {
namespace {

// A guess less likely than this costs more to check than it saves.
constexpr double LEAST_PROBABILITY = 0.5;

// As llama.cpp's common/speculative.cpp compares vocabularies.
constexpr int32_t MOST_EXTRA_TOKENS    = 128;
constexpr int32_t FIRST_TOKEN_COMPARED = 5; // those before may be named differently

void check_special(const char * name, bool added, llama_token token, bool draft_added, llama_token draft_token) {
    if (added != draft_added || (added && token != draft_token)) {
        fail(RN_E_UNSUP, "the draft model's vocabulary is another: its %s token differs", name);
    }
}

void check_vocabulary(const llama_vocab * vocab, const llama_vocab * draft) {
    if (llama_vocab_type(vocab) != llama_vocab_type(draft)) {
        fail(RN_E_UNSUP, "the draft model's vocabulary is of another type");
    }
    check_special("begin", llama_vocab_get_add_bos(vocab), llama_vocab_bos(vocab), llama_vocab_get_add_bos(draft),
                  llama_vocab_bos(draft));
    check_special("end", llama_vocab_get_add_eos(vocab), llama_vocab_eos(vocab), llama_vocab_get_add_eos(draft),
                  llama_vocab_eos(draft));
    const int32_t count       = llama_vocab_n_tokens(vocab);
    const int32_t draft_count = llama_vocab_n_tokens(draft);
    if (std::abs(count - draft_count) > MOST_EXTRA_TOKENS) {
        fail(RN_E_UNSUP, "the draft model's vocabulary is another: %d tokens, the model has %d", draft_count, count);
    }
    for (int32_t token = FIRST_TOKEN_COMPARED; token < std::min(count, draft_count); ++token) {
        if (std::strcmp(llama_vocab_get_text(vocab, token), llama_vocab_get_text(draft, token)) != 0) {
            fail(RN_E_UNSUP, "the draft model's vocabulary is another: token %d differs", token);
        }
    }
}

void check_draft(const rn_ctx & target, const rn_ctx & draft) {
    if (&target == &draft || target.draft != nullptr || draft.draft != nullptr) {
        fail(RN_E_STATE, "draft: a context has one draft, which is another context and has none itself");
    }
    if (draft.n_seq_max < target.n_seq_max) {
        fail(RN_E_ARG, "draft: %d sequences, the model has %d", draft.n_seq_max, target.n_seq_max);
    }
    if (draft.seq_rm != COMMON_CONTEXT_SEQ_RM_TYPE_PART || (draft.window > 0 && !draft.full_window)) {
        fail(RN_E_UNSUP, "the draft model's memory cannot be cut back");
    }
    check_vocabulary(target.model->vocab, draft.model->vocab);
}

// Cuts a sequence of the draft back to what it begins with in common, and returns that length.
size_t keep_common(rn_ctx & draft, int32_t seq, const std::vector<int32_t> & known) {
    const std::vector<int32_t> & held  = draft.tokens[static_cast<size_t>(seq)];
    const size_t                 both  = std::min(held.size(), known.size());
    const auto                   limit = held.begin() + static_cast<ptrdiff_t>(both);
    size_t common = static_cast<size_t>(std::mismatch(held.begin(), limit, known.begin()).first - held.begin());
    if (common < held.size()) {
        common = draft.can_cut(seq, static_cast<int32_t>(common)) ? common : 0;
        llama_memory_seq_rm(draft.memory, seq, static_cast<llama_pos>(common), -1);
        draft.refresh(seq);
    }
    return common;
}

class Drafting {
  public:
    Drafting(const rn_ctx & target, rn_ctx & draft) : target_(target), draft_(draft) {}

    void run(std::vector<Wish> & wishes) {
        for (Wish & wish : wishes) {
            if (wish.count > 0 && wish.guesses.empty()) {
                catch_up(wish);
            }
        }
        while (!rows_.empty()) {
            if (const int32_t rc = compute(draft_, rows_); rc != 0) {
                if (rc == NO_CELL) { // other sequences hold what they no longer need: begin anew with those that go on
                    llama_memory_clear(draft_.memory, false);
                    draft_.tokens.assign(draft_.tokens.size(), {});
                }
                return;
            }
            guess();
        }
    }

  private:
    // Rows for what the draft has not seen of a sequence, with an output behind its pending token if all of it fits.
    void catch_up(Wish & wish) {
        const std::vector<int32_t> & known = target_.tokens[static_cast<size_t>(wish.seq)];
        const size_t                 most  = static_cast<size_t>(draft_.n_batch);
        if (known.size() + static_cast<size_t>(wish.count) > static_cast<size_t>(draft_.n_ctx_seq)) {
            return;
        }
        size_t at = keep_common(draft_, wish.seq, known);
        for (; at < known.size() && rows_.size() < most && knows(known[at]); ++at) {
            rows_.push_back({known[at], static_cast<int32_t>(at), wish.seq, nullptr, -1, false});
        }
        if (at == known.size() && rows_.size() < most && knows(wish.pending)) {
            rows_.push_back({wish.pending, static_cast<int32_t>(at), wish.seq, nullptr, -1, true});
            asking_.push_back(&wish);
        }
    }

    bool knows(int32_t token) const { return token >= 0 && token < draft_.model->n_vocab; }

    // Takes the likeliest token behind each row with an output; the next rows are those tokens.
    void guess() {
        std::vector<Row>    rows;
        std::vector<Wish *> asking;
        for (size_t i = 0, next = 0; i < rows_.size(); ++i) {
            if (!rows_[i].has_output) {
                continue;
            }
            Wish &        wish  = *asking_[next++];
            const int32_t token = likely(rows_[i].index);
            if (token < 0) {
                continue;
            }
            wish.guesses.push_back(token);
            if (static_cast<int32_t>(wish.guesses.size()) < wish.count) {
                rows.push_back({token, rows_[i].pos + 1, wish.seq, nullptr, -1, true});
                asking.push_back(&wish);
            }
        }
        rows_.swap(rows);
        asking_.swap(asking);
    }

    // The likeliest token after a row, or -1 where the draft is unsure or it ends the text.
    int32_t likely(int32_t batch_index) const {
        const int32_t n_vocab = draft_.model->n_vocab;
        const float * logits  = llama_get_logits_ith(draft_.llama.get(), batch_index);
        const int32_t best    = logits == nullptr ? -1 : argmax(logits, n_vocab);
        if (best < 0 || best >= target_.model->n_vocab || llama_vocab_is_eog(target_.model->vocab, best)) {
            return -1;
        }
        return std::exp(logits[best] - log_sum_exp(logits, n_vocab)) < LEAST_PROBABILITY ? -1 : best;
    }

    const rn_ctx &      target_;
    rn_ctx &            draft_;
    std::vector<Row>    rows_;
    std::vector<Wish *> asking_; // of the rows with an output, in their order
};

} // namespace

void ask_draft_model(const rn_ctx & target, rn_ctx & draft, std::vector<Wish> & wishes) {
    Drafting(target, draft).run(wishes);
}

} // namespace rn

int32_t rn_ctx_set_draft(rn_ctx * ctx, rn_ctx * draft) {
    return rn::guard([&] {
        rn::check_draft(rn::need(ctx, "ctx"), rn::need(draft, "draft"));
        ctx->draft.reset(draft);
        return RN_OK;
    });
}
