#include "footprint.hpp"

#include "ggml-backend-impl.h"

#include <cstdint>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace rn {

#if defined(__linux__)

namespace {

// madvise(2), MADV_DONTNEED: later reads of private anonymous pages see zeros. Refused for locked pages.
bool give_back(uint8_t * first, size_t size) {
    return size > 0 && madvise(first, size, MADV_DONTNEED) == 0;
}

// Zeros in all bytes. The allocator's heap is private anonymous memory, and ggml's CPU buffers are from there.
void zero(uint8_t * bytes, size_t size) {
    const auto   page  = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto   begin = reinterpret_cast<uintptr_t>(bytes);
    const size_t head  = (page - begin % page) % page; // before the first whole page
    if (size < head + page) {
        std::memset(bytes, 0, size);
        return;
    }
    const size_t whole = (size - head) / page * page;
    std::memset(bytes, 0, head);
    std::memset(bytes + head + whole, 0, size - head - whole);
    if (!give_back(bytes + head, whole)) {
        std::memset(bytes + head, 0, whole);
    }
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    auto * bytes = static_cast<uint8_t *>(ggml_backend_buffer_get_base(buffer));
    if (value == 0) {
        zero(bytes, buffer->size);
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

} // namespace

// A buffer type of our own would not do: llama.cpp asks the CPU device for its one, and compares with it by address.
void clear_buffers_lazily() {
    allocate_as_ggml();
    ggml_backend_cpu_buffer_type()->iface.alloc_buffer = allocate;
}

#else

void clear_buffers_lazily() {}

#endif

} // namespace rn
