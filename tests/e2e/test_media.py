"""Images as users send them: the OpenAI SDK, and a model packaged with a projector."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import MODEL, Daemon, environment, running_daemon
from tests.support.embedded import find_model
from tests.support.projectors import ROWS, png, png_of, write_projectors
from tests.support.web import Reply, serve

pytestmark = [pytest.mark.native, pytest.mark.model]


@pytest.fixture(scope="module")
def daemon(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One of their own: tests of the shared daemon count its models."""
    with running_daemon(tmp_path_factory.mktemp("home")) as started:
        yield started
        started.stop()


@pytest.fixture(scope="module")
def model(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model with eyes of random weights."""
    folder = tmp_path_factory.mktemp("vision")
    projector = write_projectors(folder, width=576)["plain"]
    command = ["package", "--gguf", str(find_model()), "--mmproj", str(projector), "me/vision"]
    subprocess.run(
        [sys.executable, "-m", "runner", *command],
        env=environment(daemon.home, MODEL_RUNNER_HOST=daemon.url),
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return "me/vision"


def shown(data: bytes, question: str = "What is it?") -> list[Any]:
    return shown_at(f"data:image/png;base64,{base64.b64encode(data).decode()}", question)


def shown_at(url: str, question: str = "What is it?") -> list[Any]:
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": question},
    ]
    return [{"role": "user", "content": parts}]


def test_the_sdk_shows_an_image_and_goes_on_about_it(daemon: Daemon, model: str) -> None:
    client = daemon.sdk()
    create = client.chat.completions.create
    settings: dict[str, Any] = {"model": model, "max_tokens": 8, "temperature": 0}
    messages = shown(png(1))
    first = create(messages=messages, **settings)
    assert first.usage is not None and first.usage.prompt_tokens > ROWS
    answer = first.choices[0].message.content
    messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "Really?"}]
    second = create(messages=messages, **settings)
    assert second.usage is not None and second.usage.prompt_tokens_details is not None
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached is not None and cached >= first.usage.prompt_tokens
    with client, create(messages=shown(png(2)), stream=True, **settings) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_anthropics_sdk_shows_an_image_and_a_tool_returns_one(daemon: Daemon, model: str) -> None:
    data = base64.b64encode(png(3)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    image: Any = {"type": "image", "source": source}
    result: Any = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    use: Any = {"type": "tool_use", "id": "t", "name": "see", "input": {}}
    user: Any = {"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}
    called: Any = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    url = f"{daemon.url}/anthropic"
    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
        first = client.messages.create(model=model, messages=[user], max_tokens=4)
        both = client.messages.create(model=model, messages=[user, *called], max_tokens=4)
        counted = client.messages.count_tokens(model=model, messages=[user])
        with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\]\.content\[0\]\.source"):
            client.messages.create(model=MODEL, messages=[user], max_tokens=1)
    read = first.usage.input_tokens + (first.usage.cache_read_input_tokens or 0)
    assert counted.input_tokens == read > ROWS
    assert both.usage.input_tokens + (both.usage.cache_read_input_tokens or 0) > 2 * ROWS


def test_props_tell_what_a_model_takes(daemon: Daemon, model: str) -> None:
    assert daemon.chat("Hi", model=model, max_tokens=1).status_code == 200
    props = daemon.get(f"/props?model={model}")
    assert "<|im_start|>" in props["chat_template"]
    assert props["modalities"] == {"vision": True, "audio": False}


@pytest.mark.parametrize(
    "data", [b"no image", png_of(1, 10**9, b""), png(1)[:99], b"<svg xmlns=''/>"]
)
def test_b14_what_is_no_image_is_a_400_that_names_it(
    daemon: Daemon, model: str, data: bytes
) -> None:
    with daemon.sdk() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=shown(data), max_tokens=1)
    assert caught.value.param == "messages[0].content[0]"


def test_b14_an_image_elsewhere_is_fetched_from_nowhere_near(
    daemon: Daemon, tmp_path: Path
) -> None:
    with serve(lambda _: Reply(body=png(1))) as web:
        body = {"model": MODEL, "messages": shown_at(f"{web.url}/cat.png")}
        off = daemon.post("/v1/chat/completions", body)
        with running_daemon(tmp_path, "--remote-media", "on") as fetching:
            on = fetching.post("/v1/chat/completions", body)
            assert fetching.stop() == 0
    assert (off.status_code, on.status_code) == (400, 400)
    assert "RUNNER_REMOTE_MEDIA=on" in off.text
    assert "refused to be sent to 127.0.0.1" in on.text
    assert web.connections == 0


def test_b15_an_image_for_a_model_that_reads_text_is_a_400(daemon: Daemon) -> None:
    with daemon.sdk() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=shown(png(1)), max_tokens=1)
    assert (caught.value.code, caught.value.param) == (
        "model_not_supported",
        "messages[0].content[0]",
    )
    assert "takes text only" in caught.value.message


def test_b15_responses_name_the_image_by_its_place_in_the_input(daemon: Daemon) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png(1)).decode()}"
    image: Any = {"type": "input_image", "image_url": url, "detail": "auto"}
    with daemon.sdk() as client, pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input=[{"role": "user", "content": [image]}])
    assert caught.value.param == "input[0].content[0]"
    assert caught.value.message.count("input[0].content[0]") == 1
