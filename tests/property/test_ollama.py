"""Ollama's: any request is valid or refused by name, and a stream is the whole answer in parts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.api.choosing import ignored_header
from runner.api.fields import Shape
from runner.api.ollama import conversation, creating, embeddings, parse, render
from runner.api.ollama.options import SHAPE as OPTIONS
from runner.errors import RunnerError
from runner.wire.messages import Begun, Ended, Piece
from tests.property.test_anthropic import BEGUN, ENDED, answers
from tests.property.test_api_requests import VALUES


def members(*shapes: Shape) -> st.SearchStrategy[dict[str, Any]]:
    names = [member.name for shape in shapes for member in shape.members]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=8), VALUES, max_size=5)


CALLS = st.lists(
    st.fixed_dictionaries(
        {"function": members(conversation.CALL) | st.just({"name": "f", "arguments": {"a": 1}})}
    ),
    max_size=2,
)
MESSAGES = st.lists(
    st.builds(
        lambda role, calls, rest: {"role": role, "content": "t", "tool_calls": calls} | rest,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        CALLS,
        members(conversation.MESSAGE),
    ),
    max_size=3,
)
BODIES = st.builds(
    lambda said, options, rest: {
        "model": "m",
        "prompt": "p",
        "input": "i",
        "from": "f",
        "messages": said,
        "options": options,
        **rest,
    },
    MESSAGES,
    members(OPTIONS),
    members(parse.CHAT, parse.GENERATE, embeddings.EMBED, creating.CREATE),
)


@pytest.mark.parametrize(
    "read",
    [
        parse.parse_chat,
        parse.parse_generate,
        embeddings.parse_embed,
        embeddings.parse_embeddings,
        creating.parse_create,
    ],
)
@given(body=BODIES)
def test_any_request_is_valid_or_refused_by_name(
    read: Callable[[dict[str, Any]], Any], body: dict[str, Any]
) -> None:
    try:
        request = read(body)
    except RunnerError as error:
        assert error.row.status == 400
        assert error.param
    else:
        if isinstance(request, creating.CreateRequest):
            request = request.transfer
        else:
            kept = request.keep_alive_s
            assert kept is None or (kept >= 0 and not math.isnan(kept))
        for _, value in ignored_header(request.ignored):
            assert value.isascii()


@given(answers(), st.sampled_from([render.chat_members, render.generate_members]))
def test_a_stream_adds_up_to_the_whole_answer(
    pieces: list[Piece], shown: Callable[[Piece], render.Said]
) -> None:
    answer = render.Answer("m", shown, render.Timing(0, 0, lambda: 0), 0)
    chunks, choice = answer.chunks(0), answer.choice()
    for piece in pieces:
        choice.add(piece)
    begun: Begun = BEGUN
    ended: Ended = ENDED
    stream = chunks.first(begun) + b"".join(map(chunks.piece, pieces)) + chunks.last(ended)
    lines = [json.loads(line) for line in stream.decode().splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert _put_together(lines) == json.loads(answer.whole([(choice, ended)]))


def _put_together(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Join lines as Ollama's clients do."""
    whole = lines[-1]
    said = whole.get("message", whole)
    for name in ("content", "response", "thinking"):
        texts = [line.get("message", line).get(name, "") for line in lines]
        if name in said or any(texts):
            said[name] = "".join(texts)
    calls = [call for line in lines for call in line.get("message", {}).get("tool_calls", ())]
    if calls:
        said["tool_calls"] = calls
    return whole
