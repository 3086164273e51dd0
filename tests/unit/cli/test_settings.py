"""The configuration file, and what rules, printed as one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from runner.cli.settings import effective, read_file, read_settings, render_effective
from runner.errors import RunnerError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config/runner").mkdir(parents=True)
    return tmp_path


def write(home: Path, text: str) -> dict[str, str]:
    (home / ".config/runner/config.toml").write_text(text)
    return {"HOME": str(home)}


def test_the_file_of_the_home_is_read_and_the_environment_is_stronger(home: Path) -> None:
    env = write(home, 'port = 9000\nkeep-alive = "30m"\n')
    settings = read_settings(env | {"MODEL_RUNNER_PORT": "9001"}, {})
    assert (settings.port, settings.keep_alive_s) == (9001, 1800)


def test_another_file_may_be_named_or_none(home: Path, tmp_path: Path) -> None:
    env = write(home, "port = 9000\n")
    other = tmp_path / "other.toml"
    other.write_text("port = 9002\n")
    assert read_settings(env | {"RUNNER_CONFIG": str(other)}, {}).port == 9002
    assert read_settings(env | {"RUNNER_CONFIG": "off"}, {}).port == 12434
    with pytest.raises(RunnerError, match="RUNNER_CONFIG: there is no file /nowhere"):
        read_settings(env | {"RUNNER_CONFIG": "/nowhere"}, {})


@pytest.mark.parametrize("text", ["port = = 1", "port = 1\nport = 2", "\udc80"])
def test_a_file_that_is_no_toml_is_told_with_its_path(home: Path, text: str) -> None:
    path = home / ".config/runner/config.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunnerError, match=f"cannot read {path}: "):
        read_file({"HOME": str(home)})


SOME = """\
port = 9000
keep-alive = "-1"
idle-s = "1m30s"
socket = "off"
model-alias = ["claude-*=ai/a", "b=c"]
containers = true
flash-attention = false
prefix-ram = "1G"
registry-mirror = "https://mirror.test"
offline = true
models-path = "~/m"
"""


def test_what_is_printed_is_a_file_that_says_the_same(home: Path) -> None:
    env = write(home, SOME)
    printed = render_effective(effective(env))
    again = tomllib.loads(printed)
    assert again["port"] == 9000
    assert "threads" not in again
    before = read_settings(env, {})
    assert read_settings(write(home, printed), {}) == before
    everything = "\n".join(
        line.removeprefix("# ") for line in printed.splitlines() if "chosen when" not in line
    )
    everything = everything.replace("api-keys", "# api-keys")
    assert read_settings(write(home, everything), {}) == before


def test_each_line_tells_who_said_it_and_no_line_a_secret(home: Path) -> None:
    env = write(home, "port = 9000\n") | {"RUNNER_THREADS": "2", "RUNNER_API_KEY": "sk-secret"}
    lines = {line.split(" ")[0]: line for line in render_effective(effective(env)).splitlines()}
    assert lines["port"].split() == ["port", "=", "9000", "#", f"{home}/.config/runner/config.toml"]
    assert lines["threads"].split() == ["threads", "=", "2", "#", "RUNNER_THREADS"]
    assert "sk-secret" not in "".join(lines.values())


def test_the_defaults_can_be_said(home: Path) -> None:
    rows = effective({"HOME": str(home)})
    assert {origin for _, _, origin in rows} == {"default"}
    assert tomllib.loads(render_effective(rows)) == {}
    assert ("port", 12434, "default") in rows
