// Most pieces only make the last node of a tree longer: then what is new follows from the piece alone, and no message has
// to be made of the whole tree again.
#pragma once

#include "chat.h"
#include "peg.hpp"

namespace rn {

// Where the text of a tree's last node goes, as it comes or as a part of a JSON string.
enum class Sink { NONE, CONTENT, REASONING, ARGUMENTS, ARGUMENT_STRING };

// The sink of the last node of a tree that `message` was made from. NONE where more text may change anything but its end.
Sink sink_of(const PegNodes & nodes, std::string_view text, const common_chat_msg & message, common_chat_format format);

struct Growth {
    const PegNode * leaf = nullptr; // NULL where anything else has changed
    size_t          from = 0;       // where it ended before
};

Growth growth_of(const PegNodes & before, const PegNodes & now);

// The inside of a JSON string.
std::string escaped(std::string_view text);

// What a call's arguments are, of a node that holds them as JSON.
std::string_view without_space_behind(std::string_view text);

} // namespace rn
