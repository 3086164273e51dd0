from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.markdown import MAX_SPAN, Markdown

B, B_, I, I_, C, C_, D, D_ = (  # noqa: E741
    f"\x1b[{code}m" for code in (1, 22, 3, 23, 36, 39, 2, 22)
)
CODES = re.compile(r"\x1b\[[0-9]+m")


def show(*pieces: str) -> str:
    page = Markdown()
    return "".join(map(page.feed, pieces)) + page.end()


def joined(shown: str) -> str:
    """Without styles that end where they begin again: pieces are painted one by one."""
    return shown.replace(f"{B_}{B}", "").replace(f"{C_}{C}", "")


CASES = [
    ("plain text\n\nand more\n", "plain text\n\nand more\n"),
    ("a **bold** word", f"a {B}bold{B_} word"),
    ("an *italic* and _another_", f"an {I}italic{I_} and {I}another{I_}"),
    ("__strong__.", f"{B}strong{B_}."),
    ("**all *in* one**", f"{B}all {I}in{I_} one{B_}"),
    ("use `rm -rf *` not", f"use {C}rm -rf *{C_} not"),
    ("``a`b``", f"{C}a`b{C_}"),
    ("# Title", f"{B}Title{B_}"),
    ("### A **bold** `x`\n", f"{B}A bold {C}x{C_}{B_}\n"),
    ("- one\n* two\n  + three", "• one\n• two\n  • three"),
    ("1. one", "1. one"),
    ("> said", f"{D}│ {D_}said"),
    ("---\n", f"{D}{'─' * 40}{D_}\n"),
    ("```python\na * b * c\n# no heading\n```\nafter", f"{D}```python{D_}\n{C}a * b * c{C_}\n"
     f"{C}# no heading{C_}\n{D}```{D_}\nafter"),
    ("~~~\n```\n~~~\n*x*", f"{D}~~~{D_}\n{C}```{C_}\n{D}~~~{D_}\n{I}x{I_}"),
    (r"\*not\* this", "*not* this"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), CASES, ids=[text for text, _ in CASES])
def test_it_is_rendered_the_same_in_whatever_pieces_it_comes(text: str, shown: str) -> None:
    assert joined(show(text)) == joined(show(*text)) == joined(shown)


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4",
        "snake_case_name and __init__x",
        "a lone ` tick",
        "a lone *star and **two",
        "*",
        "**",
        "#hashtag",
        "-5 degrees",
        "a_b",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        r"C:\users and \(x\)",
        "* ",
        "***",
        "5 * 4",
        "~approximately",
        "`" * 2,
    ],
)
def test_what_is_no_markup_is_shown_as_it_is(text: str) -> None:
    expected = text if text != "***" else f"{D}{'─' * 40}{D_}"
    assert show(text) == expected
    assert show(*text) == expected


def test_a_mark_is_not_waited_for_longer_than_a_span_may_be() -> None:
    page = Markdown()
    assert page.feed("*note: ") == ""
    assert page.feed("x" * MAX_SPAN) == "*note: " + "x" * MAX_SPAN


def test_plain_words_are_shown_at_once() -> None:
    page = Markdown()
    assert [page.feed(piece) for piece in ("Hel", "lo", " **wor", "ld** ", "all")] == [
        "Hel",
        "lo",
        " ",
        f"{B}world{B_} ",
        "all",
    ]


@given(st.lists(st.text("ab *_`#->~\\\n1", max_size=8), max_size=12))
def test_nothing_is_lost_but_marks_and_every_style_ends(pieces: list[str]) -> None:
    shown = show(*pieces)
    bare = CODES.sub("", shown)
    assert re.findall("[ab1]|\n", bare) == re.findall("[ab1]|\n", "".join(pieces))
    for begin, end in ((B, B_), (I, I_), (C, C_)):
        at_end = shown.rfind(begin)
        assert at_end < 0 or end in shown[at_end:]
    same = re.sub(r"\x1b\[[0-9]+m", "", show("".join(pieces)))
    assert same == bare or len("".join(pieces)) >= MAX_SPAN
