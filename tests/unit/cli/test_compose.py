"""``compose``: the lines that Docker Compose reads (dmr-contract.md 2.7)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from tests.support.console import run_command

POST = "POST /engines/_configure"
STORED = {"GET /models/ai/x": {"id": "sha256:00"}, POST: None}
UP = ("compose", "--project-name=p", "up", "--model=ai/x")


def lines(text: str) -> list[tuple[str, str]]:
    return [(line["type"], line["message"]) for line in map(json.loads, text.splitlines())]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "MODEL_RUNNER_HOST": "http://box:12434"}


def test_up_tells_what_it_does_in_docker_s_order(env: dict[str, str]) -> None:
    options = ("--context-size=4096", "--runtime-flags=--temp 0.2 --seed 1", "--backend=llama.cpp")
    guess = ("--speculative-draft-model=ai/y", "--speculative-num-tokens=8")
    code, out, err, remote = run_command(STORED, *UP, *options, *guess, "llm", env=env)
    assert (code, err) == (0, "")
    assert lines(out) == [
        ("info", "Initializing model runner..."),
        ("setenv", "MODEL=ai/x"),
        ("info", "Setting context size to 4096"),
        ("info", "Setting raw runtime flags to --temp 0.2 --seed 1"),
        ("info", "Enabling speculative decoding with draft model: ai/y"),
        ("info", "Successfully configured backend for model ai/x"),
        ("setenv", "URL=http://127.0.0.1:12434/engines/v1/"),
    ]
    assert dict(remote.requests)[POST] == {
        "model": "ai/x",
        "source": "compose",
        "context-size": 4096,
        "runtime-flags": ["--temp", "0.2", "--seed", "1"],
        "speculative": {"draft_model": "ai/y", "num_tokens": 8, "min_acceptance_rate": 0.0},
    }


def test_an_error_is_a_line_of_json(env: dict[str, str]) -> None:
    refused = RunnerError(Kind.INVALID_REQUEST, "no such flag", hint="see: configure")
    code, out, err, _ = run_command({**STORED, POST: refused}, *UP, "llm", env=env)
    assert (code, err) == (1, "")
    assert lines(out)[-1] == ("error", "no such flag; see: configure")


@pytest.mark.parametrize("action", ["down", "stop"])
def test_down_and_stop_leave_the_models_alone(action: str, env: dict[str, str]) -> None:
    code, out, err, remote = run_command({}, "compose", action, "llm", env=env)
    assert (code, out, err, remote.requests) == (0, "", "", [])
