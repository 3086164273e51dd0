#include "recorder.hpp"

#include "context.hpp"
#include "guard.hpp"
#include "select.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace rn {
namespace {

constexpr int32_t NO_LOGPROBS = -1; // as Generator::top_logprobs has it

} // namespace

Recorder::Recorder(rn_ctx & ctx, rn_step_out & out) : ctx_(ctx), out_(out), n_vocab_(ctx.model->n_vocab) {
    out_.text_off[0] = 0;
}

void Recorder::record(const Row & row) {
    float *           logits    = logits_of(row);
    Generator &       generator = *row.generator;
    const llama_token token     = generator.sampler.pick(logits, n_vocab_, ctx_.scratch);
    text_.clear();
    stop_index_ = -1;
    const int32_t flags = token == LLAMA_TOKEN_NULL ? give_up(generator) : take(generator, token);
    put_logprobs(token == LLAMA_TOKEN_NULL ? NO_LOGPROBS : generator.top_logprobs, token, logits);
    put(row.id, token, flags);
    generator.n_past  = row.pos + 1;
    generator.pending = token;
    generator.ended   = (flags & RN_OUT_LAST) != 0;
}

void Recorder::score(const Row & row, int32_t top) {
    text_.clear();
    stop_index_ = -1;
    put_logprobs(top, row.score, logits_of(row));
    put(-1, row.score, 0);
}

float * Recorder::logits_of(const Row & row) const {
    float * logits = llama_get_logits_ith(ctx_.llama.get(), row.index);
    if (logits == nullptr) {
        fail(RN_E_EXC, "row %d has no logits", row.index);
    }
    return logits;
}

int32_t Recorder::give_up(Generator & generator) {
    finish_text(generator);
    return RN_OUT_GRAMMAR;
}

// Enters a sampled token and returns why it is the last one, if it is.
int32_t Recorder::take(Generator & generator, llama_token token) {
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

void Recorder::add_piece(Generator & generator, llama_token token) {
    piece_.resize(ctx_.model->max_piece);
    const bool    shown  = generator.preserved.count(token) > 0;
    const int32_t length = llama_token_to_piece(ctx_.model->vocab, token, piece_.data(),
                                                static_cast<int32_t>(piece_.size()), 0, shown);
    decoded_.clear();
    generator.decoder.feed({piece_.data(), static_cast<size_t>(std::max(length, 0))}, decoded_);
    stop_index_ = generator.scanner.feed(decoded_, text_);
}

void Recorder::finish_text(Generator & generator) {
    decoded_.clear();
    generator.decoder.finish(decoded_);
    stop_index_ = generator.scanner.feed(decoded_, text_);
    generator.scanner.finish(text_);
}

void Recorder::put(int32_t id, llama_token token, int32_t flags) {
    const int32_t at    = out_.n_out++;
    out_.gen[at]        = id;
    out_.tok[at]        = token;
    out_.flags[at]      = flags;
    out_.stop_index[at] = stop_index_;
    std::memcpy(out_.text + out_.text_off[at], text_.data(), text_.size());
    out_.text_off[at + 1] = out_.text_off[at] + static_cast<int64_t>(text_.size());
}

void Recorder::put_logprobs(int32_t top, llama_token token, const float * logits) {
    const int32_t at = out_.n_out;
    out_.n_top[at]   = 0;
    out_.logprob[at] = std::numeric_limits<float>::quiet_NaN();
    if (top < 0) {
        return;
    }
    const double total = log_sum_exp(logits, n_vocab_);
    out_.logprob[at]   = static_cast<float>(logits[token] - total);
    if (top == 0) {
        return;
    }
    select_top(logits, n_vocab_, top, ctx_.scratch);
    const size_t first = static_cast<size_t>(at) * static_cast<size_t>(out_.cap_top);
    for (size_t i = 0; i < ctx_.scratch.size(); ++i) {
        out_.top_tok[first + i]     = ctx_.scratch[i].id;
        out_.top_logprob[first + i] = static_cast<float>(ctx_.scratch[i].logit - total);
    }
    out_.n_top[at] = static_cast<int32_t>(ctx_.scratch.size());
}

} // namespace rn
