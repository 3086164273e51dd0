"""``configure``: what is sent, and what is told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from tests.support.console import run_command

POST = "POST /engines/_configure"
RULES = [
    {"name": "context_size", "value": 8192, "origin": "configure"},
    {"name": "flash_attention", "value": False, "origin": "default"},
]


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        (["--context-size", "8192"], {"context-size": 8192}),
        (["--keep-alive", "-1"], {"keep_alive": "-1"}),
        (["--mode", "completion"], {"mode": "completion"}),
        (
            ["--speculative-num-tokens", "8", "--speculative-min-acceptance-rate=0.5"],
            {"speculative": {"num_tokens": 8, "min_acceptance_rate": 0.5}},
        ),
        (
            ["--gpu-memory-utilization", "0.8", "--hf_overrides", '{"max_model_len": 4096}'],
            {"vllm": {"hf-overrides": {"max_model_len": 4096}, "gpu-memory-utilization": 0.8}},
        ),
        (["--think=false"], {"llamacpp": {"reasoning-budget": 0}}),
        (["--think"], {"llamacpp": {"reasoning-budget": -1}}),
        (["--speculative-draft-model", "b"], {"speculative": {"draft_model": "b"}}),
        (["--unset", "threads", "--unset", "seed"], {"unset": ["threads", "seed"]}),
        (["--", "--temp", "0.1", "-c", "9"], {"runtime-flags": ["--temp", "0.1", "-c", "9"]}),
        (
            ["--context-size=5", "--", "--temp=0"],
            {"context-size": 5, "runtime-flags": ["--temp=0"]},
        ),
    ],
)
def test_what_is_asked_for_is_sent_in_dockers_words(
    arguments: list[str], change: dict[str, Any]
) -> None:
    answers = {POST: None, "GET /engines/settings/ai/x": RULES}
    code, out, err, remote = run_command(answers, "configure", "ai/x", *arguments)
    assert (code, err) == (0, "")
    assert remote.requests[0] == (POST, {"model": "ai/x", **change})
    assert out.splitlines() == [
        "SETTING          VALUE  ORIGIN",
        "context_size     8192   configure",
        "flash_attention  off    default",
    ]
    out = run_command(answers, "configure", "--json", "ai/x", *arguments)[1]
    assert json.loads(out) == RULES


def test_the_servers_own_settings_are_told_as_json_too() -> None:
    rows = json.loads(run_command({}, "configure", "--json")[1])
    assert {"name": "port", "value": 12434, "origin": "default"} in rows


def test_options_of_a_model_that_is_not_stored_are_kept_for_it() -> None:
    missing = RunnerError(Kind.MODEL_NOT_FOUND, "no")
    answers = {POST: None, "GET /engines/settings/ai/x": missing}
    code, out, err, _ = run_command(answers, "config", "ai/x", "--context-size", "512")
    assert (code, out, err) == (0, "", "ai/x is not stored; this is kept for it.\n")
    assert run_command(answers, "config", "ai/x", "--json")[1] == "[]\n"


def test_reset_forgets() -> None:
    path = "DELETE /engines/_configure?model=hf.co/a/b:Q4_K_M"
    answers = {path: {"reset": True}, "GET /engines/settings/hf.co/a/b:Q4_K_M": []}
    code, _, _, remote = run_command(answers, "configure", "hf.co/a/b:Q4_K_M", "--reset")
    assert (code, remote.requests[0]) == (0, (path, None))


@pytest.mark.parametrize(
    ("names", "path"), [([], ""), (["ai/x"], "?model=ai/x"), (["a&b"], "?model=a%26b")]
)
def test_show_is_dockers_json(names: list[str], path: str) -> None:
    kept = [{"Backend": "llama.cpp", "Model": "docker.io/ai/x:latest", "Config": {}}]
    answers = {f"GET /engines/_configure{path}": kept}
    code, out, err, _ = run_command(answers, "configure", "show", *names)
    assert (code, json.loads(out), err) == (0, kept, "")


def test_show_takes_one_model() -> None:
    assert run_command({}, "configure", "show", "a", "b")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpu-memory-utilization", "80"], "expected a share from 0 to 1, got '80'"),
        (["--speculative-min-acceptance-rate", "nan"], "expected a share from 0 to 1"),
        (["--speculative-num-tokens", "x"], "argument --speculative-num-tokens: invalid int"),
        (["--hf_overrides", "[]"], "expected a JSON object, got '[]'"),
        (["--hf_overrides", "{"], "argument --hf_overrides: invalid"),
        (["--mode", "image-generation"], "argument --mode: invalid choice"),
    ],
)
def test_a_value_that_cannot_be_meant_is_not_sent(arguments: list[str], said: str) -> None:
    code, _, err, remote = run_command({}, "configure", "ai/x", *arguments)
    assert (code, remote.requests) == (2, [])
    assert said in err


def test_what_the_server_ignores_is_told() -> None:
    answers = {POST: None, "GET /engines/settings/ai/x": RULES}
    fields = {"x-ignored-fields": "mode, speculative.num_tokens"}
    arguments = ("configure", "ai/x", "--mode", "embedding", "--speculative-num-tokens", "8")
    code, out, err, _ = run_command(answers, *arguments, fields=fields)
    assert (code, out.split()[0]) == (0, "SETTING")
    assert err == "Without effect on this server: mode, speculative.num_tokens\n"
