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
        "DELETE /models/a?force=false": [{"Untagged": "docker.io/ai/a:latest"}, {"Deleted": ID}],
        "DELETE /models/b?force=false": RunnerError(
            Kind.CONFLICT, "b has 2 names", hint="use --force"
        ),
    }
    code, out, err, remote = run_command(answers, "rm", "a", "b", "c")
    assert (code, out) == (1, f"Untagged: docker.io/ai/a:latest\nDeleted: {ID}\n")
    assert err == "b has 2 names (use --force)\n"
    assert len(remote.requests) == 2
    code, out, _, _ = run_command(answers, "rm", "--json", "a", "b", "c")
    assert code == 1
    assert json.loads(out) == [{"Untagged": "docker.io/ai/a:latest"}, {"Deleted": ID}]


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
    _, out, err, _ = run_command({path: {"target": "x"}}, "tag", "ai/smollm2", target, "--json")
    assert (json.loads(out), err) == ({"target": "x"}, "")


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
    _, out, _, _ = run_command(answers, "unload", *arguments, "--json")
    assert json.loads(out) == {"unloaded_runners": count}


def test_unload_knows_one_engine() -> None:
    answers = {"POST /engines/unload": {"unloaded_runners": 1}}
    assert run_command(answers, "unload", "--all", "--backend", "llama.cpp")[0] == 0
    code, _, err, remote = run_command(answers, "unload", "--all", "--backend", "vllm")
    assert (code, remote.requests) == (2, [])
    assert "llama.cpp" in err


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
    quiet = {"GET /logs?follow=true&no-engines=true": [b"x\n"]}
    assert run_command(quiet, "logs", "-f", "--no-engines")[:2] == (0, "x\n")


def test_logs_without_a_daemon_are_what_the_last_one_wrote(tmp_path: Path) -> None:
    env = {"HOME": "/home/ada", "XDG_STATE_HOME": str(tmp_path)}
    code, out, err, _ = run_command({"GET /logs?follow=true": DOWN}, "logs", "-f", env=env)
    assert (code, out) == (1, "")
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "runner.log").write_text("last words\n")
    code, out, err, _ = run_command({"GET /logs": DOWN}, "logs", env=env)
    assert (code, out) == (0, "last words\n")
    assert "this is what the last one wrote to" in err
    (tmp_path / "runner" / "runner.log").write_text("[t] info runner.worker [7] loud\nquiet\n")
    code, out, _, _ = run_command(
        {"GET /logs?no-engines=true": DOWN}, "logs", "--no-engines", env=env
    )
    assert (code, out) == (0, "quiet\n")


PACKAGED = [
    json.dumps({"type": "success", "models": [{"id": ID, "tags": ["docker.io/org/m:1"]}]}).encode()
]


def test_package_sends_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.gguf", "LICENSE", "t.jinja"):
        (tmp_path / name).touch()
    answers = {"POST /models/package": PACKAGED}
    options = ["-l", "LICENSE", "--chat-template", "t.jinja", "--context-size", "4096"]
    code, out, _, remote = run_command(answers, "package", "--gguf", "m.gguf", *options, "org/m:1")
    assert (code, out) == (0, "org/m:1 354bf30d0aa3\n")
    out = run_command(answers, "package", "--gguf", "m.gguf", "org/m:1", "--json")[1]
    assert json.loads(out)["id"] == ID
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


SETTINGS = {
    "context_size": 4096,
    "total_cells": 32768,
    "parallel": 8,
    "slots": 8,
    "threads": 2,
    "threads_batch": 4,
    "batch_size": 512,
    "ubatch_size": 256,
    "flash_attention": False,
    "kv_layout": "streams",
    "kv_type": "f16",
    "gpu_layers": 0,
    "draft_tokens": 8,
    "prefix_ram_bytes": 1_500_000_000,
    "prefix_disk_bytes": 0,
    "origin": "tuned",
}
RULING = [
    {"name": "keep_alive", "value": "30m0s", "origin": "request"},
    {"name": "context_size", "value": 4096, "origin": "configure"},
    {"name": "flash_attention", "value": False, "origin": "measured"},
]
LOADED = {
    "model_name": "ai/smollm2",
    "id": ID,
    "backend_name": "llama.cpp",
    "mode": "completion",
    "keep_alive": "-1",
    "settings": SETTINGS,
    "threads": 1,
    "tokens_per_second": 41.26,
    "memory_bytes": 1_500_000_000,
    "devices": [],
    "draft_tokens": 200,
    "accepted_tokens": 90,
}


def test_ps_tells_of_the_engine_when_asked() -> None:
    loading = {"model_name": "b", "loading": True, "fraction": 0.5}
    _, out, _, _ = run_command({"GET /engines/ps": [LOADED, loading]}, "ps", "--verbose")
    assert out.splitlines() == [
        "MODEL NAME  BACKEND    MODE        UNTIL           TOK/S  CONTEXT  MEMORY  DEVICE  "
        "THREADS  ACCEPTED    SETTINGS",
        "smollm2     llama.cpp  completion  Forever         41.3   4096     1.50GB  CPU     "
        "1 of 4   45% of 200  tuned: flash attention off, streams, f16, ubatch 256",
        "b                                  Loading... 50%",
    ]


@pytest.mark.parametrize(
    ("layers", "shown"), [(-1, "GPU0: Ada"), (0, "GPU0: Ada"), (17, "GPU0: Ada (17 layers on it)")]
)
def test_ps_tells_how_much_of_a_model_a_gpu_has(layers: int, shown: str) -> None:
    on_gpu = LOADED | {"devices": ["GPU0: Ada"], "settings": SETTINGS | {"gpu_layers": layers}}
    on_gpu["device_memory_bytes"] = 5_200_000_000
    _, out, _, _ = run_command({"GET /engines/ps": [on_gpu]}, "ps", "--verbose")
    header, row = out.splitlines()
    memory, device, threads = map(header.index, ("MEMORY", "DEVICE", "THREADS"))
    assert row[memory:device].rstrip() == "1.50GB + 5.20GB"
    assert row[device:threads].rstrip() == shown


def test_show_is_dockers_page_with_the_engine_in_it() -> None:
    model = SMOLLM | {"created": 1_769_000_000}
    model["config"] = SMOLLM["config"] | {"gguf": {"b.key": "2", "a.key": "1\x1b"}}
    answers = {
        "GET /models/smollm2": model,
        "GET /engines/ps": [LOADED],
        f"GET /engines/tuned/{ID}": None,
        f"GET /engines/settings/{ID}": RULING,
    }
    code, out, err, _ = run_command(answers, "show", "smollm2", "--json")
    assert (code, err) == (0, "")
    known = {"model": model, "loaded": LOADED, "tuned": None, "settings": RULING}
    assert json.loads(out) == known
    code, out, err, _ = run_command(answers, "show", "smollm2")
    assert (code, err) == (0, "")
    assert (
        out
        == f"""\
Model:       {ID}
Tags:        docker.io/ai/smollm2:latest, docker.io/ai/smollm2:360M
Created:     2026-01-21T12:53:20Z

Format:        gguf
Architecture:  llama
Parameters:    361.82M
Size:          256.35MiB
Quantization:  Q4_K_M
Context Size:  8192

Engine:
  State:           loaded (forever)
  Settings:        measured on this machine
  Context:         4096 tokens a conversation
  Together:        8 answers, 8 slots
  Threads:         2/4, 1 in use
  Flash attention: off
  KV cache:        streams, f16
  Batch:           512 rows, 256 at a time
  Speculation:     up to 8 tokens, 45% of them right
  Prefixes:        1.50GB of memory

Settings:
  keep_alive:         30m0s (request)
  context_size:       4096 (configure)
  flash_attention:    off (measured)

GGUF Metadata:
  a.key: 1\N{REPLACEMENT CHARACTER}
  b.key: 2
"""
    )


@pytest.mark.parametrize(
    ("record", "lines"),
    [
        (None, ["  Settings:        not measured yet; to do it now: runner tune MODEL"]),
        (
            {"settings": SETTINGS},
            [
                "  Settings:        measured on this machine",
                "  Threads:         2/4",
                "  Flash attention: off",
                "  KV cache:        streams",
                "  Batch:           256 rows at a time",
            ],
        ),
    ],
)
def test_show_tells_what_is_remembered_of_a_model_that_is_not_loaded(
    record: Any, lines: list[str]
) -> None:
    answers = {
        f"GET /models/{ID}": OTHER | {"id": ID},
        "GET /engines/ps": [LOADED | {"id": "sha256:c"}],
        f"GET /engines/tuned/{ID}": record,
        f"GET /engines/settings/{ID}": RULING,
    }
    _, out, _, _ = run_command(answers, "show", ID)
    engine = out.partition("Engine:\n")[2].partition("\n\n")[0]
    assert engine.splitlines() == ["  State:           not loaded", *lines]


def candidate(speed: float, **changes: Any) -> dict[str, Any]:
    rates = {"one": speed, "one_deep": speed / 2, "many": speed * 3, "prompt": speed * 10}
    settings = {"flash_attention": False, "kv_layout": "streams", "ubatch_size": 512}
    return {
        "settings": settings | {"threads": 2, "threads_batch": 2} | changes,
        "rates": rates,
        "rows": 8,
        "depth": 600,
    }


def lines(*events: dict[str, Any]) -> list[bytes]:
    return [json.dumps(event).encode() + b"\n" for event in events]


BEGUN = {"type": "begun", "settings": SETTINGS}
FIRST = {"type": "measured"} | candidate(10.0)
SECOND = {"type": "measured"} | candidate(12.0, flash_attention=True)
TUNED = {
    "type": "tuned",
    "settings": candidate(0, flash_attention=True, threads=1)["settings"],
    "gain": 1.2,
    "duration_s": 7.6,
    "is_disturbed": False,
    "problem": "",
}


def test_tune_prints_what_was_measured_and_chosen() -> None:
    answer = {"POST /engines/tune": lines(BEGUN, FIRST, SECOND, TUNED)}
    code, out, err, remote = run_command(answer, "tune", "smollm2")
    assert (code, err) == (0, "")
    assert remote.requests == [("POST /engines/tune", {"model": "smollm2"})]
    assert out.splitlines() == [
        "   FLASH ATTENTION  KV LAYOUT  UBATCH  THREADS  ONE ANSWER  AFTER 600  8 TOGETHER  PROMPT",
        "   off              streams    512     2        10.0        5.0        30.0        100.0",
        "*  on               streams    512     2        12.0        6.0        36.0        120.0",
        "",
        "Fastest, in 8 s: flash attention on, KV streams, ubatch 512, threads 1/2; "
        "1.20 times the speed of the settings in force.",
    ]


def test_tune_as_json_is_all_of_it() -> None:
    answer = {"POST /engines/tune": lines(BEGUN, FIRST, TUNED)}
    _, out, _, _ = run_command(answer, "tune", "smollm2", "--json")
    report = json.loads(out)
    assert report["measured"] == [candidate(10.0)]
    assert report["tuned"]["gain"] == 1.2


def test_tune_warns_of_a_busy_machine() -> None:
    answer = {"POST /engines/tune": lines(FIRST, TUNED | {"is_disturbed": True})}
    _, _, err, _ = run_command(answer, "tune", "smollm2")
    assert err.startswith("Not kept, for other programs used the processor")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([BEGUN, {"type": "error", "message": "no memory"}], "nothing was tuned: no memory"),
        ([BEGUN, FIRST], "the server broke off before all was measured"),
        ([], "the server broke off before all was measured"),
    ],
)
def test_tune_without_a_result_fails(events: list[dict[str, Any]], message: str) -> None:
    answer = {"POST /engines/tune": lines(*events) or [b""]}
    code, out, err, _ = run_command(answer, "tune", "smollm2")
    assert (code, out) == (1, "")
    assert message in err


@pytest.mark.parametrize("command", ["inspect", "show", "rm", "pull", "push", "save", "tag"])
def test_an_empty_name_is_no_model(command: str) -> None:
    more = ["other"] if command == "tag" else ["-o", "x.tar"] if command == "save" else []
    code, _, err, remote = run_command({}, command, " ", *more)
    assert (code, err) == (2, "the name of the model is empty (see: runner list)\n")
    assert remote.requests == []
