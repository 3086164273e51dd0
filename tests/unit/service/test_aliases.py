from __future__ import annotations

import pytest

from runner.service.aliases import Aliases

ALIASES = Aliases((("claude-haiku-*", "small"), ("claude-*", "large"), ("gpt-4o", "large")))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("claude-haiku-4-5", "small"),
        ("claude-opus-4-6[1m]", "large"),
        ("claude-", "large"),
        ("gpt-4o", "large"),
        ("gpt-4o-mini", None),
        ("my-claude-x", None),
        ("claudeX", None),
    ],
)
def test_the_first_pattern_that_fits_the_whole_name_counts(name: str, target: str | None) -> None:
    assert ALIASES.target(name) == target


def test_only_the_star_is_special() -> None:
    assert Aliases((("a.b[1]", "x"),)).target("axb1") is None
    assert Aliases((("a.b[1]", "x"),)).target("a.b[1]") == "x"
    assert Aliases((("*", "x"),)).target("whatever\nit is") is None
