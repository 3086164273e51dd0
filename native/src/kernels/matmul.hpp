// ggml's MUL_MAT and MUL_MAT_ID over weights in bands.
#pragma once

#include "formats.hpp"
#include "traits.h"

namespace rn::kernels {

class MatMul : public ggml::cpu::tensor_traits {
  public:
    explicit MatMul(const Format & format) : format_(format) {}

    const Format & format() const { return format_; }

    // Lays out the weights of a tensor: data as a file has them, all of it.
    void lay_out(ggml_tensor * weights, const void * data) const;

    bool work_size(int n_threads, const ggml_tensor * op, size_t & size) override;
    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override;

  private:
    struct Rows;

    void multiply(const ggml_compute_params * params, const ggml_tensor * op) const;
    void multiply_by_expert(const ggml_compute_params * params, const ggml_tensor * op) const;
    void multiply_bands(const Rows & rows, const std::byte * weights, int64_t first, int64_t last) const;

    const Format & format_;
};

// Whether these weights can be held in bands: whole blocks, whole bands, and if it is a view then one of whole bands.
bool fits(const ggml_tensor * weights);
// Whether compute_forward can do this, given that the weights are in bands.
bool can_multiply(const ggml_tensor * op);

} // namespace rn::kernels
