#include "generator.hpp"

#include "context.hpp"
#include "guard.hpp"

#include <algorithm>

namespace rn {
namespace {

constexpr size_t MAX_STOPS      = 64;
constexpr int    MAX_LOGPROBS   = 128;
constexpr size_t MAX_GENERATORS = 65536;

std::vector<std::string> read_stops(const Fields & fields) {
    std::vector<std::string> stops = fields.strings("stop");
    if (stops.size() > MAX_STOPS) {
        fail(RN_E_ARG, "stop: at most %zu strings, got %zu", MAX_STOPS, stops.size());
    }
    for (const std::string & stop : stops) {
        if (stop.empty() || stop.size() > MAX_STOP_BYTES) {
            fail(RN_E_ARG, "stop: a string must have 1 to %zu bytes, got %zu", MAX_STOP_BYTES, stop.size());
        }
    }
    return stops;
}

std::set<int32_t> read_preserved(const Model & model, const Fields & fields) {
    std::set<int32_t> preserved;
    for (const std::string & text : fields.strings("preserved_tokens")) {
        const std::vector<llama_token> tokens = common_tokenize(model.vocab, text, false, true);
        if (tokens.size() == 1) { // otherwise it is plain text in this vocabulary, shown anyway
            preserved.insert(tokens[0]);
        }
    }
    return preserved;
}

} // namespace

Generator::Generator(Model & model, const Fields & fields, int32_t n_ctx) :
    sampler(model, read_sampling(model, fields, n_ctx), read_grammar(model, fields), read_budget(model.vocab, fields)),
    scanner(read_stops(fields)), preserved(read_preserved(model, fields)), max_tokens(fields.integer("max_tokens", -1, -1, INT32_MAX)),
    top_logprobs(static_cast<int32_t>(fields.integer("top_logprobs", -1, -1, MAX_LOGPROBS))) {
    if (max_tokens == 0) {
        fail(RN_E_ARG, "max_tokens: 0 needs no generator");
    }
    if (top_logprobs > model.n_vocab) {
        fail(RN_E_ARG, "top_logprobs: %d of a vocabulary of %d", top_logprobs, model.n_vocab);
    }
}

int32_t Generators::add(std::shared_ptr<Generator> generator) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto free = std::find(slots_.begin(), slots_.end(), nullptr);
    if (free != slots_.end()) {
        *free = std::move(generator);
        return static_cast<int32_t>(free - slots_.begin());
    }
    if (slots_.size() == MAX_GENERATORS) {
        fail(RN_E_STATE, "%zu generators are in use", MAX_GENERATORS);
    }
    slots_.push_back(std::move(generator));
    return static_cast<int32_t>(slots_.size()) - 1;
}

std::shared_ptr<Generator> Generators::get(int32_t id) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (id < 0 || static_cast<size_t>(id) >= slots_.size() || slots_[static_cast<size_t>(id)] == nullptr) {
        fail(RN_E_ARG, "generator %d does not exist", id);
    }
    return slots_[static_cast<size_t>(id)];
}

void Generators::remove(int32_t id) {
    std::shared_ptr<Generator>  last = get(id); // destroyed after the lock is released
    std::lock_guard<std::mutex> lock(mutex_);
    slots_[static_cast<size_t>(id)] = nullptr;
}

} // namespace rn

int32_t rn_gen_new(rn_ctx * ctx, const char * json) {
    return rn::guard([&] {
        rn::need(ctx, "ctx");
        const rn::Fields fields(json, "rn_gen_new");
        return ctx->generators.add(std::make_shared<rn::Generator>(*ctx->model, fields, ctx->n_ctx_seq));
    });
}

int32_t rn_gen_bind(rn_ctx * ctx, int32_t gen, int32_t seq, int32_t n_past, const int32_t * tail, int64_t n_tail) {
    return rn::guard([&] {
        rn::need(ctx, "ctx").check_seq(seq, "seq");
        const std::shared_ptr<rn::Generator> generator = ctx->generators.get(gen);
        if (generator->ended) {
            rn::fail(RN_E_STATE, "generator %d has ended", gen);
        }
        if (n_past < 1 || n_past > ctx->n_ctx_seq) {
            rn::fail(RN_E_ARG, "n_past: %d is outside 1..%d", n_past, ctx->n_ctx_seq);
        }
        if (!generator->primed) {
            if (n_tail > 0) {
                rn::need(tail, "tail");
            }
            for (int64_t i = 0; i < n_tail; ++i) {
                if (tail[i] >= LLAMA_TOKEN_NULL) { // below are rows of media
                    ctx->model->check_token(tail[i], "tail");
                }
            }
            for (int64_t i = 0; i < n_tail; ++i) {
                if (tail[i] >= 0) {
                    generator->sampler.prime(tail[i]);
                }
            }
            generator->primed = true;
        }
        generator->seq    = seq;
        generator->n_past = n_past;
        return RN_OK;
    });
}

int32_t rn_gen_free(rn_ctx * ctx, int32_t gen) {
    return rn::guard([&] {
        rn::need(ctx, "ctx").generators.remove(gen);
        return RN_OK;
    });
}
