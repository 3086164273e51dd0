"""Small HTTP servers in this process that answer as a function says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support import loopback

BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # names in lower case


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def render_json(value: object) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


@dataclass
class Gate:
    """Where bodies wait, until it is opened."""

    after_bytes: int = 0
    is_open: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(
    answer: Callable[[Seen], Answer],
    requests: list[Seen],
    *,
    cuts: list[int] | None = None,
    gate: Gate | None = None,
) -> Iterator[str]:
    """Serve on a free port of loopback and give the address; requests are noted as they arrive.

    A body longer than the first of ``cuts`` breaks off there, and that cut is used up.
    """

    class Answering(loopback.Handler):
        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers)
            requests.append(seen)
            reply = answer(seen)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command == "GET":
                self._send(reply.body)

        do_GET = do_HEAD = _answer  # noqa: N815

        def _send(self, body: bytes) -> None:
            end = len(body)
            if cuts and cuts[0] < end:
                end = cuts.pop(0)
                self.close_connection = True
            try:
                for at in range(0, end, BLOCK_BYTES):
                    if gate and at >= gate.after_bytes:
                        gate.is_open.wait(60)
                    self.wfile.write(body[at : min(at + BLOCK_BYTES, end)])
            except ConnectionError:
                self.close_connection = True

    with loopback.running(loopback.Server(Answering)) as port:
        yield f"http://127.0.0.1:{port}"
