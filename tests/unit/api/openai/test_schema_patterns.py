"""Patterns as llama.cpp reads them: over JSON's text, anchored, with classes spelled out."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.api.openai import schema_patterns as patterns

ANY = r'(?:[^\x00-\x1F"\x5C\x7F]|\\[btnfr"\\])*'


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("^a$", "^a$"),
        (r"^\d{3}-\d{4}$", "^[0-9]{3}-[0-9]{4}$"),
        ("a", f"^{ANY}a{ANY}$"),
        ("", f"^{ANY}$"),
        ("^a|b$", f"^(?:a{ANY}|{ANY}b)$"),
        ('^"x"$', r'^\\"x\\"$'),
        (r"^\\$", r"^\\\\$"),
        (r"^[\w.-]+?$", r"^[\x2D.0-9A-Z_a-z]+$"),
        (r"^a\.*$", r"^a(?:\.)*$"),
        ("^é*$", "^(?:é)*$"),
        (r"^\n$", r"^\\n$"),
        ("^(|a)$", "^(?:(?:a)?)$"),
        ("^(?<year>[0-9]+)$", "^(?:[0-9]+)$"),
        (r'^["\\]$', r'^\\["\\]$'),
        (r"^\/\-$", "^/-$"),
    ],
)
def test_a_pattern_is_written_as_it_is_read(pattern: str, written: str) -> None:
    assert patterns.written(pattern) == written


@pytest.mark.parametrize(
    "pattern",
    [
        *("^$", "^(?=a)a$", "^(?!a)", "(?<=a)b", r"\bword", r"(a)\1", r"\p{L}", "a^b", "a$b"),
        *("(a", "a)", "[a", "*a", "a**", "a{2001}", "a{3,2}", "a{,3}", "a{", "^[b-a]$", "^[]$"),
        *("\\", r"\u12", r"^\ud800$", r"^[\d-x]$", "(" * 40 + "a" + ")" * 40, "." * 10_000),
    ],
)
def test_what_no_grammar_can_say_is_not_written(pattern: str) -> None:
    assert patterns.written(pattern) is None


def test_a_hostile_pattern_is_read_fast() -> None:
    started_s = time.process_time()
    for pattern in ("(" * 100_000, "[" * 100_000, "a{1" * 50_000, "|" * 100_000, "[^a-z]" * 20_000):
        patterns.written(pattern)
    assert time.process_time() - started_s < 5


CHARACTERS = 'ab0_ ."\\\n\t-é{'
atoms = st.sampled_from(
    [
        *("a", "b", "0", "é", " ", '"', "."),
        *(r"\d", r"\D", r"\w", r"\W", r"\.", r"\\", r"\n", r"\u0061", r"\-", r"\{"),
        *("[ab]", "[^a]", r"[\d_]", r"[^\w\n]", r'["\\]', "[a-é]", "[ -~]", r"[^\\\"]"),
    ]
)
signs = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])
branches = st.recursive(
    st.lists(st.builds(str.__add__, atoms, signs), max_size=4).map("".join),
    lambda inner: st.builds(
        lambda before, choices, sign: f"{before}({'|'.join(choices)}){sign}",
        inner,
        st.lists(inner.filter(bool), min_size=1, max_size=3),
        signs,
    ),
    max_leaves=5,
)
expressions = st.builds(
    lambda begin, inside, end: begin + inside + end,
    st.sampled_from(["^", ""]),
    branches,
    st.sampled_from(["$", ""]),
)


@given(expressions, st.lists(st.text(CHARACTERS, max_size=6), min_size=1, max_size=5))
def test_the_text_of_a_string_fits_where_the_string_does(pattern: str, strings: list[str]) -> None:
    written = patterns.written(pattern)
    if written is None:
        assert pattern == "^$"
        return
    # Python's $ is also before a last line end, and its dot knows one kind of those.
    meant = re.compile(re.sub(r"\$$", r"\\Z", pattern), re.ASCII)
    made = re.compile(written.removeprefix("^").removesuffix("$"))
    for string in strings:
        text = json.dumps(string, ensure_ascii=False)[1:-1]
        assert (made.fullmatch(text) is not None) is (meant.search(string) is not None)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("email", ["a.b@c.example.org"], ["a", "a@b", ".a@b.cd", "a@b.cd\n"]),
        ("hostname", ["a", "a-b.c"], ["-a", "a-", "a..b", ""]),
        ("ipv4", ["0.0.0.0", "255.249.199.9"], ["256.1.1.1", "1.2.3", "01.2.3.4"]),
        ("ipv6", ["::", "::1", "1:2:3:4:5:6:7:8"], ["1::2:", ":", "12345::"]),
        ("uri", ["https://a.b:80/c/d?e=f#g", "urn:isbn:1"], ["a", "http://", "https://a b"]),
        ("duration", ["P1Y2M3D", "PT1H", "P2W", "P1DT5M"], ["P", "PT", "P1H", "1D"]),
        ("json-pointer", ["", "/a~0b//c"], ["a", "/~2"]),
        ("byte", ["", "YQ==", "YWI=", "YWJj"], ["YQ", "Y==="]),
    ],
)
def test_formats(name: str, good: list[str], bad: list[str]) -> None:
    written = patterns.format_pattern(name)
    assert written is not None
    made = re.compile(written.removeprefix("^").removesuffix("$"))
    assert [text for text in good if not made.fullmatch(text)] == []
    assert [text for text in bad if made.fullmatch(text)] == []


def test_a_format_of_no_text() -> None:
    assert patterns.format_pattern("regex") is None


@pytest.mark.parametrize("pattern", ["^($", "a)", "[a", "[(]$(", r"(\)", "(" * 33 + ")" * 33])
def test_brackets_that_nobody_reads_are_malformed(pattern: str) -> None:
    assert patterns.is_malformed(pattern)


@pytest.mark.parametrize(
    "pattern", ["", "(a|b)c", "[(]", r"\(", r"[\]]", r"\\(a)", r"^\p{L}$", "(?=a)"]
)
def test_what_a_regular_expression_may_say_is_not_malformed(pattern: str) -> None:
    assert not patterns.is_malformed(pattern)
