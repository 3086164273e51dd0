from __future__ import annotations

import json
from typing import Any

import pytest

from runner.cli.commands.bench import Asked, Level, describe, levels, load, row
from runner.errors import Kind, RunnerError
from tests.support.console import run_command

CHAT = "POST /v1/chat/completions"
FAULT = RunnerError(Kind.BUSY, "the queue is full")


def answer(body: dict[str, Any]) -> Any:
    if "messages" not in body:
        return {}  # the load
    return [
        b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n',
        b'data: {"choices": [], "usage": {"completion_tokens": 5}}\n\n',
    ]


def test_each_level_is_a_row_and_the_model_is_loaded_before() -> None:
    code, out, err, remote = run_command(
        {CHAT: answer},
        "bench",
        "m",
        "--concurrency",
        "1,2",
        "--duration",
        "0s",
        "--max-tokens",
        "5",
    )
    assert (code, err) == (0, "")
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["CONCURRENCY", "REQUESTS", "FAILED"],
        ["1", "1", "0"],
        ["2", "2", "0"],
    ]
    assert remote.requests[0] == (CHAT, {"model": "m"})
    assert remote.headers == [("X-Preload-Only", "true")]
    assert remote.requests[1][1]["max_tokens"] == 5


def test_json_has_the_same_and_no_more_on_stdout() -> None:
    arguments = ["--concurrency", "2", "--duration", "0", "--json"]
    code, out, _, _ = run_command({CHAT: answer}, "bench", "m", *arguments)
    report = json.loads(out)
    assert code == 0
    assert report["model"] == "m"
    assert [(level["concurrency"], level["tokens"]) for level in report["levels"]] == [(2, 10)]


def test_a_level_is_summed_up() -> None:
    answers = [Asked(100, 0.25, 2.0), Asked(50, 0.5, 3.0), Asked(50, 0.75, 4.0)]
    level = Level(4, 4.0, answers, [FAULT])
    assert describe(level) == {
        "concurrency": 4,
        "duration_s": 4.0,
        "requests": 3,
        "failed": 1,
        "tokens": 200,
        "tokens_per_second": 50.0,
        "requests_per_second": 0.75,
        "first_token_s": 0.5,
        "answer_s": 3.0,
    }
    assert row(level) == ["4", "3", "1", "50.0", "0.75", "500 ms", "3.00 s"]


def test_an_asker_that_fails_stops_and_is_counted() -> None:
    def refuse() -> Asked:
        raise FAULT

    level = load(refuse, 3, 60.0)
    assert (level.answers, level.faults) == ([], [FAULT] * 3)


def test_a_model_that_answers_nobody_is_an_error() -> None:
    def refuse(body: dict[str, Any]) -> Any:
        return [FAULT] if "messages" in body else {}

    code, out, err, _ = run_command({CHAT: refuse}, "bench", "m", "--concurrency", "1")
    assert (code, out, err) == (1, "", "the queue is full\n")


@pytest.mark.parametrize("text", ["0", "a", "1,,2", "9999", ""])
def test_what_is_no_list_of_counts_is_refused(text: str) -> None:
    assert run_command({}, "bench", "m", f"--concurrency={text}")[0] == 2
    assert levels("1,8") == [1, 8]


def test_a_time_that_is_none_is_refused() -> None:
    code, _, err, _ = run_command({}, "bench", "m", "--duration", "soon")
    assert code == 2
    assert "expected a time such as 30s, 5m or 1h, got 'soon'" in err
