"""The configuration file, and the settings that rule, as one reads and keeps them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner import places
from runner.config import (
    NO_FILE,
    OPTIONS,
    File,
    Settings,
    Stated,
    find_stated,
    flag_name,
    parse_settings,
)
from runner.durations import render_keep_alive
from runner.errors import Kind, RunnerError
from runner.places import clean

FILE_VARIABLE = "RUNNER_CONFIG"
DEFAULT = "default"
MAX_FILE_BYTES = 1024 * 1024


def read_settings(env: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Return the settings of this command line, environment and file; RunnerError(USAGE)."""
    return parse_settings(env, flags, read_file(env))


def read_file(env: Mapping[str, str]) -> File:
    """Read the file that RUNNER_CONFIG names, else the user's if there is one."""
    named = clean(env.get(FILE_VARIABLE))
    path = named or places.config_file(env)
    if path is None or named.lower() == "off":
        return NO_FILE
    try:
        with Path(path).open("rb") as file:
            return File(path, tomllib.loads(file.read(MAX_FILE_BYTES).decode()))
    except FileNotFoundError:
        if named:
            raise RunnerError(Kind.USAGE, f"{FILE_VARIABLE}: there is no file {path}") from None
        return NO_FILE
    except (OSError, ValueError, RecursionError) as error:
        raise RunnerError(Kind.USAGE, f"cannot read {path}: {error}") from None


def effective(env: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    """List (name, value, origin) of every setting that ``serve`` would use; secrets are hidden.

    Values are those of a configuration file; None where the engine or the system chooses.
    """
    file = read_file(env)
    settings = parse_settings(env, {}, file)
    stated = {each.option.name: each for each in find_stated(env, {}, file)}
    return [
        (
            flag_name(option.name),
            _file_value(option.name, settings, stated),
            stated[option.name].source if option.name in stated else DEFAULT,
        )
        for option in OPTIONS
    ]


def render_effective(rows: list[tuple[str, Any, str]]) -> str:
    """Lay the settings out as a configuration file; what nobody said is commented out."""
    lines = [_render_line(name, value, origin) for name, value, origin in rows]
    width = max(len(line) for line, _ in lines)
    return "".join(f"{line.ljust(min(width, 60))}  # {origin}\n" for line, origin in lines)


def _render_line(name: str, value: Any, origin: str) -> tuple[str, str]:
    if name == "api-keys":
        return f"# {name}", f"{origin}; never in this file: see api-key-file"
    if value is None:
        return f"# {name} =", f"{origin}: chosen when it is needed"
    text = json.dumps(value, ensure_ascii=False)  # of texts, numbers and lists: TOML, too
    return f"{'# ' if origin == DEFAULT else ''}{name} = {text}", origin


def _file_value(field: str, settings: Settings, stated: Mapping[str, Stated]) -> Any:
    """Return a setting's value as a configuration file has it."""
    value = getattr(settings, field)
    match value:
        case _ if field == "api_keys":
            return "(secret)" if value else None
        case None:
            return "off" if field == "socket_path" else None
        case Path():
            return str(value)
        case float():
            return render_keep_alive(value)
        case tuple():
            return ["=".join(item) if isinstance(item, tuple) else str(item) for item in value]
        case _ if field in ("registry_mirrors", "insecure_registries", "offline"):
            return stated[field].text
        case _:
            return value
