"""Grammars that let the model talk until their trigger comes."""

from __future__ import annotations

from typing import Any

import pytest

from runner.binding import Flag, NativeError

from .driver import Engine

pytestmark = [pytest.mark.native, pytest.mark.model]

WORD, PATTERN = 1, 2


def lazy(word: str, **more: Any) -> dict[str, Any]:
    trigger = {"type": WORD, "value": word, "token": -1}
    settings = {"grammar": f'root ::= "{word}" "!!!"', "temperature": 0, "grammar_lazy": True}
    return settings | {"grammar_triggers": [trigger]} | more


@pytest.fixture
def spoken(shared: Engine) -> str:
    """What the model says unconstrained."""
    return shared.complete(temperature=0).text


@pytest.fixture
def word(spoken: str) -> str:
    """A word from the middle of it, with the space before it."""
    words = [f" {word}" for word in spoken.split()[4:] if word.isalpha() and len(word) > 3]
    return next(word for word in words if spoken.count(word) == 1)


def test_it_binds_from_its_trigger_on(shared: Engine, spoken: str, word: str) -> None:
    answer = shared.complete(**lazy(word))
    assert answer.text == spoken[: spoken.index(word)] + word + "!!!"
    assert answer.last.flags == Flag.EOS


def test_it_begins_at_the_first_group_of_a_pattern(shared: Engine, spoken: str, word: str) -> None:
    trigger = {"type": PATTERN, "value": f"[a-z,.]({word})", "token": -1}
    answer = shared.complete(**lazy(word, grammar_triggers=[trigger]))
    assert answer.text == spoken[: spoken.index(word)] + word + "!!!"


def test_it_binds_nothing_in_a_thought(shared: Engine, spoken: str, word: str) -> None:
    marks = {"thinking_start_tag": "<think>", "thinking_end_tags": ["</think>"]}
    assert shared.complete(**lazy(word, generation_prompt="<think>\n", **marks)).text == spoken
    ended = shared.complete(**lazy(word, generation_prompt="<think></think>", **marks))
    assert ended.text.endswith(word + "!!!")


@pytest.mark.parametrize("triggers", [[], [{"type": 9}], [{"type": PATTERN, "value": "("}]])
def test_a_trigger_that_cannot_come_is_refused(shared: Engine, triggers: list[Any]) -> None:
    with pytest.raises(NativeError, match="grammar_triggers"):
        shared.context.new_generator(lazy("x", grammar_triggers=triggers))
