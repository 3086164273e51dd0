"""Messages: any request is valid or refused by name, and a stream is the whole message in parts."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.api.anthropic import errors, messages, render
from runner.api.anthropic.parse import SHAPE, MessagesRequest, Shows, parse
from runner.api.choosing import ignored_header
from runner.errors import RunnerError
from runner.http.sse import Decoder
from runner.wire.messages import Begun, CallDelta, Ended, Piece, Timings
from tests.property.test_api_requests import VALUES

KINDS = {kind for shapes in messages.BLOCKS.values() for kind in shapes}
NAMES = {
    member.name
    for shapes in messages.BLOCKS.values()
    for shape in shapes.values()
    for member in shape.members
}
SOURCES = st.fixed_dictionaries(
    {"type": st.sampled_from(["base64", "url", "text", "content", "file"])},
    optional={"data": VALUES, "url": VALUES, "content": VALUES},
)
RESULTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": VALUES}), max_size=1)
MEMBERS = st.dictionaries(st.sampled_from(sorted(NAMES)), VALUES | SOURCES | RESULTS, max_size=4)
BLOCKS = st.builds(
    lambda kind, members: {"type": kind, "id": "i", "name": "n", "text": "t"} | members,
    st.sampled_from(sorted(KINDS)),
    MEMBERS,
)
MESSAGES = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": VALUES | st.text(max_size=9) | st.lists(BLOCKS, max_size=2),
    }
)


@given(
    st.lists(MESSAGES, max_size=3),
    st.dictionaries(
        st.sampled_from([member.name for member in SHAPE.members]) | st.text(max_size=8),
        VALUES,
        max_size=5,
    ),
)
def test_any_request_is_valid_or_refused_by_name(said: list[Any], members: dict[str, Any]) -> None:
    try:
        request = parse({"model": "m", "messages": said} | members)
    except RunnerError as error:
        assert error.row.status == 400
        assert error.param
        assert json.loads(errors.render(error))["error"]["details"]["param"] == error.param
    else:
        assert isinstance(request, MessagesRequest)
        told = json.loads(request.prompt.messages_json)
        assert told
        assert all(message["content"] is not None for message in told)
        for _, value in ignored_header(request.ignored):
            assert value.isascii()


# ---- answers ---------------------------------------------------------------------------------

BEGUN = Begun(id=1, prompt_tokens=3, cached_tokens=1)
ENDED = Ended(
    id=1,
    reason="eos",
    prompt_tokens=3,
    cached_tokens=1,
    completion_tokens=2,
    timings=Timings(cache_n=1, prompt_n=2, prompt_ms=1.0, predicted_n=2, predicted_ms=1.0),
)
CUTS = st.lists(st.text(min_size=1, max_size=5), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> list[Piece]:
    """Pieces as a parser gives them: thoughts, then text, then calls, cut anywhere."""
    pieces = [Piece(1, "", 1, reasoning=thought) for thought in draw(CUTS)]
    pieces += [Piece(1, text, 1) for text in draw(CUTS)]
    for index, value in enumerate(
        draw(st.lists(st.dictionaries(st.text(), st.text()), max_size=3))
    ):
        arguments = json.dumps(value)
        cut = draw(st.integers(0, len(arguments)))
        opened = CallDelta(index, arguments[:cut], f"call_{index}", f"f{index}")
        pieces.append(Piece(1, "", 1, calls=(opened,)))
        pieces.append(Piece(1, "", 1, calls=(CallDelta(index, arguments[cut:]),)))
    return pieces


@given(answers(), st.sampled_from(["all", "nothing", "omitted"]))
def test_a_stream_adds_up_to_the_whole_message(pieces: list[Piece], shows: Shows) -> None:
    answer = render.Answer("msg_1", "m", (), shows)
    chunks, choice = answer.chunks(0), answer.choice()
    for piece in pieces:
        choice.add(piece)
    stream = chunks.first(BEGUN) + b"".join(map(chunks.piece, pieces)) + chunks.last(ENDED)
    whole = json.loads(answer.whole([(choice, ENDED)]))
    assert _put_together(stream) == whole


def _put_together(stream: bytes) -> dict[str, Any]:
    """Read a stream as a client does that trusts nothing."""
    message: dict[str, Any] = {}
    open_index = None
    for name, data in Decoder().feed(stream):
        event = json.loads(data)
        assert event["type"] == name
        match name:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert open_index is None
                open_index = len(message["content"])
                assert event["index"] == open_index
                message["content"].append(event["content_block"])
            case "content_block_delta":
                assert event["index"] == open_index
                _add(message["content"][-1], event["delta"])
            case "content_block_stop":
                assert event["index"] == open_index
                open_index = None
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    assert open_index is None
    for block in message["content"]:
        if "json" in block:
            block["input"] = json.loads(block.pop("json"))
    return message


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    match delta:
        case {"type": "text_delta", "text": text}:
            block["text"] += text
        case {"type": "thinking_delta", "thinking": text}:
            block["thinking"] += text
        case {"type": "signature_delta", "signature": text}:
            block["signature"] = text
        case {"type": "input_json_delta", "partial_json": text}:
            block["json"] = block.get("json", "") + text
        case _:
            raise AssertionError(delta)
