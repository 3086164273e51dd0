from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from runner.config import OPTIONS, File, Settings, find_stated, parse_settings, parse_size
from runner.errors import Kind, RunnerError

HOME = {"HOME": "/home/ada"}


def parse(env: dict[str, str] | None = None, **flags: Any) -> Settings:
    return parse_settings(HOME | (env or {}), flags, platform="linux")


def test_defaults() -> None:
    settings = parse()
    assert (settings.host, settings.port) == ("127.0.0.1", 12434)
    assert settings.models_path == Path("/home/ada/.local/share/runner/models")
    assert settings.socket_path == Path("/home/ada/.local/share/runner/run/runner.sock")
    assert settings.log_path == Path("/home/ada/.local/state/runner/runner.log")
    assert settings.state_file == Path("/home/ada/.local/state/runner/daemon.json")
    assert settings.keep_alive_s is None
    assert settings.api_keys == ()
    assert settings.context_size is None


def test_flags_win_over_environment_and_environment_over_defaults() -> None:
    env = {"MODEL_RUNNER_PORT": "1111", "RUNNER_THREADS": "3"}
    settings = parse(env, port="2222")
    assert (settings.port, settings.threads, settings.parallel) == (2222, 3, None)


def test_a_flag_that_was_not_given_does_not_count() -> None:
    assert parse({"MODEL_RUNNER_PORT": "1111"}, port=None).port == 1111


def test_the_first_variable_of_an_option_wins() -> None:
    env = {"RUNNER_ORIGINS": "https://a", "DMR_ORIGINS": "https://b"}
    assert parse(env).allowed_origins == ("https://a",)
    assert parse({"DMR_ORIGINS": " https://b , *,"}).allowed_origins == ("https://b", "*")


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("RUNNER_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("MODELS_PATH", "~/m", "models_path", Path("/home/ada/m")),
        ("MODELS_PATH", "  '/m' ", "models_path", Path("/m")),
        ("MODEL_RUNNER_SOCK", "/run/r.sock", "socket_path", Path("/run/r.sock")),
        ("MODEL_RUNNER_SOCK", "off", "socket_path", None),
        ("RUNNER_API_KEY", "sk-1", "api_keys", ("sk-1",)),
        ("RUNNER_API_KEY_FILE", "~/keys", "api_keys_file", Path("/home/ada/keys")),
        ("RUNNER_INSECURE", "TRUE", "insecure", True),
        ("LOG_LEVEL", "warn", "log_level", "warning"),
        ("RUNNER_KEEP_ALIVE", "-1", "keep_alive_s", math.inf),
        ("RUNNER_KEEP_ALIVE", "1h30m", "keep_alive_s", 5400.0),
        ("RUNNER_MODEL_ALIASES", "a*=b, c = d", "model_aliases", (("a*", "b"), ("c", "d"))),
        ("RUNNER_FLASH_ATTENTION", "off", "flash_attention", False),
        ("RUNNER_KV_LAYOUT", "Streams", "kv_layout", "streams"),
        ("RUNNER_GPU_LAYERS", "-1", "gpu_layers", -1),
        ("RUNNER_THREADS_BATCH", "4", "threads_batch", 4),
        ("RUNNER_SPECULATION", "off", "speculation", False),
        ("RUNNER_DRAFT_MODEL", "ai/tiny", "draft_model", "ai/tiny"),
        ("RUNNER_TUNING", "off", "tuning", False),
        ("RUNNER_PREFIX_RAM", "512M", "prefix_ram_bytes", 512 * 1024**2),
        ("RUNNER_PREFIX_DISK", "off", "prefix_disk_bytes", 0),
        ("RUNNER_IDLE_TIMEOUT", "2m", "idle_s", 120.0),
        ("RUNNER_API_KEY", "", "api_keys", ()),
    ],
)
def test_a_variable_becomes_a_value(variable: str, text: str, field: str, value: object) -> None:
    assert getattr(parse({variable: text}), field) == value


@pytest.mark.parametrize(
    ("env", "flags", "message"),
    [
        (
            {},
            {"model_aliases": "claude-*"},
            "--model-alias: expected NAME=MODEL,NAME=MODEL such as claude-*=ai/smollm2, "
            "got 'claude-*'",
        ),
        (
            {"MODEL_RUNNER_PORT": "80a"},
            {},
            "MODEL_RUNNER_PORT: expected a port, 0 to 65535, got '80a'",
        ),
        ({}, {"port": "99999"}, "--port: expected a port, 0 to 65535, got '99999'"),
        ({}, {"threads": "0"}, "--threads: expected a whole number from 1 to 512, got '0'"),
        ({}, {"kv_layout": "x"}, "--kv-layout: expected unified or streams, got 'x'"),
        ({}, {"flash_attention": "maybe"}, "--flash-attention: expected on or off, got 'maybe'"),
        (
            {},
            {"keep_alive_s": "5 minutes"},
            "--keep-alive: expected a time such as 30s, 5m or 1h, or -1 for ever, got '5 minutes'",
        ),
        (
            {},
            {"prefix_ram_bytes": "much"},
            "--prefix-ram: expected a size such as 512M or 2G, or off, got 'much'",
        ),
        ({}, {"prefix_ram_bytes": "9" * 400}, "--prefix-ram: expected a size such as 512M"),
        (
            {"RUNNER_THREADS": "100000"},
            {},
            "RUNNER_THREADS: expected a whole number from 1 to 512, got '100000'",
        ),
        ({}, {"max_queue": "9" * 20}, "--max-queue: expected a whole number from 0 to 2147483647"),
        ({}, {"log_level": "loud"}, "--log-level: expected debug or info or warning or error"),
        (
            {"RUNNER_HEAD_TIMEOUT": "0"},
            {},
            "RUNNER_HEAD_TIMEOUT: expected a time above zero such as 30s or 5m, got '0'",
        ),
    ],
)
def test_an_error_names_the_source_the_value_and_what_is_expected(
    env: dict[str, str], flags: dict[str, str], message: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        parse(env, **flags)
    assert caught.value.message.startswith(message)
    assert caught.value.row.exit_code == 2


def test_a_wrong_key_stays_out_of_the_error() -> None:
    with pytest.raises(RunnerError) as caught:
        parse({"RUNNER_API_KEY": "secret key"})
    assert str(caught.value) == "RUNNER_API_KEY: expected a key of visible ASCII characters"


def test_a_socket_path_that_the_system_cannot_hold_is_refused() -> None:
    with pytest.raises(RunnerError, match="more than 103 bytes") as caught:
        parse(socket_path="/" + "x" * 103)
    assert caught.value.kind is Kind.USAGE


def test_files_of_another_port_have_other_names() -> None:
    settings = parse(port="9000")
    assert settings.log_path.name == "runner-9000.log"
    assert settings.socket_path is not None
    assert settings.socket_path.name == "runner-9000.sock"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("1k", 1024),
        ("1.5G", 1536 * 1024**2),
        ("2GiB", 2 * 1024**3),
        ("1TB", 1024**4),
        ("Off", 0),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "G", "-1", "1 G", "1Q", "1e9", "٣G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        parse_size(text)


def test_every_option_sets_a_field_and_every_field_has_an_option() -> None:
    derived = {"state_path", "is_models_path_given"}
    assert {option.name for option in OPTIONS} | derived == set(Settings._fields)


def test_a_named_place_for_models_is_told_from_the_default() -> None:
    home = {"HOME": "/home/ada"}
    assert not parse_settings(home, {}).is_models_path_given
    assert parse_settings(home | {"MODELS_PATH": "/m"}, {}).is_models_path_given
    assert parse_settings(home, {"models_path": "/m"}).is_models_path_given


def test_stores_that_are_only_read_come_with_commas() -> None:
    env = {"HOME": "/home/ada", "RUNNER_SHARED_MODELS": "/nfs/models, ~/friend"}
    assert parse_settings(env, {}).shared_paths == (Path("/nfs/models"), Path("/home/ada/friend"))
    given = parse_settings(env, {"shared_paths": "/other"})
    assert given.shared_paths == (Path("/other"),)


FILE = File(
    "/c.toml", {"port": 9000, "threads": 2, "tuning": False, "models-path-ro": ["/a", "/b"]}
)


def test_a_file_is_weaker_than_the_environment_and_stronger_than_defaults() -> None:
    settings = parse_settings(
        HOME | {"RUNNER_THREADS": "3"}, {"port": "1111"}, FILE, platform="linux"
    )
    assert (settings.port, settings.threads, settings.tuning) == (1111, 3, False)
    assert settings.shared_paths == (Path("/a"), Path("/b"))


def test_each_value_is_told_with_who_said_it() -> None:
    stated = find_stated({"RUNNER_THREADS": "3", "LOG_LEVEL": "debug"}, {"port": "1111"}, FILE)
    assert {each.option.name: (each.text, each.source) for each in stated} == {
        "port": ("1111", "--port"),
        "shared_paths": ("/a,/b", "/c.toml"),
        "log_level": ("debug", "LOG_LEVEL"),
        "threads": ("3", "RUNNER_THREADS"),
        "tuning": ("off", "/c.toml"),
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"prot": 1}, "/c.toml: there is no setting 'prot'"),
        ({"api-keys": "sk-1"}, "/c.toml: there is no setting 'api-keys'"),
        ({"port": 99999}, "/c.toml: port: expected a port, 0 to 65535, got '99999'"),
        ({"port": True}, "/c.toml: port: expected a port, 0 to 65535, got 'on'"),
        ({"threads": {"a": 1}}, "/c.toml: threads: expected a text, a number, true, false or"),
    ],
)
def test_an_error_names_the_file_and_the_setting(members: dict[str, Any], message: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse_settings(HOME, {}, File("/c.toml", members))
    assert caught.value.message.startswith(message)
