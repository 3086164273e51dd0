"""``push``, ``search``, ``login``, ``logout`` and ``doctor``."""

from __future__ import annotations

import json

import pytest

from runner.cli.commands.search import render_count
from tests.support.console import Terminal, run_command

DONE = b'{"type":"success","message":"Model pushed successfully"}\n'


def test_a_push_goes_where_the_name_says() -> None:
    code, out, _, remote = run_command(
        {"POST /models/localhost:5000/me/x/push": [DONE]}, "push", "localhost:5000/me/x"
    )
    assert (code, out) == (0, "Model pushed successfully\n")
    assert remote.requests[0][1] == {}


def test_packaging_may_be_followed_by_a_push() -> None:
    model = {"id": "sha256:" + "a" * 64, "tags": ["r.example/x:1"]}
    packaged = json.dumps({"type": "success", "models": [model]}).encode()
    answers = {"POST /models/package": [packaged], "POST /models/r.example/x:1/push": [DONE]}
    options = ("--from", "ai/x", "--context-size", "512", "--push")
    code, out, err, remote = run_command(answers, "package", *options, "r.example/x:1")
    assert (code, out) == (0, "r.example/x:1 aaaaaaaaaaaa\n")
    assert err == "Model pushed successfully\n"
    assert remote.requests[0][1] == {"name": "r.example/x:1", "from": "ai/x", "context_size": 512}


FOUND = {
    "models": [
        {
            "name": "hf.co/org/x-GGUF",
            "description": "d" * 50,
            "source": "HuggingFace",
            "quantization": "Q4_K_M",
            "size_bytes": 1_500_000_000,
            "fit": "yes",
            "downloads": 1_234_567,
            "stars": 3,
        },
        {"name": "ai/x", "source": "Docker Hub", "downloads": 999, "stars": 0},
    ],
    "warnings": ["Docker Hub is slow"],
}


def test_a_search_is_a_table() -> None:
    path = "GET /registries/search?term=x%20y&limit=5&source=all"
    code, out, err, _ = run_command({path: FOUND}, "search", "x y", "-n", "5")
    assert (code, err) == (0, "Warning: Docker Hub is slow\n")
    header, first, second = out.splitlines()
    assert header.split() == [
        "NAME", "DESCRIPTION", "DEFAULT", "SIZE", "FITS", "DOWNLOADS", "STARS", "SOURCE",
    ]  # fmt: skip
    assert first.split() == [
        "hf.co/org/x-GGUF", "d" * 39 + "…", "Q4_K_M", "1.50GB", "yes", "1.2M", "3", "HuggingFace",
    ]  # fmt: skip
    assert second.split() == ["ai/x", "?", "999", "0", "Docker", "Hub"]


def test_a_search_as_json_is_pure_and_one_without_rows_says_so() -> None:
    path = "GET /registries/search?term=x&limit=32&source=dockerhub"
    code, out, err, _ = run_command({path: FOUND}, "search", "x", "--json", "--source", "dockerhub")
    assert (code, json.loads(out), err) == (0, FOUND["models"], "")
    path = "GET /registries/search?term=&limit=32&source=all"
    assert run_command({path: {"models": [], "warnings": []}}, "search")[1] == "No models found\n"


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (45_000, "45.0K"), (1_200_000, "1.2M")])
def test_counts(count: int, text: str) -> None:
    assert render_count(count) == text


def test_a_login_is_piped_in_and_never_an_argument() -> None:
    path = "POST /registries/login"
    kept = {path: {"kept_in": "/h/.docker/config.json"}}
    code, out, err, remote = run_command(
        kept, "login", "-u", "ada", "--password-stdin", "r.example", stdin="s3cret\n"
    )
    assert (code, out) == (0, "Login Succeeded\n")
    assert err == "The login is kept in /h/.docker/config.json\n"
    assert remote.requests == [
        (path, {"host": "r.example", "username": "ada", "password": "s3cret"})
    ]
    code, _, err, _ = run_command(kept, "login", "-u", "ada", "r.example")
    assert (code, "--password-stdin" in err) == (2, True)
    assert run_command(kept, "login", "--password-stdin", stdin="x")[0] == 2


def test_a_terminal_is_asked_for_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _: " ada ")
    monkeypatch.setattr("getpass.getpass", lambda _: "s3cret")
    kept = {"POST /registries/login": {"kept_in": "helper"}}
    _, _, _, remote = run_command(kept, "login", is_terminal=True)
    assert remote.requests[0][1] == {"host": "", "username": "ada", "password": "s3cret"}


def test_a_logout_tells_whether_there_was_a_login() -> None:
    path = "POST /registries/logout"
    assert run_command({path: {"removed": True}}, "logout", "r.example")[1] == (
        "Removed the login to r.example\n"
    )
    assert run_command({path: {"removed": False}}, "logout")[1] == "Not logged in to Docker Hub\n"


DIAGNOSIS = {
    "target": "r.example/x:latest",
    "healthy": False,
    "steps": [
        {"name": "dns", "verdict": "passed", "detail": "10.0.0.1"},
        {"name": "tcp", "verdict": "failed", "detail": "refused \x1b[2J", "remedy": "start it"},
        {"name": "tls", "verdict": "skipped", "detail": ""},
    ],
    "hosts": ["r.example"],
}


def test_a_diagnosis_names_the_step_that_fails_and_the_remedy() -> None:
    path = "GET /registries/doctor?name=r.example/x"
    code, out, _, _ = run_command({path: [DIAGNOSIS]}, "doctor", "r.example/x", err=Terminal())
    assert (code, out) == (
        1,
        "r.example/x:latest\n"
        "  dns       ok      10.0.0.1\n"
        "  tcp       FAILED  refused \N{REPLACEMENT CHARACTER}[2J\n"
        "  tls       -\n"
        "  -> start it\n"
        "  hosts to let through: r.example\n",
    )
    healthy = [DIAGNOSIS | {"healthy": True}]
    code, out, _, _ = run_command({"GET /registries/doctor": healthy}, "doctor", "--json")
    assert (code, json.loads(out)) == (0, healthy)
