"""A model goes to a real registry, through skopeo and back, into another store, and answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.oci import Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store, StoredModel
from runner.transfer.progress import Event
from runner.transfer.pull import pull
from runner.transfer.push import Pushed, push
from tests.conftest import ROOT
from tests.e2e.conftest import environment, running_daemon
from tests.support.embedded import find_model
from tests.support.models import add_gguf
from tests.support.registries import RunningRegistry, Skopeo

pytestmark = pytest.mark.model


@pytest.fixture
def registry() -> Iterator[Registry]:
    network = Network()
    transport = Transport(network)
    yield Registry(network, transport)
    transport.close()


def send(store: Store, registry: Registry, model: StoredModel, name: str) -> Pushed:
    return push(
        store,
        registry,
        model,
        Reference.parse(name),
        listen=ignore,
        cancelled=lambda: False,
    )


def fetch(store: Store, registry: Registry, name: str) -> StoredModel:
    reference = Reference.parse(name)
    return pull(store, registry, reference, listen=ignore, cancelled=lambda: False).model


def ignore(_: Event) -> None:
    """Hear of progress, and show nothing."""


@pytest.mark.usefixtures("_engine")
def test_a_pushed_model_goes_through_skopeo_and_answers_from_another_store(
    open_registry: RunningRegistry, registry: Registry, skopeo: Skopeo, tmp_path: Path
) -> None:
    ours = Store(tmp_path / "ours")
    model = add_gguf(ours, [find_model()], Reference.parse("smollm2"))
    pushed, copied = (f"{open_registry.host}/{name}/smollm2:v1" for name in ("team", "copied"))
    done = send(ours, registry, model, pushed)
    assert (done.digest, done.mounted_bytes, done.present_bytes) == (model.id, 0, 0)

    # skopeo takes it to an image layout, and from there to another repository.
    layout = tmp_path / "layout"
    skopeo("copy", "--src-tls-verify=false", f"docker://{pushed}", f"oci:{layout}:v1")
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert entry["digest"] == str(model.id)
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{copied}")

    theirs = Store(tmp_path / "home" / "models")
    pulled = fetch(theirs, registry, copied)
    assert (pulled.id, pulled.manifest.raw) == (model.id, model.manifest.raw)
    assert theirs.bundle(pulled).gguf_path.read_bytes() == find_model().read_bytes()

    with running_daemon(tmp_path / "home", MODELS_PATH=str(theirs.path)) as daemon:
        question = [{"role": "user", "content": "Say hello."}]
        body = {"model": copied, "messages": question, "max_tokens": 16, "temperature": 0}
        answer = daemon.post("/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"].strip()
        daemon.stop()


@pytest.mark.usefixtures("_engine")
def test_a_user_packages_pushes_removes_pulls_and_asks(
    open_registry: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{open_registry.host}/team/smollm2:v1"
    with running_daemon(tmp_path) as daemon:

        def runner(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "runner", *arguments],
                cwd=ROOT,
                env=environment(tmp_path, MODEL_RUNNER_HOST=daemon.url),
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        runner("package", "--gguf", str(find_model()), "smollm2")
        runner("tag", "smollm2", name)
        runner("push", name)
        runner("rm", "smollm2", name)
        assert daemon.get("/models") == []
        events = [json.loads(line) for line in runner("pull", "--json", name).splitlines()]
        assert events[-1]["type"] == "success"
        assert runner("pull", "--quiet", name).strip()  # at once: it is there
        assert runner("run", "--max-tokens", "8", name, "Say hello.").strip()
        daemon.stop()


def test_our_store_is_an_image_layout_to_skopeo(skopeo: Skopeo, tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    model = add_gguf(store, [find_model()], Reference.parse("registry.example/team/smollm2:v1"))
    source = f"oci:{store.path}:registry.example/team/smollm2:v1"
    assert skopeo("inspect", "--raw", source).stdout == model.manifest.raw
    config = json.loads(skopeo("inspect", "--config", "--raw", source).stdout)
    assert config["config"]["architecture"] == "llama"
