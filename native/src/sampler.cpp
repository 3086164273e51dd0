#include "sampler.hpp"

#include "guard.hpp"
#include "model.hpp"
#include "select.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace rn {
namespace {

// Above this many the partial selection gains nothing over llama.cpp's own sort.
constexpr int32_t MAX_TOP_K_FIRST = 512;

float number(const Fields & fields, const char * key, float fallback) {
    return static_cast<float>(fields.number(key, static_cast<double>(fallback)));
}

int32_t integer(const Fields & fields, const char * key, int32_t fallback, int64_t least, int64_t most = INT32_MAX) {
    return static_cast<int32_t>(fields.integer(key, fallback, least, most));
}

void read_filters(const Fields & fields, common_params_sampling & params) {
    params.temp              = number(fields, "temperature", params.temp);
    params.top_k             = integer(fields, "top_k", params.top_k, INT32_MIN);
    params.top_p             = number(fields, "top_p", params.top_p);
    params.min_p             = number(fields, "min_p", params.min_p);
    params.typ_p             = number(fields, "typical_p", params.typ_p);
    params.top_n_sigma       = number(fields, "top_n_sigma", params.top_n_sigma);
    params.xtc_probability   = number(fields, "xtc_probability", params.xtc_probability);
    params.xtc_threshold     = number(fields, "xtc_threshold", params.xtc_threshold);
    params.dynatemp_range    = number(fields, "dynatemp_range", params.dynatemp_range);
    params.dynatemp_exponent = number(fields, "dynatemp_exponent", params.dynatemp_exponent);
    params.min_keep          = integer(fields, "min_keep", params.min_keep, 0);
    params.mirostat          = integer(fields, "mirostat", params.mirostat, 0, 2); // others abort
    params.mirostat_tau      = number(fields, "mirostat_tau", params.mirostat_tau);
    params.mirostat_eta      = number(fields, "mirostat_eta", params.mirostat_eta);
    params.adaptive_target   = number(fields, "adaptive_target", params.adaptive_target);
    params.adaptive_decay    = number(fields, "adaptive_decay", params.adaptive_decay);
}

// The histories are rings of the given length, allocated at once: longer than the context they only cost memory.
void read_penalties(const Fields & fields, common_params_sampling & params, int32_t n_ctx) {
    params.penalty_last_n     = std::clamp(integer(fields, "repeat_last_n", params.penalty_last_n, 0), 0, n_ctx);
    params.penalty_repeat     = number(fields, "repeat_penalty", params.penalty_repeat);
    params.penalty_freq       = number(fields, "frequency_penalty", params.penalty_freq);
    params.penalty_present    = number(fields, "presence_penalty", params.penalty_present);
    params.dry_multiplier     = number(fields, "dry_multiplier", params.dry_multiplier);
    params.dry_base           = number(fields, "dry_base", params.dry_base);
    params.dry_allowed_length = integer(fields, "dry_allowed_length", params.dry_allowed_length, 0);
    params.dry_penalty_last_n = std::min(integer(fields, "dry_penalty_last_n", params.dry_penalty_last_n, 0), n_ctx);
    if (fields.has("dry_sequence_breakers")) {
        params.dry_sequence_breakers = fields.strings("dry_sequence_breakers");
    }
}

llama_logit_bias read_bias(const Model & model, const common_json & pair) {
    if (!pair.is_array() || pair.size() != 2 || !pair.at(size_t{0}).is_number_integer()) {
        fail(RN_E_ARG, "logit_bias: expected [token, number or false], got %.80s", pair.dump_safe().c_str());
    }
    const common_json & value = pair.at(size_t{1});
    const bool          never = value.is_boolean() && !value.get<bool>();
    if (!never && !value.is_number()) {
        fail(RN_E_ARG, "logit_bias: expected a number or false, got %.80s", value.dump_safe().c_str());
    }
    const int32_t token = pair.at(size_t{0}).get<int>();
    model.check_token(token, "logit_bias");
    return {token, never ? -INFINITY : value.get<float>()};
}

void read_biases(const Model & model, const Fields & fields, common_params_sampling & params) {
    if (fields.has("logit_bias")) {
        for (const common_json & pair : fields.at("logit_bias")) {
            params.logit_bias.push_back(read_bias(model, pair));
        }
    }
    if (fields.boolean("ignore_eos", false)) {
        for (int32_t token = 0; token < model.n_vocab; ++token) {
            if (llama_vocab_is_eog(model.vocab, token)) {
                params.logit_bias.push_back({token, -INFINITY});
            }
        }
    }
}

// What common_sampler_init or the samplers would abort on, wherever it comes from.
void check_chain(const Model & model, const common_params_sampling & params) {
    if (params.mirostat < 0 || params.mirostat > 2) {
        fail(RN_E_UNSUP, "the model's general.sampling.mirostat is %d", params.mirostat);
    }
    const auto & chain = params.samplers;
    const bool   has_end =
        llama_vocab_eot(model.vocab) != LLAMA_TOKEN_NULL || llama_vocab_eos(model.vocab) != LLAMA_TOKEN_NULL;
    if (!has_end && std::count(chain.begin(), chain.end(), COMMON_SAMPLER_TYPE_INFILL) > 0) {
        fail(RN_E_UNSUP, "samplers: \"infill\" needs a model with an end token");
    }
}

bool penalises(const common_params_sampling & p) {
    return p.penalty_last_n != 0 && (p.penalty_repeat != 1.0f || p.penalty_freq != 0.0f || p.penalty_present != 0.0f);
}

// Whether a member of the chain leaves every candidate as it is.
bool is_idle(common_sampler_type type, const common_params_sampling & p) {
    switch (type) {
        case COMMON_SAMPLER_TYPE_PENALTIES:   return !penalises(p);
        case COMMON_SAMPLER_TYPE_DRY:         return p.dry_multiplier == 0.0f;
        case COMMON_SAMPLER_TYPE_TOP_N_SIGMA: return p.top_n_sigma <= 0.0f;
        case COMMON_SAMPLER_TYPE_TYPICAL_P:   return p.typ_p >= 1.0f;
        case COMMON_SAMPLER_TYPE_XTC:         return p.xtc_probability <= 0.0f || p.xtc_threshold > 0.5f;
        default:                              return false;
    }
}

// Whether a member of the chain never drops the most likely candidate nor changes which one that is.
bool keeps_best(common_sampler_type type, const common_params_sampling & p) {
    switch (type) {
        case COMMON_SAMPLER_TYPE_TOP_N_SIGMA:
        case COMMON_SAMPLER_TYPE_TOP_K:
        case COMMON_SAMPLER_TYPE_TOP_P:
        case COMMON_SAMPLER_TYPE_MIN_P:       return true;
        case COMMON_SAMPLER_TYPE_TEMPERATURE: return p.dynatemp_range <= 0.0f;
        default:                              return is_idle(type, p);
    }
}

bool has_ties(const std::vector<llama_token_data> & sorted) {
    const auto equal = [](const llama_token_data & a, const llama_token_data & b) { return a.logit == b.logit; };
    return std::adjacent_find(sorted.begin(), sorted.end(), equal) != sorted.end();
}

// The model's own suppressed tokens are part of the chain that common_sampler_init builds.
std::vector<llama_logit_bias> all_biases(const Model & model, const common_params_sampling & params) {
    std::vector<llama_logit_bias> biases = params.logit_bias;
    int32_t                       count  = 0;
    const llama_token *           tokens = llama_vocab_get_suppress_tokens(model.vocab, &count);
    for (int32_t i = 0; i < count; ++i) {
        biases.push_back({tokens[i], -INFINITY});
    }
    return biases;
}

common_sampler_ptr make_chain(const Model & model, common_params_sampling params) {
    return common_sampler_ptr(common_sampler_init(model.llama.get(), params));
}

} // namespace

common_params_sampling read_sampling(const Model & model, const Fields & fields, int32_t n_ctx) {
    common_params_sampling params = model.sampling;
    params.seed = static_cast<uint32_t>(fields.integer("seed", LLAMA_DEFAULT_SEED, 0, UINT32_MAX));
    read_filters(fields, params);
    read_penalties(fields, params, n_ctx);
    read_biases(model, fields, params);
    if (fields.has("samplers")) {
        const std::vector<std::string> names = fields.strings("samplers");
        params.samplers                      = common_sampler_types_from_names(names);
        if (params.samplers.size() != names.size()) {
            fail(RN_E_ARG, "samplers: unknown name in %.200s", fields.at("samplers").dump_safe().c_str());
        }
    }
    check_chain(model, params);
    return params;
}

std::optional<Grammar> read_grammar(Model & model, const Fields & fields) {
    if (fields.has("json_schema")) {
        return model.grammars.of_schema(fields.string("json_schema"));
    }
    if (!fields.has("grammar")) {
        return std::nullopt;
    }
    Grammar grammar = model.grammars.of_gbnf(fields.string("grammar"));
    if (const std::optional<Trigger> trigger = read_trigger(fields)) {
        grammar.wait_for(*trigger);
        return grammar;
    }
    const std::string written = fields.string("generation_prompt");
    bool              first   = true;
    for (const llama_token token : common_tokenize(model.vocab, written, false, true)) {
        const std::string piece = common_token_to_piece(model.vocab, token, true);
        // Some tokenizers put a space of their own before a leading special token.
        const bool added = first && !piece.empty() && std::isspace(static_cast<unsigned char>(piece[0])) &&
                           !std::isspace(static_cast<unsigned char>(written[0]));
        first = false;
        if (!added && !(grammar.allows(token) && grammar.accept(token))) {
            fail(RN_E_GRAMMAR, "the grammar does not allow the generation prompt \"%.80s\"", written.c_str());
        }
    }
    return grammar;
}

Sampler::Sampler(const Model & model, common_params_sampling params, std::optional<Grammar> grammar,
                 std::optional<Budget> budget) :
    sampler_(make_chain(model, params)), grammar_(std::move(grammar)), budget_(std::move(budget)),
    biases_(all_biases(model, params)), top_k_(params.top_k), path_(path_of(params)) {}

Sampler::Path Sampler::path_of(const common_params_sampling & params) const {
    const auto & chain = params.samplers;
    if (params.mirostat != 0) {
        return Path::WHOLE;
    }
    const bool has_temperature = std::count(chain.begin(), chain.end(), COMMON_SAMPLER_TYPE_TEMPERATURE) > 0;
    if (params.temp <= 0.0f && has_temperature &&
        std::all_of(chain.begin(), chain.end(), [&](common_sampler_type type) { return keeps_best(type, params); })) {
        return Path::GREEDY;
    }
    const auto works = [&](common_sampler_type type) { return !is_idle(type, params); };
    const auto first = std::find_if(chain.begin(), chain.end(), works);
    const bool cuts  = first != chain.end() && *first == COMMON_SAMPLER_TYPE_TOP_K;
    const bool small = params.top_k > 0 && params.top_k <= MAX_TOP_K_FIRST;
    return cuts && small && biases_.empty() ? Path::TOP_K_FIRST : Path::WHOLE;
}

llama_token Sampler::pick(float * logits, int32_t n_vocab, std::vector<llama_token_data> & scratch) {
    const llama_token due = budget_ ? budget_->next() : LLAMA_TOKEN_NULL;
    if (due != LLAMA_TOKEN_NULL && (!grammar_ || grammar_->allows(due))) {
        return due;
    }
    const llama_token token = first_choice(logits, n_vocab, scratch);
    if (!grammar_ || (token != LLAMA_TOKEN_NULL && grammar_->allows(token))) {
        return token;
    }
    // As common_sampler_sample does it: the grammar is asked about all tokens only when the one chosen does not fit.
    return whole(logits, n_vocab, scratch, true);
}

llama_token Sampler::first_choice(float * logits, int32_t n_vocab, std::vector<llama_token_data> & scratch) {
    if (path_ == Path::GREEDY) {
        return greedy(logits, n_vocab);
    }
    if (path_ == Path::TOP_K_FIRST && top_k_ < n_vocab) {
        select_top(logits, n_vocab, top_k_ + 1, scratch);
        // Equal logits: which of them stays, and their order, is llama.cpp's sort's to say.
        if (scratch.size() == static_cast<size_t>(top_k_) + 1 && !has_ties(scratch)) {
            llama_token_data_array candidates = {scratch.data(), static_cast<size_t>(top_k_), -1, true};
            return run_chain(candidates);
        }
    }
    return whole(logits, n_vocab, scratch, false);
}

llama_token Sampler::greedy(float * logits, int32_t n_vocab) const {
    std::vector<float> saved;
    saved.reserve(biases_.size());
    for (const llama_logit_bias & bias : biases_) {
        saved.push_back(logits[bias.token]);
        logits[bias.token] += bias.bias;
    }
    const int32_t best = argmax(logits, n_vocab);
    for (size_t i = biases_.size(); i > 0; --i) { // backwards: a token may be listed twice
        logits[biases_[i - 1].token] = saved[i - 1];
    }
    return best < 0 ? LLAMA_TOKEN_NULL : best;
}

llama_token Sampler::whole(const float * logits, int32_t n_vocab, std::vector<llama_token_data> & scratch,
                           bool constrained) {
    scratch.resize(static_cast<size_t>(n_vocab));
    for (int32_t token = 0; token < n_vocab; ++token) {
        scratch[static_cast<size_t>(token)] = {token, logits[token], 0.0f};
    }
    llama_token_data_array candidates = {scratch.data(), scratch.size(), -1, false};
    if (constrained) {
        grammar_->apply(candidates);
    }
    return run_chain(candidates);
}

// A grammar that allows no token, or logits that are no numbers, leave a chosen candidate of -infinity or NaN:
// accepting such a token would abort or throw in llama.cpp.
llama_token Sampler::run_chain(llama_token_data_array & candidates) {
    llama_sampler_apply(common_sampler_get(sampler_.get()), &candidates);
    if (candidates.selected < 0 || candidates.selected >= static_cast<int64_t>(candidates.size)) {
        return LLAMA_TOKEN_NULL;
    }
    const llama_token_data & chosen = candidates.data[candidates.selected];
    return std::isfinite(chosen.logit) ? chosen.id : LLAMA_TOKEN_NULL;
}

bool Sampler::accept(llama_token token, bool is_end) {
    if (is_end) {
        return true; // nothing follows, and a grammar takes an end only when it is complete
    }
    common_sampler_accept(sampler_.get(), token, true);
    if (budget_) {
        budget_->accept(token);
    }
    return !grammar_ || grammar_->accept(token);
}

void Sampler::prime(llama_token token) {
    common_sampler_accept(sampler_.get(), token, false);
}

} // namespace rn
