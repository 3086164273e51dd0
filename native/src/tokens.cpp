#include "guard.hpp"
#include "model.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace rn {
namespace {

// llama_tokenize counts in int32_t; a prompt of this size is refused by the context long before.
constexpr uint64_t MAX_TEXT_BYTES = 1u << 30;

int64_t copy_out(const std::string & text, char * out, int64_t cap) {
    if (cap > 0) {
        need(out, "out");
        std::copy_n(text.data(), std::min<int64_t>(cap, static_cast<int64_t>(text.size())), out);
    }
    return static_cast<int64_t>(text.size());
}

} // namespace
} // namespace rn

int64_t rn_tokenize(rn_model * handle, const char * text, uint64_t len, int32_t add_special, int32_t parse_special,
                    int32_t * out, int64_t cap) {
    return rn::guard<int64_t>([&]() -> int64_t {
        const rn::Model & model = *rn::need(handle, "model").shared;
        model.need_vocab();
        if (len > rn::MAX_TEXT_BYTES) {
            rn::fail(RN_E_ARG, "text: %llu bytes are too many", static_cast<unsigned long long>(len));
        }
        if (cap > 0) {
            rn::need(out, "out");
        }
        const char *  bytes = len > 0 ? &rn::need(text, "text") : "";
        const int32_t room  = static_cast<int32_t>(std::clamp<int64_t>(cap, 0, INT32_MAX));
        const int32_t count = llama_tokenize(model.vocab, bytes, static_cast<int32_t>(len), out, room, add_special != 0,
                                             parse_special != 0);
        if (count == INT32_MIN) {
            rn::fail(RN_E_ARG, "text: too many tokens");
        }
        return count < 0 ? -static_cast<int64_t>(count) : count;
    });
}

int64_t rn_token_piece(rn_model * handle, int32_t token, int32_t special, char * out, int64_t cap) {
    return rn::guard<int64_t>([&] {
        const rn::Model & model = *rn::need(handle, "model").shared;
        model.need_vocab();
        model.check_token(token, "rn_token_piece");
        return rn::copy_out(common_token_to_piece(model.vocab, token, special != 0), out, cap);
    });
}

int64_t rn_detokenize(rn_model * handle, const int32_t * tokens, int64_t n, int32_t special, char * out, int64_t cap) {
    return rn::guard<int64_t>([&] {
        const rn::Model & model = *rn::need(handle, "model").shared;
        model.need_vocab();
        if (n < 0 || n > INT32_MAX) {
            rn::fail(RN_E_ARG, "n: %lld tokens", static_cast<long long>(n));
        }
        if (n > 0) {
            rn::need(tokens, "tokens");
        }
        const std::vector<llama_token> all(tokens, tokens + n);
        for (const llama_token token : all) {
            model.check_token(token, "rn_detokenize");
        }
        // The vocabulary's own rules about a leading space hold for the whole, so the pieces are not simply joined.
        return rn::copy_out(common_detokenize(model.vocab, all, special != 0), out, cap);
    });
}
