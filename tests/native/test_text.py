"""Text that leaves a generator: whole characters, and stop strings met wherever the tokens fall."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.binding import Code, Flag, Model, NativeError

from .driver import Engine

pytestmark = [pytest.mark.native, pytest.mark.model]


@pytest.fixture(scope="module")
def vocabulary(model: Model) -> dict[bytes, int]:
    """Tokens by their bytes; control tokens have none."""
    size = model.info()["n_vocab"]
    return {piece: token for token in range(size) if (piece := model.piece(token))}


def splits(data: bytes, vocabulary: dict[bytes, int]) -> Iterator[list[int]]:
    """Every way to write the bytes in tokens."""
    if not data:
        yield []
    for end in range(1, len(data) + 1):
        if (token := vocabulary.get(data[:end])) is not None:
            for rest in splits(data[end:], vocabulary):
                yield [token, *rest]


@pytest.mark.parametrize(
    ("text", "stops", "expected", "met"),
    [
        ("xENDy", ["END"], "x", 0),
        ("aENEND", ["END"], "aEN", 0),
        ("a<b<", ["b", "<b<"], "a<", 0),  # the first to be complete, not the first to begin
        ("abcd", ["bc", "abc"], "", 1),  # of those that end together the longest
        ("xENy", ["END"], "xENy", None),
        ("xEN", ["END"], "xEN", None),  # what was held back is shown at the end
    ],
)
def test_a_stop_string_cuts_the_same_text_however_the_tokens_fall(
    shared: Engine,
    vocabulary: dict[bytes, int],
    text: str,
    stops: list[str],
    expected: str,
    met: int | None,
) -> None:
    for tokens in list(splits(text.encode(), vocabulary))[:6]:
        answer = shared.force(tokens, stop=stops)
        assert answer.text == expected, tokens
        assert answer.last.flags == (Flag.EOS if met is None else Flag.STOP)
        assert answer.last.stop_index == (-1 if met is None else met)


def test_text_that_may_become_a_stop_string_is_held_back(
    shared: Engine, vocabulary: dict[bytes, int]
) -> None:
    tokens = [vocabulary[piece] for piece in (b"x", b"E", b"N", b"y")]
    answer = shared.force(tokens, stop=["END"])
    assert [record.text for record in answer.records] == ["x", "", "", "ENy", ""]


def test_a_character_is_shown_when_it_is_whole(
    shared: Engine, vocabulary: dict[bytes, int]
) -> None:
    tokens = [vocabulary[bytes([byte])] for byte in "é🙂".encode()]
    answer = shared.force_once(tokens)
    assert [record.text for record in answer.records] == ["", "é", "", "", "", "🙂", ""]


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"a\xf0\x9f", 3),  # ends within a character
        (b"\xf0\x9fa", 8),  # breaks off within one
        (b"\xe2\x28\xa1", 8),
        (b"\xa9\x80z", 8),
        (b"\xed\xa0\x80", 8),  # a surrogate
    ],
)
def test_broken_utf8_becomes_replacement_characters(
    shared: Engine, vocabulary: dict[bytes, int], data: bytes, limit: int
) -> None:
    answer = shared.force_once([vocabulary[bytes([byte])] for byte in data], max_tokens=limit)
    assert answer.text == data.decode("utf-8", "replace")


def test_an_emoji_that_a_grammar_demands_comes_out_whole(shared: Engine) -> None:
    answer = shared.complete(grammar='root ::= "🙂👍"', temperature=0)
    assert answer.text == "🙂👍"
    assert answer.last.flags == Flag.EOS


def test_special_tokens_are_shown_only_when_preserved(shared: Engine, model: Model) -> None:
    (token,) = model.tokenize("<jupyter_start>", add_special=False, parse_special=True)
    assert shared.force([token]).text == ""
    assert shared.force([token], preserved_tokens=["<jupyter_start>"]).text == "<jupyter_start>"


@pytest.mark.parametrize("stop", [[""], ["x" * 1025], ["x"] * 65, "x", [1]])
def test_stop_strings_out_of_bounds_are_refused(shared: Engine, stop: object) -> None:
    with pytest.raises(NativeError, match="stop") as caught:
        shared.context.new_generator({"stop": stop})
    assert caught.value.code == Code.ARGUMENT
