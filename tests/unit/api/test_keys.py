from __future__ import annotations

import pytest

from runner.api.keys import ALL_SCOPES, Scope, parse_keys
from runner.errors import Kind, RunnerError


def test_a_file_holds_keys_comments_and_scopes() -> None:
    keys = parse_keys(["# ours", "", " alpha ", "beta:infer", "gamma:infer+manage", "delta:admin"])
    assert {name: keys.scopes_of(name) for name in ("alpha", "beta", "gamma", "delta")} == {
        "alpha": ALL_SCOPES,
        "beta": {Scope.INFER},
        "gamma": {Scope.INFER, Scope.MANAGE},
        "delta": {Scope.ADMIN},
    }


@pytest.mark.parametrize("stranger", ["", "Alpha", "alpha ", "beta:infer", "ключ", "\udcff"])
def test_a_stranger_is_none(stranger: str) -> None:
    assert parse_keys(["alpha", "beta:infer"]).scopes_of(stranger) is None


def test_a_key_of_the_environment_is_taken_as_it_is() -> None:
    keys = parse_keys(["alpha:infer"], plain=["be:ta"])
    assert keys.scopes_of("be:ta") == ALL_SCOPES
    assert keys.scopes_of("alpha") == {Scope.INFER}


def test_no_key_at_all_is_false() -> None:
    assert not parse_keys(["# nothing", ""])
    assert parse_keys(["alpha"])


@pytest.mark.parametrize("line", ["two words", "ключ", ":infer", "alpha:", "alpha:root", "x" * 513])
def test_a_wrong_line_is_named_by_number_and_the_key_is_not_told(line: str) -> None:
    with pytest.raises(RunnerError, match="API key 2") as caught:
        parse_keys(["fine", line])
    assert caught.value.kind is Kind.USAGE
    assert line.partition(":")[0] not in str(caught.value) or line.startswith(":")


def test_the_keys_themselves_are_not_kept() -> None:
    assert "alpha" not in repr(parse_keys(["alpha"]))
