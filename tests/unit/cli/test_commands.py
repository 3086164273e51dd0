from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import runner
from runner.cli.endpoint import Endpoint
from runner.cli.remote import NoDaemon
from runner.errors import Kind, RunnerError
from tests.support.console import NOW_S, run_command

ID = "sha256:354bf30d0aa3" + "0" * 52
SMOLLM = {
    "id": ID,
    "tags": ["docker.io/ai/smollm2:latest", "docker.io/ai/smollm2:360M"],
    "created": int(NOW_S) - 21 * 86400,
    "config": {
        "format": "gguf",
        "quantization": "Q4_K_M",
        "parameters": "361.82M",
        "architecture": "llama",
        "size": "256.35MiB",
        "context_size": 8192,
    },
}
OTHER = {
    "id": "sha256:" + "b" * 64,
    "config": {"gguf": {"general.architecture": "qwen3", "qwen3.context_length": "40960"}},
}
DOWN = NoDaemon(Endpoint("127.0.0.1", 12434))


def test_list_has_a_row_for_every_tag() -> None:
    code, out, err, _ = run_command({"GET /models": [SMOLLM, OTHER]}, "list")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "MODEL NAME    PARAMETERS  QUANTIZATION  ARCHITECTURE  MODEL ID      CREATED      CONTEXT"
        "  SIZE",
        "<none>                                                bbbbbbbbbbbb               40960",
        "smollm2       361.82M     Q4_K_M        llama         354bf30d0aa3  3 weeks ago  8192"
        "     256.35MiB",
        "smollm2:360M  361.82M     Q4_K_M        llama         354bf30d0aa3  3 weeks ago  8192"
        "     256.35MiB",
    ]


def test_list_as_json_is_the_answer_alone() -> None:
    _, out, err, _ = run_command({"GET /models": [SMOLLM]}, "list", "--json")
    assert json.loads(out) == [SMOLLM]
    assert out.startswith('[\n    {\n        "id"')
    assert err == ""


@pytest.mark.parametrize(
    ("wanted", "is_found"),
    [
        ("smollm2", True),
        ("ai/smollm2", True),
        ("docker.io/ai/smollm2", True),
        ("smollm2:360M", True),
        ("smollm2:latest", True),
        ("354bf30d0aa3", True),
        ("smollm", False),
        ("smollm2:8B", False),
        ("other/smollm2", False),
    ],
)
def test_list_finds_a_model_by_any_of_its_names(wanted: str, is_found: bool) -> None:
    _, out, _, _ = run_command({"GET /models": [SMOLLM, OTHER]}, "ls", "--json", wanted)
    assert json.loads(out) == ([SMOLLM] if is_found else [])


def test_list_finds_a_name_without_its_owner() -> None:
    model = SMOLLM | {"tags": ["docker.io/me/tiny:latest", "docker.io/me/tiny:8k"]}
    for wanted in ("tiny", "tiny:8k", "me/tiny", "me/tiny:8k"):
        assert json.loads(run_command({"GET /models": [model]}, "ls", "--json", wanted)[1])
    assert run_command({"GET /models": [model]}, "ls", "--json", "you/tiny")[1] == "[]\n"


def test_list_quiet_has_an_id_for_every_model() -> None:
    _, out, _, _ = run_command({"GET /models": [SMOLLM, OTHER]}, "list", "-q")
    assert out == "354bf30d0aa3\nbbbbbbbbbbbb\n"


def test_list_in_openais_form() -> None:
    answer = {"object": "list", "data": []}
    _, out, _, _ = run_command({"GET /v1/models": answer}, "list", "--openai")
    assert json.loads(out) == answer


@pytest.mark.parametrize(
    ("model", "until"),
    [
        ({"loading": True, "fraction": 0.42}, "Loading... 42%"),
        ({"keep_alive": "-1"}, "Forever"),
        ({"keep_alive": "5m0s", "expires_at": "2027-01-15T08:05:00Z"}, "5 minutes from now"),
        ({"keep_alive": "5m0s", "expires_at": "2027-01-15T08:00:00Z"}, "Expiring"),
        ({"in_use": True}, "In use"),
        ({}, ""),
    ],
)
def test_ps_tells_until_when_a_model_stays(model: dict[str, Any], until: str) -> None:
    entry = {"model_name": "ai/SmolLM2", "backend_name": "llama.cpp", "mode": "completion"}
    _, out, _, _ = run_command({"GET /engines/ps": [entry | model]}, "ps")
    header, row = out.splitlines()
    assert header == "MODEL NAME  BACKEND    MODE        UNTIL"
    assert row == f"smollm2     llama.cpp  completion  {until}".rstrip()


def test_ps_as_json_is_the_answer_alone() -> None:
    answer = [{"model_name": ID, "settings": {"threads": 2}}]
    assert json.loads(run_command({"GET /engines/ps": answer}, "ps", "--json")[1]) == answer


def test_status_of_a_running_server() -> None:
    backends = {"vllm": "Not Installed: binary not found", "llama.cpp": "Running: cpu, AVX2"}
    code, out, err, _ = run_command({"GET /engines/status": backends}, "status")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "The server is running at http://127.0.0.1:12434",
        "",
        "BACKEND    STATUS         DETAILS",
        "llama.cpp  Running        cpu, AVX2",
        "vllm       Not Installed  binary not found",
    ]


def test_status_without_a_server_is_code_1_and_nothing_on_stdout() -> None:
    code, out, err, _ = run_command({"GET /engines/status": DOWN}, "status")
    assert (code, out) == (1, "")
    assert "no daemon answers at http://127.0.0.1:12434" in err
    assert "python -m runner serve" in err


@pytest.mark.parametrize(
    ("answer", "is_running"), [({"llama.cpp": "Running"}, True), (DOWN, False)]
)
def test_status_as_json_is_one_line_and_code_0(answer: Any, is_running: bool) -> None:
    code, out, err, _ = run_command({"GET /engines/status": answer}, "status", "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert json.loads(out) == {
        "running": is_running,
        "backends": {"llama.cpp": "Running"} if is_running else {},
        "kind": "Runner",
        "endpoint": "http://127.0.0.1:12434/v1/",
        "endpointHost": "http://127.0.0.1:12434/v1/",
    }


def test_inspect_prints_the_model() -> None:
    code, out, _, _ = run_command(
        {"GET /models/ai/smollm2:latest": SMOLLM}, "inspect", "ai/smollm2:latest"
    )
    assert (code, json.loads(out)) == (0, SMOLLM)
    answer = {"GET /v1/models/smollm2": {"object": "model"}}
    assert json.loads(run_command(answer, "inspect", "--openai", "smollm2")[1])["object"] == "model"


def test_a_name_is_encoded_in_the_path() -> None:
    error = RunnerError(Kind.MODEL_NOT_FOUND, "none")
    code, _, _, remote = run_command({"GET /models/a%3Fb%20%C3%A4%23": error}, "inspect", "a?b ä#")
    assert code == 1
    assert remote.requests == [("GET /models/a%3Fb%20%C3%A4%23", None)]


def test_df_counts_bytes() -> None:
    usage = {"models_disk_usage": 270_603_264, "default_backend_disk_usage": 0}
    assert run_command({"GET /engines/df": usage}, "df")[1] == "TYPE    SIZE\nModels  270.60MB\n"
    usage["default_backend_disk_usage"] = 1000
    out = run_command({"GET /engines/df": usage}, "df")[1]
    assert out.splitlines()[2] == "Inference engine  1.00kB"
    assert json.loads(run_command({"GET /engines/df": usage}, "df", "--json")[1]) == usage


def test_rm_stops_at_the_first_that_cannot_be_removed() -> None:
    answers = {
        "DELETE /models/a": [{"Untagged": "docker.io/ai/a:latest"}, {"Deleted": ID}],
        "DELETE /models/b": RunnerError(Kind.CONFLICT, "b has 2 names", hint="use --force"),
    }
    code, out, err, remote = run_command(answers, "rm", "a", "b", "c")
    assert (code, out) == (1, f"Untagged: docker.io/ai/a:latest\nDeleted: {ID}\n")
    assert err == "b has 2 names (use --force)\n"
    assert len(remote.requests) == 2


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("org/x", "repo=org/x&tag=latest"),
        ("org/x:8k", "repo=org/x&tag=8k"),
        ("localhost:5000/x", "repo=localhost:5000/x&tag=latest"),
        ("x&y:1", "repo=x%26y&tag=1"),
    ],
)
def test_tag_splits_the_target(target: str, query: str) -> None:
    path = f"POST /models/ai/smollm2/tag?{query}"
    code, out, _, _ = run_command({path: {"target": "x"}}, "tag", "ai/smollm2", target)
    assert code == 0
    assert out == f'Model "ai/smollm2" tagged successfully with "{target}"\n'


@pytest.mark.parametrize(
    ("arguments", "count", "body", "said"),
    [
        (["a", "b"], 2, {"all": False, "models": ["a", "b"]}, "Unloaded 2 model(s).\n"),
        (["a"], 0, {"all": False, "models": ["a"]}, "No such model(s) running.\n"),
        (["--all"], 0, {"all": True, "models": []}, "No models are running.\n"),
    ],
)
def test_unload(arguments: list[str], count: int, body: dict[str, Any], said: str) -> None:
    answers = {"POST /engines/unload": {"unloaded_runners": count}}
    code, out, _, remote = run_command(answers, "unload", *arguments)
    assert (code, out) == (0, said)
    assert remote.requests[0][1] == body


@pytest.mark.parametrize("arguments", [[], ["--all", "a"]])
def test_unload_wants_models_or_all(arguments: list[str]) -> None:
    assert run_command({}, "unload", *arguments)[0] == 2


@pytest.mark.parametrize(
    ("answer", "server"), [({"version": "9.9"}, "9.9"), (DOWN, None)], ids=["up", "down"]
)
def test_version_of_both_sides(answer: Any, server: str | None) -> None:
    code, out, err, _ = run_command({"GET /version": answer}, "version")
    assert (code, err) == (0, "")
    assert f"Client:\n Version:    {runner.__version__}\n OS/Arch:    " in out
    assert f"Server:\n Version:    {server or '(not reachable)'}\n" in out
    out = run_command({"GET /version": answer}, "version", "--json")[1]
    assert json.loads(out) == {"client": runner.__version__, "server": server}


def test_logs_are_printed_without_controls() -> None:
    pieces = ["[t] info é".encode()[:-1], "é".encode()[-1:] + b"\n\x1b[2Jx\n"]
    code, out, _, _ = run_command({"GET /logs": pieces}, "logs")
    assert (code, out) == (0, "[t] info é\n\ufffd[2Jx\n")


def test_logs_without_a_daemon_are_what_the_last_one_wrote(tmp_path: Path) -> None:
    env = {"HOME": "/home/ada", "XDG_STATE_HOME": str(tmp_path)}
    code, out, err, _ = run_command({"GET /logs?follow=true": DOWN}, "logs", "-f", env=env)
    assert (code, out) == (1, "")
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "runner.log").write_text("last words\n")
    code, out, err, _ = run_command({"GET /logs": DOWN}, "logs", env=env)
    assert (code, out) == (0, "last words\n")
    assert "this is what the last one wrote to" in err


def test_package_sends_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.gguf", "LICENSE", "t.jinja"):
        (tmp_path / name).touch()
    answers = {"POST /models/package": {"id": ID, "tags": ["docker.io/org/m:1"]}}
    options = ["-l", "LICENSE", "--chat-template", "t.jinja", "--context-size", "4096"]
    code, out, _, remote = run_command(answers, "package", "--gguf", "m.gguf", *options, "org/m:1")
    assert (code, out) == (0, "org/m:1 354bf30d0aa3\n")
    assert remote.requests[0][1] == {
        "gguf": str(tmp_path / "m.gguf"),
        "name": "org/m:1",
        "licenses": [str(tmp_path / "LICENSE")],
        "chat_template": str(tmp_path / "t.jinja"),
        "context_size": 4096,
    }


def test_package_without_the_file_asks_nobody() -> None:
    code, _, err, remote = run_command({}, "package", "--gguf", "/nope.gguf", "x")
    assert (code, err, remote.requests) == (2, "there is no file /nope.gguf\n", [])
