"""Every operation that ``/openapi.json`` tells of, with names and bodies from nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Daemon, running_daemon
from tests.e2e.test_fuzz import VALUES

pytestmark = [pytest.mark.model]

MANY = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# They go to a network, follow a log without end, or take the store from under the test.
LEFT_OUT = {
    "/models/create",
    "/models/{name}/push",
    "/api/pull",
    "/api/push",
    "/registries/search",
    "/registries/doctor",
    "/registries/login",
    "/logs",
    "/models/move",
}


class Operation(NamedTuple):
    method: str
    path: str
    members: list[str]  # of its body
    query: list[str]


@pytest.fixture(scope="module")
def scratch(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose models and settings may be lost."""
    with running_daemon(tmp_path_factory.mktemp("home")) as started:
        yield started
        assert started.stop() == 0


def operations(document: dict[str, Any]) -> list[Operation]:
    """List what the document tells of."""
    found = []
    for path, methods in document["paths"].items():
        for method, told in methods.items() if path not in LEFT_OUT else ():
            content = told.get("requestBody", {}).get("content", {})
            reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
            query = [one["name"] for one in told.get("parameters", []) if one["in"] == "query"]
            found.append(Operation(method.upper(), path, [*schema.get("properties", {})], query))
    return found


MODELS = st.sampled_from(
    [
        "ai/none",
        "a",
        "..",
        "%2e%2e",
        "x" * 600,
        "a:b:c",
        "resp_1",
        "sha256:0",
        "%00",
        "a%2Fb",
        "%ff",
    ]
) | st.text(alphabet="ab/:@.%-_", max_size=10)


def test_no_operation_is_our_fault(scratch: Daemon) -> None:
    all_of_them = operations(scratch.get("/openapi.json"))
    assert len(all_of_them) > 100

    @MANY
    @given(data=st.data())
    def try_one(data: st.DataObject) -> None:
        method, path, members, query = data.draw(st.sampled_from(all_of_them))
        path = path.replace("{name}", data.draw(MODELS))
        body = data.draw(st.dictionaries(st.sampled_from(members or ["x"]), VALUES, max_size=4))
        parameters = {name: data.draw(MODELS) for name in query}
        answer = requests.request(
            method, scratch.url + path, json=body, params=parameters, timeout=60
        )
        assert answer.status_code < 500, (method, path, body, answer.text[:500])
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.json()["error"]

    try_one()


METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"]
SEGMENTS = ["v1", "engines", "llama.cpp", "chat", "models", "api", "..", ".", "%2e%2e", "", "ai"]
PATHS = st.lists(
    st.sampled_from(SEGMENTS) | st.text("abz%2fF5C\\:@-_.~é\N{SNOWMAN}", max_size=8), max_size=6
).map(lambda segments: "/" + "/".join(segments))


@MANY
@given(method=st.sampled_from(METHODS), path=PATHS, body=VALUES)
def test_no_path_and_no_method_is_our_fault(
    scratch: Daemon, method: str, path: str, body: Any
) -> None:
    answer = requests.request(method, scratch.url + path, json=body, timeout=60)
    assert answer.status_code < 500 or answer.status_code in (501, 505), (method, path)
    if answer.status_code >= 400 and method != "HEAD":
        assert json.loads(answer.content)["error"]
