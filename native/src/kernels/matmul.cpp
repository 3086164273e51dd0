#include "matmul.hpp"

#include <algorithm>
#include <utility>

namespace rn::kernels {
namespace {

constexpr int64_t CACHED_BYTES      = 128 * 1024; // of activations, kept in the L2 cache while bands pass by
constexpr int64_t CHUNKS_PER_THREAD = 8;          // a thread that lost its core for a while leaves them to the others

// What one expert is to multiply: entries first..first+count-1 of the list of pairs.
struct Expert {
    int32_t index;
    int32_t first;
    int32_t count;
};

// A row of activations and the row of the result that it makes.
struct Pair {
    int32_t source;
    int32_t target;
};

// The work buffer of an operation: the quantised activations; for experts also who multiplies what.
struct Plan {
    int64_t n_blocks; // of a row of activations
    int64_t n_rows;   // of activations
    int64_t n_experts = 0;
    int64_t n_pairs   = 0;

    explicit Plan(const ggml_tensor * op) : n_blocks(op->src[1]->ne[0] / BLOCK), n_rows(ggml_nrows(op->src[1])) {
        if (op->op == GGML_OP_MUL_MAT_ID) {
            n_experts = op->src[0]->ne[2];
            n_pairs   = ggml_nelements(op->src[2]);
        }
    }

    size_t activation_bytes() const { return n_rows * n_blocks * sizeof(Activations); }
    size_t bytes() const { return activation_bytes() + n_experts * sizeof(Expert) + n_pairs * sizeof(Pair) + sizeof(int32_t); }

    Activations * activations(void * work) const { return static_cast<Activations *>(work); }
    Expert *      experts(void * work) const { return reinterpret_cast<Expert *>(static_cast<char *>(work) + activation_bytes()); }
    Pair *        pairs(void * work) const { return reinterpret_cast<Pair *>(experts(work) + n_experts); }
    int32_t *     n_active(void * work) const { return reinterpret_cast<int32_t *>(pairs(work) + n_pairs); }
};

const float * row_of(const ggml_tensor * tensor, int64_t row) {
    const int64_t i1 = row % tensor->ne[1];
    const int64_t i2 = row / tensor->ne[1] % tensor->ne[2];
    const int64_t i3 = row / (tensor->ne[1] * tensor->ne[2]);
    const char *  at = static_cast<const char *>(tensor->data) + i1 * tensor->nb[1] + i2 * tensor->nb[2] + i3 * tensor->nb[3];
    return reinterpret_cast<const float *>(at);
}

// This thread's share of the blocks of all rows: a single row is shared too.
void quantise_share(const ggml_compute_params * params, const ggml_tensor * from, const Plan & plan) {
    const int64_t all = plan.n_rows * plan.n_blocks;
    const int64_t end = all * (params->ith + 1) / params->nth;
    Activations * out = plan.activations(params->wdata);
    for (int64_t block = all * params->ith / params->nth; block < end;) {
        const int64_t row     = block / plan.n_blocks;
        const int64_t row_end = std::min(end, (row + 1) * plan.n_blocks);
        const float * x       = row_of(from, row);
        for (; block < row_end; ++block) {
            quantise(x + (block - row * plan.n_blocks) * BLOCK, out[block]);
        }
    }
}

// Calls task(number) for every number below count, on whichever thread is free. The first ones need no counter.
template <class Task> void share_out(const ggml_compute_params * params, int64_t count, const Task & task) {
    for (int64_t number = params->ith; number < count; number = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        task(number);
    }
}

int64_t chunk_count(int64_t n_bands, int n_threads) {
    return n_threads == 1 ? 1 : std::min(n_bands, CHUNKS_PER_THREAD * n_threads);
}

// Sorts the pairs of ids (experts of each token) by expert; the active experts come first in the list, without gaps.
void assign(const ggml_tensor * op, const Plan & plan, void * work) {
    const ggml_tensor * ids     = op->src[2];
    const int64_t       n_used  = ids->ne[0];
    const int64_t       ne11    = op->src[1]->ne[1];
    Expert *            experts = plan.experts(work);
    const auto          id_of   = [&](int64_t token, int64_t used) {
        const char *  at = static_cast<const char *>(ids->data) + token * ids->nb[1] + used * ids->nb[0];
        const int32_t id = *reinterpret_cast<const int32_t *>(at);
        GGML_ASSERT(id >= 0 && id < plan.n_experts);
        return id;
    };
    for (int32_t i = 0; i < plan.n_experts; ++i) {
        experts[i] = {i, 0, 0};
    }
    for (int64_t pair = 0; pair < plan.n_pairs; ++pair) {
        ++experts[id_of(pair / n_used, pair % n_used)].first; // for now a count
    }
    int32_t first = 0;
    for (int32_t i = 0; i < plan.n_experts; ++i) {
        first += std::exchange(experts[i].first, first);
    }
    for (int64_t pair = 0; pair < plan.n_pairs; ++pair) {
        const int64_t token = pair / n_used, used = pair % n_used;
        Expert &      expert = experts[id_of(token, used)];
        plan.pairs(work)[expert.first + expert.count++] = {static_cast<int32_t>(token * ne11 + used % ne11), static_cast<int32_t>(pair)};
    }
    Expert * end         = std::remove_if(experts, experts + plan.n_experts, [](const Expert & expert) { return expert.count == 0; });
    *plan.n_active(work) = static_cast<int32_t>(end - experts);
}

} // namespace

// The rows of one product: activations, results, and which of them belong together (none given: each to its own).
struct MatMul::Rows {
    const Activations * activations;
    int64_t             n_blocks;
    float *             out;
    int64_t             out_width;
    int64_t             count;
    const Pair *        pairs;

    Pair operator[](int64_t row) const {
        return pairs ? pairs[row] : Pair{static_cast<int32_t>(row), static_cast<int32_t>(row)};
    }
};

void MatMul::lay_out(ggml_tensor * weights, const void * data) const {
    const size_t      row_bytes = weights->nb[1];
    const std::byte * from      = static_cast<const std::byte *>(data);
    std::byte *       to        = static_cast<std::byte *>(weights->data);
    for (int64_t row = 0; row < ggml_nrows(weights); row += BAND_ROWS) {
        format_.interleave(from + row * row_bytes, row_bytes, weights->ne[0] / BLOCK, to + row * row_bytes);
    }
}

bool MatMul::work_size(int /*n_threads*/, const ggml_tensor * op, size_t & size) {
    size = Plan(op).bytes();
    return true;
}

bool MatMul::compute_forward(ggml_compute_params * params, ggml_tensor * op) {
    const Plan plan(op);
    GGML_ASSERT(params->wsize >= plan.bytes());
    quantise_share(params, op->src[1], plan);
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
        if (op->op == GGML_OP_MUL_MAT_ID) {
            assign(op, plan, params->wdata);
        }
    }
    ggml_barrier(params->threadpool);
    if (op->op == GGML_OP_MUL_MAT_ID) {
        multiply_by_expert(params, op);
    } else {
        multiply(params, op);
    }
    return true;
}

void MatMul::multiply(const ggml_compute_params * params, const ggml_tensor * op) const {
    const Plan    plan(op);
    const int64_t n_bands = op->src[0]->ne[1] / BAND_ROWS, n_chunks = chunk_count(n_bands, params->nth);
    const auto *  weights = static_cast<const std::byte *>(op->src[0]->data);
    const Rows    rows    = {plan.activations(params->wdata), plan.n_blocks, static_cast<float *>(op->data), op->ne[0], plan.n_rows, nullptr};
    share_out(params, n_chunks, [&](int64_t chunk) {
        multiply_bands(rows, weights, chunk * n_bands / n_chunks, (chunk + 1) * n_bands / n_chunks);
    });
}

void MatMul::multiply_by_expert(const ggml_compute_params * params, const ggml_tensor * op) const {
    const Plan     plan(op);
    const int64_t  n_bands = op->src[0]->ne[1] / BAND_ROWS, n_chunks = chunk_count(n_bands, params->nth);
    const Expert * experts = plan.experts(params->wdata);
    share_out(params, n_chunks * *plan.n_active(params->wdata), [&](int64_t number) {
        const Expert & expert  = experts[number / n_chunks];
        const int64_t  chunk   = number % n_chunks;
        const auto *   weights = static_cast<const std::byte *>(op->src[0]->data) + expert.index * op->src[0]->nb[2];
        const Rows     rows    = {plan.activations(params->wdata), plan.n_blocks, static_cast<float *>(op->data), op->ne[0], expert.count,
                                  plan.pairs(params->wdata) + expert.first};
        multiply_bands(rows, weights, chunk * n_bands / n_chunks, (chunk + 1) * n_bands / n_chunks);
    });
}

// Bands first..last-1 with all rows. A band stays in the L1 cache for as many rows as fit the L2.
void MatMul::multiply_bands(const Rows & rows, const std::byte * weights, int64_t first, int64_t last) const {
    const int64_t row_bytes  = rows.n_blocks * static_cast<int64_t>(sizeof(Activations));
    const int64_t band_bytes = BAND_ROWS * static_cast<int64_t>(ggml_row_size(format_.type, rows.n_blocks * BLOCK));
    const int64_t stretch    = std::max<int64_t>(CACHED_BYTES / row_bytes / TILE_ROWS, 1) * TILE_ROWS;
    for (int64_t begin = 0; begin < rows.count; begin += stretch) {
        const int64_t end = std::min(begin + stretch, rows.count);
        for (int64_t band = first; band < last; ++band) {
            for (int64_t row = begin; row < end; row += TILE_ROWS) {
                const int           n = static_cast<int>(std::min<int64_t>(TILE_ROWS, end - row));
                const Activations * activations[TILE_ROWS];
                float *             out[TILE_ROWS];
                for (int i = 0; i < n; ++i) {
                    const Pair pair = rows[row + i];
                    activations[i]  = rows.activations + pair.source * rows.n_blocks;
                    out[i]          = rows.out + pair.target * rows.out_width + band * BAND_ROWS;
                }
                format_.multiply[n - 1](weights + band * band_bytes, rows.n_blocks, activations, out);
            }
        }
    }
}

bool fits(const ggml_tensor * weights) {
    const int64_t       band_bytes = BAND_ROWS * static_cast<int64_t>(weights->nb[1]);
    const ggml_tensor * whole      = weights->view_src;
    return ggml_is_contiguous(weights) && weights->ne[0] % BLOCK == 0 && weights->ne[1] % BAND_ROWS == 0 && weights->ne[3] == 1 &&
           (whole == nullptr || (whole->ne[0] == weights->ne[0] && weights->view_offs % band_bytes == 0));
}

bool can_multiply(const ggml_tensor * op) {
    const ggml_tensor *weights = op->src[0], *activations = op->src[1];
    const bool         is_matrix  = op->op == GGML_OP_MUL_MAT && weights->ne[2] == 1;
    const bool         is_experts = op->op == GGML_OP_MUL_MAT_ID && activations->ne[3] == 1;
    return (is_matrix || is_experts) && fits(weights) && ggml_is_contiguous(op) && activations->type == GGML_TYPE_F32 &&
           activations->nb[0] == sizeof(float) && (!activations->buffer || ggml_backend_buffer_is_host(activations->buffer));
}

} // namespace rn::kernels
