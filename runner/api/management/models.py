"""Docker Model Runner's ``/models`` routes: list, inspect, package, name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api import cards
from runner.api.call import Call
from runner.api.openai.fields import Fields, as_text
from runner.errors import Kind, RunnerError
from runner.service import Catalogue

MAX_CONTEXT = 2**31 - 1
MAX_PATH_CHARACTERS = 4096


class Models:
    """The handlers of the store's routes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def list(self, call: Call) -> None:
        """List the stored models."""
        models = [cards.dmr_object(model) for model in await self._catalogue.list()]
        await call.reply_json(models)

    async def show(self, call: Call) -> None:
        """Tell of one model."""
        model = await self._catalogue.resolve(call.name)
        await call.reply_json(cards.dmr_object(model))

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


@dataclass(frozen=True, slots=True)
class _Package:
    gguf: Path
    name: str
    licenses: tuple[Path, ...]
    chat_template: Path | None
    context_size: int | None


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
