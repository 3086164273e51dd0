r"""Patterns of a JSON schema, written so that llama.cpp makes a grammar of JSON text of them. Pure.

A ``pattern`` is an ECMA-262 expression over the value of a string; llama.cpp takes it for one over
the text between the quotes, knows no ``\d``, wants both anchors, and lets ``.`` be a quote, which
ends the string. What is written here says the same of the text: escaped as JSON has it, anchored,
with classes spelled out. Read beside ``_pattern_to_rule`` of the pinned
``common/json-schema-to-grammar.cpp``.

Formats that llama.cpp does not know are patterns as well; each takes a part of what its RFC allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

Ranges = list[tuple[int, int]]  # of code points, both ends included

MAX_DEPTH = 32  # groups within groups
MAX_REPEATS = 2000  # llama.cpp's MAX_REPETITION_THRESHOLD
MAX_CHARACTERS = 64 * 1024  # of what is written
LAST = 0x10FFFF

_DIGITS: Ranges = [(0x30, 0x39)]
_WORD: Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACE: Ranges = [
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
]
_LINE_ENDS: Ranges = [(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)]
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D, "0": 0x00}
_SHORT = {0x08: "b", 0x09: "t", 0x0A: "n", 0x0C: "f", 0x0D: "r", 0x22: '"', 0x5C: "\\\\"}
_SURROGATES = (0xD800, 0xDFFF)
_IN_NO_TEXT: Ranges = [(0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F), _SURROGATES]
_ALWAYS_ESCAPED = frozenset("^$.[](){}|*+?")


class _Unwritable(Exception):
    """The pattern says something that no grammar of llama.cpp's can, or nothing at all."""


@lru_cache(maxsize=1024)
def written(pattern: str) -> str | None:
    """Return the pattern that llama.cpp is given; None where there is none that says the same."""
    try:
        found = _Reader(pattern).whole()
    except _Unwritable:
        return None
    return f"^{found}$" if 0 < len(found) <= MAX_CHARACTERS else None


def is_malformed(pattern: str) -> bool:
    """Whether a group or class is left open, closed and never opened, or groups nest too deep."""
    depth, in_class, is_escaped = 0, False, False
    for character in pattern:
        if is_escaped or character == "\\":
            is_escaped = not is_escaped
        elif in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character in "()":
            depth += 1 if character == "(" else -1
            if not 0 <= depth <= MAX_DEPTH:
                return True
    return in_class or depth > 0


def format_pattern(name: str) -> str | None:
    """Return the pattern of a format; None for one that is not known here."""
    return written(_FORMATS[name]) if name in _FORMATS else None


class _Reader:
    """Reads an expression and writes it anew on the way."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def whole(self) -> str:
        """Read all of it: a branch without an anchor goes on with any text there."""
        branches = [self._outer_branch()]
        while self._takes("|"):
            branches.append(self._outer_branch())
        if self._at < len(self._pattern):
            raise _Unwritable
        return branches[0] if len(branches) == 1 else _choice(branches)

    def _outer_branch(self) -> str:
        before = "" if self._takes("^") else _ANYTHING
        branch = self._branch()
        after = "" if self._takes("$") or (before and not branch) else _ANYTHING
        return before + branch + after

    def _branch(self) -> str:
        parts = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)$":
            parts.append(self._repeated(self._atom()))
        return "".join(parts)

    def _atom(self) -> str:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return _write_class(self._class())
        if character == ".":
            return _write_class(_without([(0, LAST)], _LINE_ENDS))
        if character == "\\":
            ranges = self._escape()
            is_one = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
            return _write_character(ranges[0][0]) if is_one else _write_class(ranges)
        if character in "^*+?{}]":
            raise _Unwritable
        return _write_character(ord(character))

    def _group(self) -> str:
        if self._takes("?"):
            if self._takes("<"):  # its name says nothing here; "<=" and "<!" look back
                name, closing, _ = self._pattern[self._at :].partition(">")
                if not closing or not name.isidentifier():
                    raise _Unwritable
                self._at += len(name) + 1
            elif not self._takes(":"):
                raise _Unwritable
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Unwritable
        branches = [self._branch()]
        while self._takes("|"):
            branches.append(self._branch())
        if not self._takes(")"):
            raise _Unwritable
        self._depth -= 1
        return _choice(branches)

    def _repeated(self, atom: str) -> str:
        """Read what says how often the last part comes.

        In a group, as llama.cpp repeats all of the letters before an escaped one, and single bytes.
        """
        sign = self._pattern[self._at : self._at + 1]
        if sign in ("*", "+", "?"):
            self._at += 1
        elif sign == "{":
            sign = self._counts()
        else:
            return atom
        self._takes("?")  # lazy or not, the same texts fit
        return (atom if atom[0] in "[(" else f"(?:{atom})") + sign

    def _counts(self) -> str:
        inside, closing, _ = self._pattern[self._at + 1 :].partition("}")
        low, comma, high = inside.partition(",")
        numbers = [number for number in (low, high) if number]
        if not closing or not low or not all(one.isascii() and one.isdigit() for one in numbers):
            raise _Unwritable
        if any(len(one) > 4 or int(one) > MAX_REPEATS for one in numbers):
            raise _Unwritable
        if high and int(high) < int(low):
            raise _Unwritable
        self._at += len(inside) + 2
        return f"{{{low}{comma}{high}}}"

    def _class(self) -> Ranges:
        is_negated = self._takes("^")
        found: Ranges = []
        while not self._takes("]"):
            first = self._member()
            is_range = self._pattern[self._at : self._at + 1] == "-"
            if not is_range or self._pattern[self._at : self._at + 2] == "-]":
                found += first
                continue
            self._at += 1
            last = self._member()
            if any(len(one) != 1 or one[0][0] != one[0][1] for one in (first, last)):
                raise _Unwritable
            if first[0][0] > last[0][0]:
                raise _Unwritable
            found.append((first[0][0], last[0][0]))
        return _without([(0, LAST)], found) if is_negated else found

    def _member(self) -> Ranges:
        character = self._next()
        if character != "\\":
            return [(ord(character), ord(character))]
        if self._takes("b"):
            return [(0x08, 0x08)]
        if self._takes("-"):
            return [(0x2D, 0x2D)]
        return self._escape()

    def _escape(self) -> Ranges:
        letter = self._next()
        if letter in "dws":
            return {"d": _DIGITS, "w": _WORD, "s": _SPACE}[letter]
        if letter in "DWS":
            return _without([(0, LAST)], {"D": _DIGITS, "W": _WORD, "S": _SPACE}[letter])
        if letter in _CONTROLS:
            code = _CONTROLS[letter]
        elif letter in "xu":
            code = self._hexadecimal(2 if letter == "x" else 4)
        elif letter.isascii() and not letter.isalnum():
            code = ord(letter)
        else:
            raise _Unwritable  # boundaries, back references, properties of characters
        return [(code, code)]

    def _hexadecimal(self, length: int) -> int:
        digits = self._pattern[self._at : self._at + length]
        if len(digits) < length or set(digits) - set("0123456789abcdefABCDEF"):
            raise _Unwritable
        self._at += length
        return int(digits, 16)

    def _takes(self, character: str) -> bool:
        is_next = self._pattern[self._at : self._at + 1] == character
        self._at += is_next
        return is_next

    def _next(self) -> str:
        if self._at == len(self._pattern):
            raise _Unwritable
        self._at += 1
        return self._pattern[self._at - 1]


def _choice(branches: list[str]) -> str:
    """Write one of several texts; what may be empty may be left out."""
    some = [branch for branch in branches if branch]
    if not some:
        raise _Unwritable  # llama.cpp makes no grammar of an empty text
    group = f"(?:{'|'.join(some)})"
    return group if len(some) == len(branches) else f"(?:{group}?)"


# ---- as JSON text ----------------------------------------------------------------------------


def _without(ranges: Iterable[tuple[int, int]], taken: Iterable[tuple[int, int]]) -> Ranges:
    """Return the code points of some ranges that are in none of others."""
    left = sorted(ranges)
    for low, high in sorted(taken):
        left = [
            part
            for begin, end in left
            for part in ((begin, min(end, low - 1)), (max(begin, high + 1), end))
            if part[0] <= part[1]
        ]
    return left


def _write_character(code: int) -> str:
    character = chr(code)
    if code in _SHORT:
        return rf"\\{_SHORT[code]}"
    if code < 0x20:
        return rf"\\u{code:04x}"
    if 0xD800 <= code <= 0xDFFF:
        raise _Unwritable  # half of a character
    return rf"\{character}" if character in _ALWAYS_ESCAPED else character


def _write_class(ranges: Ranges) -> str:
    """Write one of some characters: of those that stand for themselves, or of JSON's escapes.

    Control characters without a short escape are left out: nobody means them by a class.
    """
    plain = _without(ranges, _IN_NO_TEXT)
    short = "".join(
        letter
        for code, letter in _SHORT.items()
        if any(low <= code <= high for low, high in ranges)
    )
    choices = [_write_plain(plain)] * bool(plain) + [rf"\\[{short}]"] * bool(short)
    if not choices:
        raise _Unwritable
    return choices[0] if len(choices) == 1 else f"(?:{'|'.join(choices)})"


def _write_plain(ranges: Ranges) -> str:
    """Write a class by its members or by all others, whichever is shorter: models read it, too."""
    others = _without([(0, LAST)], [*ranges, _SURROGATES])
    members, rest = ("".join(map(_write_range, sorted(one))) for one in (ranges, others))
    return f"[{members}]" if len(members) <= len(rest) else f"[^{rest}]"


def _write_range(span: tuple[int, int]) -> str:
    first, last = map(_name, span)
    return first if first == last else f"{first}-{last}"


def _name(code: int) -> str:
    character = chr(code)
    if 0x20 <= code < 0x7F and character not in "[]^-\\":
        return character
    if code < 0x100:
        return rf"\x{code:02X}"
    return rf"\u{code:04X}" if code < 0x10000 else rf"\U{code:08X}"


_ANYTHING = f"{_write_class([(0, LAST)])}*"

# ---- formats ---------------------------------------------------------------------------------

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,20}[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,3}}"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP = "[0-9a-fA-F]{1,4}"
_FREE = "[A-Za-z0-9._~!$&'()*+,;=:@-]"  # of RFC 3986, but for percent signs
_QUERY = rf"(?:\?(?:{_FREE}|[/?])*)?(?:#(?:{_FREE}|[/?])*)?"
_DAYS = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_HOURS = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_EMAIL = (
    r"^[A-Za-z0-9]+(?:[._+-][A-Za-z0-9]+)*@"
    + _LABEL
    + r"(?:\."
    + _LABEL
    + r"){0,2}\.[A-Za-z]{2,9}$"
)
_URI = rf"^[A-Za-z][A-Za-z0-9+.-]*:(?://{_HOST}(?::[0-9]{{1,4}})?(?:/{_FREE}*)*|{_FREE}+){_QUERY}$"
_FORMATS = {
    "email": _EMAIL,
    "idn-email": _EMAIL,
    "hostname": f"^{_HOST}$",
    "idn-hostname": f"^{_HOST}$",
    "ipv4": rf"^{_BYTE}(?:\.{_BYTE}){{3}}$",
    "ipv6": rf"^(?:(?:{_GROUP}:){{7}}{_GROUP}|::(?:{_GROUP}(?::{_GROUP}){{0,6}})?)$",
    "uri": _URI,
    "iri": _URI,
    "url": _URI,
    "uri-reference": _URI,
    "iri-reference": _URI,
    "duration": f"^P(?:[0-9]+W|{_DAYS}(?:{_HOURS})?|{_HOURS})$",
    "json-pointer": "^(?:/(?:[^~/]|~[01])*)*$",
    "byte": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
