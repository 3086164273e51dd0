#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "kernels.hpp"
#include "matmul.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

namespace rn::kernels {
namespace {

constexpr size_t ALIGNMENT = 64; // a cache line

ggml_backend_buffer_type_t buffer_type();

MatMul * mat_mul_for(ggml_type type) {
    static const std::vector<std::unique_ptr<MatMul>> all = [] {
        std::vector<std::unique_ptr<MatMul>> made;
        for (const Format & format : formats()) {
            made.push_back(std::make_unique<MatMul>(format));
        }
        return made;
    }();
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto & one) { return one->format().type == type; });
    return found == all.end() ? nullptr : found->get();
}

// What ggml asks about our buffer type: may a weight be in it, and who computes an operation on one.
class Bands : public ggml::cpu::extra_buffer_type {
    bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) override {
        const ggml_tensor * weights = op->src[0];
        return weights && weights->buffer && weights->buffer->buft == buffer_type() && mat_mul_for(weights->type) && can_multiply(op);
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        const bool is_product = op->op == GGML_OP_MUL_MAT || op->op == GGML_OP_MUL_MAT_ID;
        return is_product && op->src[0]->buffer && op->src[0]->buffer->buft == buffer_type()
                   ? static_cast<ggml::cpu::tensor_traits *>(op->src[0]->extra)
                   : nullptr;
    }
};

ggml_status init_tensor(ggml_backend_buffer_t, ggml_tensor * tensor) {
    tensor->extra = static_cast<ggml::cpu::tensor_traits *>(mat_mul_for(tensor->type));
    return GGML_STATUS_SUCCESS;
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor));
    const MatMul * owner = mat_mul_for(tensor->type);
    GGML_ASSERT(owner && fits(tensor));
    owner->lay_out(tensor, data);
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    const ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer) {
        buffer->buft              = type;
        buffer->iface.init_tensor = init_tensor;
        buffer->iface.set_tensor  = set_tensor;
        buffer->iface.get_tensor  = nullptr; // nobody reads weights back
        buffer->iface.cpy_tensor  = nullptr;
    }
    return buffer;
}

const char * name(ggml_backend_buffer_type_t) {
    return "CPU_BANDS";
}

size_t alignment(ggml_backend_buffer_type_t) {
    return ALIGNMENT;
}

ggml_backend_buffer_type_t buffer_type() {
    static Bands                    bands;
    static ggml_backend_buffer_type type = {{name, alloc_buffer, alignment, nullptr, nullptr, nullptr},
                                            ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0),
                                            static_cast<ggml::cpu::extra_buffer_type *>(&bands)};
    return &type;
}

bool is_in(const std::vector<ggml_backend_buffer_type_t> & types, const char * wanted) {
    return std::any_of(types.begin(), types.end(),
                       [&](ggml_backend_buffer_type_t type) { return std::strcmp(ggml_backend_buft_name(type), wanted) == 0; });
}

} // namespace

void enable() {
    static std::once_flag once;
    std::call_once(once, [] {
        std::vector<ggml_backend_buffer_type_t> & types = ggml_backend_cpu_get_extra_buffer_types();
        if (!formats().empty() && !is_in(types, "AMX")) {
            types.insert(types.begin(), buffer_type());
        }
    });
}

std::vector<std::string> served_types() {
    std::vector<std::string> names;
    if (is_in(ggml_backend_cpu_get_extra_buffer_types(), name(nullptr))) {
        for (const Format & format : formats()) {
            names.emplace_back(ggml_type_name(format.type));
        }
    }
    return names;
}

} // namespace rn::kernels
