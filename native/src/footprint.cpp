#include "footprint.hpp"

#include "ggml-backend-impl.h"
#include "llama-model.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace rn {

#if defined(__linux__)

namespace {

struct Range {
    uint8_t * begin;
    uint8_t * end;
};

// The whole pages of a range; it may have none.
Range whole_pages(Range range) {
    const auto page  = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<uintptr_t>(range.begin), end = reinterpret_cast<uintptr_t>(range.end);
    uint8_t *  first = range.begin + (page - begin % page) % page;
    uint8_t *  last  = range.end - end % page;
    return first < last ? Range{first, last} : Range{range.begin, range.begin};
}

// madvise(2), MADV_DONTNEED: the next read sees zeros where pages were private and anonymous, and the file where they
// were mapped from one. Refused for locked pages.
bool give_back(Range pages) {
    return pages.begin == pages.end ||
           madvise(pages.begin, static_cast<size_t>(pages.end - pages.begin), MADV_DONTNEED) == 0;
}

// Zeros in all bytes. ggml's CPU buffers are from the allocator's heap: private anonymous memory.
void zero(Range range) {
    const Range pages = whole_pages(range);
    std::fill(range.begin, pages.begin, uint8_t{0});
    std::fill(pages.end, range.end, uint8_t{0});
    if (!give_back(pages)) {
        std::fill(pages.begin, pages.end, uint8_t{0});
    }
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    auto * bytes = static_cast<uint8_t *>(ggml_backend_buffer_get_base(buffer));
    if (value == 0) {
        zero({bytes, bytes + buffer->size});
    } else {
        std::memset(bytes, value, buffer->size);
    }
}

using Allocate = decltype(ggml_backend_buffer_type_i::alloc_buffer);

// ggml's own allocation, as the first call finds it.
Allocate allocate_as_ggml() {
    static const Allocate original = ggml_backend_cpu_buffer_type()->iface.alloc_buffer;
    return original;
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = allocate_as_ggml()(type, size);
    if (buffer != nullptr) {
        buffer->iface.clear = clear;
    }
    return buffer;
}

// The tensors of a model that are computed from the mapped file, by its buffers.
std::map<ggml_backend_buffer_t, std::vector<Range>> mapped_tensors(const llama_model * model) {
    std::map<ggml_backend_buffer_t, std::vector<Range>> found;
    for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
        if (tensor->buffer != nullptr && std::strcmp(ggml_backend_buffer_name(tensor->buffer), "CPU_Mapped") == 0) {
            auto * data = static_cast<uint8_t *>(tensor->data);
            found[tensor->buffer].push_back({data, data + ggml_nbytes(tensor)});
        }
    }
    return found;
}

} // namespace

// A buffer type of our own would not do: llama.cpp asks the CPU device for its one, and compares with it by address.
void clear_buffers_lazily() {
    allocate_as_ggml();
    ggml_backend_cpu_buffer_type()->iface.alloc_buffer = allocate;
}

// llama.cpp unmaps the file before the first tensor that it uses and after the last, but not between them.
void forget_repacked(const llama_model * model) {
    for (auto & [buffer, used] : mapped_tensors(model)) {
        std::sort(used.begin(), used.end(), [](const Range & a, const Range & b) { return a.begin < b.begin; });
        auto * last = static_cast<uint8_t *>(ggml_backend_buffer_get_base(buffer));
        for (const Range & tensor : used) {
            if (tensor.begin > last) {
                give_back(whole_pages({last, tensor.begin}));
            }
            last = std::max(last, tensor.end);
        }
    }
}

#else

void clear_buffers_lazily() {}

void forget_repacked(const llama_model *) {}

#endif

void trim_heap() {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

} // namespace rn
