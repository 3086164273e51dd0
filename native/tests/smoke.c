/* rn_smoke MODEL.gguf: drives the whole ABI as a C program would; the build with ASan and UBSan runs it too. */
#include "runner_native.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS 256
#define MAX_OUT 8
#define TOP 4

#define CHECK(condition)                                                                                      \
    do {                                                                                                      \
        if (!(condition)) {                                                                                   \
            fprintf(stderr, "%s:%d: %s failed; last error: %s\n", __FILE__, __LINE__, #condition, rn_last_error()); \
            exit(1);                                                                                          \
        }                                                                                                     \
    } while (0)

static int32_t step_gen[MAX_OUT], step_draft[MAX_OUT], out_drafted[MAX_OUT];
static int32_t step_tok[MAX_ROWS], step_pos[MAX_ROWS], step_seq[MAX_ROWS], step_out[MAX_ROWS];
static int32_t out_gen[MAX_OUT], out_tok[MAX_OUT], out_flags[MAX_OUT], out_stop[MAX_OUT], out_n_top[MAX_OUT];
static int32_t out_top_tok[MAX_OUT * TOP];
static float   out_top_logprob[MAX_OUT * TOP], out_logprob[MAX_OUT];
static int64_t out_off[MAX_OUT + 1];
static char    out_text[MAX_OUT * 65536];

static rn_step_in in = {.size    = sizeof(rn_step_in),
                        .gen     = step_gen,
                        .tok     = step_tok,
                        .pos     = step_pos,
                        .seq     = step_seq,
                        .out_gen = step_out};

static rn_step_out out = {.size        = sizeof(rn_step_out),
                          .cap_out     = MAX_OUT,
                          .n_drafted   = out_drafted,
                          .gen         = out_gen,
                          .tok         = out_tok,
                          .flags       = out_flags,
                          .stop_index  = out_stop,
                          .text_off    = out_off,
                          .text        = out_text,
                          .cap_text    = sizeof out_text,
                          .logprob     = out_logprob,
                          .cap_top     = TOP,
                          .n_top       = out_n_top,
                          .top_tok     = out_top_tok,
                          .top_logprob = out_top_logprob};

static void reset(void) {
    in.n_gen = 0;
    in.n_rows = 0;
}

static void add_decode(int32_t gen) {
    step_gen[in.n_gen++] = gen;
}

static void add_prompt(int32_t seq, const int32_t * tokens, int32_t from, int32_t to, int32_t gen) {
    for (int32_t i = from; i < to; ++i, ++in.n_rows) {
        step_tok[in.n_rows] = tokens[i];
        step_pos[in.n_rows] = i;
        step_seq[in.n_rows] = seq;
        step_out[in.n_rows] = i + 1 == to ? gen : -1;
    }
}

static void run(rn_ctx * ctx) {
    CHECK(rn_step(ctx, &in, &out) == RN_OK);
    CHECK(out.rc == 0);
    reset();
}

static int32_t tokenize(rn_model * model, const char * text, int32_t * tokens) {
    const int64_t count = rn_tokenize(model, text, strlen(text), 1, 1, tokens, MAX_ROWS);
    CHECK(count > 0 && count <= MAX_ROWS);
    return (int32_t) count;
}

/* Decodes one generator to its end and appends its text. */
static int32_t finish(rn_ctx * ctx, int32_t gen, char * text) {
    for (;;) {
        strncat(text, out_text, (size_t) out_off[1]);
        if (out_flags[0] & RN_OUT_LAST) {
            return out_flags[0];
        }
        add_decode(gen);
        run(ctx);
    }
}

static void check_json(rn_buf * buf, const char * part) {
    CHECK(buf->ptr != NULL && buf->len == strlen(buf->ptr));
    CHECK(strstr(buf->ptr, part) != NULL);
    rn_buf_free(buf);
    CHECK(buf->ptr == NULL);
}

static void test_process(void) {
    rn_buf buf = {0};
    CHECK(rn_abi_version() == RN_ABI);
    CHECK(rn_init("{\"log_level\":3}") == RN_OK);
    CHECK(rn_init("{}") == RN_OK);
    CHECK(rn_init("[") == RN_E_PARSE);
    CHECK(rn_init("{\"log_level\":9}") == RN_E_ARG);
    CHECK(strstr(rn_last_error(), "log_level") != NULL && rn_last_code() == RN_E_ARG);
    CHECK(rn_system_json(&buf) == RN_OK && rn_last_code() == RN_OK);
    check_json(&buf, "devices");
    CHECK(rn_system_json(NULL) == RN_E_ARG);
    rn_buf_free(NULL);
}

static rn_model * test_model(const char * path) {
    char           json[4096];
    rn_buf         buf      = {0};
    volatile float progress = 0;
    int32_t        cancel   = 1;
    CHECK(rn_model_load("{\"path\":\"/nowhere.gguf\"}", NULL, NULL) == NULL && rn_last_code() == RN_E_EXC);
    CHECK(rn_model_load("{}", NULL, NULL) == NULL && rn_last_code() == RN_E_ARG);
    snprintf(json, sizeof json, "{\"path\":\"%s\"}", path);
    CHECK(rn_model_load(json, &progress, &cancel) == NULL && rn_last_code() == RN_E_CANCEL);
    rn_model * model = rn_model_load(json, &progress, NULL);
    CHECK(model != NULL && progress == 1.0f);
    CHECK(rn_model_info(model, &buf) == RN_OK);
    check_json(&buf, "\"n_vocab\"");
    CHECK(rn_log_drain(&buf) == RN_OK);
    check_json(&buf, "nowhere.gguf");
    return model;
}

static void test_tokens(rn_model * model) {
    int32_t tokens[MAX_ROWS];
    char    text[64];
    int32_t count = tokenize(model, "Hello world", tokens);
    CHECK(rn_detokenize(model, tokens, count, 0, text, sizeof text) == 11 && memcmp(text, "Hello world", 11) == 0);
    CHECK(rn_tokenize(model, "Hello world", 11, 0, 0, tokens, 1) == count);
    CHECK(rn_tokenize(model, NULL, 0, 0, 0, NULL, 0) == 0);
    CHECK(rn_tokenize(model, NULL, 5, 0, 0, tokens, 1) == RN_E_ARG);
    CHECK(rn_token_piece(model, tokens[0], 0, text, 2) == 5 && memcmp(text, "He", 2) == 0);
    CHECK(rn_token_piece(model, -1, 0, text, 2) == RN_E_ARG);
    CHECK(rn_tokenize(NULL, "a", 1, 0, 0, tokens, 1) == RN_E_ARG);
}

static void test_refusals(rn_model * model, rn_ctx * ctx) {
    CHECK(rn_ctx_new(model, "{\"n_seq_max\":300}") == NULL && rn_last_code() == RN_E_ARG);
    CHECK(rn_step(ctx, &in, &out) == RN_E_ARG);
    in.size = 8;
    CHECK(rn_step(ctx, &in, &out) == RN_E_ARG && strstr(rn_last_error(), "size") != NULL);
    in.size = sizeof in;
    CHECK(rn_step(NULL, &in, &out) == RN_E_ARG);
    CHECK(rn_step(ctx, NULL, &out) == RN_E_ARG && rn_step(ctx, &in, NULL) == RN_E_ARG);
    const int32_t token = 5;
    add_prompt(9, &token, 0, 1, -1);
    CHECK(rn_step(ctx, &in, &out) == RN_E_ARG);
    reset();
    add_decode(3);
    CHECK(rn_step(ctx, &in, &out) == RN_E_ARG);
    reset();
    CHECK(rn_gen_new(ctx, "{\"mirostat\":7}") == RN_E_ARG && rn_gen_new(ctx, "{\"grammar\":\"x\"}") == RN_E_GRAMMAR);
    CHECK(rn_gen_free(ctx, 0) == RN_E_ARG && rn_gen_bind(ctx, 0, 0, 1, NULL, 0) == RN_E_ARG);
    CHECK(rn_seq_cp(ctx, 0, 99, 0, -1) == RN_E_ARG && rn_seq_rm(ctx, -1, 0) == RN_E_ARG);
}

static void check_range(rn_ctx * ctx, int32_t seq, int32_t first, int32_t last) {
    int32_t pos_min = 0, pos_max = 0;
    CHECK(rn_seq_range(ctx, seq, &pos_min, &pos_max) == RN_OK && pos_min == first && pos_max == last);
}

/* A prompt in two chunks on sequence 0, its prefix shared with sequence 1, both decoded together; then the first
 * generator gives way and goes on elsewhere. */
static void test_sequences(rn_model * model, rn_ctx * ctx) {
    int32_t       tokens[MAX_ROWS];
    const int32_t count = tokenize(model, "Once upon a time there was a", tokens);
    const char *  json  = "{\"temperature\":0,\"max_tokens\":6,\"top_logprobs\":2}";
    const int32_t first = rn_gen_new(ctx, json), second = rn_gen_new(ctx, json);
    CHECK(first >= 0 && second >= 0 && first != second);
    CHECK(rn_gen_bind(ctx, first, 0, count, tokens, count) == RN_OK);
    add_prompt(0, tokens, 0, 3, -1);
    run(ctx);
    CHECK(out.n_out == 0);
    add_prompt(0, tokens, 3, count, first);
    run(ctx);
    CHECK(out.n_out == 1 && out_gen[0] == first && out_n_top[0] == 2 && out_top_tok[0] == out_tok[0]);
    CHECK(out_logprob[0] <= 0 && out_logprob[0] == out_top_logprob[0]);
    const int32_t token = out_tok[0];

    CHECK(rn_seq_cp(ctx, 0, 1, 0, count - 1) == RN_OK);
    check_range(ctx, 1, 0, count - 2);
    CHECK(rn_gen_bind(ctx, second, 1, count, tokens, count) == RN_OK);
    add_decode(first);
    add_prompt(1, tokens, count - 1, count, second);
    run(ctx);
    CHECK(out.n_out == 2 && out_gen[0] == first && out_gen[1] == second && out_tok[1] == token);

    const int32_t known = count + 1; /* the prompt and the one token that was fed */
    tokens[count]       = token;
    CHECK(rn_seq_rm(ctx, 0, 0) == 1);
    check_range(ctx, 0, -1, -1);
    CHECK(rn_gen_bind(ctx, first, 2, known, NULL, 0) == RN_OK);
    add_prompt(2, tokens, 0, known, -1);
    add_decode(second);
    run(ctx);
    CHECK(out.n_out == 1 && out_gen[0] == second);
    add_decode(first);
    add_decode(second);
    run(ctx);
    CHECK(out.n_out == 2 && out_gen[0] == first);
    CHECK(rn_gen_free(ctx, first) == RN_OK && rn_gen_free(ctx, first) == RN_E_ARG);
    add_decode(second);
    run(ctx);
    CHECK(rn_kv_clear(ctx) == RN_OK); /* `second` is left to rn_ctx_free */
    CHECK(rn_threads_set(ctx, 0, 1) == RN_E_ARG && rn_abort(ctx) == RN_OK);
    CHECK(rn_threads_set(ctx, 2, 1) == RN_OK && rn_threads_set(ctx, 1, 1) == RN_OK);
}

static void test_score(rn_model * model, rn_ctx * ctx) {
    int32_t       tokens[MAX_ROWS];
    float         logprob[MAX_ROWS];
    const int32_t count = tokenize(model, "Once upon a time there was a king who lived", tokens);
    CHECK(rn_score(ctx, 3, tokens, count, logprob) == RN_OK);
    for (int32_t i = 0; i < count - 1; ++i) {
        CHECK(logprob[i] < 0 && logprob[i] > -30);
    }
    check_range(ctx, 3, -1, -1);
    CHECK(rn_score(ctx, 3, tokens, 1, logprob) == RN_E_ARG && rn_score(ctx, 3, NULL, 2, logprob) == RN_E_ARG);
}

static void complete(rn_model * model, rn_ctx * ctx, const char * json, const char * expected, int32_t flags) {
    int32_t       tokens[MAX_ROWS];
    char          text[4096] = "";
    const int32_t count      = tokenize(model, "Say:", tokens);
    const int32_t gen        = rn_gen_new(ctx, json);
    CHECK(gen >= 0);
    CHECK(rn_gen_bind(ctx, gen, 0, count, tokens, count) == RN_OK);
    add_prompt(0, tokens, 0, count, gen);
    run(ctx);
    CHECK(finish(ctx, gen, text) == flags);
    CHECK(strcmp(text, expected) == 0);
    CHECK(isnan(out_logprob[0]));
    CHECK(rn_gen_free(ctx, gen) == RN_OK && rn_seq_rm(ctx, 0, 0) == 1);
}

static void test_answers(rn_model * model, rn_ctx * ctx) {
    complete(model, ctx, "{\"grammar\":\"root ::= \\\"one two\\\"\"}", "one two", RN_OUT_EOS);
    complete(model, ctx, "{\"json_schema\":\"{\\\"const\\\":7}\",\"temperature\":0}", "7", RN_OUT_EOS);
    complete(model, ctx, "{\"grammar\":\"root ::= \\\"one two\\\"\",\"stop\":[\"x\",\"e t\"]}", "on", RN_OUT_STOP);
    CHECK(out_stop[0] == 1);
    complete(model, ctx, "{\"grammar\":\"root ::= \\\"12345678\\\"\",\"max_tokens\":3}", "123", RN_OUT_LENGTH);
    rn_buf buf = {0};
    CHECK(rn_schema_to_grammar("{\"type\":\"boolean\"}", &buf) == RN_OK);
    check_json(&buf, "root ::=");
    CHECK(rn_schema_to_grammar("{\"type\":\"x\"}", &buf) == RN_E_GRAMMAR);
    CHECK(rn_grammar_check(model, "root ::= \"a\"") == RN_OK && rn_grammar_check(model, "root ::= (") == RN_E_GRAMMAR);
}

/* A forced answer that repeats itself: its guesses are right, and the end lies within them. */
static void test_guesses(rn_model * model, rn_ctx * ctx) {
    int32_t       tokens[MAX_ROWS];
    char          text[256] = "";
    int32_t       steps = 0, records = 1, drafted = 0;
    const int32_t count = tokenize(model, "Say:", tokens);
    const int32_t gen   = rn_gen_new(ctx, "{\"grammar\":\"root ::= \\\" a b a b a b a b a b a b\\\"\",\"temperature\":0}");
    CHECK(gen >= 0 && rn_gen_bind(ctx, gen, 0, count, tokens, count) == RN_OK);
    add_prompt(0, tokens, 0, count, gen);
    run(ctx);
    strncat(text, out_text, (size_t) out_off[1]);
    in.n_draft    = step_draft;
    step_draft[0] = -1;
    add_decode(gen);
    CHECK(rn_step(ctx, &in, &out) == RN_E_ARG && strstr(rn_last_error(), "n_draft") != NULL);
    step_draft[0] = 4;
    out.n_drafted = NULL;
    CHECK(rn_step(ctx, &in, &out) == RN_E_ARG && strstr(rn_last_error(), "n_drafted") != NULL);
    out.n_drafted = out_drafted;
    reset();
    while (!(out_flags[out.n_out - 1] & RN_OUT_LAST)) {
        add_decode(gen);
        run(ctx);
        strncat(text, out_text, (size_t) out_off[out.n_out]);
        CHECK(out_drafted[0] >= out.n_out - 1 && out_drafted[0] <= 4);
        drafted += out_drafted[0];
        records += out.n_out;
        ++steps;
    }
    in.n_draft = NULL;
    CHECK(strcmp(text, " a b a b a b a b a b a b") == 0 && out_flags[out.n_out - 1] == RN_OUT_EOS);
    CHECK(drafted > 0 && steps < records - 1);
    CHECK(rn_gen_free(ctx, gen) == RN_OK && rn_seq_rm(ctx, 0, 0) == 1);
}

static void test_chat(rn_model * model) {
    rn_buf    buf  = {0};
    rn_tmpl * tmpl = rn_tmpl_new(model, NULL, &buf);
    CHECK(tmpl != NULL);
    check_json(&buf, "supports_thinking");
    CHECK(rn_tmpl_apply(tmpl, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", &buf) == RN_OK);
    check_json(&buf, "user\\nHi");
    CHECK(rn_tmpl_apply(tmpl, "{}", &buf) == RN_E_ARG && rn_tmpl_apply(tmpl, "nonsense", &buf) == RN_E_PARSE);
    CHECK(rn_tmpl_new(model, "{% if %}", NULL) == NULL && rn_last_code() == RN_E_PARSE);
    rn_tmpl_free(tmpl);

    rn_parser * parser = rn_parser_new("{\"format\":\"Content-only\"}");
    CHECK(parser != NULL && rn_parser_feed(parser, "text", 4, 0, &buf) == RN_OK);
    check_json(&buf, "[{\"content\":\"text\"}]");
    CHECK(rn_parser_feed(parser, NULL, 0, 1, &buf) == RN_OK);
    check_json(&buf, "[]");
    rn_parser_free(parser);
    CHECK(rn_parser_new("{\"format\":\"x\"}") == NULL && rn_last_code() == RN_E_ARG);
}

int main(int argc, char ** argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: rn_smoke MODEL.gguf\n");
        return 2;
    }
    rn_buf buf = {0};
    test_process();
    rn_model * model = test_model(argv[1]);
    rn_ctx *   ctx   = rn_ctx_new(model, "{\"n_ctx\":512,\"n_batch\":64,\"n_seq_max\":4,\"n_outputs_max\":8}");
    CHECK(ctx != NULL && rn_ctx_info(ctx, &buf) == RN_OK);
    check_json(&buf, "\"seq_rm\":\"part\"");
    test_tokens(model);
    test_refusals(model, ctx);
    test_sequences(model, ctx);
    test_score(model, ctx);
    test_answers(model, ctx);
    test_guesses(model, ctx);
    test_chat(model);
    CHECK(rn_perf(ctx, &buf, 1) == RN_OK);
    check_json(&buf, "n_reused");
    rn_model_free(model); /* the context keeps what it needs */
    rn_ctx_free(ctx);
    rn_ctx_free(NULL);
    rn_model_free(NULL);
    puts("rn_smoke: ok");
    return 0;
}
