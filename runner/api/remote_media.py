"""Images that a request names by URL: fetched where the server's user allows it, and only then.

A parser leaves them open (:func:`runner.api.openai.media.remote_files`); here their files come in,
before a model is leased. Whoever fetches sees to where a URL may lead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import msgspec

from runner.api.asking import ChatRequest
from runner.api.openai import media
from runner.api.openai.media import RemoteFile
from runner.errors import Kind, RunnerError

R = TypeVar("R", bound=ChatRequest)

MAX_FILES = 8  # of one request
MAX_TOTAL_BYTES = 20 * 1024 * 1024  # of one request
MAX_PARALLEL = 8  # of all requests
TOTAL_S = 20.0  # for all files of a request; waiting for others' counts
HINT = (
    "send the file itself (data:image/png;base64,...), or start the server with "
    "--remote-media on (RUNNER_REMOTE_MEDIA=on)"
)

Fetch = Callable[[str], bytes]
"""Returns the file that a URL names; raises RunnerError(INVALID_REQUEST). Called in threads."""


class RemoteMedia:
    """Fetches the images of requests, off the event loop and a few at a time."""

    def __init__(self, fetch: Fetch | None) -> None:
        """Without ``fetch`` requests that name files by URL are refused."""
        self._fetch = fetch
        # Of their own: servers that are slow on purpose keep threads from nobody else.
        self._threads = ThreadPoolExecutor(MAX_PARALLEL, "remote-media")

    async def bring(self, asked: R) -> R:
        """Return the request with its files; raise INVALID_REQUEST naming the one at fault."""
        if not asked.remote:
            return asked
        if self._fetch is None:
            raise _refusal(asked.remote[0], "this server fetches nothing for clients", HINT)
        if len(asked.remote) > MAX_FILES:
            first = asked.remote[MAX_FILES]
            raise _refusal(first, f"a request may name {MAX_FILES} files by URL")
        try:
            async with asyncio.timeout(TOTAL_S):
                files = await self._fetch_all(self._fetch, asked.remote)
        except TimeoutError:
            first = asked.remote[0]
            raise _refusal(first, f"the request's files took longer than {TOTAL_S:g} s") from None
        return await asyncio.to_thread(_put, asked, files)

    def close(self) -> None:
        """Begin no more fetches; those that run end within their own limits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fetch_all(self, fetch: Fetch, remote: tuple[RemoteFile, ...]) -> dict[str, bytes]:
        wanted = {file.url: file for file in reversed(remote)}  # each once, by its first name
        files: dict[str, bytes] = {}
        loop = asyncio.get_running_loop()

        async def bring(file: RemoteFile) -> None:
            try:
                files[file.url] = await loop.run_in_executor(self._threads, fetch, file.url)
            except RunnerError as error:
                raise _refusal(file, error.message, error.hint) from error
            if sum(map(len, files.values())) > MAX_TOTAL_BYTES:
                raise _refusal(file, f"the request's files have more than {MAX_TOTAL_BYTES} bytes")

        try:
            async with asyncio.TaskGroup() as group:
                for file in wanted.values():
                    group.create_task(bring(file))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return files


def _put(asked: R, files: dict[str, bytes]) -> R:
    written = media.put_files(asked.prompt.messages_json, files)
    prompt = msgspec.structs.replace(asked.prompt, messages_json=written)
    return replace(asked, prompt=prompt, remote=())


def _refusal(file: RemoteFile, problem: str, hint: str | None = None) -> RunnerError:
    message = f"{file.param}: {problem}"
    return RunnerError(Kind.INVALID_REQUEST, message, hint=hint, param=file.param)
