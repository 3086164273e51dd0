#include "context.hpp"

#include "footprint.hpp"
#include "guard.hpp"
#include "json.hpp"
#include "kernels/kernels.hpp"
#include "llama-ext.h"
#include "log.hpp"

#include <algorithm>
#include <map>

namespace rn {
namespace {

constexpr int32_t MAX_SEQUENCES = 256; // LLAMA_MAX_SEQ
constexpr int32_t MAX_THREADS   = GGML_MAX_N_THREADS;

int32_t read(const Fields & fields, const char * key, int64_t fallback, int64_t least, int64_t most = INT32_MAX) {
    return static_cast<int32_t>(fields.integer(key, fallback, least, most));
}

ggml_type kv_type(const Fields & fields, const char * key) {
    static const std::map<std::string, ggml_type> TYPES = {
        {"f32", GGML_TYPE_F32},       {"f16", GGML_TYPE_F16},   {"bf16", GGML_TYPE_BF16}, {"q8_0", GGML_TYPE_Q8_0},
        {"q4_0", GGML_TYPE_Q4_0},     {"q4_1", GGML_TYPE_Q4_1}, {"q5_0", GGML_TYPE_Q5_0}, {"q5_1", GGML_TYPE_Q5_1},
        {"iq4_nl", GGML_TYPE_IQ4_NL},
    };
    const std::string name  = fields.string(key, "f16");
    const auto        found = TYPES.find(name);
    if (found == TYPES.end()) {
        fail(RN_E_ARG, "%s: unknown type \"%.20s\"", key, name.c_str());
    }
    return found->second;
}

llama_context_params read_params(const Fields & fields) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx           = static_cast<uint32_t>(read(fields, "n_ctx", 0, 0));
    params.n_seq_max       = static_cast<uint32_t>(read(fields, "n_seq_max", 1, 1, MAX_SEQUENCES));
    params.n_batch         = static_cast<uint32_t>(read(fields, "n_batch", 2048, 2));
    params.n_ubatch        = static_cast<uint32_t>(read(fields, "n_ubatch", 512, 1));
    params.n_outputs_max   = static_cast<uint32_t>(read(fields, "n_outputs_max", params.n_seq_max, 1));
    params.n_threads       = read(fields, "n_threads", 1, 1, MAX_THREADS);
    params.n_threads_batch = read(fields, "n_threads_batch", params.n_threads, 1, MAX_THREADS);
    params.kv_unified      = fields.boolean("kv_unified", true);
    params.flash_attn_type =
        fields.boolean("flash_attn", false) ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.type_k          = kv_type(fields, "type_k");
    params.type_v          = kv_type(fields, "type_v");
    params.no_perf         = false;
    params.swa_full        = fields.boolean("full_window", true);
    // Of cells that two sequences share none is used again, even far behind the window: the cache would fill for good.
    if (params.kv_unified && !params.swa_full && params.n_seq_max > 1) {
        fail(RN_E_ARG, "full_window: sequences in one buffer need room for all tokens");
    }
    if (params.n_outputs_max < params.n_seq_max || params.n_batch < params.n_seq_max) {
        fail(RN_E_ARG, "n_outputs_max (%u) and n_batch (%u) must be at least n_seq_max (%u)", params.n_outputs_max,
             params.n_batch, params.n_seq_max);
    }
    return params;
}

// What this ABI's step cannot run; embedding and encoder-decoder models need calls of their own.
void check_generates(const Model & model) {
    model.need_vocab();
    const llama_model * llama = model.llama.get();
    if (llama_model_has_encoder(llama) || !llama_model_has_decoder(llama) || llama_model_is_diffusion(llama)) {
        fail(RN_E_UNSUP, "the model does not generate text token by token");
    }
}

llama_context_ptr make_llama(const Model & model, const llama_context_params & params) {
    const uint64_t    mark = log_mark();
    llama_context_ptr llama(llama_init_from_model(model.llama.get(), params));
    if (llama == nullptr) {
        const std::string reason = log_errors_since(mark);
        fail(RN_E_EXC, "cannot make a context: %s", reason.empty() ? "no reason given" : reason.c_str());
    }
    // Attention that looks ahead would abort on a batch larger than n_ubatch, and serves embeddings only.
    if (llama_get_memory(llama.get()) == nullptr || !llama_get_causal_attn(llama.get())) {
        fail(RN_E_UNSUP, "the model has no causal memory: it does not generate text");
    }
    return llama;
}

bool should_abort(void * data) {
    return static_cast<const std::atomic<bool> *>(data)->load(std::memory_order_relaxed);
}

std::unique_ptr<rn_ctx> make_context(const std::shared_ptr<Model> & model, const char * json) {
    check_generates(*model);
    const Fields               fields(json, "rn_ctx_new");
    const llama_context_params params = read_params(fields);
    const uint32_t             poll   = static_cast<uint32_t>(read(fields, "poll", 0, 0, 100));
    auto                       pools  = std::make_unique<ThreadPools>(params.n_threads, params.n_threads_batch, poll);
    llama_context_ptr          llama  = make_llama(*model, params);
    pools->attach(llama.get());
    auto ctx = std::make_unique<rn_ctx>(model, std::move(llama), std::move(pools), poll, params);
    llama_set_abort_callback(ctx->llama.get(), should_abort, &ctx->abort);
    ctx->probe();
    llama_perf_context_reset(ctx->llama.get());
    return ctx;
}

const char * seq_rm_name(common_context_seq_rm_type type) {
    switch (type) {
        case COMMON_CONTEXT_SEQ_RM_TYPE_PART: return "part";
        case COMMON_CONTEXT_SEQ_RM_TYPE_FULL: return "full";
        case COMMON_CONTEXT_SEQ_RM_TYPE_RS:   return "rs";
        default:                              return "none";
    }
}

common_json memory_of(const llama_context * llama) {
    size_t model = 0, context = 0, compute = 0;
    for (const auto & [type, bytes] : llama_get_memory_breakdown(llama)) {
        model += bytes.model;
        context += bytes.context;
        compute += bytes.compute;
    }
    return common_json{{"model", model}, {"context", context}, {"compute", compute}};
}

} // namespace

ThreadPools::ThreadPools(int32_t n_threads, int32_t n_threads_batch, uint32_t poll) :
    n_threads_(n_threads), n_threads_batch_(n_threads_batch), single_(make(n_threads, poll)),
    batch_(n_threads == n_threads_batch ? nullptr : make(n_threads_batch, poll)) {}

void ThreadPools::attach(llama_context * llama) const {
    llama_attach_threadpool(llama, single_.get(), batch_ ? batch_.get() : single_.get());
    llama_set_n_threads(llama, n_threads_, n_threads_batch_);
}

ThreadPools::Pool ThreadPools::make(int32_t n_threads, uint32_t poll) {
    ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
    params.poll                   = poll;
    Pool pool(ggml_threadpool_new(&params));
    if (pool == nullptr) {
        fail(RN_E_NOMEM, "cannot start %d threads", n_threads);
    }
    return pool;
}

} // namespace rn

rn_ctx::rn_ctx(std::shared_ptr<rn::Model> shared, llama_context_ptr made, std::unique_ptr<rn::ThreadPools> pools,
               uint32_t poll, llama_context_params params) :
    model(std::move(shared)), threads(std::move(pools)), llama(std::move(made)), memory(llama_get_memory(llama.get())),
    batch(llama_batch_ext_init(llama.get())), poll(poll), n_ctx(static_cast<int32_t>(llama_n_ctx(llama.get()))),
    n_ctx_seq(static_cast<int32_t>(llama_n_ctx_seq(llama.get()))),
    n_batch(static_cast<int32_t>(llama_n_batch(llama.get()))),
    n_ubatch(static_cast<int32_t>(llama_n_ubatch(llama.get()))), n_seq_max(static_cast<int32_t>(params.n_seq_max)),
    n_outputs_max(static_cast<int32_t>(params.n_outputs_max)),
    // Text held back for a stop string, and one token whose every byte may become a U+FFFD of three.
    text_per_record(static_cast<int64_t>(rn::MAX_STOP_BYTES + 3 * (3 + model->max_piece))),
    kv_unified(params.kv_unified), full_window(params.swa_full), tokens(params.n_seq_max),
    positions(params.n_seq_max) {}

void rn_ctx::check_seq(int32_t seq, const char * name) const {
    if (seq < 0 || seq >= n_seq_max) {
        rn::fail(RN_E_ARG, "%s: sequence %d is outside 0..%d", name, seq, n_seq_max - 1);
    }
}

bool rn_ctx::cut(int32_t seq, int32_t length) {
    const bool done = llama_memory_seq_rm(memory, seq, position(seq, length), -1);
    refresh(seq);
    return done;
}

void rn_ctx::refresh(int32_t seq) {
    rn::Positions & places = positions[static_cast<size_t>(seq)];
    const int32_t   rows   = places.rows_until(llama_memory_seq_pos_max(memory, seq), next_pos(seq));
    tokens[static_cast<size_t>(seq)].resize(static_cast<size_t>(rows), LLAMA_TOKEN_NULL);
    places.cut(rows);
}

bool rn_ctx::can_cut(int32_t seq, int32_t length) const {
    if (length <= 0 || length >= next_pos(seq)) {
        return true;
    }
    const rn::Positions & places = positions[static_cast<size_t>(seq)];
    return !places.is_inside(length) &&
           (window == 0 ||
            llama_memory_seq_pos_min(memory, seq) <= std::max(0, places.at(length) - window + 1));
}

void rn_ctx::probe() {
    llama_memory_clear(memory, true);
    const StateBytes one = state_bytes_after_token(0);
    const StateBytes two = state_bytes_after_token(1);
    token_bytes          = two.whole - one.whole;
    state_bytes          = one.whole - token_bytes;
    // Where there is neither a window nor a recurrent part, llama.cpp takes all of the state for the part.
    window_token_bytes = two.part < two.whole ? two.part - one.part : 0;
    window             = window_token_bytes > 0 ? llama_model_n_swa(model->llama.get()) : 0;
    seq_rm            = llama_n_rs_seq(llama.get()) > 0             ? COMMON_CONTEXT_SEQ_RM_TYPE_RS
                        : llama_memory_seq_rm(memory, 0, 1, -1) ? COMMON_CONTEXT_SEQ_RM_TYPE_PART
                                                                : COMMON_CONTEXT_SEQ_RM_TYPE_FULL;
    llama_memory_clear(memory, true);
}

rn_ctx::StateBytes rn_ctx::state_bytes_after_token(llama_pos pos) {
    llama_batch_ext_clear(batch.get());
    const int32_t row = llama_batch_ext_add_token(batch.get(), 0, 0);
    llama_batch_ext_set_pos(batch.get(), row, &pos);
    llama_batch_ext_set_output_logits(batch.get(), row, true);
    if (llama_process(llama.get(), LLAMA_PROCESS_TYPE_DECODE, batch.get()) != 0) {
        rn::fail(RN_E_EXC, "the first decode failed");
    }
    llama_synchronize(llama.get());
    const auto bytes = [this](llama_state_seq_flags flags) {
        return static_cast<int64_t>(llama_state_seq_get_size_ext(llama.get(), 0, flags));
    };
    return {bytes(LLAMA_STATE_SEQ_FLAGS_NONE), bytes(LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)};
}

rn_ctx * rn_ctx_new(rn_model * model, const char * json) {
    return rn::guard_new<rn_ctx>([&] { return rn::make_context(rn::need(model, "model").shared, json).release(); });
}

void rn_ctx_free(rn_ctx * ctx) {
    delete ctx;
    rn::trim_heap();
}

int32_t rn_ctx_info(rn_ctx * ctx, rn_buf * out) {
    return rn::guard([&] {
        rn::need(ctx, "ctx");
        common_json info        = common_json::object();
        info["n_ctx"]           = ctx->n_ctx;
        info["n_ctx_seq"]       = ctx->n_ctx_seq;
        info["n_batch"]         = ctx->n_batch;
        info["n_ubatch"]        = ctx->n_ubatch;
        info["n_seq_max"]       = ctx->n_seq_max;
        info["n_outputs_max"]   = ctx->n_outputs_max;
        info["text_per_record"] = ctx->text_per_record;
        info["kv_unified"]      = ctx->kv_unified;
        info["can_shift"]       = llama_memory_can_shift(ctx->memory);
        info["seq_rm"]          = rn::seq_rm_name(ctx->seq_rm);
        info["state_bytes"]     = ctx->state_bytes;
        info["token_bytes"]     = ctx->token_bytes;
        info["window"]          = ctx->window;
        info["full_window"]     = ctx->full_window;

        info["window_token_bytes"] = ctx->window_token_bytes;
        info["memory_bytes"]       = rn::memory_of(ctx->llama.get());
        rn::fill(out, info.dump_safe());
        return RN_OK;
    });
}

int32_t rn_threads_set(rn_ctx * ctx, int32_t n_threads, int32_t n_threads_batch) {
    return rn::guard([&] {
        rn::need(ctx, "ctx");
        if (std::min(n_threads, n_threads_batch) < 1 || std::max(n_threads, n_threads_batch) > rn::MAX_THREADS) {
            rn::fail(RN_E_ARG, "threads: %d and %d are not in 1..%d", n_threads, n_threads_batch, rn::MAX_THREADS);
        }
        for (rn_ctx * each = ctx; each != nullptr; each = each->draft.get()) {
            auto pools = std::make_unique<rn::ThreadPools>(n_threads, n_threads_batch, each->poll);
            pools->attach(each->llama.get());
            each->threads.swap(pools);
            each->retired.push_back(std::move(pools));
        }
        return RN_OK;
    });
}

int32_t rn_abort(rn_ctx * ctx) {
    return rn::guard([&] {
        rn::need(ctx, "ctx").abort.store(true);
        return RN_OK;
    });
}

int32_t rn_perf(rn_ctx * ctx, rn_buf * out, int32_t reset) {
    return rn::guard([&] {
        rn::need(ctx, "ctx");
        const llama_perf_context_data data = llama_perf_context(ctx->llama.get());
        const common_json perf = {{"n_reused", data.n_reused}, {"n_eval", data.n_eval}, {"n_p_eval", data.n_p_eval},
                                  {"t_eval_ms", data.t_eval_ms}, {"t_p_eval_ms", data.t_p_eval_ms}};
        rn::fill(out, perf.dump_safe());
        if (reset != 0) {
            llama_perf_context_reset(ctx->llama.get());
        }
        return RN_OK;
    });
}

int32_t rn_system_json(rn_buf * out) {
    return rn::guard([&] {
        rn::log_ensure();
        common_json devices = common_json::array();
        for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
            const ggml_backend_dev_t device = ggml_backend_dev_get(i);
            size_t                   free = 0, total = 0;
            ggml_backend_dev_memory(device, &free, &total);
            const bool is_cpu = ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
            devices.push_back({{"name", ggml_backend_dev_name(device)},
                               {"description", ggml_backend_dev_description(device)},
                               {"type", is_cpu ? "cpu" : "gpu"},
                               {"free_bytes", free},
                               {"total_bytes", total}});
        }
        const common_json system = {{"llama_version", llama_version()}, {"system_info", llama_print_system_info()},
                                    {"devices", devices}, {"kernels", rn::kernels::served_types()}};
        rn::fill(out, system.dump_safe());
        return RN_OK;
    });
}
