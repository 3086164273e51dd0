"""The rule of a number's bounds takes the decimals within them, and no others."""

from __future__ import annotations

import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from runner.worker.number_bounds import Bound, Range

DECIMALS = st.builds(
    lambda sign, whole, fraction: f"{sign}{whole}{fraction}",
    st.sampled_from(["", "-"]),
    st.sampled_from([1, 9, 10, 99, 2000, 10**8]).flatmap(lambda most: st.integers(0, most)),
    st.sampled_from(["", ".0", ".50"]) | st.from_regex(r"\.[0-9]{1,6}", fullmatch=True),
)
BOUNDS = st.none() | st.tuples(DECIMALS.map(Decimal), st.booleans())


def near(bound: Bound | None) -> list[str]:
    """Write numbers on both sides of a bound, and itself in two ways."""
    if bound is None:
        return []
    steps = [Decimal(step) for step in ("0", "0.1", "0.01", "1", "0.0000001")]
    told = [f"{bound[0] + sign * step:f}" for step in steps for sign in (1, -1)]
    return [*told, told[0] + ("0" if "." in told[0] else ".00")]


def is_within(text: str, low: Bound | None, high: Bound | None) -> bool:
    number = Decimal(text)
    is_above = low is None or number > low[0] or (number == low[0] and not low[1])
    is_below = high is None or number < high[0] or (number == high[0] and not high[1])
    return is_above and is_below


def expression(rule: str | None) -> re.Pattern[str]:
    """Read the GBNF of such a rule, which has nothing that regular expressions have not."""
    if rule is None:
        return re.compile("(?!)")
    return re.compile(re.sub(r'"([^"]*)"', lambda text: re.escape(text[1]), rule).replace(" ", ""))


@given(BOUNDS, BOUNDS, st.lists(DECIMALS, max_size=20))
def test_a_rule_takes_what_is_within(
    low: Bound | None, high: Bound | None, texts: list[str]
) -> None:
    rule = expression(Range(low, high).rule())
    for text in [*texts, *near(low), *near(high)]:
        if not (text.startswith("-") and Decimal(text) == 0):  # minus nought may stay out
            assert bool(rule.fullmatch(text)) == is_within(text, low, high), text


@given(BOUNDS, BOUNDS, st.from_regex(r"-?(0|[1-9][0-9]{0,9})\.[0-9]{1,20}", fullmatch=True))
def test_no_double_of_what_it_takes_is_out(
    low: Bound | None, high: Bound | None, text: str
) -> None:
    rule = expression(Range(low, high).rule())
    for made in (text, *(f"{one}99999999999999999999"[: len(one) + 12] for one in near(high))):
        if rule.fullmatch(made):
            assert low is None or float(made) > float(low[0]) or not low[1]
            assert high is None or float(made) < float(high[0]) or not high[1]
