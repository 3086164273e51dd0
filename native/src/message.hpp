// The message that a parse finds in a text, told piece by piece.
#pragma once

#include "chat.h"
#include "growth.hpp"
#include "json.h"
#include "peg.hpp"

#include <string>
#include <vector>

namespace rn {

class Message {
  public:
    explicit Message(common_chat_format format) : format_(format) {}

    // What is new: an array of the deltas that rn_parser_feed answers. Throws std::runtime_error where the parse has no
    // message that continues what was told.
    common_json follow(const PegParse & parse);

    // Bytes of text that messages were made of.
    uint64_t work() const { return work_; }

  private:
    common_json compare(const PegParse & parse);
    common_json lengthen(const PegNode & leaf, size_t from, std::string_view text);

    common_chat_format       format_;
    common_chat_msg          shown_; // what the deltas so far add up to
    std::vector<std::string> call_ids_;
    PegNodes                 nodes_; // that shown_ was made from, where there is a sink
    Sink                     sink_ = Sink::NONE;
    uint64_t                 work_ = 0;
};

} // namespace rn
