"""Routes that make models: of files of this machine, or of a stored model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.call import Call, while_wanted
from runner.api.fields import Fields, as_text
from runner.api.management.answers import Outcome, ProgressAnswer
from runner.errors import Kind, RunnerError
from runner.service import Format, PackageRequest, Transfers

MAX_CONTEXT = 2**31 - 1
MAX_PATH_CHARACTERS = 4096
MAX_FILES = 1000


class Packaging:
    """The handlers of the routes that package."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    async def package(self, call: Call) -> None:
        """Make a model, telling progress line by line. Files are for clients of this machine."""
        name, wanted = await call.read(_parse_package)
        if _names_files(wanted):
            call.require_local("files can be packaged")
        answer = ProgressAnswer(call, "package")
        async with while_wanted(call.exchange), self._transfers.package(wanted, name) as watch:
            await answer.follow(
                watch, lambda model: Outcome("Model packaged successfully", [model])
            )

    async def repackage(self, call: Call) -> None:
        """Make a model of a stored one that is run with another context size."""
        wish = await call.read(_parse_repackage)
        wanted = PackageRequest(from_model=call.name, context_size=wish.context_size)
        async with self._transfers.package(wanted, wish.target) as watch:
            await watch.result()
        message = f'Model repackaged successfully as "{wish.target}"'
        answer = {"message": message, "source": call.name, "target": wish.target}
        await call.reply_json(answer, status=201)


@dataclass(frozen=True, slots=True)
class _Repackage:
    target: str
    context_size: int | None


def _parse_repackage(body: dict[str, Any]) -> _Repackage:
    fields = Fields(body)
    target = fields.text("target", max_characters=MAX_PATH_CHARACTERS)
    if not target:
        raise RunnerError(Kind.INVALID_REQUEST, "target is required", param="target")
    return _Repackage(target, fields.integer("context_size", 1, MAX_CONTEXT))


def _parse_package(body: dict[str, Any]) -> tuple[str, PackageRequest]:
    fields = Fields(body)
    name = fields.text("name", max_characters=MAX_PATH_CHARACTERS)
    if not name:
        raise RunnerError(Kind.INVALID_REQUEST, "expected a name for the model", param="name")
    wanted = PackageRequest(
        gguf=_take_paths(fields, "gguf"),
        safetensors_dir=_take_path(fields, "safetensors_dir"),
        from_model=fields.text("from", max_characters=MAX_PATH_CHARACTERS),
        licenses=_take_paths(fields, "licenses"),
        chat_template=_take_path(fields, "chat_template"),
        mmproj=_take_path(fields, "mmproj"),
        loras=_take_paths(fields, "loras"),
        context_size=fields.integer("context_size", 1, MAX_CONTEXT),
        form=_take_format(fields),
    )
    return name, wanted


def _names_files(wanted: PackageRequest) -> bool:
    lists = (*wanted.gguf, *wanted.licenses, *wanted.loras)
    single = (wanted.safetensors_dir, wanted.chat_template, wanted.mmproj)
    return bool(lists) or any(path is not None for path in single)


def _take_format(fields: Fields) -> Format | None:
    text = fields.text("format")
    if text is None:
        return None
    try:
        return Format(text)
    except ValueError:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"format: expected {' or '.join(Format)}, got {text!r}",
            param="format",
        ) from None


def _take_path(fields: Fields, name: str) -> Path | None:
    value = fields.take(name)
    return None if value is None else _as_path(value, name)


def _take_paths(fields: Fields, name: str) -> tuple[Path, ...]:
    """Take one path, or a list of them."""
    value = fields.take(name)
    if not isinstance(value, list):
        return () if value is None else (_as_path(value, name),)
    if len(value) > MAX_FILES:
        raise RunnerError(
            Kind.INVALID_REQUEST, f"{name}: expected at most {MAX_FILES} files", param=name
        )
    return tuple(_as_path(path, f"{name}[{i}]") for i, path in enumerate(value))


def _as_path(value: Any, param: str) -> Path:
    path = Path(as_text(value, param, MAX_PATH_CHARACTERS))
    if not path.is_absolute() or "\0" in str(path):
        raise RunnerError(
            Kind.INVALID_REQUEST, f"{param}: expected the absolute path of a file", param=param
        )
    return path
