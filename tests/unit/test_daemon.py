"""The values that the daemon makes out of settings. That it runs is shown by tests/e2e."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from runner import daemon, exposure, listening
from runner.api import Scope
from runner.api.keys import NO_KEYS, parse_keys
from runner.config import Settings
from runner.errors import Kind, RunnerError
from runner.net import AccessRecord
from runner.oci import Descriptor, Digest, Manifest, ModelConfig
from runner.service import available_bytes
from runner.store import Store, StoredModel, remember_store


def settings(tmp_path: Path = Path("/nowhere"), **fields: Any) -> Settings:
    return Settings(models_path=tmp_path, state_path=tmp_path, socket_path=None, **fields)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("myhost", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert exposure.is_loopback(host) is expected


def test_another_address_needs_a_key_or_a_clear_word() -> None:
    with pytest.raises(RunnerError, match="no API key") as caught:
        exposure.check_exposure(settings(host="0.0.0.0"), NO_KEYS)
    assert caught.value.kind is Kind.USAGE
    exposure.check_exposure(settings(host="0.0.0.0"), parse_keys(["k"]))
    exposure.check_exposure(settings(host="0.0.0.0", insecure=True), NO_KEYS)
    exposure.check_exposure(settings(), NO_KEYS)


def test_keys_of_file_and_environment_count_together(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nguest:infer\n")
    keys = exposure.read_keys(settings(api_keys_file=file, api_keys=("boss",)))
    assert keys.scopes_of("guest") == {Scope.INFER}
    assert keys.scopes_of("boss") == set(Scope)


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe", None])
def test_a_key_file_that_holds_none_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunnerError, match="API key file") as caught:
        exposure.read_keys(settings(api_keys_file=file, api_keys=("boss",)))
    assert caught.value.kind is Kind.USAGE


@pytest.mark.parametrize(
    ("host", "hosts", "is_exposed"),
    [
        ("127.0.0.1", {"mine.example", "127.0.0.1"}, False),
        ("0.0.0.0", {"mine.example"}, True),
        ("::", {"mine.example"}, True),
        ("fd00::5", {"mine.example", "[fd00::5]"}, True),
        ("Box.Local", {"mine.example", "box.local"}, True),
    ],
)
def test_the_name_we_listen_on_is_ours(host: str, hosts: set[str], is_exposed: bool) -> None:
    policy = exposure.build_policy(settings(host=host, allowed_hosts=("Mine.example",)), NO_KEYS)
    assert (policy.hosts, policy.is_exposed) == (hosts, is_exposed)


def test_limits_are_settings() -> None:
    limits = daemon.build_limits(settings(max_connections=7, head_s=1.5, heartbeat_s=2.5))
    assert (limits.max_connections, limits.head_s, limits.heartbeat_s) == (7, 1.5, 2.5)
    assert daemon.build_engine_limits(settings(max_loaded_models=2)).max_loaded == 2
    assert daemon.build_engine_limits(settings()).max_loaded > 0


def test_what_the_daemon_was_told_holds_for_every_model() -> None:
    told = settings(
        flash_attention=False,
        keep_alive_s=math.inf,
        context_size=512,
        draft_model="ai/tiny",
        speculation=True,
        prefix_ram_bytes=0,
    )
    configuring = daemon.build_configuring(told, None)  # type: ignore[arg-type]
    chosen = asyncio.run(configuring.settings_for(packaged(2048)))
    assert (chosen.wishes.context_size, chosen.wishes.flash_attention) == (512, False)
    assert (chosen.wishes.speculation, chosen.wishes.prefix_ram_bytes) == (True, 0)
    assert (chosen.wishes.threads, chosen.keep_alive_s) == (None, math.inf)
    assert chosen.draft_model == "ai/tiny"
    assert set(chosen.origins.values()) == {"serve"}


def packaged(context_size: int | None) -> StoredModel:
    config = ModelConfig(context_size=context_size)
    manifest = Manifest(Descriptor("application/json", Digest.of(b""), 0), (), b"")
    return StoredModel(Digest.of(b""), (), 0, config, manifest, 0)


@pytest.mark.parametrize(
    ("files", "status", "size_bytes"),
    [
        ({}, "Not Installed: run python build_native.py", 0),
        ({"build.json": b"{}"}, "Not Installed: run python build_native.py", 0),
        ({"librunner_native.so": b"1234"}, "Running: llama.cpp, of an unknown build", 4),
        (
            {
                "librunner_native.dylib": b"12",
                "build.json": b'{"llama_cpp": {"commit": "0123456789abc"}, "backend": "metal"}',
            },
            "Running: llama.cpp 012345678, metal",
            2,
        ),
        (
            {"librunner_native.so": b"1", "build.json": b"{"},
            "Running: llama.cpp, of an unknown build",
            1,
        ),
    ],
)
def test_the_backend_is_surveyed_without_loading_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
    status: str,
    size_bytes: int,
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(daemon, "BINDING", tmp_path)
    backend = daemon.survey_backend()
    assert (backend.status, backend.size_bytes) == (status, size_bytes)


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::", "[::]", "0::0"])
def test_every_address_is_no_bridge(everywhere: str) -> None:
    with pytest.raises(RunnerError, match="is every address of this machine") as caught:
        exposure.find_bridges(settings(containers=("lo", everywhere)))
    assert caught.value.kind is Kind.USAGE


def test_a_bridge_is_an_address_that_we_do_not_listen_on_anyway() -> None:
    assert exposure.find_bridges(settings(containers=("10.0.0.1", "127.0.0.1"))) == ["10.0.0.1"]
    assert exposure.find_bridges(settings(host="0.0.0.0", containers=("10.0.0.1",))) == []


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")],
)
def test_an_address_is_a_url(host: str, url: str) -> None:
    assert listening.render_address(host, 80) == url


def test_the_access_log_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    record = AccessRecord("127.0.0.1:5", "GET", "/a\\x1b", 200, 7, 0.0125, "id-1", "curl/8")
    with caplog.at_level("INFO", logger="runner.access"):
        daemon.log_access(record)
    assert caplog.messages == ['127.0.0.1:5 "GET /a\\x1b" 200 7 0.013 id-1 "curl/8"']


def test_a_probe_that_passes_is_told_only_to_those_who_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    passed = AccessRecord("10.0.0.1:5", "GET", "/readyz", 200, 3, 0.001, "id-1", "kube-probe/1.30")
    with caplog.at_level("INFO", logger="runner.access"):
        daemon.log_access(passed)
        daemon.log_access(passed._replace(status=503))
    assert [record.args[3] for record in caplog.records if record.args] == [503]


def test_tuning_has_a_folder_of_the_state_and_can_be_off(tmp_path: Path) -> None:
    assert daemon.build_tuning(settings(tmp_path), {}) is not None
    assert daemon.build_tuning(settings(tmp_path, tuning=False), {}) is None


@pytest.mark.parametrize(
    ("content", "key"),
    [(b'{"inputs": {"key": "35779b"}}', "35779b"), (b"{}", "unknown"), (b"{", "unknown")],
)
def test_a_build_of_the_library_has_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, key: str
) -> None:
    (tmp_path / "build.json").write_bytes(content)
    monkeypatch.setattr(daemon, "BINDING", tmp_path)
    assert daemon.library_key() == key


def test_the_store_is_where_the_user_says_else_where_it_was_moved(tmp_path: Path) -> None:
    default, moved = tmp_path / "default", tmp_path / "moved"
    wanted = settings(tmp_path)._replace(models_path=default)
    assert daemon.open_store(wanted).path == default
    Store(moved)
    remember_store(wanted.models_memory, target=moved, source=default)
    assert daemon.open_store(wanted).path == moved
    assert daemon.open_store(wanted._replace(is_models_path_given=True)).path == default


def test_registries_are_reached_as_flags_say_then_as_the_environment_says(tmp_path: Path) -> None:
    env = {"RUNNER_INSECURE_REGISTRIES": "a.example:5000", "MODEL_RUNNER_REGISTRY_MIRRORS": ""}
    plain = daemon.build_network(settings(tmp_path), env)
    assert (plain.insecure_registries, plain.is_offline) == (frozenset({"a.example:5000"}), False)
    wanted = settings(tmp_path, insecure_registries="b.example", offline="on")
    network = daemon.build_network(wanted._replace(registry_mirrors="https://m.example"), env)
    assert network.insecure_registries == frozenset({"b.example"})
    assert (network.mirrors, network.is_offline) == (("https://m.example",), True)


@pytest.mark.parametrize("build", [None, {}, {"backend": "cuda"}])
def test_memory_is_not_told_where_a_gpu_may_hold_the_models(build: Any) -> None:
    assert daemon.memory_meter(build)(()) is None


def test_memory_is_told_where_only_processors_compute() -> None:
    assert daemon.memory_meter({"backend": "cpu"}) is available_bytes
