"""LoRA adapters as users have them: packaged with a model, listed, and chosen by each request."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Daemon, environment, running_daemon
from tests.support.adapters import adapter, write_adapters
from tests.support.embedded import find_model

pytestmark = [pytest.mark.native, pytest.mark.model]

TELL = "Tell me about the sea."


@pytest.fixture(scope="module")
def daemon(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One of their own: tests of the shared daemon count its models."""
    with running_daemon(tmp_path_factory.mktemp("home")) as started:
        yield started
        started.stop()


@pytest.fixture(scope="module")
def model(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model with two adapters."""
    folder = tmp_path_factory.mktemp("adapted")
    files = write_adapters(folder, adapter(1, name="Law"), adapter(4, strength=0.1, name="Sea"))
    loras = [word for path in files for word in ("--lora", str(path))]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "runner",
            "package",
            "--gguf",
            str(find_model()),
            *loras,
            "me/adapted",
        ],
        env=environment(daemon.home, MODEL_RUNNER_HOST=daemon.url),
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return "me/adapted"


def answer(daemon: Daemon, model: str, lora: Any) -> str:
    members = {} if lora is None else {"lora": lora}
    reply = daemon.chat(TELL, model=model, **members)
    assert reply.status_code == 200, reply.text
    text: str = reply.json()["choices"][0]["message"]["content"]
    return text


def test_adapters_are_listed(daemon: Daemon, model: str) -> None:
    answer(daemon, model, None)
    listed = daemon.get(f"/lora-adapters?model={model}")
    assert [(one["id"], one["name"], one["scale"]) for one in listed] == [
        (0, "Law", 1.0),
        (1, "Sea", 1.0),
    ]


def test_each_request_chooses_its_adapters(daemon: Daemon, model: str) -> None:
    law, sea = {"name": "Law", "scale": 1.0}, {"id": 1, "scale": 1.0}
    said = {
        "packaged": answer(daemon, model, None),
        "none": answer(daemon, model, []),
        "law": answer(daemon, model, [law]),
        "sea": answer(daemon, model, [sea]),
    }
    assert len(set(said.values())) == len(said)
    assert answer(daemon, model, [sea, law]) == said["packaged"]
    assert answer(daemon, model, [{"id": 0, "scale": 1.0}]) == said["law"]
    unadapted = daemon.chat(TELL)  # of the model as it came
    assert unadapted.json()["choices"][0]["message"]["content"] == said["none"]


def test_the_sdk_chooses_adapters_of_a_response(daemon: Daemon, model: str) -> None:
    law = [{"name": "Law", "scale": 1.0}]
    with daemon.sdk() as client:
        response = client.responses.create(
            model=model,
            input=TELL,
            max_output_tokens=16,
            temperature=0,
            extra_body={"lora": law, "keep_alive": "1h"},
        )
    assert response.output_text == answer(daemon, model, law)
    [row] = [row for row in daemon.running() if "me/adapted" in row["model_name"]]
    assert row["keep_alive"] == "1h0m0s"


def test_an_adapter_that_a_model_has_not_is_a_400(daemon: Daemon, model: str) -> None:
    with daemon.sdk() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": TELL}],
            extra_body={"lora": [{"name": "Sky", "scale": 1.0}]},
        )
    assert "lora" in (caught.value.param or "")
    assert "0 (Law), 1 (Sea)" in caught.value.message
