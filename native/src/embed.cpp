// Texts to vectors or ranks: whole texts, each its own sequence, in one pass that leaves nothing in memory.
#include "context.hpp"
#include "footprint.hpp"
#include "guard.hpp"
#include "json.hpp"
#include "log.hpp"

#include <algorithm>
#include <cstring>

namespace rn {
namespace {

constexpr int32_t MAX_TEXTS    = 256; // LLAMA_MAX_SEQ
constexpr int32_t SPLIT_UBATCH = 512; // rows of one graph, where a text may be computed in parts

} // namespace
} // namespace rn

struct rn_embedder {
    std::shared_ptr<rn::Model>       model;
    std::unique_ptr<rn::ThreadPools> threads; // outlives llama, which computes on it
    // The pools before the last rn_embedder_threads_set: the CPU backend pauses them when it first computes on the new.
    std::unique_ptr<rn::ThreadPools> retired;
    llama_context_ptr                llama;
    llama_memory_t                   memory; // none: attention looks both ways within the batch
    llama_batch_ext_ptr              batch;
    std::atomic<bool>                abort{false};
    uint32_t                         poll;
    int32_t                          n_batch;
    int32_t                          n_text; // tokens one text may have
    int32_t                          n_seq_max;
    int32_t                          n_out; // numbers a text gives
};

namespace rn {
namespace {

// Only of the last token, and when each token sees but those before it, is the rest of a text not needed at once.
bool can_split(const Model & model) {
    return model.pooling == LLAMA_POOLING_TYPE_LAST && model.is_causal;
}

llama_context_params read_params(const Model & model, const Fields & fields) {
    const auto read = [&fields](const char * key, int64_t fallback, int64_t least, int64_t most) {
        return static_cast<int32_t>(fields.integer(key, fallback, least, most));
    };
    const int32_t        n_batch = read("n_batch", 512, 2, INT32_MAX);
    llama_context_params params  = llama_context_default_params();
    params.n_ctx                 = static_cast<uint32_t>(n_batch);
    params.n_batch               = static_cast<uint32_t>(n_batch);
    params.n_ubatch              = static_cast<uint32_t>(can_split(model) ? std::min(n_batch, SPLIT_UBATCH) : n_batch);
    params.n_outputs_max         = static_cast<uint32_t>(n_batch);
    params.n_seq_max             = static_cast<uint32_t>(read("n_seq_max", 1, 1, std::min(n_batch, MAX_TEXTS)));
    params.n_threads             = read("n_threads", 1, 1, GGML_MAX_N_THREADS);
    params.n_threads_batch       = params.n_threads;
    params.embeddings            = true;
    params.kv_unified            = true;
    params.flash_attn_type =
        fields.boolean("flash_attn", true) ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    return params;
}

void check_pools(const Model & model) {
    model.need_vocab();
    const llama_model * llama = model.llama.get();
    if (model.pooling <= LLAMA_POOLING_TYPE_NONE) {
        fail(RN_E_UNSUP, "the model makes neither embeddings nor ranks");
    }
    if (llama_model_has_encoder(llama) && llama_model_has_decoder(llama)) {
        fail(RN_E_UNSUP, "the model is a translator: an encoder and a decoder");
    }
}

bool should_abort(void * data) {
    return static_cast<const std::atomic<bool> *>(data)->load(std::memory_order_relaxed);
}

std::unique_ptr<rn_embedder> make_embedder(const std::shared_ptr<Model> & model, const char * json) {
    check_pools(*model);
    const Fields               fields(json, "rn_embedder_new");
    const llama_context_params params = read_params(*model, fields);
    auto                       made   = std::make_unique<rn_embedder>();
    made->poll    = static_cast<uint32_t>(fields.integer("poll", 0, 0, 100));
    made->model   = model;
    made->threads = std::make_unique<ThreadPools>(params.n_threads, params.n_threads_batch, made->poll);
    const uint64_t mark = log_mark();
    made->llama.reset(llama_init_from_model(model->llama.get(), params));
    if (made->llama == nullptr) {
        const std::string reason = log_errors_since(mark);
        fail(RN_E_EXC, "cannot make a context: %s", reason.empty() ? "no reason given" : reason.c_str());
    }
    llama_context * llama = made->llama.get();
    made->memory          = llama_get_memory(llama);
    made->batch.reset(llama_batch_ext_init(llama));
    made->n_batch   = static_cast<int32_t>(llama_n_batch(llama));
    made->n_text    = std::min(made->n_batch, llama_model_n_ctx_train(model->llama.get())); // positions may be learned
    made->n_seq_max = static_cast<int32_t>(params.n_seq_max);
    made->n_out     = model->pooling == LLAMA_POOLING_TYPE_RANK
                          ? static_cast<int32_t>(llama_model_n_cls_out(model->llama.get()))
                          : llama_model_n_embd_out(model->llama.get());
    const bool is_split = static_cast<int32_t>(llama_n_ubatch(llama)) < made->n_batch;
    if (is_split && (made->memory == nullptr || !llama_get_causal_attn(llama))) {
        fail(RN_E_UNSUP, "the model's attention looks ahead, though its file does not say so");
    }
    made->threads->attach(llama);
    llama_set_abort_callback(llama, should_abort, &made->abort);
    return made;
}

// Where each text begins and ends: every one within the batch, and none empty.
void check_texts(const rn_embedder & embedder, const int32_t * tok, const int32_t * off, int32_t n_seq) {
    if (n_seq < 1 || n_seq > embedder.n_seq_max) {
        fail(RN_E_ARG, "n_seq: %d texts, one pass takes 1 to %d", n_seq, embedder.n_seq_max);
    }
    if (off[0] != 0) {
        fail(RN_E_ARG, "off: the first text begins at %d", off[0]);
    }
    for (int32_t i = 0; i < n_seq; ++i) {
        const int64_t length = static_cast<int64_t>(off[i + 1]) - off[i];
        if (length < 1 || length > embedder.n_text) {
            fail(RN_E_ARG, "off: text %d has %lld tokens, it may have 1 to %d", i, static_cast<long long>(length),
                 embedder.n_text);
        }
        if (off[i + 1] > embedder.n_batch) {
            fail(RN_E_ARG, "off: %d tokens up to text %d, one pass takes %d", off[i + 1], i, embedder.n_batch);
        }
    }
    for (int32_t i = 0; i < off[n_seq]; ++i) {
        embedder.model->check_token(tok[i], "tok");
    }
}

void fill_batch(llama_batch_ext * batch, const int32_t * tok, const int32_t * off, int32_t n_seq) {
    llama_batch_ext_clear(batch);
    for (int32_t seq = 0; seq < n_seq; ++seq) {
        for (int32_t i = off[seq]; i < off[seq + 1]; ++i) {
            const int32_t   index = llama_batch_ext_add_token(batch, seq, tok[i]);
            const llama_pos pos   = i - off[seq];
            if (index < 0) {
                fail(RN_E_EXC, "the batch did not take a row (%d)", index);
            }
            llama_batch_ext_set_pos(batch, index, &pos);
            llama_batch_ext_set_output_embd(batch, index, true);
        }
    }
}

void compute(rn_embedder & embedder) {
    const llama_process_type type = embedder.memory ? LLAMA_PROCESS_TYPE_DECODE : LLAMA_PROCESS_TYPE_ENCODE;
    if (embedder.memory != nullptr) {
        llama_memory_clear(embedder.memory, false);
    }
    embedder.abort.store(false);
    const LogNoErrorIf no_error(embedder.abort);
    switch (const int32_t rc = llama_process(embedder.llama.get(), type, embedder.batch.get())) {
        case 0:  break;
        case 1:  fail(RN_E_STATE, "no room in memory for the texts");
        case 2:  fail(RN_E_CANCEL, "the pass was aborted");
        default:
            if (embedder.abort.load()) { // an encoder does not tell it from a failure
                fail(RN_E_CANCEL, "the pass was aborted");
            }
            fail(RN_E_EXC, "the pass failed (%d)", rc);
    }
    llama_synchronize(embedder.llama.get());
    embedder.retired.reset();
}

void copy_out(const rn_embedder & embedder, int32_t n_seq, float * out) {
    const size_t width = static_cast<size_t>(embedder.n_out);
    for (int32_t seq = 0; seq < n_seq; ++seq) {
        const float * values = llama_get_embeddings_seq(embedder.llama.get(), seq);
        if (values == nullptr) {
            fail(RN_E_EXC, "text %d has no result", seq);
        }
        std::memcpy(out + static_cast<size_t>(seq) * width, values, width * sizeof *values);
    }
}

} // namespace
} // namespace rn

rn_embedder * rn_embedder_new(rn_model * model, const char * json) {
    return rn::guard_new<rn_embedder>(
        [&] { return rn::make_embedder(rn::need(model, "model").shared, json).release(); });
}

void rn_embedder_free(rn_embedder * embedder) {
    delete embedder;
    rn::trim_heap();
}

int32_t rn_embedder_info(rn_embedder * embedder, rn_buf * out) {
    return rn::guard([&] {
        rn::need(embedder, "embedder");
        common_json info  = common_json::object();
        info["n_batch"]   = embedder->n_batch;
        info["n_ubatch"]  = static_cast<int32_t>(llama_n_ubatch(embedder->llama.get()));
        info["n_text"]    = embedder->n_text;
        info["n_seq_max"] = embedder->n_seq_max;
        info["n_out"]     = embedder->n_out;
        rn::fill(out, info.dump_safe());
        return RN_OK;
    });
}

int32_t rn_embedder_threads_set(rn_embedder * embedder, int32_t n_threads) {
    return rn::guard([&] {
        rn::need(embedder, "embedder");
        if (n_threads < 1 || n_threads > GGML_MAX_N_THREADS) {
            rn::fail(RN_E_ARG, "n_threads: %d is not in 1..%d", n_threads, GGML_MAX_N_THREADS);
        }
        auto pools = std::make_unique<rn::ThreadPools>(n_threads, n_threads, embedder->poll);
        pools->attach(embedder->llama.get());
        embedder->threads.swap(pools);
        if (embedder->retired == nullptr) {
            embedder->retired = std::move(pools); // what came between has computed nothing
        }
        return RN_OK;
    });
}

int32_t rn_embed(rn_embedder * embedder, const int32_t * tok, const int32_t * off, int32_t n_seq, float * out,
                 int64_t cap) {
    return rn::guard([&] {
        rn::need(embedder, "embedder");
        rn::need(tok, "tok");
        rn::need(off, "off");
        rn::need(out, "out");
        rn::check_texts(*embedder, tok, off, n_seq);
        if (cap < static_cast<int64_t>(n_seq) * embedder->n_out) {
            rn::fail(RN_E_ARG, "cap: %lld numbers are needed, there is room for %lld",
                     static_cast<long long>(n_seq) * embedder->n_out, static_cast<long long>(cap));
        }
        rn::fill_batch(embedder->batch.get(), tok, off, n_seq);
        rn::compute(*embedder);
        rn::copy_out(*embedder, n_seq, out);
        return RN_OK;
    });
}

int32_t rn_embedder_abort(rn_embedder * embedder) {
    return rn::guard([&] {
        rn::need(embedder, "embedder").abort.store(true);
        return RN_OK;
    });
}
