"""A user's commands, the real daemon and a real registry: pull, push, save, load, login."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.gguf_maker import tiny_model
from tests.support.hub_stand_in import HubStandIn
from tests.support.registries import PASSWORD, USER, RunningRegistry, Skopeo, free_port
from tests.support.throttle import Line, throttled

RUNNER = (sys.executable, "-m", "runner")
MB = 1_000_000


@dataclass(frozen=True)
class Site:
    """A daemon of the test's own, and its command line."""

    env: dict[str, str]
    home: Path

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*RUNNER, *arguments], env=self.env, input=stdin, capture_output=True, timeout=60
        )

    def done(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run a command that works, and return its stdout."""
        result = self.run(*arguments, stdin=stdin)
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout.decode()

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command; its lines come as they are written."""
        return subprocess.Popen(
            [*RUNNER, *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def serving(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(
            [*RUNNER, "serve", "--tuning", "off", *options],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stderr is not None
            assert b"Listening on" in process.stderr.readline()
            process.stderr.close()  # the log goes to its file too
            try:
                yield process
            finally:
                process.terminate()


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    home = tmp_path_factory.mktemp("h")
    port = str(free_port())
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "MODEL_RUNNER_PORT": port}
    return Site(env, home)


@pytest.fixture
def daemon(site: Site) -> Iterator[Site]:
    with site.serving():
        yield site


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_model())
    return path


def seed(registry: RunningRegistry, size_bytes: int) -> str:
    """Put a model there; return its id."""
    content = tiny_model() + random.Random(7).randbytes(size_bytes)
    manifest = registry.seed("org/big", "latest", [content, tiny_model()])
    return hashlib.sha256(manifest).hexdigest()


def read_until(pull: subprocess.Popen[str], size_bytes: int) -> None:
    """Read the lines of a pull until it has so much."""
    assert pull.stdout is not None
    for line in pull.stdout:
        amount = line.removeprefix("Downloaded ").partition("MB")[0]
        if amount.replace(".", "").isdigit() and float(amount) * MB >= size_bytes:
            return
    raise AssertionError("the pull ended before")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_model_is_packaged_pushed_removed_and_pulled_again(
    daemon: Site, open_registry: RunningRegistry, skopeo: Skopeo, weights: Path
) -> None:
    name = f"{open_registry.host}/org/tiny:v1"
    _, short_id = daemon.done("package", "--gguf", str(weights), name).split()
    assert daemon.done("push", name).splitlines()[-1] == "Model pushed successfully"
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}").stdout
    assert hashlib.sha256(raw).hexdigest()[:12] == short_id
    assert "Deleted: sha256:" in daemon.done("rm", name)
    assert json.loads(daemon.done("list", "--json")) == []
    remote = json.loads(daemon.done("inspect", "-r", name))
    told = daemon.done("pull", name).splitlines()
    assert told[-1] == "Model pulled successfully"
    assert all(line.startswith("Downloaded ") for line in told[:-1])
    [model] = json.loads(daemon.done("list", "--json"))
    assert (model["tags"], model["id"]) == ([name], remote["id"])
    assert daemon.done("pull", name) == f"Using cached model: {model['config']['size']}\n"
    assert daemon.done("pull", "-q", name) == f"{name}\n"


def test_a_stored_model_is_pulled_although_its_registry_is_gone(
    daemon: Site, open_registry: RunningRegistry
) -> None:
    seed(open_registry, 1000)
    name = f"{open_registry.host}/org/big"
    daemon.done("pull", name)
    open_registry.stop()
    result = daemon.run("pull", name)
    assert (result.returncode, result.stderr) == (0, b"")
    warning, cached = result.stdout.decode().splitlines()
    assert warning.startswith("Warning: the stored ")
    assert cached.startswith("Using cached model:")


def test_an_archive_goes_from_one_command_to_another(daemon: Site, weights: Path) -> None:
    daemon.done("package", "--gguf", str(weights), "me/tiny:v1")
    before = json.loads(daemon.done("list", "--json"))
    archive = daemon.run("save", "--layout", "oci", "me/tiny:v1").stdout
    daemon.done("rm", "me/tiny:v1")
    assert daemon.done("load", stdin=archive).startswith("me/tiny:v1 ")
    after = json.loads(daemon.done("list", "--json"))
    assert [(one["id"], one["tags"]) for one in after] == [
        (one["id"], one["tags"]) for one in before
    ]
    refused = daemon.run("load", stdin=b"no archive" * 100_000)
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"runner: ")


def test_a_login_lets_a_private_model_through(
    daemon: Site, basic_registry: RunningRegistry
) -> None:
    seed(basic_registry, 1000)
    name = f"{basic_registry.host}/org/big"
    denied = daemon.run("pull", name)
    assert denied.returncode == 1
    assert b"RUNNER_API_KEY" not in denied.stderr
    login = ("login", "-u", USER, "--password-stdin", basic_registry.host)
    assert daemon.run(*login, stdin=b"wrong").returncode == 1
    assert daemon.done(*login, stdin=PASSWORD.encode()) == "Login Succeeded\n"
    assert daemon.done("pull", name).endswith("Model pulled successfully\n")
    daemon.done("logout", basic_registry.host)
    assert daemon.run("pull", f"{name}:other").returncode == 1
    log = (daemon.home / ".local/state/runner").glob("*.log")
    assert all(PASSWORD not in path.read_text() for path in log)


def test_a_doctor_names_the_step_that_fails(daemon: Site, open_registry: RunningRegistry) -> None:
    seed(open_registry, 1000)
    name = f"{open_registry.host}/org/big"
    healthy = daemon.done("doctor", name)
    assert "FAILED" not in healthy
    open_registry.stop()
    sick = daemon.run("doctor", "--json", name)
    [found] = json.loads(sick.stdout)
    assert (sick.returncode, sick.stderr, found["healthy"]) == (1, b"", False)
    failed = [step["name"] for step in found["steps"] if step["verdict"] == "failed"]
    assert failed == ["tcp"]


def test_e5_ctrl_c_ends_a_pull_that_nobody_else_waits_for_and_it_goes_on_later(
    daemon: Site, open_registry: RunningRegistry
) -> None:
    seed(open_registry, 8 * MB)
    with throttled(open_registry.port, Line(bytes_per_s=MB)) as slow:
        name = f"127.0.0.1:{slow.port}/org/big"
        first, second = daemon.begin("pull", name), daemon.begin("pull", name)
        with first, second:
            for each in (first, second):
                read_until(each, 1)
            first.send_signal(signal.SIGINT)
            _, said = first.communicate(timeout=20)
            assert (first.returncode, said) == (
                130,
                f"Stopped. What has arrived is kept; to go on: runner pull {name}\n",
            )
            read_until(second, 4 * MB)
            second.send_signal(signal.SIGINT)
            second.communicate(timeout=20)
    until(lambda: "nobody waits for it any more" in daemon.done("logs"))
    until(lambda: "stopped" in daemon.done("logs"))
    events = daemon.done("pull", "--json", f"{open_registry.host}/org/big").splitlines()
    layers = [json.loads(line)["layer"] for line in events]
    assert any(layer.get("resumed", 0) > MB for layer in layers)


def test_a_daemon_that_stops_tells_its_pulls_and_the_next_one_goes_on(
    site: Site, open_registry: RunningRegistry
) -> None:
    seed(open_registry, 8 * MB)
    with throttled(open_registry.port, Line(bytes_per_s=MB)) as slow, ExitStack() as stack:
        daemon = stack.enter_context(site.serving())
        pull = stack.enter_context(site.begin("pull", f"127.0.0.1:{slow.port}/org/big"))
        read_until(pull, 4 * MB)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=10) == 0  # less than the grace that answers have
        _, said = pull.communicate(timeout=20)
        assert (pull.returncode, "the server is shutting down" in said) == (1, True)
    with site.serving():
        events = site.done("pull", "--json", f"{open_registry.host}/org/big").splitlines()
    layers = [json.loads(line)["layer"] for line in events]
    assert any(layer.get("resumed", 0) > MB for layer in layers)


def test_hugging_face_is_searched_and_pulled_from_with_the_user_s_token(
    site: Site, hub: HubStandIn
) -> None:
    files = {"tiny-Q4_K_M.gguf": tiny_model(), "tiny-Q8_0.gguf": tiny_model(b"\2")}
    hub.add("Org/Tiny-GGUF", files, is_gated=True, downloads=1234)
    hub.tokens["hf_user"] = {"Org/Tiny-GGUF"}
    with replace(site, env=site.env | {"HF_ENDPOINT": hub.url}).serving():
        found = site.done("search", "--source", "huggingface", "tiny").splitlines()[1].split()
        assert found[0] == "hf.co/Org/Tiny-GGUF"
        assert "Q4_K_M" in found
        assert "1.2K" in found
        denied = site.run("pull", "hf.co/Org/Tiny-GGUF")
        assert denied.returncode == 1
        assert b"HF_TOKEN" in denied.stderr
        user = replace(site, env=site.env | {"HF_TOKEN": "hf_user"})
        told = user.done("pull", "hf.co/Org/Tiny-GGUF:Q8_0").splitlines()
        assert told[-1] == "Model pulled successfully"
        [model] = json.loads(site.done("list", "--json"))
        assert model["tags"] == ["huggingface.co/org/tiny-gguf:Q8_0"]


def test_settings_of_registries_may_be_flags(site: Site, open_registry: RunningRegistry) -> None:
    seed(open_registry, 1000)
    name = f"{open_registry.host}/org/big"
    with site.serving("--offline"):
        refused = site.run("pull", name)
        assert refused.returncode == 1
        assert b"offline" in refused.stderr
    wrong = site.run("serve", "--registry-mirror", "no url")
    assert wrong.returncode == 2
    assert b"MODEL_RUNNER_REGISTRY_MIRRORS" in wrong.stderr


def test_names_of_docker_hub_are_looked_for_in_the_default_registry(
    site: Site, open_registry: RunningRegistry, weights: Path
) -> None:
    with replace(site, env=site.env | {"DEFAULT_REGISTRY": open_registry.host}).serving():
        site.done("package", "--push", "--gguf", str(weights), "tiny:v1")
        site.done("rm", "tiny:v1")
        assert site.done("pull", "tiny:v1").endswith("Model pulled successfully\n")
        assert site.done("list").splitlines()[1].startswith("tiny:v1 ")
