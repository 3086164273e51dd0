"""A push through nginx as people set it up: it ends TLS, tells nobody, and limits bodies."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from runner.oci import Reference
from runner.registry.network import Network
from runner.registry.registry import Registry
from runner.registry.transport import Transport
from runner.store import Store
from runner.transfer.progress import Event, Note
from runner.transfer.push import push
from tests.support.certificates import Pair
from tests.support.gguf_maker import STR, Tensor, make_gguf, tiny_model
from tests.support.models import add_gguf
from tests.support.registries import (
    MANIFEST,
    RunningRegistry,
    free_port,
    require_program,
    running,
)

START_S = 20.0

# client_max_body_size is left as it comes: 1 MiB.
CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_buffer_size 2m;  # in memory: its user may not write here
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
    location / {{ proxy_pass http://127.0.0.1:{target}; proxy_set_header Host $http_host; }}
  }}
}}
"""


class TellsItsName(RunningRegistry):
    """A registry whose Locations are absolute, as docker-registry's are by default."""

    def _configuration(self) -> str:
        return super()._configuration().replace("relativeurls: true", "relativeurls: false")


@pytest.fixture
def front(tmp_path: Path, server: Pair) -> Iterator[int]:
    """The port of nginx, with a registry behind it."""
    program = require_program("nginx")
    folder = tmp_path / "front"
    folder.mkdir()
    with running(TellsItsName(folder)) as behind:
        port = free_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                folder=folder,
                port=port,
                target=behind.port,
                certificate=server.certificate,
                key=server.key,
            )
        )
        process = subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("nginx did not start")


def test_a_push_fits_through_a_front_end_that_limits_bodies(
    front: int, authority: Pair, tmp_path: Path
) -> None:
    store = Store(tmp_path / "models")
    (tmp_path / "tiny.gguf").write_bytes(tiny_model())
    tensor = Tensor("v.weight", (750_000,), data=os.urandom(3_000_000))
    projector = make_gguf({"general.architecture": (STR, "clip")}, [tensor])
    (tmp_path / "projector").write_bytes(projector)
    model = add_gguf(
        store, [tmp_path / "tiny.gguf"], Reference.parse("tiny"), mmproj=tmp_path / "projector"
    )
    network = Network(ca_file=authority.certificate)
    transport = Transport(network, sleep=lambda seconds: None)
    heard: list[Event] = []
    done = push(
        store,
        Registry(network, transport),
        model,
        Reference.parse(f"127.0.0.1:{front}/team/tiny:v1"),
        listen=heard.append,
        cancelled=lambda: False,
    )
    transport.close()
    assert done.sent_bytes == sum(blob.size_bytes for blob in model.manifest.blobs)
    assert any("going on from byte 0 of" in note.message for note in heard if type(note) is Note)
    answer = requests.get(
        f"https://127.0.0.1:{front}/v2/team/tiny/manifests/v1",
        headers={"Accept": MANIFEST},
        verify=str(authority.certificate),
        timeout=20,
    )
    assert answer.content == model.manifest.raw
