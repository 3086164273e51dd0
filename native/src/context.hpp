// A context: the KV memory of one model, the threads that compute, and the generators. Owned by one engine thread.
#pragma once

#include "generator.hpp"
#include "ggml-cpu.h"
#include "model.hpp"
#include "positions.hpp"

#include <atomic>
#include <memory>
#include <vector>

namespace rn {

constexpr size_t MAX_STOP_BYTES = 1024;

// ggml's own threads. One pool computes single rows, the other everything else; they are one when the counts are equal.
class ThreadPools {
  public:
    ThreadPools(int32_t n_threads, int32_t n_threads_batch, uint32_t poll);
    void attach(llama_context * llama) const;

  private:
    struct Free {
        void operator()(ggml_threadpool * pool) const { ggml_threadpool_free(pool); }
    };
    using Pool = std::unique_ptr<ggml_threadpool, Free>;

    static Pool make(int32_t n_threads, uint32_t poll);

    int32_t n_threads_;
    int32_t n_threads_batch_;
    Pool    single_;
    Pool    batch_; // empty: single_ serves
};

} // namespace rn

struct rn_ctx {
    rn_ctx(std::shared_ptr<rn::Model> shared, llama_context_ptr made, std::unique_ptr<rn::ThreadPools> threads,
           uint32_t poll, llama_context_params params);

    // Throw Failure(RN_E_ARG) naming the argument.
    void check_seq(int32_t seq, const char * name) const;

    // The row that must come next.
    int32_t next_pos(int32_t seq) const { return static_cast<int32_t>(tokens[static_cast<size_t>(seq)].size()); }

    // Where a row is for the model; see positions.hpp.
    int32_t position(int32_t seq, int32_t row) const { return positions[static_cast<size_t>(seq)].at(row); }

    // Takes rows from `length` on out of memory, and asks again where the sequence ends. False where memory refuses.
    bool cut(int32_t seq, int32_t length);

    // Asks llama.cpp again where a sequence ends. Its tokens follow: what is new there is not known.
    void refresh(int32_t seq);

    // Whether a sequence may lose its rows from `length` on: not those of half a picture; and of a sliding window, what
    // the next row looks back at must be there. llama.cpp does not ask: it would compute from what is left.
    bool can_cut(int32_t seq, int32_t length) const;

    // Decodes two tokens and clears the memory: finds out seq_rm, the window and the bytes of a state. Touches all
    // weights: the warm-up.
    void probe();

    std::shared_ptr<rn::Model>       model;
    std::unique_ptr<rn::ThreadPools> threads; // outlives llama, which computes on it
    // The pools before the last rn_threads_set: the CPU backend pauses them when it first computes on the new ones.
    std::vector<std::unique_ptr<rn::ThreadPools>> retired;
    llama_context_ptr                llama;
    llama_memory_t                   memory;
    llama_batch_ext_ptr              batch;
    std::atomic<bool>                abort{false};
    uint32_t                         poll;

    int32_t     n_ctx;
    int32_t     n_ctx_seq; // tokens one sequence may hold
    int32_t     n_batch;
    int32_t     n_ubatch;
    int32_t     n_seq_max;
    int32_t     n_outputs_max;
    int64_t     text_per_record; // bytes of text one step can give for one generator
    bool        kv_unified;
    bool        full_window; // the cache has room for all tokens of a sequence behind the window, too
    int32_t     window = 0;  // tokens of a sliding window; 0: no layer has one
    common_context_seq_rm_type seq_rm = COMMON_CONTEXT_SEQ_RM_TYPE_NO;

    int64_t state_bytes = 0; // of a sequence written down by rn_seq_state_get: so many,
    int64_t token_bytes = 0; // and so many more for each token
    int64_t window_token_bytes = 0; // of which so many only for a token within the window

    std::vector<std::vector<int32_t>> tokens; // by sequence: what its rows hold, LLAMA_TOKEN_NULL: not known
    std::vector<rn::Positions>        positions; // by sequence
    std::vector<llama_token_data>     scratch; // of the sampler
    rn::Generators                    generators;
    std::unique_ptr<rn_ctx>           draft;   // of the model that guesses, sequence for sequence; or none

  private:
    struct StateBytes {
        int64_t whole;
        int64_t part; // what cannot be cut back: of the window, or recurrent
    };

    StateBytes state_bytes_after_token(llama_pos pos);
};
