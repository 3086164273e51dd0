// Matrix products of our own for quantised weights on x86 with AVX2.
//
// For most types ggml keeps weights there as the file has them and takes a dot product for each row of weights and each row of activations, so
// a prompt of 512 rows costs 512 times one row. Here the weights are laid out anew while the model loads: 8 rows interleaved, so that one
// instruction works on all 8 and no sum across a register is left to do (bands.hpp). ggml asks a list of buffer types which of them can
// hold a weight; ours joins that list (buffer.cpp), before ggml's own for a few of these types, and brings the product along (matmul.cpp).
//
// The result for a row of activations and a row of weights is the same to the last bit, however many rows are computed together and
// by however many threads: what a request answers does not depend on who shares its step.
#pragma once

#include <string>
#include <vector>

namespace rn::kernels {

// Joins ggml's list, once for the process; to be called before the first model is loaded, since ggml then copies the list.
// Does nothing where the library was compiled without AVX2, or where ggml has AMX, which is faster.
void enable();

// The types of weights served, by ggml's names; empty unless enabled.
std::vector<std::string> served_types();

} // namespace rn::kernels
