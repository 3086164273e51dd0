"""Legacy completions: parallel arrays of logprobs, chunks, and whose tokens are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.api.openai.legacy_render import Answer, Chunks, Logprobs, name_token, render_usage
from runner.api.openai.render import Identity
from runner.wire.messages import Begun, Ended, Piece, Timings, TokenLogprob

IDENTITY = Identity(id="cmpl-1", created_s=7, model="m", fingerprint="fp")
SAMPLES = Path(__file__).resolve().parents[3] / "wire_samples"
BEGUN = Begun(id=1, prompt_tokens=1, cached_tokens=0)


def ended(prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> Ended:
    timings = Timings(cache_n=0, prompt_n=1, prompt_ms=1.0, predicted_n=1, predicted_ms=1.0)
    return Ended(1, "length", prompt_tokens, cached_tokens, completion_tokens, timings)


def chunks(**changes: object) -> Chunks:
    options = {"echo": "", "top_logprobs": None, "include_usage": False} | changes
    return Chunks(IDENTITY, 3, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("piece", "name"),
    [(b" you", " you"), ("é".encode(), "é"), (b"\xe6\x9d", "bytes:\\xe6\\x9d"), (b"", "")],
)
def test_a_part_of_a_character_is_named_by_its_bytes(piece: bytes, name: str) -> None:
    assert name_token(piece) == name


def test_places_count_characters_and_go_on_from_chunk_to_chunk() -> None:
    arrays = Logprobs(wants_top=True)
    first = arrays.render(
        [
            TokenLogprob(1, b"a", -0.5, ((1, b"a", -0.5), (2, b"b", -1.0))),
            TokenLogprob(3, b"\xe6\x9d", -0.25, ()),
        ]
    )
    assert first == {
        "tokens": ["a", "bytes:\\xe6\\x9d"],
        "token_logprobs": [-0.5, -0.25],
        "top_logprobs": [{"a": -0.5, "b": -1.0}, {"bytes:\\xe6\\x9d": -0.25}],
        "text_offset": [0, 1],
    }
    second = arrays.render(
        [TokenLogprob(4, b"\xb1", -1.0, ()), TokenLogprob(5, b"!", float("-inf"), ())]
    )
    assert second["text_offset"] == [1, 2]  # both parts of the character are where it is
    assert second["token_logprobs"] == [-1.0, -9999.0]


def test_without_top_the_chosen_tokens_stand_alone() -> None:
    shown = Logprobs(wants_top=False).render([TokenLogprob(1, b"a", -0.5, ())])
    assert shown["top_logprobs"] is None


def test_a_chunk_has_openai_s_members() -> None:
    data = chunks(include_usage=True).piece(Piece(1, "a\u2028b", 1))
    assert "\u2028".encode() not in data
    assert data.endswith(b"\n\n")
    assert json.loads(data[6:]) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 7,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [{"text": "a\u2028b", "index": 3, "logprobs": None, "finish_reason": None}],
        "usage": None,
    }


def test_what_was_held_back_is_no_chunk() -> None:
    assert chunks().piece(Piece(1, "", 1)) == b""


def test_the_prompt_comes_first_where_it_is_wanted() -> None:
    assert chunks().first(BEGUN) == b""
    assert json.loads(chunks(echo="p").first(BEGUN)[6:])["choices"][0]["text"] == "p"


SCORED = Begun(
    id=1,
    prompt_tokens=2,
    cached_tokens=0,
    prompt_first=b"Say",
    prompt_logprobs=(TokenLogprob(2, b": ", -1.5, ((3, b"!", -0.5), (2, b": ", -1.5))),),
)


def test_the_tokens_of_an_echoed_prompt_come_with_it() -> None:
    one = chunks(echo="Say: ", top_logprobs=1)
    (first,) = json.loads(one.first(SCORED)[6:])["choices"]
    assert first["text"] == "Say: "
    assert first["logprobs"] == {
        "tokens": ["Say", ": "],
        "token_logprobs": [None, -1.5],
        "top_logprobs": [None, {": ": -1.5, "!": -0.5}],
        "text_offset": [0, 3],
    }
    piece = Piece(1, "Hi", 1, logprobs=(TokenLogprob(7, b"Hi", -0.25),))
    (second,) = json.loads(one.piece(piece)[6:])["choices"]
    assert second["logprobs"]["text_offset"] == [5]


@pytest.mark.parametrize("top_logprobs", [0, 1])
def test_an_answer_of_no_more_than_the_prompt(top_logprobs: int) -> None:
    told = Answer(IDENTITY, ["Say: "], 1, top_logprobs, include_usage=False)
    choice = told.choice()
    choice.add(SCORED)
    (shown,) = json.loads(told.whole([(choice, ended(2, 0, 0))]))["choices"]
    assert (shown["text"], shown["finish_reason"]) == ("Say: ", "length")
    assert shown["logprobs"]["token_logprobs"] == [None, -1.5]
    assert (shown["logprobs"]["top_logprobs"] is None) is (top_logprobs == 0)


def test_a_token_put_before_the_text_takes_no_room_in_it() -> None:
    one = chunks(echo=": Say", top_logprobs=0)
    begun = Begun(1, 2, 0, b"<s>", (TokenLogprob(2, b": ", -1.5), TokenLogprob(3, b"Say", -1.0)))
    (first,) = json.loads(one.first(begun)[6:])["choices"]
    assert first["logprobs"]["tokens"] == ["<s>", ": ", "Say"]
    assert first["logprobs"]["text_offset"] == [0, 0, 2]


def test_the_last_chunk_has_the_reason_and_no_text() -> None:
    last = json.loads(chunks().last(ended(1, 0, 1))[6:])
    assert last["choices"][0] == {
        "text": "",
        "index": 3,
        "logprobs": None,
        "finish_reason": "length",
    }
    assert last["timings"]["predicted_n"] == 1


def test_each_prompt_is_counted_once() -> None:
    four = [ended(5, 2, 1), ended(5, 5, 2), ended(7, 3, 3), ended(7, 7, 4)]
    assert render_usage(four, 2) == {
        "prompt_tokens": 12,
        "completion_tokens": 10,
        "total_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 5},
    }


# ---- compared with samples that are reviewed like code ---------------------------------------

TOLD = (
    Piece(1, "Hello", 1, logprobs=(TokenLogprob(7, b"Hello", -0.25, ((7, b"Hello", -0.25),)),)),
    Piece(1, "", 1),
    Piece(
        1,
        " é\u2028",
        3,
        logprobs=(
            TokenLogprob(8, b" ", -0.5, ((9, b"!", -0.125), (8, b" ", -0.5))),
            TokenLogprob(10, b"\xc3", -1.0, ((10, b"\xc3", -1.0),)),
            TokenLogprob(11, b"\xa9\xe2\x80\xa8", float("-inf"), ()),
        ),
    ),
)


def answer(top_logprobs: int | None) -> Answer:
    """Two completions of a prompt, and their usage; only without logprobs is the prompt told."""
    echo = "Say: " if top_logprobs is None else ""
    return Answer(IDENTITY, [echo], 2, top_logprobs, include_usage=True)


def bare(piece: Piece) -> Piece:
    return Piece(piece.id, piece.text, piece.tokens)


@pytest.mark.parametrize(
    ("top_logprobs", "name"),
    [(None, "completion_stream.sse"), (2, "completion_stream_logprobs.sse")],
)
def test_a_stream_is_its_sample(top_logprobs: int | None, name: str) -> None:
    told = answer(top_logprobs)
    ends = [ended(5, 2, 3), ended(5, 5, 3)]
    stream = b""
    for index, end in enumerate(ends):
        chunks = told.chunks(index)
        pieces = TOLD if top_logprobs is not None else map(bare, TOLD)
        stream += chunks.first(BEGUN) + b"".join(map(chunks.piece, pieces)) + chunks.last(end)
    assert stream + told.tail(ends) == (SAMPLES / name).read_bytes()


def test_a_whole_answer_is_its_sample() -> None:
    told = answer(2)
    made = []
    for end in (ended(5, 2, 3), ended(5, 5, 3)):
        choice = told.choice()
        for event in (BEGUN, *TOLD):
            choice.add(event)
        made.append((choice, end))
    assert told.whole(made) + b"\n" == (SAMPLES / "completion.json").read_bytes()
