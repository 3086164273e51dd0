"""A model comes from a stand-in for Hugging Face into a daemon, through a kill -9, and answers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Daemon, running_daemon, until
from tests.support.embedded import find_model
from tests.support.hub_stand_in import HubStandIn

pytestmark = pytest.mark.model

NAME = "hf.co/Org/SmolLM2-GGUF:Q4_1"


@pytest.mark.usefixtures("_engine")
def test_a_pull_that_is_killed_is_resumed_by_the_next_daemon_and_the_model_answers(
    hub: HubStandIn, tmp_path: Path
) -> None:
    weights = find_model().read_bytes()
    hub.add("Org/SmolLM2-GGUF", {"SmolLM2-Q4_1.gguf": weights, "LICENSE": b"Apache-2.0"})
    store = tmp_path / "models"
    variables = {"HF_ENDPOINT": hub.url, "MODELS_PATH": str(store)}
    hub.gate.after_bytes = 8 * 2**20
    hub.gate.is_open.clear()
    with running_daemon(_home(tmp_path, "first"), **variables) as first:
        puller = threading.Thread(target=_pull_in_vain, args=(first,))
        puller.start()
        until(lambda: _has_first_block(store), timeout_s=30)
        first.process.kill()
        puller.join()
    hub.gate.is_open.set()
    hub.cdn_requests.clear()
    with running_daemon(_home(tmp_path, "second"), **variables) as second:
        assert second.get("/models") == []
        assert "taking Q4_1 (93.81MiB)" in second.post("/models/create", {"from": NAME}).text
        ranges = [seen.headers.get("range", "bytes=0-") for seen in hub.cdn_requests]
        assert not any(text.startswith("bytes=0-") for text in ranges)
        body = {"model": NAME, "messages": [{"role": "user", "content": "Say hello."}]}
        answer = second.post("/v1/chat/completions", body | {"max_tokens": 8, "temperature": 0})
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"].strip()
        second.stop()


def _home(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir()
    return home


def _pull_in_vain(daemon: Daemon) -> None:
    with pytest.raises(requests.RequestException):
        daemon.post("/models/create", {"from": NAME})


def _has_first_block(store: Path) -> bool:
    """Whether the journal of a download says that block 0 is written."""
    return any(b"\n0 " in journal.read_bytes() for journal in store.glob("partials/*.journal"))
