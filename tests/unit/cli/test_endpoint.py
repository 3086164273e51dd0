from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cli.endpoint import (
    Endpoint,
    State,
    container_address,
    find_endpoints,
    parse_endpoint,
    parse_state,
    render_state,
)
from runner.cli.trust import Trust, Wish
from runner.errors import RunnerError

HOME = {"HOME": "/home/ada"}
SOCKET = Endpoint("/home/ada/.local/share/runner/run/runner.sock", None)
FIXED = Endpoint("127.0.0.1", 12434)


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, "http://127.0.0.1:9000"),
        ("http://Example.test/", "example.test", 80, "http://example.test:80"),
        ("example.test", "example.test", 12434, "http://example.test:12434"),
        ("box:81", "box", 81, "http://box:81"),
        (f"{'a' * 63}.b.:81", f"{'a' * 63}.b.", 81, f"http://{'a' * 63}.b.:81"),
        ("[::1]:81", "::1", 81, "http://[::1]:81"),
        ("0.0.0.0:81", "127.0.0.1", 81, "http://127.0.0.1:81"),
        ("http://[::]:81", "::1", 81, "http://[::1]:81"),
        ("unix:/run/r.sock", "/run/r.sock", None, "unix:/run/r.sock"),
        ("unix:///run/r.sock", "/run/r.sock", None, "unix:/run/r.sock"),
    ],
)
def test_an_address_is_parsed(text: str, host: str, port: int | None, shown: str) -> None:
    endpoint = parse_endpoint(text, "--host")
    assert endpoint == Endpoint(host, port)
    assert str(endpoint) == shown


@pytest.mark.parametrize(
    ("text", "wish", "shown"),
    [
        ("https://Box", Wish(), "https://box:443"),
        ("https://box:8443/", Wish(), "https://box:8443"),
        ("http://box", Wish(is_tls=True), "https://box:443"),
        ("http://box:81", Wish(is_tls=True), "https://box:81"),
        ("box", Wish(is_tls=True), "https://box:443"),
        ("http://box", Wish(trust=Trust("/ca")), "http://box:80"),
    ],
)
def test_an_address_with_tls_is_parsed(text: str, wish: Wish, shown: str) -> None:
    endpoint = parse_endpoint(text, "--host", wish)
    assert str(endpoint) == shown
    assert endpoint.trust == (wish.trust if endpoint.is_tls else Trust())


@pytest.mark.parametrize(
    "text",
    [
        "ftp://x",
        "http://x/engines",
        "http://",
        "x:y",
        "x:99999",
        "http://a@b",
        "naïve.test",
        "a..b",
        "a" * 64,
        "::1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse_endpoint(text, "MODEL_RUNNER_HOST")
    assert caught.value.message == (
        f"MODEL_RUNNER_HOST: expected http(s)://HOST:PORT, HOST:PORT or unix:PATH, got {text!r}"
    )


def test_the_host_field_of_a_socket_file_is_localhost() -> None:
    assert SOCKET.authority == "localhost"
    assert Endpoint("::1", 81).authority == "[::1]:81"


def test_without_a_hint_the_socket_is_tried_before_the_port() -> None:
    assert find_endpoints(HOME) == [SOCKET, FIXED]


def test_a_named_address_is_the_only_one_and_the_flag_wins() -> None:
    env = HOME | {"MODEL_RUNNER_HOST": "http://a:1"}
    assert find_endpoints(env) == [Endpoint("a", 1)]
    assert find_endpoints(env, "b:2") == [Endpoint("b", 2)]


def test_a_port_of_the_environment_moves_socket_and_address() -> None:
    assert find_endpoints(HOME | {"MODEL_RUNNER_PORT": "9000"}) == [
        Endpoint("/home/ada/.local/share/runner/run/runner-9000.sock", None),
        Endpoint("127.0.0.1", 9000),
    ]


def test_the_socket_can_be_named_or_switched_off() -> None:
    assert find_endpoints(HOME | {"MODEL_RUNNER_SOCK": "/x.sock"})[0] == Endpoint("/x.sock", None)
    assert find_endpoints(HOME | {"MODEL_RUNNER_SOCK": "off"}) == [FIXED]


def test_without_a_home_there_is_still_the_port() -> None:
    assert find_endpoints({}) == [FIXED]


@pytest.mark.parametrize(
    ("pid", "is_trusted"), [(os.getpid(), True), (2**22 + 7, False)], ids=["alive", "dead"]
)
def test_the_state_file_counts_while_its_daemon_lives(
    tmp_path: Path, pid: int, is_trusted: bool
) -> None:
    env = {"HOME": "/home/ada", "XDG_STATE_HOME": str(tmp_path)}
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "daemon.json").write_text(
        render_state(State(pid, ("http://0.0.0.0:4711", "unix:/run/4711.sock")))
    )
    # The socket needs no key, and nobody calls a server by the address that takes all comers.
    there = [Endpoint("/run/4711.sock", None), Endpoint("127.0.0.1", 4711)]
    announced = there if is_trusted else []
    assert find_endpoints(env) == [SOCKET, *announced, FIXED]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "1", "addresses": []}', '{"pid": -1}'])
def test_what_is_no_state_file(text: str) -> None:
    with pytest.raises(ValueError):
        parse_state(text)


def test_a_state_file_tells_who_serves_and_where() -> None:
    state = State(7, ("http://127.0.0.1:1", "unix:/r.sock"), ("http://172.17.0.1:1",))
    assert parse_state(render_state(state)) == state


@pytest.mark.parametrize(
    ("platform", "env", "port", "expected"),
    [
        ("linux", {}, 12434, "http://172.17.0.1:12434"),
        ("linux", {}, 4711, "http://127.0.0.1:4711"),  # of another daemon nothing is known
        ("linux", {"MODEL_RUNNER_HOST": "127.0.0.1:12434"}, 12434, "http://172.17.0.1:12434"),
        ("linux", {"MODEL_RUNNER_HOST": "10.0.0.5:12434"}, 12434, "http://127.0.0.1:12434"),
        ("darwin", {}, 12434, "http://host.docker.internal:12434"),
    ],
)
def test_containers_are_told_the_bridge(
    tmp_path: Path, platform: str, env: dict[str, str], port: int, expected: str
) -> None:
    (tmp_path / "runner").mkdir()
    state = State(os.getpid(), ("http://127.0.0.1:12434",), ("http://172.17.0.1:12434",))
    (tmp_path / "runner" / "daemon.json").write_text(render_state(state))
    env = {"HOME": "/home/ada", "XDG_STATE_HOME": str(tmp_path)} | env
    assert str(container_address(env, None, Endpoint("127.0.0.1", port), platform)) == expected


def test_without_a_bridge_containers_are_told_the_daemon_s_own_address(tmp_path: Path) -> None:
    env = {"HOME": "/home/ada", "XDG_STATE_HOME": str(tmp_path)}
    assert container_address(env, None, FIXED, "linux") == FIXED
