"""Where the daemon's things are by default: its address, its folders, its socket, its state file.

What the daemon and its clients must agree on, and no more: ``runner list`` starts with this module,
so paths are plain text here (``pathlib`` and what it imports take a third of the time that the bare
interpreter needs). Pure: the environment comes in as a mapping, nothing is looked up on disk.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from runner.errors import Kind, RunnerError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 12434  # Docker Model Runner's, so its clients find us

MAX_SOCKET_PATH_BYTES = 103  # sun_path holds 104 bytes on macOS and 108 on Linux, with the NUL

STATE_FILE_NAME = "daemon.json"  # in the state folder: who serves, and where


def models_folder(env: Mapping[str, str], platform: str = sys.platform) -> str:
    """Return the store's folder when MODELS_PATH does not name one."""
    return f"{_data_folder(env, platform)}/models"


def state_folder(env: Mapping[str, str], platform: str = sys.platform) -> str:
    """Return the folder of the state file, the daemon's log and the chat's history."""
    if state_home := clean(env.get("XDG_STATE_HOME")):
        return f"{state_home}/runner"
    home = clean(env.get("HOME"))
    if platform in ("darwin", "win32") or not home:
        return f"{_data_folder(env, platform)}/state"
    return f"{home}/.local/state/runner"


def config_file(env: Mapping[str, str], platform: str = sys.platform) -> str | None:
    """Return the configuration file when RUNNER_CONFIG names none; None without a home."""
    home = clean(env.get("HOME"))
    if config_home := clean(env.get("XDG_CONFIG_HOME")):
        return f"{config_home}/runner/config.toml"
    if platform == "win32" and (roaming := clean(env.get("APPDATA"))):
        return f"{roaming}/runner/config.toml"
    return f"{home}/.config/runner/config.toml" if home else None


def socket_path(
    env: Mapping[str, str], platform: str = sys.platform, *, port: int = DEFAULT_PORT
) -> str | None:
    """Return the unix socket of the daemon at ``port``; None where none can be.

    Each port has a socket of its own, so that two daemons do not fight for one name. Below a home
    whose path is very long there is none: the port serves.
    """
    if platform == "win32":
        return None
    runtime = clean(env.get("XDG_RUNTIME_DIR"))
    folder = f"{runtime}/runner" if runtime else f"{_data_folder(env, platform)}/run"
    path = f"{folder}/{instance_name(port)}.sock"
    return path if len(path.encode()) <= MAX_SOCKET_PATH_BYTES else None


def instance_name(port: int) -> str:
    """Return how the files of the daemon at ``port`` are called."""
    return "runner" if port == DEFAULT_PORT else f"runner-{port}"


def parse_port(text: str) -> int:
    """Parse a TCP port; 0 lets the system choose. ValueError says what is expected."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise ValueError("a port, 0 to 65535")
    return int(text)


def parse_key(text: str) -> str:
    """Parse an API key: what a header value can carry, without blanks."""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("a key of visible ASCII characters")
    return text


def clean(value: str | None) -> str:
    """Trim blanks and one pair of quotes, which env files often leave in; None becomes empty."""
    text = (value or "").strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text


def _data_folder(env: Mapping[str, str], platform: str) -> str:
    """Return the folder of all that is ours; without any home, the one around MODELS_PATH."""
    home = clean(env.get("HOME"))
    if data_home := clean(env.get("XDG_DATA_HOME")):
        return f"{data_home}/runner"
    if platform == "win32" and (local := clean(env.get("LOCALAPPDATA"))):
        return f"{local}/runner"
    if home and platform == "darwin":
        return f"{home}/Library/Application Support/runner"
    if home:
        return f"{home}/.local/share/runner"
    if models := clean(env.get("MODELS_PATH")):
        return models.rstrip("/").rpartition("/")[0] or "."
    raise RunnerError(
        Kind.USAGE,
        "HOME is not set, so there is no place for models",
        hint="set MODELS_PATH to a folder, or HOME",
    )
