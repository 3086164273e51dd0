"""A web server that plays parts: a test says what it answers, and sees what it was asked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from tests.support import loopback
from tests.support.certificates import Pair


@dataclass(frozen=True)
class Seen:
    """One request that arrived."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered. ``sent`` bytes of the body go out, then the line is cut; None: all."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    stall: bool = False  # after what is sent nothing comes, and the line stays open
    silent: bool = False  # not even the head is sent
    drip_s: float = 0.0  # between two bytes of the body


@dataclass
class Web:
    """A running server."""

    host: str
    url: str
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.seen]


def redirect(location: str, status: int = 307) -> Reply:
    return Reply(status, headers={"Location": location})


@contextlib.contextmanager
def serve(
    play: Callable[[Seen], Reply], *, pair: Pair | None = None, clients: Pair | None = None
) -> Iterator[Web]:
    """Serve on a free port of loopback while the context lasts; over TLS with a certificate.

    With ``clients``, only those are served who have a certificate of that authority.
    """

    class Playing(loopback.Handler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            seen = Seen(self.command, self.path, self.headers, self.rfile.read(length))
            web.seen.append(seen)
            reply = play(seen)
            if not reply.silent:
                self._send(reply)
            if reply.stall or reply.silent:
                web.ended.wait(20)
            if reply.sent is not None or reply.silent:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_CONNECT = _answer  # noqa: N815

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                for piece in [reply.body[: reply.sent]] if not reply.drip_s else reply.body:
                    self.wfile.write(piece if isinstance(piece, bytes) else bytes([piece]))
                    self.wfile.flush()
                    if web.ended.wait(reply.drip_s):
                        break

    class Server(loopback.Server):
        def get_request(self) -> tuple[Any, Any]:
            connection, address = super().get_request()
            web.connections += 1
            if context is not None:  # the handshake is the handler's: it may take its time
                connection = context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            return connection, address

    context = None
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if clients is not None:
            context.load_verify_locations(clients.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
    server = Server(Playing)
    host = f"127.0.0.1:{server.server_port}"
    web = Web(host, f"{'http' if pair is None else 'https'}://{host}")
    with loopback.running(server):
        try:
            yield web
        finally:
            web.ended.set()


@contextlib.contextmanager
def tunnel_proxy(seen: list[str]) -> Iterator[str]:
    """Run a proxy that opens every tunnel it is asked for and notes where to; give its URL.

    Every name that it is asked for is this machine.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    ends: list[socket.socket] = [listener]

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(4096)
                seen.append(head.partition(b"\r\n")[0].decode())
                port = int(head.split()[1].rpartition(b":")[2])
                server = socket.create_connection(("127.0.0.1", port))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                ends.extend((client, server))
                for pair in ((client, server), (server, client)):
                    threads.append(threading.Thread(target=pump, args=pair))
                    threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in threads:
            thread.join()
