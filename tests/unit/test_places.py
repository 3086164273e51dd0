from __future__ import annotations

import pytest

from runner import places
from runner.errors import Kind, RunnerError

HOME = {"HOME": "/home/ada"}


@pytest.mark.parametrize(
    ("env", "platform", "models", "state", "socket"),
    [
        (
            HOME,
            "linux",
            "/home/ada/.local/share/runner/models",
            "/home/ada/.local/state/runner",
            "/home/ada/.local/share/runner/run/runner.sock",
        ),
        (
            HOME
            | {"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "/d"},
            "linux",
            "/d/runner/models",
            "/s/runner",
            "/run/user/7/runner/runner.sock",
        ),
        (
            HOME,
            "darwin",
            "/home/ada/Library/Application Support/runner/models",
            "/home/ada/Library/Application Support/runner/state",
            "/home/ada/Library/Application Support/runner/run/runner.sock",
        ),
        (
            {"LOCALAPPDATA": "C:/Users/ada/AppData/Local"},
            "win32",
            "C:/Users/ada/AppData/Local/runner/models",
            "C:/Users/ada/AppData/Local/runner/state",
            None,
        ),
        (  # a container without a home: everything is around the models
            {"MODELS_PATH": "/data/models/"},
            "linux",
            "/data/models",
            "/data/state",
            "/data/run/runner.sock",
        ),
    ],
)
def test_each_platform_has_its_folders(
    env: dict[str, str], platform: str, models: str, state: str, socket: str | None
) -> None:
    assert places.models_folder(env, platform) == models
    assert places.state_folder(env, platform) == state
    assert places.socket_path(env, platform) == socket


def test_e18_without_any_home_the_error_says_what_to_set() -> None:
    with pytest.raises(RunnerError, match="HOME is not set") as caught:
        places.models_folder({}, "linux")
    assert caught.value.kind is Kind.USAGE
    assert caught.value.hint == "set MODELS_PATH to a folder, or HOME"


def test_a_home_too_long_for_a_socket_has_none() -> None:
    # sun_path: 103 bytes and the NUL on macOS, the shorter of the two.
    fits = {"XDG_RUNTIME_DIR": "/" + "x" * (103 - len("/" + "/runner/runner.sock"))}
    assert places.socket_path(fits, "linux") is not None
    assert places.socket_path({"XDG_RUNTIME_DIR": fits["XDG_RUNTIME_DIR"] + "x"}, "linux") is None


def test_another_port_has_a_socket_of_its_own() -> None:
    path = places.socket_path(HOME, "linux", port=9000)
    assert path == "/home/ada/.local/share/runner/run/runner-9000.sock"


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [(None, ""), ("  x ", "x"), ("'x'", "x"), ('" x "', "x"), ("'", "'"), ("'x\"", "'x\"")],
)
def test_values_are_trimmed_of_blanks_and_quotes(value: str | None, cleaned: str) -> None:
    assert places.clean(value) == cleaned


@pytest.mark.parametrize("text", ["", "-1", "65536", "80a", "٣"])
def test_a_port_is_a_number_up_to_65535(text: str) -> None:
    with pytest.raises(ValueError, match="a port, 0 to 65535"):
        places.parse_port(text)


@pytest.mark.parametrize("text", ["a b", "naïve", "a\tb"])
def test_a_key_is_visible_ascii(text: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        places.parse_key(text)
