"""The whole daemon but for files and processes: the real app on the real server, scripted models.

A model answers as the last message of the request tells it, see :class:`ScriptedEngine`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.api import About, App, Backend, Fetch, Policy, RemoteMedia
from runner.api.call import Handler
from runner.api.routes import Route
from runner.errors import RunnerError
from runner.net import Limits, Server
from runner.oci import Reference, Role
from runner.service import (
    Configured,
    Configuring,
    Engines,
    Options,
    ResponseStore,
    Tally,
    Transfers,
    Upkeep,
    Usage,
)
from runner.store import Removal, StoredModel
from runner.supervise import Completion
from runner.wire.messages import (
    Answered,
    Ask,
    Begun,
    ChatPrompt,
    Detokenize,
    Ended,
    Event,
    Failed,
    InfillPrompt,
    Load,
    Piece,
    Prompt,
    RequestId,
    Submit,
    TextPrompt,
    Timings,
    Tokenize,
    TokenLogprob,
    TokenPrompt,
)
from tests.support.fake_engine import FakeEngine, FakeModels, estimate
from tests.support.fake_transfers import FakeTransferClient

TIMINGS = Timings(cache_n=2, prompt_n=5, prompt_ms=1.0, predicted_n=2, predicted_ms=1.0)


class ScriptedEngine(FakeEngine):
    """Answers by the first word of the last message.

    ``say a b``: the words as pieces. ``hang``: one piece, then nothing until cancelled.
    ``queue``: nothing at all until cancelled. ``fail KIND`` and ``die KIND``: an error before and
    after the first piece. Raw text is the message; tokens say ``tokens``, and a question is
    answered by the bytes of its text.
    """

    def submit(self, request: Submit | Ask) -> Completion:
        super().submit(request)
        id = len(self.submitted) + len(self.asked)
        completion = Completion(id, cancel=lambda id: self._cancel(id, completion))
        if isinstance(request, Ask):
            _deliver(completion, iter([_answer(request, id)]))
        else:
            _deliver(completion, self._script(request, id))
        return completion

    def _cancel(self, id: RequestId, completion: Completion) -> None:
        self.cancelled.append(id)
        completion.deliver(Failed(id=id, kind="cancelled", message="cancelled"))

    def _script(self, request: Submit, id: RequestId) -> Iterator[Event]:
        verb, *words = _last_message(request.prompt).split()
        if verb == "queue":
            return
        if verb == "fail":
            details = {"n_prompt_tokens": 9, "n_ctx": 8} if "context" in words[0] else {}
            yield Failed(id=id, kind=words[0], message="it failed", hint="do this", details=details)
            return
        yield Begun(id=id, prompt_tokens=7, cached_tokens=2)
        if verb in ("hang", "die"):
            yield Piece(id=id, text="first", tokens=1)
            if verb == "die":
                yield Failed(id=id, kind=words[0], message="it died")
            return
        for index, word in enumerate(words):
            text = word if index == 0 else f" {word}"
            shown = TokenLogprob(token=index, piece=text.encode(), logprob=-0.25)
            wants = request.sampling.top_logprobs is not None
            yield Piece(id=id, text=text, tokens=1, logprobs=(shown,) if wants else ())
        yield Ended(
            id=id,
            reason="eos",
            prompt_tokens=7,
            cached_tokens=2,
            completion_tokens=len(words),
            timings=TIMINGS,
        )


def _last_message(prompt: Prompt) -> str:
    match prompt:
        case ChatPrompt(messages_json=messages):
            content: str | list[dict[str, str]] = json.loads(messages)[-1]["content"]
            return content if isinstance(content, str) else content[-1]["text"]
        case TextPrompt(text=text) | InfillPrompt(prefix=text):
            return text
        case TokenPrompt():
            return "say tokens"


def _answer(ask: Ask, id: RequestId) -> Event:
    match ask.question:
        case Detokenize(tokens=tokens):
            return Answered(id, bytes(tokens).decode(), tokens)
        case Tokenize(text=text, with_pieces=with_pieces):
            data = text.encode()
            pieces = tuple(bytes([byte]) for byte in data) if with_pieces else ()
            return Answered(id, "", tuple(data), pieces)
        case prompt:
            text = _last_message(prompt)
            if text == "fail":
                return Failed(id, "template_error", "it failed", param="messages")
            return Answered(id, f"<{text}>", tuple(text.encode()))


def _deliver(completion: Completion, events: Iterator[Event]) -> None:
    """Deliver one event a turn of the loop, so that pieces are not merged."""
    loop = asyncio.get_running_loop()

    def step() -> None:
        event = next(events, None)
        if event is not None and not completion.ended:
            completion.deliver(event)
            loop.call_later(0.001, step)

    loop.call_soon(step)


class ScriptedSpawn:
    """Starts scripted engines; with ``loading`` set, waits for that event first."""

    def __init__(self) -> None:
        self.engines: list[ScriptedEngine] = []
        self.loading: asyncio.Event | None = None
        self.error: RunnerError | None = None

    async def __call__(self, load: Load, on_progress: Callable[[float], None]) -> ScriptedEngine:
        if self.loading is not None:
            await self.loading.wait()
        if self.error is not None:
            raise self.error
        self.engines.append(ScriptedEngine(load, 1000 + len(self.engines)))
        return self.engines[-1]


class FakeCatalogue(FakeModels):
    """A catalogue in memory that notes what it was asked."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.error: RunnerError | None = None
        self.aliases: list[tuple[str, str]] = []

    async def list(self) -> list[StoredModel]:
        if self.error is not None:
            raise self.error
        return [*self.models.values()]

    async def resolve(self, name: str, *, partial: bool = True) -> StoredModel:
        reference = str(Reference.parse(name)) if ":" not in name else name
        for model in self.models.values():
            if reference in model.tags or name == str(model.id):
                return model
        return await self.obtain(name)

    async def aliased(self) -> list[tuple[str, StoredModel]]:
        return [(name, self.models[target]) for name, target in self.aliases]

    async def texts(self, model: StoredModel, role: Role) -> list[str]:
        return [f"the {role} of {model.config.architecture}"]

    async def tag(self, name: str, target: str) -> Reference:
        model = await self.resolve(name)
        reference = Reference.parse(target)
        self.models["a"] = replace(model, tags=(*model.tags, str(reference)))
        return reference

    async def remove(self, name: str, *, force: bool = False) -> Removal:
        model = await self.resolve(name)
        if len(model.tags) > 1:
            return Removal((model.tags[-1],), None)
        return Removal(model.tags, model.id)


class FakeUpkeep:
    """A store that takes 4096 bytes."""

    async def usage(self) -> Usage:
        return Usage(
            models_bytes=4000,
            shared_bytes=0,
            linked_bytes=0,
            unfinished_bytes=90,
            unneeded_bytes=6,
        )


@dataclass(frozen=True)
class Site:
    """A running server with what stands behind it."""

    port: int
    catalogue: FakeCatalogue
    engines: Engines
    spawn: ScriptedSpawn
    client: FakeTransferClient  # of transfers
    routes: Sequence[Route[Handler]]
    drain: Callable[[float], Awaitable[None]]  # stop, with so many seconds for what runs

    @property
    def engine(self) -> ScriptedEngine:
        return self.spawn.engines[-1]

    async def send(self, method: str, target: str, *fields: str, body: bytes = b"") -> Answer:
        """Send one request on a connection of its own, and read the answer to its end."""
        async with self.connect() as (reader, writer):
            writer.write(render_request(method, target, *fields, body=body))
            answer = parse_answer(await reader.read())
        return answer

    async def post(self, target: str, value: Any, *fields: str) -> Answer:
        """Send JSON."""
        return await self.send("POST", target, *fields, JSON_FIELD, body=json.dumps(value).encode())

    async def chat(self, content: str, *fields: str, **members: Any) -> Answer:
        """Ask model ``a``."""
        return await self.post("/v1/chat/completions", chat_body(content, **members), *fields)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def events(self) -> list[Any]:
        """The data of each event: JSON, or text where it is none."""
        lines = [line for line in self.body.split(b"\n\n") if line.startswith(b"data: ")]
        return [
            line[6:].decode() if line == b"data: [DONE]" else json.loads(line[6:]) for line in lines
        ]


JSON_FIELD = "Content-Type: application/json"


def chat_body(content: str, **members: Any) -> dict[str, Any]:
    return {"model": "a", "messages": [{"role": "user", "content": content}], **members}


def render_request(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    """Write a request as it goes over the wire; ``fields`` may replace the Host."""
    lines = [f"{method} {target} HTTP/1.1", *fields, "Connection: close"]
    if not any(field.lower().startswith("host:") for field in fields):
        lines.append("Host: localhost")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def parse_answer(data: bytes) -> Answer:
    """Read a response, chunked or not."""
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(_chunks(body))
    return Answer(int(status_line.split(" ")[1]), headers, body)


def _chunks(data: bytes) -> Iterator[bytes]:
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        yield data[:length]
        data = data[length + 2 :]


@asynccontextmanager
async def serving(
    *,
    policy: Policy | None = None,
    names: Sequence[str] = ("a", "b"),
    log_path: Path | None = None,
    max_body_bytes: int = 10 * 1024 * 1024,
    limits: Limits | None = None,
    patience_s: float = 10.0,
    record_requests: int = 0,
    upkeep: Upkeep | None = None,
    responses_path: Path | None = None,
    settings_path: Path = Path("/nowhere"),
    fetch: Fetch | None = None,
) -> AsyncIterator[Site]:
    """Serve scripted models on a free port of loopback."""
    catalogue, spawn = FakeCatalogue(*names), ScriptedSpawn()
    configuring = Configuring(catalogue, Configured(settings_path), Options())  # type: ignore[arg-type]
    tally = Tally()
    engines = Engines(
        catalogue, spawn, settings_for=configuring.settings_for, estimate=estimate, tally=tally
    )
    about = About(
        version="9.9",
        survey=lambda: Backend("Running: llama.cpp test", 77),
        log_path=log_path,
        max_body_bytes=max_body_bytes,
        patience_s=patience_s,
        record_requests=record_requests,
    )
    client = FakeTransferClient()
    transfers = Transfers(client, max_running=2, tally=tally)
    # Nothing is written where a test keeps no response.
    responses = ResponseStore(responses_path or Path("/dev/null/none"))
    remote_media = RemoteMedia(fetch)
    app = App(
        catalogue,  # type: ignore[arg-type]
        engines,
        transfers,
        responses=responses,
        configuring=configuring,
        upkeep=upkeep or FakeUpkeep(),  # type: ignore[arg-type]
        tally=tally,
        policy=policy or Policy(),
        remote_media=remote_media,
        about=about,
    )
    server = Server(app, limits or Limits(), on_error=app.on_error)
    [(_, port)] = await server.listen_tcp("127.0.0.1", 0)
    try:
        yield Site(port, catalogue, engines, spawn, client, app.routes, server.drain)
    finally:
        transfers.stop()
        await server.drain(0.2)
        remote_media.close()
        await responses.close()
        await transfers.close()
        await engines.close(0)


def run(test: Callable[[Site], Awaitable[None]], **options: Any) -> None:
    """Run a test against a server that :func:`serving` starts with these options."""

    async def main() -> None:
        async with serving(**options) as site, asyncio.timeout(20):
            await test(site)

    asyncio.run(main())


def lines(answer: Answer) -> list[Any]:
    """Read an answer of one JSON value a line."""
    return [json.loads(line) for line in answer.body.splitlines()]
