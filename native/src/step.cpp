// The hot path: one batch through the model, and one token out for each generator in it.
#include "context.hpp"
#include "guard.hpp"
#include "select.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace rn {
namespace {

struct Row {
    int32_t     token;
    int32_t     pos;
    int32_t     seq;
    Generator * generator; // samples from this row, or nullptr
    int32_t     id;        // of the generator
};

// Everything about one step that is checked before the model runs.
struct StepPlan {
    std::vector<Row>                        rows;
    std::vector<std::shared_ptr<Generator>> held; // keeps the generators alive until the step is over
    int32_t                                 n_outputs = 0;
};

class Planner {
  public:
    explicit Planner(rn_ctx & ctx) : ctx_(ctx), next_pos_(ctx.next_pos) {}

    StepPlan plan(const rn_step_in & in) {
        check_counts(in);
        for (int32_t i = 0; i < in.n_gen; ++i) {
            add_decode(in.gen[i]);
        }
        for (int32_t i = 0; i < in.n_rows; ++i) {
            ctx_.model->check_token(in.tok[i], "tok");
            add_row({in.tok[i], in.pos[i], in.seq[i], nullptr, in.out_gen[i]});
        }
        if (plan_.n_outputs > ctx_.n_outputs_max) {
            fail(RN_E_ARG, "%d rows to sample from, the context allows %d", plan_.n_outputs, ctx_.n_outputs_max);
        }
        return std::move(plan_);
    }

  private:
    void check_counts(const rn_step_in & in) const {
        const int64_t total = static_cast<int64_t>(in.n_gen) + in.n_rows;
        if (in.n_gen < 0 || in.n_rows < 0 || total < 1 || total > ctx_.n_batch) {
            fail(RN_E_ARG, "%d generators and %d rows: a step has 1 to %d rows", in.n_gen, in.n_rows, ctx_.n_batch);
        }
        if (in.n_gen > 0) {
            need(in.gen, "gen");
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

    void add_row(Row row) {
        ctx_.check_seq(row.seq, "seq");
        int32_t & next = next_pos_[static_cast<size_t>(row.seq)];
        if (row.pos != next) {
            fail(RN_E_ARG, "sequence %d must go on at position %d, got %d", row.seq, next, row.pos);
        }
        if (row.pos >= ctx_.n_ctx_seq) {
            fail(RN_E_STATE, "sequence %d is full: %d positions", row.seq, ctx_.n_ctx_seq);
        }
        ++next;
        if (row.id >= 0) {
            row.generator = output_of(row);
            ++plan_.n_outputs;
        }
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

void check_room(const rn_ctx & ctx, const StepPlan & plan, const rn_step_out & out) {
    if (out.cap_out < plan.n_outputs) {
        fail(RN_E_ARG, "cap_out: %d records are needed, there is room for %d", plan.n_outputs, out.cap_out);
    }
    if (out.cap_text < ctx.text_per_record * plan.n_outputs) {
        fail(RN_E_ARG, "cap_text: %lld bytes are needed, there are %lld",
             static_cast<long long>(ctx.text_per_record * plan.n_outputs), static_cast<long long>(out.cap_text));
    }
    need(out.text_off, "text_off");
    if (plan.n_outputs > 0) {
        need(out.gen, "gen");
        need(out.tok, "tok");
        need(out.flags, "flags");
        need(out.stop_index, "stop_index");
        need(out.text, "text");
        need(out.logprob, "logprob");
        need(out.n_top, "n_top");
    }
    for (const auto & generator : plan.held) {
        if (generator->top_logprobs > out.cap_top) {
            fail(RN_E_ARG, "cap_top: %d are needed, there is room for %d", generator->top_logprobs, out.cap_top);
        }
        if (generator->top_logprobs > 0) {
            need(out.top_tok, "top_tok");
            need(out.top_logprob, "top_logprob");
        }
    }
}

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

// Writes the records of one step.
class Recorder {
  public:
    Recorder(rn_ctx & ctx, rn_step_out & out) : ctx_(ctx), out_(out), n_vocab_(ctx.model->n_vocab) {
        out_.text_off[0] = 0;
    }

    void record(const Row & row, int32_t batch_index) {
        float * logits = llama_get_logits_ith(ctx_.llama.get(), batch_index);
        if (logits == nullptr) {
            fail(RN_E_EXC, "row %d has no logits", batch_index);
        }
        Generator &       generator = *row.generator;
        const llama_token token     = generator.sampler.pick(logits, n_vocab_, ctx_.scratch);
        text_.clear();
        stop_index_ = -1;
        const int32_t flags = token == LLAMA_TOKEN_NULL ? give_up(generator) : take(generator, token);
        put_logprobs(generator, token, logits);
        put(row.id, token, flags);
        generator.n_past = row.pos + 1;
        generator.pending = token;
        generator.ended   = (flags & RN_OUT_LAST) != 0;
    }

  private:
    int32_t give_up(Generator & generator) {
        finish_text(generator);
        return RN_OUT_GRAMMAR;
    }

    // Enters a sampled token and returns why it is the last one, if it is.
    int32_t take(Generator & generator, llama_token token) {
        const bool is_end = llama_vocab_is_eog(ctx_.model->vocab, token);
        ++generator.sampled;
        const bool alive = generator.sampler.accept(token, is_end);
        if (!is_end) {
            add_piece(generator, token);
        }
        if (stop_index_ >= 0) {
            return RN_OUT_STOP;
        }
        const bool at_limit = generator.max_tokens >= 0 && generator.sampled >= generator.max_tokens;
        if (!is_end && alive && !at_limit) {
            return 0;
        }
        finish_text(generator);
        if (stop_index_ >= 0) {
            return RN_OUT_STOP;
        }
        return is_end ? RN_OUT_EOS : !alive ? RN_OUT_GRAMMAR : RN_OUT_LENGTH;
    }

    void add_piece(Generator & generator, llama_token token) {
        piece_.resize(ctx_.model->max_piece);
        const bool    shown  = generator.preserved.count(token) > 0;
        const int32_t length = llama_token_to_piece(ctx_.model->vocab, token, piece_.data(),
                                                    static_cast<int32_t>(piece_.size()), 0, shown);
        decoded_.clear();
        generator.decoder.feed({piece_.data(), static_cast<size_t>(std::max(length, 0))}, decoded_);
        stop_index_ = generator.scanner.feed(decoded_, text_);
    }

    void finish_text(Generator & generator) {
        decoded_.clear();
        generator.decoder.finish(decoded_);
        stop_index_ = generator.scanner.feed(decoded_, text_);
        generator.scanner.finish(text_);
    }

    void put(int32_t id, llama_token token, int32_t flags) {
        const int32_t at = out_.n_out++;
        out_.gen[at]        = id;
        out_.tok[at]        = token;
        out_.flags[at]      = flags;
        out_.stop_index[at] = stop_index_;
        std::memcpy(out_.text + out_.text_off[at], text_.data(), text_.size());
        out_.text_off[at + 1] = out_.text_off[at] + static_cast<int64_t>(text_.size());
    }

    void put_logprobs(const Generator & generator, llama_token token, const float * logits) {
        const int32_t at  = out_.n_out;
        out_.n_top[at]    = 0;
        out_.logprob[at]  = std::numeric_limits<float>::quiet_NaN();
        if (generator.top_logprobs < 0 || token == LLAMA_TOKEN_NULL) {
            return;
        }
        const double total = log_sum_exp(logits, n_vocab_);
        out_.logprob[at]   = static_cast<float>(logits[token] - total);
        if (generator.top_logprobs == 0) {
            return;
        }
        select_top(logits, n_vocab_, generator.top_logprobs, ctx_.scratch);
        const size_t first = static_cast<size_t>(at) * static_cast<size_t>(out_.cap_top);
        for (size_t i = 0; i < ctx_.scratch.size(); ++i) {
            out_.top_tok[first + i]     = ctx_.scratch[i].id;
            out_.top_logprob[first + i] = static_cast<float>(ctx_.scratch[i].logit - total);
        }
        out_.n_top[at] = static_cast<int32_t>(ctx_.scratch.size());
    }

    rn_ctx &      ctx_;
    rn_step_out & out_;
    int32_t       n_vocab_;
    int           stop_index_ = -1;
    std::string   piece_;
    std::string   decoded_;
    std::string   text_;
};

void run_step(rn_ctx & ctx, const rn_step_in & in, rn_step_out & out) {
    const StepPlan plan = Planner(ctx).plan(in);
    check_room(ctx, plan, out);
    const int64_t began = ggml_time_us();
    out.n_out           = 0;
    out.rc              = compute(ctx, plan.rows);
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
