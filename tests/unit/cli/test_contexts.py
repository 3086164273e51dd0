"""`context`, and the servers that it makes the client ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.cli.contexts import Contexts, parse_contexts, read_contexts, render_contexts
from runner.cli.endpoint import Endpoint, explicit_endpoint, find_endpoints
from runner.cli.trust import Trust
from runner.errors import RunnerError
from tests.support.console import run_command

DOCKERS = """{"version":1,"current":"gpu","contexts":{"gpu":{"host":"http://h:12434",
"tls":{"enabled":false,"skipVerify":true,"caCert":"/abs"},"description":"big",
"createdAt":"2026-01-02T03:04:05Z"}}}"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".docker/model/contexts.json"
    path.parent.mkdir(parents=True)
    path.write_text(DOCKERS)
    return path


def context(env: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    return run_command({}, "context", *arguments, env=env)[:3]


def test_a_context_is_made_used_shown_and_removed(env: dict[str, str]) -> None:
    made = context(env, "create", "gpu", "--host", "http://box:9", "--description", "big")
    assert made == (0, 'Context "gpu" created.\n', "")
    assert context(env, "use", "gpu") == (0, 'Current context is now "gpu".\n', "")
    assert find_endpoints(env) == [Endpoint("box", 9)]
    assert context(env, "ls")[1].splitlines() == [
        "NAME     HOST           DESCRIPTION                   CURRENT",
        "default  (auto-detect)  Auto-detected Docker context",
        "gpu      http://box:9   big                           *",
    ]
    assert json.loads(context(env, "inspect", "gpu")[1]) == [
        {
            "name": "gpu",
            "host": "http://box:9",
            "tls": {"enabled": False, "skipVerify": False},
            "description": "big",
            "createdAt": "2027-01-15T08:00:00Z",
        }
    ]
    assert context(env, "rm", "gpu")[2].startswith('context "gpu" is in use')
    assert context(env, "use", "default")[0] == 0
    assert context(env, "rm", "gpu") == (0, 'Context "gpu" removed.\n', "")
    assert read_contexts(env) == Contexts("default", {})


def test_a_context_of_tls_is_written_as_docker_s(env: dict[str, str], tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.touch()
    made = ["create", "far", "--host", "https://box", "--tls-ca-cert", str(authorities)]
    assert context(env, *made)[0] == 0
    [shown] = json.loads(context(env, "inspect", "far")[1])
    assert shown["tls"] == {"enabled": True, "skipVerify": False, "caCert": str(authorities)}
    context(env, "use", "far")
    assert find_endpoints(env) == [Endpoint("box", 443, True, Trust(str(authorities)))]


def test_variables_override_what_a_context_says_of_tls(env: dict[str, str], file: Path) -> None:
    file.write_text(DOCKERS.replace('"enabled":false', '"enabled":true'))
    assert find_endpoints(env) == [Endpoint("h", 12434, True, Trust("/abs", True))]
    checked = env | {"MODEL_RUNNER_TLS_SKIP_VERIFY": "false", "MODEL_RUNNER_TLS_CA_CERT": "/mine"}
    assert find_endpoints(checked) == [Endpoint("h", 12434, True, Trust("/mine", False))]
    assert find_endpoints(env | {"MODEL_RUNNER_TLS": "false"}) == [Endpoint("h", 12434)]


def test_docker_s_file_is_read_and_kept_whole(env: dict[str, str], file: Path) -> None:
    assert find_endpoints(env) == [Endpoint("h", 12434)]
    context(env, "create", "two", "--host", "h2")
    kept = json.loads(file.read_text())
    assert kept["version"] == 1
    assert kept["current"] == "gpu"
    assert kept["contexts"]["gpu"] == json.loads(DOCKERS)["contexts"]["gpu"]


def test_the_folder_of_docker_s_settings_may_be_another(file: Path) -> None:
    assert find_endpoints({"DOCKER_CONFIG": str(file.parents[1])}) == [Endpoint("h", 12434)]


def test_a_host_by_name_wins_and_is_told(env: dict[str, str], file: Path) -> None:
    named = env | {"MODEL_RUNNER_HOST": "http://a:1"}
    assert find_endpoints(named) == [Endpoint("a", 1)]
    assert find_endpoints(env, "b:2") == [Endpoint("b", 2)]
    assert context(named, "ls")[2] == "MODEL_RUNNER_HOST is set, and wins: http://a:1\n"


def test_a_context_that_is_gone_is_the_default(env: dict[str, str], file: Path) -> None:
    file.write_text('{"version":1,"current":"lost","contexts":{}}')
    assert explicit_endpoint(env, None) is None


def test_ls_as_json(env: dict[str, str], file: Path) -> None:
    listed = json.loads(context(env, "ls", "--json")[1])
    assert [(one["name"], one["current"]) for one in listed] == [("default", False), ("gpu", True)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x"], "--host is required"),
        (["create", "x", "--host", "ftp://x"], "--host: expected http(s)://HOST:PORT"),
        (["create", "x", "--host", "unix:/s", "--tls"], "there is no TLS on a socket file"),
        (["create", "x", "--host", "h", "--tls-skip-verify"], "add --tls"),
        (["create", "x", "--host", "h", "--tls", "--tls-ca-cert", "/none"], "there is no file"),
        (["create", "default", "--host", "h"], 'context name "default" is reserved'),
        (["create", "x y", "--host", "h"], 'invalid context name "x y"'),
        (["create", "gpu", "--host", "h"], 'context "gpu" already exists'),
        (["create", "--host", "h"], "context create requires 1 argument"),
        (["use", "a", "b"], "context use requires 1 argument"),
        (["use", "none"], 'context "none" not found'),
        (["rm"], "context rm requires at least 1 argument"),
        (["rm", "none"], 'context "none" not found'),
        (["inspect", "none"], 'context "none" not found'),
        (["nope"], "argument create|use|ls|rm|inspect: invalid choice"),
    ],
)
def test_what_is_wrong_changes_nothing(
    arguments: list[str], said: str, env: dict[str, str], file: Path
) -> None:
    code, out, err = context(env, *arguments)
    assert (code > 0, out, said in err) == (True, "", True), err
    assert file.read_text() == DOCKERS


@pytest.mark.parametrize("text", ["", "[]", '{"contexts": []}', '{"contexts": {"a": 1}}'])
def test_a_file_that_is_none_is_told(text: str, env: dict[str, str], file: Path) -> None:
    file.write_text(text)
    with pytest.raises(RunnerError, match="it is no file of contexts"):
        find_endpoints(env)
    assert find_endpoints(env, "b:2") == [Endpoint("b", 2)]


def test_a_context_s_address_that_is_none_is_told_by_name(env: dict[str, str], file: Path) -> None:
    file.write_text(DOCKERS.replace("http://h", "ftp://h"))
    with pytest.raises(RunnerError, match=r'context "gpu": expected http\(s\)://HOST:PORT'):
        find_endpoints(env)


def test_what_is_rendered_is_parsed() -> None:
    contexts = Contexts("a", {"a": {"host": "http://x:1"}})
    assert parse_contexts(render_contexts(contexts)) == contexts
    assert parse_contexts('{"version": 1}') == Contexts()
