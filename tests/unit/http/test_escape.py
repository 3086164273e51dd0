"""What a peer sent stays on one line of a log and changes no terminal (A16)."""

from __future__ import annotations

import pytest

from runner.http import escape


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("/v1/models?a=b", "/v1/models?a=b"),
        ("", ""),
        ("naïve café 東京", "naïve café 東京"),
        ("a\r\nGET /admin 200", r"a\r\nGET /admin 200"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("\x00\x7f\t", r"\x00\x7f\t"),
        ("\U000e0001", r"\U000e0001"),
        ("\ud800", r"\ud800"),
        ('say "a\\nb"', r"say \"a\\nb\""),
    ],
)
def test_everything_not_printable_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert escaped.isprintable()


def test_a_long_text_is_cut() -> None:
    assert escape("a" * 9, max_chars=4) == "aaaa…"
    assert escape("\n" * 9, max_chars=2) == r"\n\n…"
