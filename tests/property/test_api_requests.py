"""Whatever a client sends: a value or a RunnerError, and nothing unsafe comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner import http
from runner.api import faults, gate, jsonbody, routes
from runner.api.asking import ChatRequest
from runner.api.choosing import ignored_header
from runner.api.gate import Policy
from runner.api.keys import Scope, parse_keys
from runner.api.llama import parse as llama
from runner.api.openai import legacy_parse
from runner.api.openai import parse as chat
from runner.api.routes import Route
from runner.errors import RunnerError
from tests.unit.api.heads import head

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
CHAT_FIELDS = [member.name for member in chat.SHAPE.members]
LEGACY_FIELDS = [member.name for member in legacy_parse.SHAPE.members]
LLAMA_FIELDS = sorted(
    {
        member.name
        for shape in (llama.TOKENIZE, llama.DETOKENIZE, llama.INFILL)
        for member in shape.members
    }
)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_an_error(body: bytes) -> None:
    try:
        assert isinstance(jsonbody.decode_object(body), dict)
    except RunnerError as error:
        assert error.row.status == 400


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_what_json_writes_we_read(value: dict[str, Any]) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return
    try:
        assert jsonbody.decode_object(text.encode()) == value
    except RunnerError as error:
        assert "digits" in error.message or "surrogate" in error.message


@given(
    st.dictionaries(st.sampled_from(CHAT_FIELDS) | st.text(max_size=8), VALUES, max_size=6), VALUES
)
def test_any_request_is_valid_or_refused_by_name(members: dict[str, Any], content: Any) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": content}]} | members
    try:
        request = chat.parse(body)
    except RunnerError as error:
        assert error.row.status == 400
        assert error.param
        json.loads(faults.render(error))
    else:
        assert isinstance(request, ChatRequest)
        json.loads(request.prompt.messages_json)
        for _, value in ignored_header(request.ignored):
            assert value.isascii()
            assert value.isprintable()


@given(
    st.dictionaries(st.sampled_from(LEGACY_FIELDS) | st.text(max_size=8), VALUES, max_size=6),
    VALUES,
)
def test_any_completion_is_valid_or_refused_by_name(members: dict[str, Any], prompt: Any) -> None:
    try:
        request = legacy_parse.parse({"model": "m", "prompt": prompt} | members)
    except RunnerError as error:
        assert error.row.status == 400
        assert error.param
        json.loads(faults.render(error))
    else:
        submits = request.submits(client="")
        assert len(submits) == len(request.prompts) * request.choices


@given(
    st.sampled_from([llama.parse_tokenize, llama.parse_detokenize, llama.parse_infill]),
    st.dictionaries(st.sampled_from(LLAMA_FIELDS), VALUES, max_size=6),
)
def test_any_question_is_valid_or_refused_by_name(
    parse: Callable[[dict[str, Any]], Any], members: dict[str, Any]
) -> None:
    try:
        parse({"model": "m", "input_prefix": "a", "input_suffix": "b", **members})
    except RunnerError as error:
        assert error.row.status == 400
        assert error.param


ROUTES = [
    Route("GET", "/v1/models", Scope.INFER, 1, ""),
    Route("GET", "/v1/models/{name}", Scope.INFER, 2, ""),
    Route("POST", "/models/{name}/tag", Scope.MANAGE, 3, ""),
]
PATHS = st.text(alphabet="/abv1models.%2fF5C\\:@-", max_size=40).map("/".__add__)


@given(PATHS | PATHS.map("/v1/models".__add__))
def test_any_path_is_a_name_inside_or_an_error(path: str) -> None:
    try:
        match = routes.find(ROUTES, "GET", path)
    except RunnerError as error:
        assert error.row.status in (400, 404, 405)
    else:
        assert ".." not in match.name.split("/")
        assert not match.name.startswith("/")
        assert "\\" not in match.name


FIELD_NAMES = [
    "Origin",
    "Authorization",
    "X-Api-Key",
    "Content-Type",
    "Content-Length",
    "Access-Control-Request-Headers",
]
FIELD_TEXT = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@given(
    st.sampled_from(["GET", "POST", "OPTIONS", "PUT"]),
    st.lists(
        st.tuples(
            st.sampled_from(FIELD_NAMES),
            FIELD_TEXT | st.sampled_from(["null", "http://localhost:1", "Bearer key", "*"]),
        ),
        max_size=5,
    ),
)
def test_only_a_key_gives_scopes_and_no_header_is_forged(
    method: str, fields: list[tuple[str, str]]
) -> None:
    request: http.Request = head(method, "/v1/models", *fields)
    policy = Policy(keys=parse_keys(["key"]))
    try:
        allowed = gate.decide(request, policy, at="127.0.0.1")
    except RunnerError as error:
        assert error.row.status in (400, 401, 403, 415)
    else:
        has_key = any(value in ("Bearer key", "key") for _, value in fields)
        assert has_key or not allowed.scopes
    answers = [*gate.cors_headers(request, policy), *gate.preflight_headers(request)]
    for _, value in answers:
        assert value.isprintable()
    origins = [value for name, value in fields if name == "Origin"]
    allowed_origin = dict(answers).get("Access-Control-Allow-Origin")
    assert allowed_origin in (None, "http://localhost:1") or allowed_origin == origins[0]
