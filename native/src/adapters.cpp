// LoRA adapters: loaded beside a model, and which of them a context computes with.
#include "context.hpp"
#include "guard.hpp"
#include "json.hpp"
#include "llama-adapter.h"
#include "llama-model.h"
#include "log.hpp"

#include <algorithm>
#include <cmath>

namespace rn {
namespace {

constexpr size_t MAX_ADAPTERS = 64;

// The loader compares two dimensions of each matrix, and leaves it to the graph to abort over the rest.
bool fits(const ggml_tensor & weight, const llama_adapter_lora_weight & pair, bool is_embedding) {
    const auto multiplies = [](const ggml_tensor & tensor) {
        const bool is_float = tensor.type == GGML_TYPE_F32 || tensor.type == GGML_TYPE_F16 || tensor.type == GGML_TYPE_BF16;
        return is_float || (ggml_is_quantized(tensor.type) && ggml_get_type_traits(tensor.type)->to_float != nullptr);
    };
    if (!multiplies(*pair.a) || !multiplies(*pair.b) || pair.b->ne[0] < 1) {
        return false;
    }
    if (is_embedding && pair.a->ne[0] != pair.b->ne[0]) {
        return false;
    }
    const auto as_deep = [&weight](const ggml_tensor & t) { return t.ne[2] == weight.ne[2] && t.ne[3] == weight.ne[3]; };
    return as_deep(*pair.a) && as_deep(*pair.b);
}

void check(const llama_model & model, const llama_adapter_lora & adapter) {
    if (!adapter.alora_invocation_tokens.empty()) {
        fail(RN_E_UNSUP, "it is switched on by tokens of the prompt (aLoRA), which is not supported");
    }
    if (adapter.ab_map.empty()) {
        fail(RN_E_UNSUP, "it changes no weight");
    }
    for (const auto & [name, pair] : adapter.ab_map) {
        const bool is_embedding = model.tok_embd != nullptr && name == model.tok_embd->name;
        if (!fits(*model.get_tensor(name.c_str()), pair, is_embedding)) {
            fail(RN_E_UNSUP, "its matrices for %.100s do not fit those of the model", name.c_str());
        }
        // Such a model also ends with these weights, where the graph takes the two matrices in the other order.
        if (is_embedding && model.output != nullptr && name == model.output->name) {
            fail(RN_E_UNSUP, "it changes %.100s, which this model begins and ends with", name.c_str());
        }
    }
}

std::string text_of(const llama_adapter_lora & adapter, const char * key) {
    const auto found = adapter.gguf_kv.find(key);
    return found == adapter.gguf_kv.end() ? std::string() : found->second;
}

std::string describe(const llama_adapter_lora & adapter) {
    const common_json info = {{"name", text_of(adapter, "general.name")},
                              {"task", text_of(adapter, "adapter.lora.task_name")},
                              {"prompt_prefix", text_of(adapter, "adapter.lora.prompt_prefix")}};
    return info.dump_safe();
}

struct Free {
    void operator()(llama_adapter_lora * adapter) const { llama_adapter_lora_free(adapter); }
};

int32_t load(Model & model, const char * path, rn_buf * info) {
    if (model.adapters.size() == MAX_ADAPTERS) {
        fail(RN_E_UNSUP, "a model has at most %zu adapters", MAX_ADAPTERS);
    }
    const uint64_t                            mark = log_mark();
    std::unique_ptr<llama_adapter_lora, Free> adapter(llama_adapter_lora_init(model.llama.get(), path));
    if (adapter == nullptr) {
        const std::string reason = log_errors_since(mark);
        fail(RN_E_EXC, "%s", reason.empty() ? "no reason given" : reason.c_str());
    }
    check(*model.llama, *adapter);
    fill(info, describe(*adapter));
    model.adapters.push_back(adapter.get());
    adapter.release(); // the llama_model frees it with itself
    return static_cast<int32_t>(model.adapters.size()) - 1;
}

void use(rn_ctx & ctx, const float * scales, int32_t n) {
    std::vector<llama_adapter_lora *> & adapters = ctx.model->adapters;
    if (n < 0 || static_cast<size_t>(n) != adapters.size()) {
        fail(RN_E_ARG, "n: %d scales for %zu adapters", n, adapters.size());
    }
    if (n > 0 && !std::all_of(&need(scales, "scales"), scales + n, [](float scale) { return std::isfinite(scale); })) {
        fail(RN_E_ARG, "scales: not all are numbers");
    }
    std::vector<float> copy(scales, scales + n);
    llama_set_adapters_lora(ctx.llama.get(), adapters.data(), adapters.size(), copy.data());
}

} // namespace
} // namespace rn

int32_t rn_adapter_load(rn_model * model, const char * path, rn_buf * info) {
    return rn::guard([&] {
        rn::need(path, "path");
        rn::need(info, "info");
        return rn::load(*rn::need(model, "model").shared, path, info);
    });
}

int32_t rn_adapters_use(rn_ctx * ctx, const float * scales, int32_t n) {
    return rn::guard([&] {
        rn::use(rn::need(ctx, "ctx"), scales, n);
        return RN_OK;
    });
}
