"""Which login is found, and how the programs that keep them are run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.registry.caller import Caller
from runner.registry.credentials import Credentials
from runner.registry.dockerconfig import Login, file_key, host_key, read_docker_config
from runner.registry.keychain import find_program, get_login
from runner.registry.network import Network, read_network
from runner.registry.transport import ANYBODY


def network(tmp_path: Path, document: object = None, **env: str) -> Network:
    if document is not None:
        (tmp_path / "config.json").write_text(json.dumps(document))
    return read_network({"DOCKER_CONFIG": str(tmp_path), **env})


def find(found: Network, host: str, caller: Caller = ANYBODY) -> Login | None:
    return Credentials(found).find(host, caller)


def helper(tmp_path: Path, name: str, script: str) -> dict[str, str]:
    """Make a credential helper; return the environment that has it on its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(tmp_path)}


PASS = 'read -r host; echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"of $host\\"}"'


def test_without_anything_one_is_anonymous(tmp_path: Path) -> None:
    assert find(network(tmp_path), "a.example") is None
    assert find(Network(), "a.example") is None


def test_the_callers_token_comes_first(tmp_path: Path) -> None:
    found = network(tmp_path, {"auths": {"a.example": {"auth": "YTpi"}}})
    assert find(found, "a.example", Caller(bearer_token="t")) == Login(
        identity_token="t", registry_token="t"
    )


@pytest.mark.parametrize("prefix", [("DOCKER_USERNAME", "DOCKER_PASSWORD"),
                                    ("DOCKER_HUB_USER", "DOCKER_HUB_PASSWORD")])  # fmt: skip
def test_the_environments_login_is_for_docker_hub_only(
    tmp_path: Path, prefix: tuple[str, str]
) -> None:
    found = network(tmp_path, **{prefix[0]: "me", prefix[1]: "word"})
    assert find(found, "docker.io") == Login("me", "word")
    assert find(found, "a.example") is None


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://A.Example/v2/", "a.example"),
        ("a.example:5000", "a.example:5000"),
        ("http://localhost:5000", "localhost:5000"),
    ],
)
def test_keys_of_the_file_may_be_written_in_many_ways(tmp_path: Path, key: str, host: str) -> None:
    found = network(tmp_path, {"auths": {key: {"auth": "YTpi"}}})
    assert find(found, host) == Login("a", "b")
    assert host_key(key) == host


def test_dockers_own_key_is_written_for_docker_hub() -> None:
    assert file_key("docker.io") == "https://index.docker.io/v1/"
    assert file_key("A.example:5000") == "a.example:5000"


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": "YTpiOmM="}, Login("a", "b:c")),
        ({"username": "a", "password": "b"}, Login("a", "b")),
        ({"auth": "YTpi", "identitytoken": "t"}, Login("a", "b", "t")),
        ({"registrytoken": "t"}, Login(registry_token="t")),
        ({}, None),
        ({"username": "a"}, None),
    ],
)
def test_an_entry_is_a_password_or_a_token(
    tmp_path: Path, entry: dict[str, str], login: Login | None
) -> None:
    assert find(network(tmp_path, {"auths": {"a.example": entry}}), "a.example") == login


def test_a_login_of_one_host_is_not_anothers(tmp_path: Path) -> None:
    found = network(tmp_path, {"auths": {"a.example": {"auth": "YTpi"}}})
    for host in ("b.example", "a.example:5000", "x.a.example", "a.example.evil.test", "docker.io"):
        assert find(found, host) is None


def test_a_login_made_a_moment_ago_counts(tmp_path: Path) -> None:
    credentials = Credentials(network(tmp_path, {}))
    assert credentials.find("a.example", ANYBODY) is None
    network(tmp_path, {"auths": {"a.example": {"auth": "YTpi"}}})
    assert credentials.find("a.example", ANYBODY) == Login("a", "b")


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"auths": [1]}', '{"auths": {"a": {"auth": "%%"}}}', "[" * 99999]
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunnerError) as caught:
        read_docker_config(tmp_path / "config.json")
    assert caught.value.kind is Kind.USAGE
    assert str(tmp_path / "config.json") in caught.value.message


def test_a_helper_for_the_host_comes_before_the_common_one(tmp_path: Path) -> None:
    env = helper(tmp_path, "one", PASS) | helper(tmp_path, "two", 'echo "not this" >&2; exit 3')
    document = {"credHelpers": {"a.example": "one"}, "credsStore": "two"}
    found = network(tmp_path, document, **env)
    assert find(found, "a.example") == Login("u", "of a.example")
    with pytest.raises(RunnerError) as caught:
        find(found, "b.example")
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert "docker-credential-two failed with status 3" in caught.value.message


def test_a_helper_gets_dockers_key_of_docker_hub(tmp_path: Path) -> None:
    found = network(tmp_path, {"credsStore": "one"}, **helper(tmp_path, "one", PASS))
    assert find(found, "docker.io") == Login("u", "of https://index.docker.io/v1/")


def test_a_helper_without_the_login_means_anonymous_and_no_other_login(tmp_path: Path) -> None:
    env = helper(tmp_path, "one", "echo 'credentials not found in native keychain'; exit 1")
    document = {"auths": {"a.example": {"auth": "YTpi"}}, "credsStore": "one"}
    assert find(network(tmp_path, document, **env), "a.example") is None


def test_a_helper_may_keep_an_identity_token(tmp_path: Path) -> None:
    env = helper(tmp_path, "one", 'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"t\\"}"')
    assert get_login("one", "a.example", env) == Login(identity_token="t")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo nothing", "an answer of another form"),
        ('echo \'{"Username": 5, "Secret": "s"}\'', "an answer of another form"),
        ("echo '[]'", "an answer of another form"),
        ("head -c 70000 /dev/zero", "more than 65536 bytes"),
        ("echo hunter2; exit 1", "failed with status 1"),
    ],
)
def test_a_helper_that_fails_is_told_without_its_words(
    tmp_path: Path, script: str, problem: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        get_login("one", "a.example", helper(tmp_path, "one", script))
    assert caught.value.kind is Kind.REGISTRY_DENIED
    assert problem in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_a_helper_that_is_missing_is_no_reason_to_go_on_without_it(tmp_path: Path) -> None:
    document = {"auths": {"a.example": {"auth": "YTpi"}}, "credsStore": "gone"}
    with pytest.raises(RunnerError) as caught:
        find(network(tmp_path, document, PATH="/usr/bin"), "a.example")
    assert "docker-credential-gone is not installed" in caught.value.message
    assert "credsStore" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["../evil", "a b", "a;b", "A", "", "a/b", "$(id)", "a\n"])
def test_a_helper_of_a_name_that_none_has_is_not_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunnerError) as caught:
        get_login(name, "a.example", {"PATH": "/usr/bin"})
    assert "has a name that no helper has" in caught.value.message


def test_a_helper_is_not_taken_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, "one", PASS)
    monkeypatch.chdir(tmp_path / "bin")
    for path in ("", ".", "./", ":", "bin"):
        assert find_program("docker-credential-one", path) is None
    assert find_program("docker-credential-one", os.getcwd()) is not None  # noqa: PTH109


def test_a_host_is_never_an_argument_of_a_helper(tmp_path: Path) -> None:
    env = helper(tmp_path, "one", 'test "$#" = 1 || exit 9; ' + PASS)
    assert get_login("one", "a.example; rm -rf /", env) == Login("u", "of a.example; rm -rf /")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    found = network(
        tmp_path, DOCKER_USERNAME="me", DOCKER_PASSWORD="hunter2", HF_TOKEN="hunter2",
        HTTPS_PROXY="http://me:hunter2@proxy:1",
    )  # fmt: skip
    shown = [repr(found), repr(Login("me", "hunter2", "hunter2", "hunter2")),
             repr(Caller(bearer_token="hunter2"))]  # fmt: skip
    assert not any("hunter2" in text for text in shown)
