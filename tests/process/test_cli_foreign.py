"""``--openaiurl``: another server with OpenAI's API, asked in place of ours."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.certificates import make_authority, make_server_certificate

KEY = "theirs"
LIST = {
    "object": "list",
    "data": [{"id": "zeta", "created": 86_400}, {"id": "alpha/b:1", "object": "model"}],
}


class Other(BaseHTTPRequestHandler):
    """Answers below ``/api/v1`` to whoever shows its key."""

    def do_GET(self) -> None:
        self._answer("/api/v1/models", json.dumps(LIST).encode())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = f"{request['model']}: {request['messages'][-1]['content']}"
        chunk = {"choices": [{"index": 0, "delta": {"content": said}}]}
        stream = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        self._answer("/api/v1/chat/completions", stream.encode())

    def _answer(self, path: str, body: bytes) -> None:
        status = 200 if self.path == path else 404
        if self.headers["Authorization"] != f"Bearer {KEY}":
            status, body = 401, b'{"error": {"message": "who are you?"}}'
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def odd(status: int, body: bytes, **fields: str) -> type[BaseHTTPRequestHandler]:
    """A server that answers everything with this."""

    class Odd(Other):
        def _answer(self, path: str, _: bytes) -> None:
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Odd


@contextmanager
def serving(
    context: ssl.SSLContext | None = None, handler: type[BaseHTTPRequestHandler] = Other
) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def call(
    home: Path, *arguments: str, key: str = KEY, **variables: str
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "RUNNER_API_KEY": "ours"}
    return subprocess.run(
        [sys.executable, "-m", "runner", *arguments],
        env=env | {"OPENAI_API_KEY": key} | variables,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_its_models_are_listed(tmp_path: Path) -> None:
    with serving() as port:
        url = f"http://127.0.0.1:{port}/api/v1/"
        table = call(tmp_path, "list", "--openaiurl", url).stdout.splitlines()
        ids = call(tmp_path, "list", "-q", "--openaiurl", url).stdout
        listed = json.loads(call(tmp_path, "list", "--json", "--openaiurl", url, "zeta").stdout)
    assert table[0].split() == ["MODEL", "NAME", "CREATED"]
    assert [line.split()[0] for line in table[1:]] == ["alpha/b:1", "zeta"]
    assert table[2].endswith("years ago")
    assert ids == "zeta\nalpha/b:1\n"
    assert listed == {"object": "list", "data": LIST["data"][:1]}


def test_a_model_of_it_is_asked(tmp_path: Path) -> None:
    with serving() as port:
        url = f"http://127.0.0.1:{port}/api/v1"
        answered = call(tmp_path, "run", "--openaiurl", url, "zeta", "hello", "there")
    assert (answered.returncode, answered.stdout, answered.stderr) == (0, "zeta: hello there\n", "")


def test_it_never_gets_our_key(tmp_path: Path) -> None:
    with serving() as port:
        url = f"http://127.0.0.1:{port}/api/v1"
        refused = call(tmp_path, "list", "--openaiurl", url, key="")
    assert refused.returncode == 1
    assert "who are you?" in refused.stderr
    assert "set OPENAI_API_KEY to a key of that server" in refused.stderr


def test_its_certificate_is_checked(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    pair = make_server_certificate(tmp_path, authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with serving(context) as port:
        url = f"https://localhost:{port}/api/v1"
        trusted = call(
            tmp_path, "list", "-q", "--openaiurl", url, SSL_CERT_FILE=str(authority.certificate)
        )
        unknown = call(tmp_path, "list", "-q", "--openaiurl", url, SSL_CERT_FILE=os.devnull)
    assert trusted.stdout == "zeta\nalpha/b:1\n"
    assert unknown.returncode == 1
    assert "the certificate of localhost is not trusted: " in unknown.stderr
    assert "SSL_CERT_FILE" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--openaiurl", "localhost:1/v1"), "expected http(s)://HOST[:PORT][/PATH]"),
        (("list", "--openaiurl", "http://u:p@localhost/v1"), "--openaiurl"),
        (("list", "--openaiurl", "http://localhost/v1?x=1"), "expected http(s)://"),
        (("list", "--openaiurl", "http://localhost/\xfc"), "expected http(s)://"),
        (("run", "--openaiurl", "http://localhost:1/v1"), "needs a model's name"),
        (("run", "-d", "--openaiurl", "http://localhost:1/v1", "m"), "-d is for our server"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    refused = call(tmp_path, *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr


def test_a_key_that_no_header_can_hold_is_a_usage_error(tmp_path: Path) -> None:
    refused = call(tmp_path, "list", "--openaiurl", "http://127.0.0.1:1/v1", key="a\nb")
    assert refused.returncode == 2
    assert "OPENAI_API_KEY: expected" in refused.stderr
    assert "a\nb" not in refused.stderr


def test_nobody_there(tmp_path: Path) -> None:
    refused = call(tmp_path, "run", "--openaiurl", "http://127.0.0.1:1/v1", "m", "hello")
    assert refused.returncode == 1
    assert "no server answers at http://127.0.0.1:1: Connection refused" in refused.stderr


NO_LIST = "the server's answer is no list of models"


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (odd(200, b""), NO_LIST),
        (odd(200, b"[]"), NO_LIST),
        (odd(200, b'{"data": [{"object": "model"}]}'), NO_LIST),
        (odd(200, b"<html>"), "it is not JSON"),
        (odd(301, b"", Location="/elsewhere"), "answers 301 and points to /elsewhere"),
    ],
)
def test_what_is_no_list_is_told(
    handler: type[BaseHTTPRequestHandler], said: str, tmp_path: Path
) -> None:
    with serving(handler=handler) as port:
        listed = call(tmp_path, "list", "--openaiurl", f"http://127.0.0.1:{port}")
    assert (listed.returncode, listed.stdout) == (1, "")
    assert said in listed.stderr
    assert "Traceback" not in listed.stderr


def test_a_time_that_is_none_is_left_out(tmp_path: Path) -> None:
    with serving(handler=odd(200, b'{"data": [{"id": "m", "created": "today"}]}')) as port:
        listed = call(tmp_path, "list", "--openaiurl", f"http://127.0.0.1:{port}")
    assert (listed.returncode, listed.stdout.splitlines()[1].split()) == (0, ["m"])


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (odd(200, b""), "no stream of events"),
        (odd(200, b'{"choices": []}'), "no stream of events"),
        (odd(301, b"", Location="/elsewhere"), "answers 301 and points to /elsewhere"),
    ],
)
def test_what_is_no_answer_is_no_success(
    handler: type[BaseHTTPRequestHandler], said: str, tmp_path: Path
) -> None:
    with serving(handler=handler) as port:
        asked = call(tmp_path, "run", "--openaiurl", f"http://127.0.0.1:{port}", "m", "hello")
    assert asked.returncode == 1
    assert said in asked.stderr


def test_members_that_are_null_say_nothing(tmp_path: Path) -> None:
    chunks = [
        {"choices": None},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "delta": {"content": "well"}}]},
    ]
    stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()
    with serving(handler=odd(200, stream)) as port:
        asked = call(tmp_path, "run", "--openaiurl", f"http://127.0.0.1:{port}", "m", "hello")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "well\n", "")
