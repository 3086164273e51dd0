// What of our memory is resident: a page that holds nothing but zeros need not be.
#pragma once

#include "llama.h"

namespace rn {

// From now on a ggml buffer in host memory is cleared to zero by giving its pages back to the system, which hands out
// zeros when they are next touched. llama.cpp clears the KV memory of a context thrice before its first use, all cells
// of all sequences: written, they would be resident whether a conversation ever needs them or not, and filling them
// takes longer than all else in making a context. Buffers made before keep ggml's way. Linux only: elsewhere pages
// that were given back may keep their content. Call it once, before anything is loaded.
void clear_buffers_lazily();

// Where a tensor was repacked into a buffer of its own, the file it was read from is still mapped and resident, so the
// weights are held twice. Lets go of those pages: they stay in the page cache as long as nothing else needs the room.
// Linux only.
void forget_repacked(const llama_model * model);

// Gives the free pages of the heap back, which the allocator keeps for the next time: some MiB for each context that
// was made and freed, as a search for the best settings does it. glibc only; others do so by themselves.
void trim_heap();

} // namespace rn
