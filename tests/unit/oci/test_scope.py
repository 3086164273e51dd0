from __future__ import annotations

from runner.oci.scope import Scope, agree_scopes, merge_scopes, parse_scopes


def test_a_scope_is_written_with_its_actions_sorted() -> None:
    assert str(Scope.of("ai/tiny", "push", "pull")) == "repository:ai/tiny:pull,push"


def test_scopes_of_a_challenge_are_parsed_and_others_left_out() -> None:
    text = "repository:ai/a:push,pull registry:catalog:* repository(plugin):ai/b:pull x"
    assert parse_scopes(text) == (Scope.of("ai/a", "pull", "push"), Scope.of("ai/b", "pull"))
    assert parse_scopes("repository:../x y:pull") == ()


def test_scopes_of_one_repository_are_joined() -> None:
    merged = merge_scopes(
        [Scope.of("ai/b", "pull"), Scope.of("ai/a", "pull"), Scope.of("ai/b", "push")]
    )
    assert [str(scope) for scope in merged] == [
        "repository:ai/a:pull",
        "repository:ai/b:pull,push",
    ]


def test_a_registry_may_ask_for_other_names_but_not_for_more_rights() -> None:
    wanted = [Scope.of("ai/a", "pull")]
    asked = parse_scopes("repository:ai/a:pull,push repository:mirror/ai/a:* repository:x/y:delete")
    assert agree_scopes(wanted, asked) == (
        Scope.of("ai/a", "pull"),
        Scope.of("mirror/ai/a", "pull"),
    )
    pushing = [Scope.of("ai/a", "pull", "push")]
    assert agree_scopes(pushing, asked)[0] == Scope.of("ai/a", "pull", "push")
    assert agree_scopes([], []) == ()
