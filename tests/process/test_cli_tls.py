"""The command line through a reverse proxy with TLS, to the real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import make_authority, make_server_certificate
from tests.support.gguf_maker import tiny_model
from tests.support.registries import free_port
from tests.support.tls_front import tls_front

CA = "MODEL_RUNNER_TLS_CA_CERT"


@dataclass(frozen=True)
class Client:
    """A command line with a home of its own: nothing but an address leads to the server."""

    home: Path
    port: int  # of the proxy
    plain_port: int  # of the server
    authority: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def call(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home)} | variables
        return subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def done(self, *arguments: str, **variables: str) -> str:
        """Run a command that works, and return its stdout."""
        result = self.call(*arguments, **variables)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder, home = tmp_path_factory.mktemp("tls"), tmp_path_factory.mktemp("h")
    authority = make_authority(folder)
    pair = make_server_certificate(folder, authority)
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "runner", "serve", "--tuning", "off", "--port", str(port)],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as daemon:
        assert daemon.stderr is not None
        assert b"Listening on" in daemon.stderr.readline()
        daemon.stderr.close()
        try:
            with tls_front(port, pair) as front:
                yield Client(tmp_path_factory.mktemp("c"), front, port, authority.certificate)
        finally:
            daemon.terminate()


def test_a_context_leads_every_command_through_tls(client: Client, tmp_path: Path) -> None:
    made = ["context", "create", "far", "--host", f"localhost:{client.port}", "--tls"]
    client.done(*made, "--tls-ca-cert", str(client.authority))
    client.done("context", "use", "far")
    status = json.loads(client.done("status", "--json"))
    assert status["endpoint"] == f"{client.url}/v1/"
    model = tmp_path / "m.gguf"
    model.write_bytes(tiny_model())
    client.done("package", "--gguf", str(model), "tiny")
    assert client.done("list", "-q") != ""
    # An archive is sent piece by piece, while TLS has things of its own to say.
    archive = tmp_path / "tiny.tar"
    client.done("save", "tiny", "-o", str(archive))
    client.done("rm", "tiny")
    assert client.done("load", "-i", str(archive)).startswith("<none> ")
    assert "POST /models/load" in client.done("logs")
    client.done("context", "use", "default")


def test_variables_rule_a_server_named_by_its_address(client: Client) -> None:
    trusted = {CA: str(client.authority)}
    assert "Server:" in client.done("version", "--host", client.url, **trusted)
    plain = {"MODEL_RUNNER_HOST": f"http://localhost:{client.port}", "MODEL_RUNNER_TLS": "true"}
    assert client.done("list", "--json", **plain, **trusted).startswith("[")
    anybody = {"MODEL_RUNNER_TLS_SKIP_VERIFY": "true"}
    assert client.done("list", "--json", **plain, **anybody).startswith("[")


@pytest.mark.parametrize(
    ("scheme", "variables", "code", "said"),
    [
        ("https", {}, 1, "the certificate of localhost is not trusted: "),
        ("https", {CA: os.devnull}, 2, f"{os.devnull}: it holds no certificates"),
        ("https", {CA: "/none.pem"}, 2, "/none.pem: No such file or directory"),
        ("https", {"MODEL_RUNNER_TLS": "maybe"}, 2, "MODEL_RUNNER_TLS: expected true or false"),
        ("http", {}, 1, "no whole answer from http://localhost"),
    ],
)
def test_a_server_that_cannot_be_trusted_is_not_asked(
    scheme: str, variables: dict[str, str], code: int, said: str, client: Client
) -> None:
    refused = client.call("list", "--host", f"{scheme}://localhost:{client.port}", **variables)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_server_without_tls_is_told(client: Client) -> None:
    refused = client.call("list", "--host", f"https://127.0.0.1:{client.plain_port}")
    assert refused.returncode == 1
    assert "no TLS with 127.0.0.1: " in refused.stderr


def test_no_server_is_started_where_tls_is_wanted(client: Client) -> None:
    refused = client.call("run", "--host", f"https://127.0.0.1:{free_port()}", "m", "hello")
    assert refused.returncode == 1
    assert "no daemon answers at https://127.0.0.1" in refused.stderr
