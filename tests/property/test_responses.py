"""Responses: any request is valid or refused by name, and a stream is the whole response."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.api.choosing import ignored_header
from runner.api.responses import items, parts, render, tools
from runner.api.responses.parse import ResponseRequest, parse
from runner.api.responses.shape import SHAPE
from runner.errors import RunnerError
from runner.http.sse import Decoder
from runner.wire.messages import Begun, CallDelta, ChatPrompt, Ended, Piece, Timings
from tests.property.test_api_requests import VALUES

PARTS = st.builds(
    lambda kind, members: {"type": kind, "text": "t", "refusal": "r"} | members,
    st.sampled_from(sorted(parts.SHAPES)),
    st.dictionaries(st.sampled_from(["text", "image_url", "detail", "annotations"]), VALUES),
)
ITEMS = st.builds(
    lambda kind, members: (
        {"type": kind, "role": "user", "content": "c", "call_id": "1", "name": "f", "input": "i"}
        | {"arguments": "{}", "output": "o", "id": "x"}
        | members
    ),
    st.sampled_from(sorted(items.KINDS)),
    st.dictionaries(
        st.sampled_from(["role", "content", "output", "status", "arguments", "summary", "id"]),
        VALUES | st.lists(PARTS, max_size=2) | st.sampled_from(["assistant", "incomplete"]),
        max_size=3,
    ),
)
TOOLS = st.builds(
    lambda kind, members: {"type": kind, "name": "f"} | members,
    st.sampled_from(["function", "custom", "namespace", *tools.HOSTED, "mcp"]),
    st.dictionaries(
        st.sampled_from(["name", "parameters", "strict", "tools", "function", "format"]),
        VALUES,
        max_size=3,
    ),
)
CHOICES = st.builds(
    lambda kind, members: {"type": kind, "name": "f"} | members,
    st.sampled_from(["function", "custom", "allowed_tools"]),
    st.dictionaries(st.sampled_from(["name", "mode", "tools", "namespace"]), VALUES),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "input": VALUES | st.text(max_size=9) | st.lists(ITEMS, max_size=4),
            "tools": st.lists(TOOLS, max_size=2),
            "tool_choice": VALUES | CHOICES,
        },
    ),
    st.dictionaries(
        st.sampled_from([member.name for member in SHAPE.members]) | st.text(max_size=8),
        VALUES,
        max_size=4,
    ),
)
def test_any_request_is_valid_or_refused_by_name(
    asked: dict[str, Any], members: dict[str, Any]
) -> None:
    try:
        request = parse({"model": "m", "input": "hi"} | members | asked)
        references = [item for item in request.items if item["type"] == "item_reference"]
        chat = None if references else request.chat(())
    except RunnerError as error:
        assert error.row.status == 400
        assert error.param
    else:
        assert isinstance(request, ResponseRequest)
        for _, value in ignored_header(request.asked.ignored):
            assert value.isascii()
        if chat is not None:
            assert isinstance(chat.prompt, ChatPrompt)
            assert json.loads(chat.prompt.messages_json)


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
    """Pieces as a parser gives them: turns of thoughts, text and calls, cut anywhere."""
    pieces: list[Piece] = []
    calls = 0
    for _ in range(draw(st.integers(0, 3))):
        pieces += [Piece(1, "", 1, reasoning=thought) for thought in draw(CUTS)]
        pieces += [Piece(1, text, 1) for text in draw(CUTS)]
        for value in draw(st.lists(st.dictionaries(st.text(), st.text()), max_size=2)):
            arguments = json.dumps(value)
            cut = draw(st.integers(0, len(arguments)))
            name = draw(st.sampled_from(["f", "custom", "space__f", "unheard_of"]))
            begun = CallDelta(calls, arguments[:cut], f"call_{calls}", name)
            pieces.append(Piece(1, "", 1, calls=(begun,)))
            rest = CallDelta(calls, arguments[cut:])
            pieces.append(Piece(1, draw(st.sampled_from(["", "after"])), 1, calls=(rest,)))
            calls += 1
    return pieces


@given(answers(), st.booleans(), st.sampled_from(["eos", "length"]))
def test_a_stream_adds_up_to_the_whole_response(
    pieces: list[Piece], has_summary: bool, reason: Any
) -> None:
    ended = Ended(1, reason, 3, 1, 2, ENDED.timings)
    answer, again = answering(has_summary), answering(has_summary)
    chunks, transcript = answer.chunks(0), again.choice()
    for piece in pieces:
        transcript.add(piece)
    stream = chunks.first(BEGUN) + b"".join(map(chunks.piece, pieces)) + chunks.last(ended)
    whole = json.loads(again.whole([(transcript, ended)]))
    assert put_together(stream + answer.tail([ended])) == whole


def answering(has_summary: bool) -> render.Answer:
    request = parse(
        {
            "model": "m",
            "input": "hi",
            "tools": [
                {"type": "function", "name": "f"},
                {"type": "custom", "name": "custom"},
                {
                    "type": "namespace",
                    "name": "space",
                    "tools": [{"type": "function", "name": "f"}],
                },
            ],
            "reasoning": {"summary": "auto"} if has_summary else None,
        }
    )
    identity = render.Identity(key="0" * 32, created_s=1, echo=request.echo)
    return render.Answer(identity, request.telling, keep=lambda _: None)


def put_together(stream: bytes) -> dict[str, Any]:
    """Read a stream as a client does that trusts nothing; return the last response."""
    output: list[dict[str, Any]] = []
    text = ""  # of the open item, out of its deltas
    is_open = False
    response: dict[str, Any] = {}
    for number, (name, data) in enumerate(Decoder().feed(stream)):
        event = json.loads(data)
        assert (event["type"], event["sequence_number"]) == (name, number)
        if "response" in event:
            response = event["response"]
            continue
        assert event["output_index"] == len(output)
        if name == "response.output_item.added":
            assert not is_open
            is_open, text = True, ""
            assert event["item"]["status"] == "in_progress"
        elif name == "response.output_item.done":
            is_open = False
            assert told(event["item"]) == text
            output.append(event["item"])
        elif name.endswith(".delta"):
            text += event["delta"]
        elif name.endswith("_part.done"):
            assert event["part"]["text"] == text
        elif name.endswith(".done"):
            assert (event.get("text") or event.get("arguments") or event.get("input", "")) == text
        assert is_open or name == "response.output_item.done"
    assert response["output"] == output
    assert len({item["id"] for item in output}) == len(output)
    return response


def told(item: dict[str, Any]) -> str:
    """Return the text of an item."""
    if item["type"] == "function_call":
        return str(item["arguments"])
    if item["type"] == "custom_tool_call":
        return str(item["input"])
    return "".join(part["text"] for part in item.get("content") or item["summary"])
