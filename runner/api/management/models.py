"""Docker Model Runner's ``/models`` routes: list, inspect, add, name, remove."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api import cards
from runner.api.call import Call
from runner.api.management import render
from runner.api.openai.fields import Fields, as_text
from runner.errors import Kind, RunnerError
from runner.net import Stream
from runner.service import Catalogue, Engines

PACKAGE_SCHEME = "package:"
MAX_CONTEXT = 2**31 - 1
MAX_PATH_CHARACTERS = 4096
PROGRESS_S = 0.1  # between two lines, as Docker Model Runner has it


class Models:
    """The handlers of the store's routes."""

    def __init__(self, catalogue: Catalogue, engines: Engines) -> None:
        self._catalogue = catalogue
        self._engines = engines

    async def list(self, call: Call) -> None:
        """List the stored models."""
        models = [cards.dmr_object(model) for model in await self._catalogue.list()]
        await call.reply_json(models)

    async def show(self, call: Call) -> None:
        """Tell of one model."""
        model = await self._catalogue.resolve(call.name)
        await call.reply_json(cards.dmr_object(model))

    async def create(self, call: Call) -> None:
        """Add a model from a source, telling progress line by line."""
        source = await call.read(_parse_source)
        answer = _PullAnswer(call)
        try:
            if source.startswith(PACKAGE_SCHEME):
                await self._add_package(source, answer)
                message = "Model pulled successfully"
            else:
                model = await self._find_stored(source)
                message = f"Using cached model: {model.config.size}"
        except RunnerError as error:
            if not answer.has_begun:
                raise
            await answer.finish(render.error_line(str(error), is_escaped=answer.is_escaped))
            return
        await answer.finish(render.success_line(message, is_escaped=answer.is_escaped))

    async def _add_package(self, source: str, answer: _PullAnswer) -> None:
        latest: list[tuple[int, int]] = []
        adding = asyncio.create_task(
            self._catalogue.add_package(source, progress=lambda *counts: latest.append(counts))
        )
        try:
            while not (await asyncio.wait([adding], timeout=PROGRESS_S))[0]:
                if latest:
                    done, total = latest[-1]
                    latest.clear()
                    await answer.send(
                        render.progress_line(done, total, is_escaped=answer.is_escaped)
                    )
            adding.result()
        finally:
            adding.cancel()

    async def _find_stored(self, source: str) -> cards.StoredModel:
        try:
            return await self._catalogue.resolve(source, partial=False)
        except RunnerError as error:
            if error.kind is not Kind.MODEL_NOT_FOUND:
                raise
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{source} is not stored, and this version cannot pull from a registry",
                hint="add a file (runner package --gguf FILE NAME), or name a source package:NAME",
                param="from",
            ) from error

    async def package(self, call: Call) -> None:
        """Add GGUF files of this machine under a name."""
        if not call.exchange.is_local:
            raise RunnerError(
                Kind.FORBIDDEN, "files can be packaged only by a client on the same machine"
            )
        wanted = await call.read(_parse_package)
        model = await self._catalogue.package_gguf(
            [wanted.gguf],
            wanted.name,
            licenses=wanted.licenses,
            chat_template=wanted.chat_template,
            context_size=wanted.context_size,
        )
        await call.reply_json({"id": str(model.id), "tags": list(model.tags)}, status=201)

    async def tag(self, call: Call) -> None:
        """Give a model one more name."""
        repository, tag = call.query("repo"), call.query("tag")
        if not repository or not tag:
            raise RunnerError(Kind.INVALID_REQUEST, "missing repo or tag query parameter")
        target = f"{repository}:{tag}"
        await self._catalogue.tag(call.name, target)
        message = f'Model tagged successfully with "{target}"'
        await call.reply_json({"message": message, "target": target}, status=201)

    async def remove(self, call: Call) -> None:
        """Take a name from a model, and the model with its last name; a busy one only by force."""
        force = call.query_flag("force")
        model = await self._catalogue.resolve(call.name, partial=False)
        if not force and len(model.tags) <= 1:
            self._refuse_if_busy(call.name, str(model.id))
        removal = await self._catalogue.remove(call.name, force=force)
        steps = [{"Untagged": tag} for tag in removal.untagged]
        if removal.deleted is not None:
            await self._engines.unload([str(model.id)])
            steps.append({"Deleted": str(removal.deleted)})
        await call.reply_json(steps)

    def _refuse_if_busy(self, name: str, identity: str) -> None:
        if any(one.id == identity and one.in_use for one in self._engines.running()):
            raise RunnerError(
                Kind.CONFLICT,
                f"{name} is answering a request",
                hint="wait until it is idle, or remove it with force=true",
            )


class _PullAnswer:
    """The answer to a pull: its head waits for the first line, so that a refusal has a status."""

    def __init__(self, call: Call) -> None:
        self._call = call
        # The stock CLI sends no Accept and expects HTML escapes; JSON is for whoever asks for it.
        self.is_escaped = call.exchange.request.headers.get("accept") != "application/json"
        self._stream: Stream | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a status was sent."""
        return self._stream is not None

    async def send(self, line: bytes) -> None:
        """Send a line."""
        if self._stream is None:
            kind = "text/plain; charset=utf-8" if self.is_escaped else "application/json"
            self._stream = await self._call.open_stream(kind)
        await self._stream.send(line)

    async def finish(self, line: bytes) -> None:
        """Send the last line."""
        await self.send(line)
        assert self._stream is not None
        await self._stream.finish()


@dataclass(frozen=True, slots=True)
class _Package:
    gguf: Path
    name: str
    licenses: tuple[Path, ...]
    chat_template: Path | None
    context_size: int | None


def _parse_source(body: dict[str, Any]) -> str:
    source = Fields(body).text("from", max_characters=MAX_PATH_CHARACTERS)
    if not source:
        raise RunnerError(Kind.INVALID_REQUEST, 'expected {"from": "package:NAME"}', param="from")
    return source.strip()


def _parse_package(body: dict[str, Any]) -> _Package:
    fields = Fields(body)
    name = fields.text("name", max_characters=MAX_PATH_CHARACTERS)
    if not name:
        raise RunnerError(Kind.INVALID_REQUEST, "expected a name for the model", param="name")
    licenses = fields.array("licenses") or []
    template = fields.take("chat_template")
    return _Package(
        gguf=_as_path(fields.take("gguf"), "gguf"),
        name=name,
        licenses=tuple(_as_path(path, f"licenses[{i}]") for i, path in enumerate(licenses)),
        chat_template=None if template is None else _as_path(template, "chat_template"),
        context_size=fields.integer("context_size", 1, MAX_CONTEXT),
    )


def _as_path(value: Any, param: str) -> Path:
    path = Path(as_text(value, param, MAX_PATH_CHARACTERS))
    if not path.is_absolute() or "\0" in str(path):
        raise RunnerError(
            Kind.INVALID_REQUEST, f"{param}: expected the absolute path of a file", param=param
        )
    return path
