"""Fields are found by name whatever its case, and lines of one name are one list."""

from __future__ import annotations

from runner.http import Headers

HEADERS = Headers([("Accept", "a/b"), ("X-Id", "1"), ("accept", "c/d")])


def test_names_have_no_case() -> None:
    assert HEADERS.get("x-ID") == "1"
    assert "X-id" in HEADERS
    assert Headers([("A", "b")]) == Headers([("a", "b")])


def test_lines_of_one_name_are_joined() -> None:
    assert HEADERS.get("accept") == "a/b, c/d"
    assert HEADERS.get_all("Accept") == ["a/b", "c/d"]
    assert HEADERS.has_repeats


def test_what_is_not_there_is_the_default() -> None:
    assert HEADERS.get("nothing") is None
    assert HEADERS.get("nothing", "else") == "else"
    assert HEADERS.get_all("nothing") == []
    assert "nothing" not in HEADERS
    assert 1 not in HEADERS


def test_the_order_is_kept() -> None:
    assert list(HEADERS) == [("Accept", "a/b"), ("X-Id", "1"), ("accept", "c/d")]
    assert len(HEADERS) == 3
    assert repr(Headers([("A", "b")])) == "Headers([('A', 'b')])"
