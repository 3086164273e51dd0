/* runner_native.h: the C ABI between runner and llama.cpp.
 *
 * Rules. Opaque handles. Every function is extern "C", never throws, and returns int32_t/int64_t (>= 0: ok or a count; < 0: RN_E_*) or a
 * handle (NULL on error). rn_last_error() is the thread's own text for the last failure. Cold path: UTF-8 JSON in, JSON out through rn_buf.
 * Hot path (rn_step): flat arrays owned by the caller. Structs begin with their size, so they may grow. No callbacks, no by-value structs.
 * Everything llama.cpp would abort() on is checked before the call and answered with RN_E_ARG or RN_E_STATE.
 *
 * Threads. A context belongs to one engine thread: rn_step, rn_score, rn_seq_*, rn_kv_clear, rn_gen_bind, rn_threads_set are called by it alone.
 * rn_tokenize, rn_token_piece, rn_gen_new, rn_gen_free, rn_tmpl_*, rn_parser_*, rn_schema_to_grammar, rn_grammar_check, rn_model_info,
 * rn_log_drain, rn_abort, rn_media_read may be called by any thread (rn_gen_free never on a generator that a running rn_step uses).
 */
#ifndef RUNNER_NATIVE_H
#define RUNNER_NATIVE_H

#include <stdint.h>

#if defined(_WIN32)
#define RN_API __declspec(dllexport)
#else
#define RN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define RN_ABI 8

enum {
    RN_OK = 0,
    RN_E_ARG = -1,     /* an argument is wrong: the message names it                     */
    RN_E_EXC = -2,     /* llama.cpp threw; the message is its text                       */
    RN_E_NOMEM = -3,
    RN_E_STATE = -4,   /* not possible now (full, busy, not supported by this memory)    */
    RN_E_GRAMMAR = -5, /* a grammar or JSON schema does not compile                      */
    RN_E_PARSE = -6,   /* JSON or a template does not parse or render                    */
    RN_E_CANCEL = -7,
    RN_E_UNSUP = -8    /* this model or build cannot do it                               */
};

typedef struct rn_model  rn_model;
typedef struct rn_ctx    rn_ctx;
typedef struct rn_embedder rn_embedder;
typedef struct rn_tmpl   rn_tmpl;
typedef struct rn_parser rn_parser;
typedef struct rn_media  rn_media;
typedef struct rn_parts  rn_parts;

/* Filled by the callee, released by rn_buf_free; ptr[len] is 0. */
typedef struct {
    char *   ptr;
    uint64_t len;
} rn_buf;

/* ---- process ---- */
RN_API int32_t      rn_abi_version(void);
/* {"log_level": 1 error, 2 warn, 3 info (default), 5 debug; "kernels": bool, matrix products of our own where we have them (default true; the first model
 * loaded fixes it)}; idempotent. Routes every log line of ggml, llama and common into the ring. */
RN_API int32_t      rn_init(const char * json);
RN_API const char * rn_last_error(void);
RN_API int32_t      rn_last_code(void); /* the RN_E_* of that failure: for functions that return a handle */
RN_API void         rn_buf_free(rn_buf * buf);
/* JSON array of {"level":"debug|info|warn|error","text":str}; empties the ring (bounded, the oldest lines give way). */
RN_API int32_t      rn_log_drain(rn_buf * out);
/* {"llama_version","system_info","devices":[{"name","description","type","free_bytes","total_bytes"}],"kernels":[weight types that our own kernels serve]} */
RN_API int32_t      rn_system_json(rn_buf * out);

/* ---- model ---- */
/* {"path","gpu_layers","use_mmap","check_tensors"}; *progress goes 0..1; *cancel != 0 stops the load. NULL on failure with the loader's own error lines. */
RN_API rn_model * rn_model_load(const char * json, volatile float * progress, const volatile int32_t * cancel);
RN_API void       rn_model_free(rn_model * model);
/* {"architecture","description","size_bytes","parameters","n_ctx_train","n_embd","n_layer","n_head","n_head_kv","n_swa","swa_layers","n_vocab","vocab_type","token_bytes" (what one token covers of a
 *  text at most; 0: any number),"has_encoder",
 *  "has_decoder","recurrent","hybrid","diffusion","pooling":bool,"pooling_type":"none|mean|cls|last|rank","add_bos","add_eos","add_sep","bos","eos","sep" (-1: none),
 *  "bos_piece","eos_piece","has_chat_template","rerank_template" ("": none),"eog":[...],
 *  "fim":{"prefix","suffix","middle","repo","file"} (tokens that mark a gap to fill and the texts around it; -1: the model has none),
 *  "sampling":{...general.sampling.* hints}} */
RN_API int32_t    rn_model_info(rn_model * model, rn_buf * out);

/* A LoRA adapter for the model, before its contexts are made; it lives as long as the model. Returns its index: 0, 1, ... RN_E_EXC with the loader's own error
 * lines, RN_E_UNSUP for one that cannot be applied; the model is as before then. info: {"name","task","prompt_prefix"} of the file, "": it does not say. */
RN_API int32_t    rn_adapter_load(rn_model * model, const char * path, rn_buf * info);

/* ---- context ---- */
/* {"n_ctx" (of all sequences), "n_batch","n_ubatch","n_seq_max","n_outputs_max","n_threads","n_threads_batch","flash_attn":bool,"kv_unified":bool,
 *  "type_k","type_v","poll":0..100,"full_window":bool (default true: layers with a sliding window have room for all tokens; false: for the window and one pass,
 *  so that a sequence cannot be cut back far; not with kv_unified)}. Makes its own ggml threadpool, warms up with one decode, probes what rn_seq_rm can do. */
RN_API rn_ctx * rn_ctx_new(rn_model * model, const char * json);
RN_API void     rn_ctx_free(rn_ctx * ctx);
/* {"n_ctx","n_ctx_seq","n_batch","n_ubatch","n_seq_max","n_outputs_max","kv_unified","can_shift","seq_rm":"part|full|rs","text_per_record" (see rn_step_out.cap_text),
 *  "state_bytes","token_bytes": rn_seq_state_size of n tokens is at most state_bytes + n * token_bytes; where "window" is not 0 (a sliding window of so many tokens),
 *  each token before the last "window" ones takes "window_token_bytes" less,"full_window",
 *  "memory_bytes":{"model","context","compute"}} actual values */
RN_API int32_t  rn_ctx_info(rn_ctx * ctx, rn_buf * out);
/* The draft guesses where the text itself gives nothing to guess from (see rn_step). It must have the same vocabulary (RN_E_UNSUP), as many sequences and a
 * memory that can be cut back. From then on it belongs to ctx, which frees it, and rn_threads_set is for both. Between steps. */
RN_API int32_t  rn_ctx_set_draft(rn_ctx * ctx, rn_ctx * draft);
RN_API int32_t  rn_threads_set(rn_ctx * ctx, int32_t n_threads, int32_t n_threads_batch);

/* From the next step on, compute with the model's adapters at these scales, by index; n is their number, 0.0: without it. A new context uses none. Memory
 * that was computed with others stays as it is: who calls keeps the two apart. A change costs about a step: the graphs are planned anew. */
RN_API int32_t  rn_adapters_use(rn_ctx * ctx, const float * scales, int32_t n);

/* ---- tokens ---- */
/* Returns the count; when it exceeds cap nothing more than cap ids was written: call again. */
RN_API int64_t rn_tokenize(rn_model * model, const char * text, uint64_t len, int32_t add_special, int32_t parse_special, int32_t * out, int64_t cap);
/* Bytes of one token; returns the length. */
RN_API int64_t rn_token_piece(rn_model * model, int32_t token, int32_t special, char * out, int64_t cap);
RN_API int64_t rn_detokenize(rn_model * model, const int32_t * tokens, int64_t n, int32_t special, char * out, int64_t cap);

/* ---- KV memory (engine thread) ---- */
/* Every "pos" of this ABI counts rows. Where the rows of a picture are fewer positions for the model (M-RoPE), the library keeps which are where. */
/* 1 done, 0 not possible: memory with a recurrent part, or a window that is past what p0 looks back at, or p0 is inside a picture. To the end; a whole sequence can always go. */
RN_API int32_t rn_seq_rm(rn_ctx * ctx, int32_t seq, int32_t p0);
/* dst must be empty. Unified: metadata only, any range. Streams, and memory with a recurrent part: the range must be whole (p0 = 0, p1 = -1); trim with rn_seq_rm.
 * RN_E_STATE: src's window is past what p1 looks back at, or p1 is inside a picture. */
RN_API int32_t rn_seq_cp(rn_ctx * ctx, int32_t src, int32_t dst, int32_t p0, int32_t p1);
RN_API int32_t rn_seq_range(rn_ctx * ctx, int32_t seq, int32_t * pos_min, int32_t * pos_max); /* rows; -1, -1: empty */
RN_API int32_t rn_kv_clear(rn_ctx * ctx);
/* A sequence's memory as bytes. They fit a context of the same model and settings in the same library: llama.cpp checks their shape and trusts their content, so
 * give back only what came from rn_seq_state_get unchanged. get: cap >= rn_seq_state_size; returns the bytes written. */
RN_API int64_t rn_seq_state_size(rn_ctx * ctx, int32_t seq);
RN_API int64_t rn_seq_state_get(rn_ctx * ctx, int32_t seq, void * dst, int64_t cap);
/* seq must be empty, and is so after a failure. tokens: the text that the state stands for. RN_E_STATE: no room, or another context's; RN_E_ARG: wrong sizes. */
RN_API int32_t rn_seq_state_set(rn_ctx * ctx, int32_t seq, const void * src, int64_t len, const int32_t * tokens, int64_t n_tokens);

/* ---- generators: sampler + history + UTF-8 hold-back + stop scan, named by a small int ---- */
/* {"seed","temperature","top_k",... (names of wire.Sampling), "samplers":[...],"logit_bias":[[id, bias or false: never]],"ignore_eos","json_schema" (text)|"grammar" (GBNF),
 *  "generation_prompt" (text that "grammar" has to begin with, already in the prompt), "grammar_lazy","grammar_triggers","thinking_start_tag","thinking_end_tags"
 *  (from rn_tmpl_apply: let everything pass until a trigger comes outside of a thought),"stop":[at most 64 of 1..1024 bytes],"max_tokens" (>= 1; -1: none),
 *  "reasoning_budget":{"tokens" (of one thought: then its end is written),"message" (before that),"thinking_start_tag","thinking_end_tags","generation_prompt"},
 *  "top_logprobs" (0..128; -1: no logprobs),"preserved_tokens":[special tokens to show, as text]}. A value that is absent or null is the model's hint, else llama.cpp's default.
 *  Returns the id. May run off the engine thread: it compiles the grammar (compiled grammars are cached and cloned). */
RN_API int32_t rn_gen_new(rn_ctx * ctx, const char * json);
/* Put a generator on a sequence. n_past = tokens of the sequence already in KV or about to be prefilled in full before the first sample. tail = last tokens of the prompt,
 * accepted by the penalty samplers on the first bind only (what is negative there, rows of media, is passed over). On a later bind (after preemption) the generator keeps its state and its pending token, which comes at n_past. */
RN_API int32_t rn_gen_bind(rn_ctx * ctx, int32_t gen, int32_t seq, int32_t n_past, const int32_t * tail, int64_t n_tail);
RN_API int32_t rn_gen_free(rn_ctx * ctx, int32_t gen);

/* ---- the step ---- */
enum {
    RN_OUT_EOS = 1,        /* the token ends the generation                                        */
    RN_OUT_STOP = 2,       /* a stop string was met: its text was cut; stop_index tells which     */
    RN_OUT_LENGTH = 4,     /* max_tokens reached                                                  */
    RN_OUT_GRAMMAR = 8,    /* no token is possible (grammar, logit bias, NaN): tok is -1            */
    RN_OUT_LAST = 15       /* any of these: the generator must not be decoded again               */
};

/* Prompt rows first..first + n - 1, all of one sequence, are no tokens but come from rn_media_encode. Their "tok" names their content: any numbers below -1, the
 * same for the same content. is_whole: they look at one another, so n is at most n_ubatch. columns (as rn_media_read tells) > 0: they are rows start.. of a grid of
 * `of` rows in all; a step that fails inside a grid takes all of it out of memory (rc -1), and no grid can be cut or copied in part. */
typedef struct {
    int32_t       first;
    int32_t       n;
    int32_t       is_whole;
    int32_t       start;
    int32_t       of;
    int32_t       columns;
    const float * embd; /* n * n_embd (rn_media_info) numbers */
} rn_rows;

typedef struct {
    uint32_t        size;    /* sizeof(rn_step_in)                                                         */
    uint32_t        flags;   /* 0                                                                          */
    /* decode part: generators that continue; the shim feeds each its own pending token at its own position */
    int32_t         n_gen;
    const int32_t * gen;
    const int32_t * n_draft; /* by generator: most tokens to guess behind its own and to check in this step; NULL: none */
    /* prompt part: rows in compute order, positions of a sequence consecutive                              */
    int32_t         n_rows;
    const int32_t * tok;
    const int32_t * pos;
    const int32_t * seq;
    const int32_t * out_gen; /* generator to sample from this row (its row n_past - 1), or -1               */
    /* pieces of media among the prompt rows, in their order; each is computed by itself, before the tokens. Tokens are at most n_batch, and so is each piece. */
    int32_t         n_media;
    const rn_rows * media;
    /* by prompt row: the token whose log-probability behind this row is to be told, or -1; NULL: none at all. Not of a row of media or with a generator; each is
     * one of n_outputs_max */
    const int32_t * score;
    int32_t         score_top; /* likeliest tokens told of each such row */
} rn_step_in;

typedef struct {
    uint32_t  size;       /* sizeof(rn_step_out)                                                           */
    int32_t   rc;         /* llama_process: 0 ok, 1 no KV slot, 2 aborted, < 0 failed; on rc != 0 nothing was sampled, generators are as before, and so is the
                           * memory where it can give back a part (seq_rm "part"; otherwise ask rn_seq_range)   */
    int32_t   cap_out;    /* records the arrays below can hold; must be >= n_gen + rows with out_gen or score      */
    int32_t   n_out;      /* records written: decode part first; one a generator, and one more for each guess that was right, right behind it. A row with a
                           * score has a record in its place: gen -1, tok the token that was asked about, no text */
    int32_t * n_drafted;  /* by generator of the decode part: guesses computed; may be NULL when n_draft is */
    int32_t * gen;
    int32_t * tok;
    int32_t * flags;      /* RN_OUT_*                                                                      */
    int32_t * stop_index; /* which stop string, or -1                                                      */
    int64_t * text_off;   /* cap_out + 1 offsets into text: complete UTF-8 that is safe to show            */
    char *    text;
    int64_t   cap_text;   /* too small: RN_E_ARG before anything runs; needs text_per_record (rn_ctx_info) a record */
    float *   logprob;    /* of the chosen token over the raw logits; NaN when the generator has none asked */
    int32_t   cap_top;    /* most top_logprobs of any generator in this step                               */
    int32_t * n_top;      /* per record                                                                    */
    int32_t * top_tok;    /* cap_out * cap_top                                                             */
    float *   top_logprob;
    int64_t   us_decode;
    int64_t   us_sample;
} rn_step_out;

/* Guesses. A sequence's own tokens are searched for the place that agrees with its end for longest; what followed there is computed in this step, in
 * rows of their own; where there is none, a draft model's likeliest tokens are (rn_ctx_set_draft). Then the generator samples as ever, row by row, while the token it chooses is the guess in the next row; the rest leaves memory
 * within the call. So tokens, texts, log-probabilities and ends are those of one token a step (as far as the kernels compute a row alike alone and
 * among others). Guesses fill what n_batch, n_outputs_max, cap_out, cap_text, max_tokens and the context leave free, and are dropped when no KV cell is
 * free for them: no step fails for them. There are none where memory cannot give back a part (seq_rm is not "part"). */
RN_API int32_t rn_step(rn_ctx * ctx, const rn_step_in * in, rn_step_out * out);
/* logprob[i], 0 <= i < n - 1: log-probability over the raw logits of tok[i + 1] after tok[0..i]. In pieces of at most n_outputs_max rows. The sequence must be
 * empty, and is so again. RN_E_STATE: no room; RN_E_CANCEL: rn_abort. */
RN_API int32_t rn_score(rn_ctx * ctx, int32_t seq, const int32_t * tok, int32_t n, float * logprob);
/* Any thread: the running decode returns rc 2 at the next graph node. */
RN_API int32_t rn_abort(rn_ctx * ctx);
/* {"n_reused","n_eval","n_p_eval","t_eval_ms","t_p_eval_ms"} since the last reset */
RN_API int32_t rn_perf(rn_ctx * ctx, rn_buf * out, int32_t reset);

/* ---- texts to vectors or ranks: models with pooling ---- */
/* {"n_batch" (tokens of one pass, and of its longest text),"n_seq_max" (texts of one pass),"n_threads","flash_attn":bool (default true),"poll"}. Belongs to one
 * engine thread, as a context does. RN_E_UNSUP: the model does not pool. */
RN_API rn_embedder * rn_embedder_new(rn_model * model, const char * json);
RN_API void          rn_embedder_free(rn_embedder * embedder);
/* {"n_batch","n_ubatch","n_text" (tokens one text may have: at most what the model was trained for),"n_seq_max","n_out" (numbers a text gives)} */
RN_API int32_t       rn_embedder_info(rn_embedder * embedder, rn_buf * out);
RN_API int32_t       rn_embedder_threads_set(rn_embedder * embedder, int32_t n_threads);
/* Text i is tok[off[i]] .. tok[off[i + 1] - 1]; off has n_seq + 1 entries. out[i * n_out ..]: its pooled vector as the model gives it, or its rank. Not
 * normalised. A text's result does not depend on the others but by rounding; but a text that gives NaN may make others of the same pass give it. RN_E_CANCEL: rn_embedder_abort. */
RN_API int32_t       rn_embed(rn_embedder * embedder, const int32_t * tok, const int32_t * off, int32_t n_seq, float * out, int64_t cap);
/* Any thread: the running rn_embed ends soon. */
RN_API int32_t       rn_embedder_abort(rn_embedder * embedder);

/* ---- chat ---- */
/* override_src: Jinja text, or NULL for the model's own (ChatML when it has none). info: {"caps":{...},"source":str,"explicit":bool,"supports_thinking":bool} */
RN_API rn_tmpl * rn_tmpl_new(rn_model * model, const char * override_src, rn_buf * info);
RN_API void      rn_tmpl_free(rn_tmpl * tmpl);
/* {"messages":[...OpenAI...],"tools":[...],"tool_choice","parallel_tool_calls","json_schema","add_generation_prompt","continue_final_message","chat_template_kwargs":{...},
 *  "reasoning_format" (none|auto|deepseek|deepseek-legacy),"enable_thinking","now" (Unix seconds),"media_marker" (the text of content parts of the type
 *  "media_marker"; others are refused)} ->
 * {"prompt","grammar","grammar_lazy","grammar_triggers":[...],"generation_prompt","additional_stops":[...],"preserved_tokens":[...],"format","parser","supports_thinking",
 *  "thinking_start_tag","thinking_end_tags"}. Thread-safe; the analysis is cached, only the prompt is rendered anew. */
RN_API int32_t   rn_tmpl_apply(rn_tmpl * tmpl, const char * json_in, rn_buf * json_out);
/* {"format","parser","generation_prompt"} from rn_tmpl_apply */
RN_API rn_parser * rn_parser_new(const char * json);
/* Feed text; deltas: JSON array of {"content"?,"reasoning_content"?,"tool_call"?:{"index","id"?,"name"?,"arguments"}}. is_final: 0 more follows, 1 the text is
 * complete, 2 it was cut off. A complete text that does not fit the format comes as content, with "unparsed":true. */
RN_API int32_t   rn_parser_feed(rn_parser * parser, const char * text, uint64_t len, int32_t is_final, rn_buf * deltas);
/* What it has cost so far: rules tried, bytes read and bytes told of anew. It grows with the text's length, however many pieces the text comes in. */
RN_API uint64_t  rn_parser_work(const rn_parser * parser);
RN_API void      rn_parser_free(rn_parser * parser);
RN_API int32_t   rn_schema_to_grammar(const char * schema_json, rn_buf * gbnf);
RN_API int32_t   rn_grammar_check(rn_model * model, const char * gbnf);

/* ---- images and sounds ---- */
/* A model's projector. {"path","marker" (at least 16 bytes that nobody can guess),"n_threads","use_gpu":bool}. */
RN_API rn_media * rn_media_new(rn_model * model, const char * json);
RN_API void       rn_media_free(rn_media * media);
/* {"vision":bool,"audio":bool,"n_embd"} */
RN_API int32_t    rn_media_info(rn_media * media, rn_buf * out);
typedef struct {
    const void * data;     /* JPEG, PNG, GIF, BMP; or WAV, MP3, FLAC */
    uint64_t     len;
    const char * id;       /* the caller's name for this content */
    int32_t      is_sound;
} rn_file;
/* A prompt with a marker in the place of each file, in order. out: [{"tokens":[...]} | {"id","rows","is_whole":bool,"columns" (0: in a line)}]; a file may give several parts. Decodes and
 * scales, and computes nothing else. Thread-safe. RN_E_PARSE ("INDEX: reason" where it is about one file): not readable, too large, or the markers are not as many. */
RN_API rn_parts * rn_media_read(rn_media * media, const char * text, uint64_t len, const rn_file * files, int32_t n_files, rn_buf * out);
RN_API void       rn_parts_free(rn_parts * parts);
/* The numbers of a part's rows, for rn_rows.embd. Takes long; one thread at a time, beside any rn_step. */
RN_API int32_t    rn_media_encode(rn_media * media, rn_parts * parts, int32_t part, float * out, int64_t cap);

#ifdef __cplusplus
}
#endif
#endif
