from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.cli.commands.import_models import default_folder
from runner.errors import Kind, RunnerError
from tests.support.console import run_command

ID = "sha256:354bf30d0aa3" + "0" * 52
WEIGHTS = "sha256:" + "c" * 64


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def test_df_tells_the_parts_that_there_are() -> None:
    usage = {
        "models_disk_usage": 3_000_000,
        "default_backend_disk_usage": 0,
        "models": 2_000_000,
        "unfinished": 1_000_000,
        "unneeded": 0,
        "shared": 0,
        "linked": 500,
    }
    out = run_command({"GET /engines/df": usage}, "df")[1]
    assert out.splitlines() == [
        "TYPE                               SIZE",
        "Models                             2.00MB",
        "Unfinished downloads               1.00MB",
        "Also files of yours, counted here  500.00B",
    ]


PRUNED = {
    "models": [{"id": ID, "tags": ["docker.io/ai/x:latest", "docker.io/me/x:8k"]}],
    "freed": 1_500_000,
}


def test_prune_tells_what_went() -> None:
    code, out, err, remote = run_command(
        {"POST /models/prune": PRUNED}, "prune", "--unused-since", "30d", "--untagged"
    )
    assert (code, err) == (0, "")
    assert out == "Removed: x, me/x:8k\nFreed: 1.50MB\n"
    body = {"untagged": True, "dry_run": False, "unused_since_s": 30 * 86400}
    assert remote.requests == [("POST /models/prune", body)]


def test_a_dry_run_says_would() -> None:
    answer = PRUNED | {"models": [{"id": ID, "tags": []}]}
    _, out, _, remote = run_command({"POST /models/prune": answer}, "prune", "--dry-run")
    assert out == "Would remove: 354bf30d0aa3\nWould free: 1.50MB\n"
    assert remote.requests[0][1] == {"untagged": False, "dry_run": True}


@pytest.mark.parametrize("text", ["soon", "-1", "-5d"])
def test_prune_names_a_wrong_time(text: str) -> None:
    code, _, err, _ = run_command({}, "prune", f"--unused-since={text}")
    assert code == 2
    assert f"expected a time such as 30d or 12h, got {text!r}" in err


def checked(*damages: dict[str, Any]) -> list[bytes]:
    told = {"type": "checked", "blobs": 6, "bytes": 2_000_000, "damages": list(damages)}
    return [line({"type": "progress", "done": 1, "total": 2}), line(told)]


def damage(remedy: str) -> dict[str, Any]:
    return {
        "digest": WEIGHTS,
        "problem": "has other bytes than its name",
        "models": ["docker.io/ai/x:latest"],
        "remedy": remedy,
    }


def test_fsck_of_a_sound_store() -> None:
    code, out, err, remote = run_command({"POST /models/check": checked()}, "fsck")
    assert (code, err) == (0, "")
    assert out == "Checked 6 files, 2.00MB: all as they should be\n"
    assert remote.requests == [("POST /models/check", {"repair": False})]


@pytest.mark.parametrize(
    ("remedy", "arguments", "code", "told"),
    [
        ("none", (), 1, "has other bytes than its name"),
        (
            "set aside",
            ("--repair",),
            1,
            "has other bytes than its name; set aside; pull or add x again",
        ),
        ("restored", ("--repair",), 0, "has other bytes than its name; restored"),
    ],
)
def test_fsck_tells_each_damage_and_what_to_do(
    remedy: str, arguments: tuple[str, ...], code: int, told: str
) -> None:
    answers = {"POST /models/check": checked(damage(remedy))}
    got, out, err, _ = run_command(answers, "fsck", *arguments)
    assert got == code
    assert out == f"{WEIGHTS} of x {told}\nChecked 6 files, 2.00MB: 1 is damaged\n"
    assert err == ("" if arguments else "Repair with: runner fsck --repair\n")


def test_fsck_as_json_is_the_answer_alone() -> None:
    answers = {"POST /models/check": checked(damage("none"))}
    code, out, err, _ = run_command(answers, "fsck", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out) == {"blobs": 6, "bytes": 2_000_000, "damages": [damage("none")]}


def test_fsck_that_fails_on_the_way_tells_why() -> None:
    error = {"error": {"message": "the disk is gone", "code": "store_error"}}
    code, out, err, _ = run_command({"POST /models/check": [line(error)]}, "fsck")
    assert (code, out) == (1, "")
    assert "the disk is gone" in err
    code, _, err, _ = run_command({"POST /models/check": [b""]}, "fsck")
    assert (code, err) == (1, "the server broke off before it was done\n")


PURGE: dict[str, Any] = {
    "POST /engines/unload": {"unloaded_runners": 0},
    "DELETE /models/purge": None,
}


@pytest.mark.parametrize("answer", ["y", "Y\n"])
def test_purge_asks_and_is_silent(answer: str) -> None:
    code, out, err, remote = run_command(PURGE, "purge", stdin=answer)
    assert (code, out) == (0, "")
    assert err == (
        "WARNING! This will remove the entire models directory.\n"
        "Are you sure you want to continue? [y/N] "
    )
    assert [request for request, _ in remote.requests] == list(PURGE)


@pytest.mark.parametrize("answer", ["", "n\n", "yes\n", "\n"])
def test_purge_takes_no_other_word_for_yes(answer: str) -> None:
    code, _, err, remote = run_command(PURGE, "purge", stdin=answer)
    assert (code, remote.requests) == (0, [])
    assert err.endswith("Operation cancelled.\n")


def test_purge_by_force_does_not_ask() -> None:
    code, out, err, remote = run_command(PURGE, "purge", "-f")
    assert (code, out, err, len(remote.requests)) == (0, "", "", 2)


def test_purge_tells_why_it_cannot() -> None:
    busy = RunnerError(Kind.BUSY, "process 7 is adding a model", hint="try again")
    code, _, err, _ = run_command(PURGE | {"DELETE /models/purge": busy}, "purge", "-f")
    assert (code, err) == (1, "process 7 is adding a model (try again)\n")


@pytest.mark.parametrize("is_remembered", [True, False])
def test_mv_store_sends_a_full_path_and_tells_who_remembers_it(is_remembered: bool) -> None:
    told = {"type": "moved", "path": "/disk/models", "remembered": is_remembered}
    answers = {"POST /models/move": [line({"type": "progress", "done": 1, "total": 2}), line(told)]}
    code, out, err, remote = run_command(answers, "mv-store", "models")
    assert (code, out) == (0, "/disk/models\n")
    assert remote.requests == [("POST /models/move", {"path": str(Path("models").resolve())})]
    assert ("MODELS_PATH or --models-path" in err) is not is_remembered
    out = run_command(answers, "mv-store", "--json", "models")[1]
    assert json.loads(out) == {"path": "/disk/models", "remembered": is_remembered}


FOUND = [
    {"names": ["docker.io/ai/x:latest", "docker.io/me/x:8k"], "size": 2_000_000},
    {"names": ["registry.ollama.ai/library/y:1b"], "size": 1_000},
]
OLLAMA = {"from": "ollama", "path": "/home/ada/.ollama/models"}


def test_import_without_a_name_lists_what_is_there() -> None:
    code, out, err, remote = run_command(
        {"POST /models/import": FOUND}, "import", "--from", "ollama"
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "MODEL NAME                       SIZE",
        "x                                2.00MB",
        "registry.ollama.ai/library/y:1b  1.00kB",
    ]
    assert remote.requests == [("POST /models/import", OLLAMA)]
    out = run_command({"POST /models/import": FOUND}, "import", "--from", "ollama", "--json")[1]
    assert json.loads(out) == FOUND


def test_import_takes_models_over() -> None:
    told = {"type": "imported", "id": ID, "tags": ["docker.io/ai/mine:latest"]}
    code, out, _, remote = run_command(
        {"POST /models/import": [line(told)]},
        *("import", "--from", "dmr", "x", "--as", "mine", "--path", "/data"),
    )
    assert (code, out) == (0, "mine 354bf30d0aa3\n")
    body = {"from": "dmr", "path": "/data", "name": "x", "target": "mine"}
    assert remote.requests == [("POST /models/import", body)]
    words = ("import", "--from", "dmr", "x", "--json")
    out = run_command({"POST /models/import": [line(told)]}, *words)[1]
    assert json.loads(out) == [{"id": ID, "tags": ["docker.io/ai/mine:latest"]}]


def test_a_model_that_cannot_be_imported_keeps_no_other_from_it() -> None:
    no_model = RunnerError(Kind.INVALID_MODEL, "not a GGUF file")
    every = ("import", "--from", "ollama", "--all", "x", "y")
    code, out, err, remote = run_command({"POST /models/import": no_model}, *every)
    assert (code, out) == (1, "")
    assert err.splitlines() == ["Left out x: not a GGUF file", "Left out y: not a GGUF file"]
    assert len(remote.requests) == 2
    full = RunnerError(Kind.DISK_FULL, "the disk is full")
    code, _, err, remote = run_command({"POST /models/import": full}, *every)
    assert (code, err, len(remote.requests)) == (1, "the disk is full\n", 1)


def test_one_name_is_for_one_model() -> None:
    code, _, err, remote = run_command({}, "import", "--from", "hf", "a", "b", "--as", "c")
    assert (code, remote.requests) == (2, [])
    assert "--as names one model" in err


@pytest.mark.parametrize(
    ("program", "env", "folder"),
    [
        ("dmr", {}, "/home/ada/.docker/models"),
        ("ollama", {}, "/home/ada/.ollama/models"),
        ("ollama", {"OLLAMA_MODELS": "/data/ollama"}, "/data/ollama"),
        ("hf", {}, "/home/ada/.cache/huggingface/hub"),
        ("hf", {"XDG_CACHE_HOME": "/cache"}, "/cache/huggingface/hub"),
        ("hf", {"HF_HOME": "/hf"}, "/hf/hub"),
        ("hf", {"HF_HOME": "/hf", "HF_HUB_CACHE": "/hub"}, "/hub"),
    ],
)
def test_each_program_has_a_folder(program: str, env: dict[str, str], folder: str) -> None:
    assert default_folder(program, {"HOME": "/home/ada"} | env) == Path(folder)


def test_import_of_a_file_names_it_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "SmolLM2 (Q4)-00001-of-00002.gguf"
    path.touch()
    models = [{"id": ID, "tags": ["docker.io/ai/smollm2-q4:latest"]}]
    told = {"type": "success", "message": "", "models": models}
    code, out, _, remote = run_command({"POST /models/package": [line(told)]}, "import", str(path))
    assert (code, out) == (0, "smollm2-q4 354bf30d0aa3\n")
    assert remote.requests[0][1] == {"gguf": str(path), "name": "smollm2-q4"}


def test_import_of_nothing_or_of_no_file_says_what_to_give() -> None:
    for arguments in ((), ("nowhere.gguf",)):
        code, _, err, remote = run_command({}, "import", *arguments)
        assert (code, remote.requests) == (2, [])
        assert "--from" in err
