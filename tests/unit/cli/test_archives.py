"""``save`` and ``load``: files that get their names when they are whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from tests.support.console import Terminal, run_command

EXPORT = "GET /models/ai/x/export?layout=docker"
LOADED = json.dumps(
    {
        "type": "success",
        "models": [
            {"id": "sha256:" + "a" * 64, "tags": ["docker.io/ai/x:latest"]},
            {"id": "sha256:" + "b" * 64, "tags": []},
        ],
    }
).encode()


def test_an_archive_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "x.tar"
    code, out, _, _ = run_command({EXPORT: [b"one", b"two"]}, "save", "ai/x", "-o", str(target))
    assert (code, out, target.read_bytes()) == (0, "", b"onetwo")
    cut = [b"one", RunnerError(Kind.UNAVAILABLE, "it broke off")]
    target.write_bytes(b"before")
    code, _, err, _ = run_command({EXPORT: cut}, "save", "ai/x", "-o", str(target))
    assert (code, err) == (1, "it broke off\n")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_model_that_is_not_there_makes_no_file(tmp_path: Path) -> None:
    missing = {EXPORT: RunnerError(Kind.MODEL_NOT_FOUND, "no model x")}
    code, _, err, _ = run_command(missing, "save", "ai/x", "-o", str(tmp_path / "x.tar"))
    assert (code, err, list(tmp_path.iterdir())) == (1, "no model x\n", [])


def test_where_no_archive_can_be_is_told_before_one_is_asked_for(tmp_path: Path) -> None:
    away = tmp_path / "away"
    for output, problem in (
        (tmp_path, f"{tmp_path} is a folder (add the name of a file)"),
        (away / "x.tar", f"there is no folder {away} (make it first)"),
    ):
        code, _, err, _ = run_command({EXPORT: [b"one"]}, "save", "ai/x", "-o", str(output))
        assert (code, err) == (2, f"{problem}\n")


def test_an_archive_is_nothing_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())
    code, _, err, remote = run_command({}, "save", "ai/x")
    assert code == 2
    assert "redirect it, or give -o FILE" in err
    monkeypatch.setattr("sys.stdin", Terminal())
    assert run_command({}, "load")[0] == 2
    assert remote.requests == []


def test_a_loaded_archive_tells_its_models(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    archive.write_bytes(b"x" * 3_000_000)
    sent: list[bytes] = []

    def answer(body: Any) -> list[bytes]:
        sent.extend(body)
        return [LOADED]

    code, out, _, _ = run_command({"POST /models/load": answer}, "load", "-i", str(archive))
    assert (code, out) == (0, "x aaaaaaaaaaaa\n<none> bbbbbbbbbbbb\n")
    assert b"".join(sent) == archive.read_bytes()
    _, out, err, _ = run_command({"POST /models/load": answer}, "load", "-q", "-i", str(archive))
    assert (out, err) == ("aaaaaaaaaaaa\nbbbbbbbbbbbb\n", "")
    out = run_command({"POST /models/load": answer}, "load", "--json", "-i", str(archive))[1]
    assert json.loads(out) == json.loads(LOADED)["models"]


def test_a_missing_archive_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        run_command({}, "load", "-i", "/nowhere.tar")
