// rn_kernels_test: every kernel against the product in double precision, for many shapes; and the same bits for a row whatever rows
// and threads it is computed with.
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "ggml-cpu.h"
#include "kernels/formats.hpp"
#include "kernels/kernels.hpp"
#include "traits.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>

namespace {

using Floats = std::vector<float>;

// Activations are rounded to 8 bits: an error of some 0.7 % of a typical one in each product, and products err independently.
constexpr double MOST_ERROR = 0.05;

int faults = 0;

void check(bool condition, ggml_type type, const char * what, int64_t columns, int64_t rows) {
    if (!condition) {
        std::fprintf(stderr, "rn_kernels_test: %s: %s, %d columns, %d rows\n", ggml_type_name(type), what, int(columns), int(rows));
        ++faults;
    }
}

Floats draw(size_t count, unsigned seed) {
    std::mt19937                    random(seed);
    std::normal_distribution<float> normal(0.3F, 1.0F); // off centre, so that minima and offsets matter
    Floats                          values(count);
    for (float & value : values) {
        value = normal(random);
    }
    return values;
}

struct Weights {
    ggml_type            type;
    int64_t              columns, rows, experts;
    std::vector<uint8_t> bytes;
    Floats               values; // what the bytes stand for

    Weights(ggml_type type, int64_t columns, int64_t rows, int64_t experts = 1) :
        type(type), columns(columns), rows(rows), experts(experts), bytes(ggml_row_size(type, columns) * rows * experts),
        values(columns * rows * experts) {
        const Floats drawn = draw(values.size(), 1);
        ggml_quantize_chunk(type, drawn.data(), bytes.data(), 0, rows * experts, columns, nullptr);
        ggml_get_type_traits(type)->to_float(bytes.data(), values.data(), static_cast<int64_t>(values.size()));
    }
};

ggml_backend_buffer_type_t bands() {
    return ggml_backend_cpu_get_extra_buffer_types().front();
}

// One operation on weights in bands and activations (and ids of experts): `build` makes its node.
Floats compute(const Weights & weights, const Floats & activations, std::vector<int64_t> shape, const std::vector<int32_t> & ids, int threads) {
    const ggml_init_params params = {ggml_tensor_overhead() * 16 + ggml_graph_overhead(), nullptr, true};
    const ggml_context_ptr held(ggml_init(params)), others(ggml_init(params));
    ggml_tensor *          w = ggml_new_tensor_3d(held.get(), weights.type, weights.columns, weights.rows, weights.experts);
    ggml_tensor *          x = ggml_new_tensor(others.get(), GGML_TYPE_F32, static_cast<int>(shape.size()), shape.data());
    ggml_tensor *          i = ids.empty() ? nullptr : ggml_new_tensor_2d(others.get(), GGML_TYPE_I32, ids.size() / shape[2], shape[2]);
    ggml_tensor *          y = i ? ggml_mul_mat_id(others.get(), w, x, i) : ggml_mul_mat(others.get(), w, x);
    ggml_cgraph *          graph = ggml_new_graph(others.get());
    ggml_build_forward_expand(graph, y);
    const ggml_backend_ptr        backend(ggml_backend_cpu_init());
    const ggml_backend_buffer_ptr first(ggml_backend_alloc_ctx_tensors_from_buft(held.get(), bands()));
    const ggml_backend_buffer_ptr second(ggml_backend_alloc_ctx_tensors(others.get(), backend.get()));
    if (!ggml_backend_supports_op(backend.get(), y)) {
        return {};
    }
    ggml_backend_tensor_set(w, weights.bytes.data(), 0, weights.bytes.size());
    ggml_backend_tensor_set(x, activations.data(), 0, activations.size() * sizeof(float));
    if (i) {
        ggml_backend_tensor_set(i, ids.data(), 0, ids.size() * sizeof(int32_t));
    }
    ggml_backend_cpu_set_n_threads(backend.get(), threads);
    ggml_backend_graph_compute(backend.get(), graph);
    Floats out(ggml_nelements(y));
    ggml_backend_tensor_get(y, out.data(), 0, out.size() * sizeof(float));
    return out;
}

// The error of a row of results, in units of what a product of such vectors typically is.
double error_of(const Weights & weights, int64_t expert, const float * activations, const float * got) {
    double worst = 0;
    for (int64_t row = 0; row < weights.rows; ++row) {
        const float * w   = weights.values.data() + (expert * weights.rows + row) * weights.columns;
        double        sum = 0, squares = 0;
        for (int64_t k = 0; k < weights.columns; ++k) {
            sum += static_cast<double>(w[k]) * activations[k];
            squares += static_cast<double>(w[k]) * w[k];
        }
        worst = std::max(worst, std::abs(sum - got[row]) / std::sqrt(squares));
    }
    return worst;
}

void test_matrix(ggml_type type, int64_t columns, int64_t weight_rows) {
    const Weights      weights(type, columns, weight_rows);
    constexpr int64_t  MOST_ROWS   = 33;
    const Floats       activations = draw(MOST_ROWS * columns, 2);
    const Floats       all         = compute(weights, activations, {columns, MOST_ROWS}, {}, 2);
    for (int64_t row = 0; row < MOST_ROWS; ++row) {
        const double error = error_of(weights, 0, activations.data() + row * columns, all.data() + row * weight_rows);
        check(error < MOST_ERROR, type, "a product is wrong", columns, weight_rows);
    }
    for (const int threads : {1, 2}) {
        for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 32, 33}) {
            const Floats part(activations.end() - rows * columns, activations.end()); // rows take other places in their tiles
            const Floats got = compute(weights, part, {columns, rows}, {}, threads);
            check(std::equal(got.begin(), got.end(), all.end() - rows * weight_rows), type, "a row depends on its company", columns, rows);
        }
    }
    const Floats planes = compute(weights, activations, {columns, 3, 11}, {}, 2);
    check(planes == all, type, "planes differ from rows", columns, MOST_ROWS);
}

void test_experts(ggml_type type) {
    const Weights              weights(type, 256, 24, 5);
    const std::vector<int32_t> ids         = {4, 0, 1, 4, 0, 4, 3, 1, 4, 3, 0, 1, 4, 1}; // 2 for each of 7 tokens; expert 2 is idle
    const Floats               activations = draw(14 * 256, 3);
    for (const int64_t of_a_token : {1, 2}) { // activations shared by both experts, or one row each
        const Floats given(activations.begin(), activations.begin() + of_a_token * 7 * 256);
        const Floats got = compute(weights, given, {256, of_a_token, 7}, ids, 2);
        for (int64_t pair = 0; pair < 14; ++pair) {
            const float * x = given.data() + (pair / 2 * of_a_token + pair % of_a_token) * 256;
            check(error_of(weights, ids[pair], x, got.data() + pair * 24) < MOST_ERROR, type, "an expert's product is wrong", 256, 7);
        }
    }
}

void test_refusals(ggml_type type) {
    check(compute(Weights(type, 256, 12), draw(256, 4), {256, 1}, {}, 1).empty(), type, "half a band is taken", 256, 12);
    check(compute(Weights(type, 256, 8, 2), draw(512, 4), {256, 1, 2}, {}, 1).empty(), type, "planes of weights are taken", 256, 8);
}

} // namespace

int main() {
    rn::kernels::enable();
    const bool is_enabled = !rn::kernels::served_types().empty();
    for (const rn::kernels::Format & format : rn::kernels::formats()) {
        if (is_enabled) {
            const int64_t least = ggml_blck_size(format.type);
            for (const int64_t columns : {least, least * 18, least * 48}) {
                test_matrix(format.type, columns, 8);
                test_matrix(format.type, columns, 200);
            }
            test_experts(format.type);
            test_refusals(format.type);
        }
    }
    if (faults > 0) {
        return 1;
    }
    std::puts(is_enabled ? "rn_kernels_test: ok" : "rn_kernels_test: no kernels on this machine");
    return 0;
}
