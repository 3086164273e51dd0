"""A gap between two texts, in the order that code models were trained on."""

from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.wire.messages import InfillPrompt, Snippet
from runner.worker.infill import InfillTokens, find_infill, infill_tokens

PRE, SUF, MID, REPO, FILE, BOS = 901, 902, 903, 904, 905, 906


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def prompt(**more: object) -> InfillPrompt:
    return InfillPrompt(prefix="a", suffix="b", **more)  # type: ignore[arg-type]


def test_prefix_suffix_middle() -> None:
    marks = InfillTokens(prefix=PRE, suffix=SUF, middle=MID)
    assert infill_tokens(prompt(), marks, letters) == [PRE, 97, SUF, 98, MID]


def test_the_filling_may_have_a_beginning_and_the_text_too() -> None:
    marks = InfillTokens(begin=BOS, prefix=PRE, suffix=SUF, middle=MID)
    assert infill_tokens(prompt(start="c"), marks, letters) == [BOS, PRE, 97, SUF, 98, MID, 99]


def test_other_files_come_before_as_in_a_repository() -> None:
    marks = InfillTokens(prefix=PRE, suffix=SUF, middle=MID, repo=REPO, file=FILE)
    asked = prompt(extra=(Snippet(filename="x", text="y"),))
    assert infill_tokens(asked, marks, letters) == [
        *(REPO, *letters("project\n")),
        *(FILE, *letters("x\ny")),
        *(FILE, *letters("file\n")),
        *(PRE, 97, SUF, 98, MID),
    ]


def test_without_a_token_for_files_a_line_separates_them() -> None:
    marks = InfillTokens(prefix=PRE, suffix=SUF, middle=MID)
    asked = prompt(extra=(Snippet(filename="x", text="y"),))
    separator = letters("\n\n--- snippet ---\n\n")
    assert infill_tokens(asked, marks, letters) == [
        *(*separator, *letters("y"), *separator),
        *(PRE, 97, SUF, 98, MID),
    ]


@pytest.mark.parametrize("missing", ["prefix", "suffix", "middle"])
def test_a_model_without_the_tokens_is_told(missing: str) -> None:
    marks = InfillTokens(**({"prefix": PRE, "suffix": SUF, "middle": MID} | {missing: -1}))
    with pytest.raises(RunnerError) as caught:
        infill_tokens(prompt(), marks, letters)
    assert (caught.value.kind, caught.value.param) == (Kind.MODEL_NOT_SUPPORTED, "suffix")


def test_the_tokens_are_those_that_the_library_tells() -> None:
    fim = {"prefix": 1, "suffix": 2, "middle": 3, "repo": -1, "file": -1}
    found = find_infill({"bos": 9, "add_bos": True, "fim": fim})
    assert found == InfillTokens(begin=9, prefix=1, suffix=2, middle=3)
    assert find_infill({"bos": 9, "add_bos": False, "fim": fim}).begin == -1
