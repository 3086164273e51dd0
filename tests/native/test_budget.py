"""How long a model may think: at the end of its budget the thought is ended for it."""

from __future__ import annotations

from typing import Any

import pytest

from runner.binding import NativeError

from .driver import PROMPT, Engine

pytestmark = [pytest.mark.native, pytest.mark.model]

END = "</think>"


def budget(tokens: Any, **changes: Any) -> dict[str, Any]:
    settings = {
        "tokens": tokens,
        "message": "",
        "thinking_start_tag": "<think>",
        "thinking_end_tags": [END],
        "generation_prompt": "<think>\n",
    }
    return {"temperature": 0, "reasoning_budget": settings | changes}


@pytest.fixture(scope="module")
def free(shared: Engine) -> list[int]:
    """What the model says unbound."""
    return shared.complete(temperature=0).tokens


def end_tokens(engine: Engine, text: str = END) -> list[int]:
    return engine.model.tokenize(text, add_special=False, parse_special=True)


@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_a_thought_ends_when_its_tokens_are_spent(
    shared: Engine, free: list[int], tokens: int
) -> None:
    answer = shared.complete(**budget(tokens))
    end = end_tokens(shared)
    assert answer.tokens[: tokens + len(end)] == free[:tokens] + end
    assert answer.text.count(END) == 1  # the model goes on and is free


def test_its_last_words_may_be_given(shared: Engine, free: list[int]) -> None:
    said = " Time is up.\n"
    answer = shared.complete(**budget(3, message=said))
    begun = shared.model.detokenize(free[:3]).decode()
    assert answer.text.startswith(begun + said + END)


def test_last_words_name_no_special_tokens(shared: Engine) -> None:
    answer = shared.complete(**budget(0, message="<|im_end|>"))
    assert answer.text.startswith("<|im_end|>" + END)


@pytest.mark.parametrize(
    "changes",
    [
        {"generation_prompt": ""},  # the model does not begin to think
        {"generation_prompt": "<think>\n</think>"},
        {"thinking_start_tag": "", "generation_prompt": ""},
        {"thinking_end_tags": []},
    ],
)
def test_without_a_thought_nothing_is_bound(
    shared: Engine, free: list[int], changes: dict[str, Any]
) -> None:
    assert shared.complete(**budget(0, **changes)).tokens == free


def test_a_thought_that_ends_in_time_is_left_alone(shared: Engine) -> None:
    grammar = 'root ::= " Short." "</think>" " Done" [a-z]{20}'
    answer = shared.complete(**budget(12), grammar=grammar)
    assert answer.text.startswith(" Short.</think> Done")
    assert answer.text.count(END) == 1


def test_each_thought_has_a_budget(shared: Engine) -> None:
    grammar = 'root ::= "<think>" [a-z ]{40} "</think>" [a-z]'
    free = shared.complete(temperature=0, grammar=grammar, max_tokens=100).text
    bound = shared.complete(
        **budget(2, generation_prompt=""),
        grammar='root ::= ("<think>" ([a-z ])+ "</think>"){2} "."',
        max_tokens=100,
    ).text
    assert free.startswith("<think>")
    first, second, rest = bound.split(END)
    assert rest == "."
    assert all(0 < len(part) < 40 for part in (first, second))


def test_an_end_that_a_grammar_does_not_allow_comes_when_it_does(shared: Engine) -> None:
    grammar = 'root ::= "one two three four" "</think>" "."'
    answer = shared.complete(**budget(1), grammar=grammar)
    assert answer.text == "one two three four</think>."


def test_a_thought_does_not_end_within_a_character(shared: Engine) -> None:
    character = "\N{GRINNING FACE}"
    tokens = shared.model.tokenize(character, add_special=False, parse_special=False)
    assert len(tokens) > 1
    wished = shared.force_once(tokens, reasoning_budget=budget(1)["reasoning_budget"])
    assert wished.text.startswith(character + END)


def test_guesses_change_nothing(shared: Engine) -> None:
    tokens = shared.tokens(PROMPT)
    shared.context.seq_rm(0)
    generator, record = shared.begin(0, tokens, max_tokens=32, **budget(5))
    records = [record]
    while not records[-1].flags:
        records += shared.stepper.run([generator], [], [4]).records
    shared.context.free_generator(generator)
    expected = shared.complete(**budget(5)).tokens
    assert [one.token for one in records] == expected


@pytest.mark.parametrize("settings", [budget(-1), budget("x"), budget(1, message=1)])
def test_what_makes_no_budget_is_refused(shared: Engine, settings: dict[str, Any]) -> None:
    with pytest.raises(NativeError):
        shared.context.new_generator(settings)
