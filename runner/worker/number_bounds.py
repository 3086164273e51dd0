"""Holds numbers that are no integers to the bounds of their schema. Pure.

llama.cpp makes rules of the bounds of integers and passes over those of other numbers. So such a
number is shown to it as a constant that nobody writes, and in the grammar that it makes the
constant gives way to a rule of ours: the decimals within the bounds, without exponents, of so few
digits that a reader who makes doubles of them (IEEE 754) finds none on the wrong side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import Any

from runner.errors import Kind, RunnerError

DIGITS = 15  # of a number, before and behind its point: so many any double keeps apart
MOST = 10**DIGITS - 1
BEYOND = Decimal(10**DIGITS)  # no number can be written that is so large

Bound = tuple[Decimal, bool]  # the second: it is open, the bound itself is out

_KEYWORDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_RULING = ("$ref", "oneOf", "anyOf", "const", "enum")  # beside these a type is not read
_HOLD_NAMED = ("properties", "$defs", "definitions")
_HOLD = ("items", "prefixItems", "allOf", "anyOf", "oneOf", "additionalProperties")

_FIRST = 8_031_962_481_000_000_000  # of the constants: an integer, so it is written as it is read
_CONSTANT = re.compile(rf'"({str(_FIRST)[:9]}[0-9]{{10}})"')


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two bounds; None: no bound."""

    low: Bound | None = None
    high: Bound | None = None

    def rule(self) -> str | None:
        """Write a GBNF expression of its decimals; None where there is none."""
        low, high = self.low or (-BEYOND, False), self.high or (BEYOND, False)
        zero = (Decimal(0), False)
        positive = negative = None
        if high[0] >= 0:
            positive = _magnitudes(low if low[0] >= 0 else zero, high)
        if low[0] < 0:
            negative = _magnitudes(_mirrored(high) if high[0] <= 0 else zero, _mirrored(low))
        return " | ".join(filter(None, [positive, negative and f'"-" ({negative})'])) or None


@dataclass(slots=True)
class NumberBounds:
    """The rules of the bounded numbers of the schemas that become one grammar."""

    rules: list[str] = field(default_factory=list)

    def held(self, schema: Any, param: str) -> Any:
        """Return a schema with a constant in the place of each bounded number.

        Raises RunnerError(INVALID_REQUEST), naming ``param``, for bounds that are no numbers or
        leave none.
        """
        if not isinstance(schema, dict):
            return schema
        hold = partial(self.held, param=param)
        if isinstance(schema.get("type"), list) and _is_bounded(schema, schema["type"]):
            return {"anyOf": [hold(schema | {"type": kind}) for kind in schema["type"]]}
        if _is_bounded(schema, [schema.get("type")]):
            self.rules.append(_rule(schema, param))
            return {"type": "number", "const": _FIRST + len(self.rules) - 1}
        made = dict(schema)
        for keyword in _HOLD_NAMED:
            if isinstance(members := schema.get(keyword), dict):
                made[keyword] = {name: hold(child) for name, child in members.items()}
        for keyword in _HOLD:
            child = schema.get(keyword)
            if isinstance(child, list):
                made[keyword] = [hold(item) for item in child]
            elif isinstance(child, dict):
                made[keyword] = hold(child)
        return made

    def settled(self, gbnf: str) -> str:
        """Return the grammar of held schemas with the rules of their numbers."""
        if not self.rules:
            return gbnf

        def rule(constant: re.Match[str]) -> str:
            index = int(constant[1]) - _FIRST
            return f"({self.rules[index]})" if index < len(self.rules) else constant[0]

        return _CONSTANT.sub(rule, gbnf)


def _is_bounded(schema: dict[str, Any], kinds: list[Any]) -> bool:
    said = [schema.get(keyword) for keyword in _KEYWORDS]
    is_said = any(value is not None and value is not False for value in said)
    return is_said and "number" in kinds and not any(name in schema for name in _RULING)


def _rule(schema: dict[str, Any], param: str) -> str:
    low = _bound(schema, param, "minimum", "exclusiveMinimum", 1)
    high = _bound(schema, param, "maximum", "exclusiveMaximum", -1)
    found = Range(low, high).rule()
    if found is None:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{param}: no number of at most {DIGITS} digits is "
            f"{_told('>', low)} and {_told('<', high)}",
            hint="let the schema's minimum and maximum leave one",
            param=param,
        )
    return found


def _bound(
    schema: dict[str, Any], param: str, name: str, open_name: str, sign: int
) -> Bound | None:
    """Return the stricter of two bounds. Draft 4's ``exclusiveMinimum: true`` opens the other."""
    closed, opened = _number(schema, name, param), schema.get(open_name)
    if isinstance(opened, bool):
        return None if closed is None else (closed, opened)
    found = [(_number(schema, open_name, param), True), (closed, False)]
    said = [(value, is_open) for value, is_open in found if value is not None]
    return max(said, key=lambda bound: (bound[0] * sign, bound[1]), default=None)


def _number(schema: dict[str, Any], name: str, param: str) -> Decimal | None:
    value = schema.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{param}: {name} of a number: expected a number, got {value!r:.80}",
            param=param,
        )
    return Decimal(repr(value))


def _told(sign: str, bound: Bound | None) -> str:
    return "any" if bound is None else f"{sign}{'' if bound[1] else '='} {bound[0]}"


def _mirrored(bound: Bound) -> Bound:
    return -bound[0], bound[1]


def _magnitudes(least: Bound, most: Bound) -> str | None:
    """Write the numbers without a sign between two bounds; None where there are none.

    For each length of the whole part its digits, then those behind the point, are compared with
    the bounds' from left to right.
    """
    low, is_open_low = least
    if low > min(MOST, most[0]):
        return None
    lows, shortest = _digits(low)
    if most[0] > MOST:
        longest, high, is_open_high = DIGITS + 1, None, False
    else:
        (high, longest), is_open_high = _digits(most[0]), most[1]
    if shortest == longest:
        return _Digits(DIGITS - shortest, is_open_low, is_open_high).whole(lows, high, shortest)
    found = [_Digits(DIGITS - shortest, is_open_low, False).whole(lows, None, shortest)]
    between = longest - 1  # digits of the longest numbers that have not as many as the bounds
    if between > shortest + 1:
        found.append(f"[1-9] [0-9]{{{shortest},{between - 2}}} {_fraction(DIGITS)}")
    if between > shortest:  # these could be rounded up to the bound above
        found.append(f"[1-9] [0-9]{{{between - 1}}} {_fraction(DIGITS - between)}".strip())
    if high is not None:
        power = "1" + "0" * (longest - 1)
        found.append(_Digits(DIGITS - longest, False, is_open_high).whole(power, high, longest))
    return " | ".join(filter(None, found)) or None


def _digits(number: Decimal) -> tuple[str, int]:
    """Return the digits of a number, whatever its sign, and how many stand before its point."""
    whole, _, fraction = f"{abs(number):f}".partition(".")
    return whole + fraction.rstrip("0"), len(whole)


def _fraction(most: int) -> str:
    return f'("." [0-9]{{1,{most}}})?' if most else ""


@dataclass(frozen=True, slots=True)
class _Digits:
    """Writes what may follow digits that are so far a bound's own; None: nothing, not even an end.

    ``low`` and ``high`` are the bounds' digits from here on; None for one that was left behind.
    """

    most: int  # behind the point
    is_open_low: bool
    is_open_high: bool

    def whole(self, low: str | None, high: str | None, left: int) -> str | None:
        """Write ``left`` digits before the point, and what may stand behind it."""
        low = self._left_behind(low)
        if low is None and high is None:
            return f"{f'[0-9]{{{left}}} ' if left else ''}{_fraction(self.most)}".strip()
        if left:

            def more(low: str | None, high: str | None) -> str | None:
                return self.whole(low, high, left - 1)

            return _first_digit(low, high, more)
        digits = self._decimals(low, high, self.most)
        return self._perhaps(digits and f'"." ({digits})', low, high)

    def _decimals(self, low: str | None, high: str | None, left: int) -> str | None:
        """Write one to ``left`` digits behind the point."""
        low = self._left_behind(low)
        if not left:
            return None
        if low is None and high is None:
            return f"[0-9]{{1,{left}}}"
        if high is not None and not high.strip("0"):
            return None if self.is_open_high or low is not None else f'"0"{{1,{left}}}'

        def more(low: str | None, high: str | None) -> str | None:
            return self._perhaps(self._decimals(low, high, left - 1), low, high)

        return _first_digit(low, high, more)

    def _perhaps(self, digits: str | None, low: str | None, high: str | None) -> str | None:
        """Let the number end where digits may follow, if what it is by then is within."""
        is_above = self._left_behind(low) is None
        is_below = high is None or not self.is_open_high or bool(high.strip("0"))
        if not (is_above and is_below):
            return digits
        return "" if digits is None else f"({digits})?"

    def _left_behind(self, low: str | None) -> str | None:
        """A lower bound that ends here binds no more, unless what follows may not be zero."""
        return low if low is not None and (self.is_open_low or low.strip("0")) else None


def _first_digit(
    low: str | None, high: str | None, more: Callable[[str | None, str | None], str | None]
) -> str | None:
    """Write a digit of either bound or between them, with what may follow it."""
    least = 0 if low is None else int(low[:1] or 0)
    most = 9 if high is None else int(high[:1] or 0)

    def rest(digit: int) -> str | None:
        return more(
            None if low is None or digit > least else low[1:],
            None if high is None or digit < most else high[1:],
        )

    found = []
    for following, digits in groupby(range(least, most + 1), rest):
        alike = list(digits)
        found.append(_branch(alike[0], alike[-1], following))
    return " | ".join(filter(None, found)) or None


def _branch(least: int, most: int, rest: str | None) -> str | None:
    if rest is None:
        return None
    digit = f'"{least}"' if least == most else f"[{least}-{most}]"
    return f"{digit} ({rest})" if " | " in rest else f"{digit} {rest}".strip()
