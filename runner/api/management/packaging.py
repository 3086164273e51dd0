"""Routes that make models: of files of this machine, or of a stored model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api import bodies
from runner.api.call import Call, Handler, while_wanted
from runner.api.fields import Field, Fields, Shape, as_text, integer, refuse, required, text, word
from runner.api.keys import Scope
from runner.api.management.answers import Outcome, ProgressAnswer
from runner.api.routes import Route
from runner.service import Format, PackageRequest, Transfers

MAX_CONTEXT = 2**31 - 1
MAX_PATH_CHARACTERS = 4096
MAX_FILES = 1000


class Packaging:
    """The handlers of the routes that package."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about = "make a model of files, telling progress line by line"
        yield Route("POST", "/models/package", Scope.MANAGE, self.package, about, PACKAGE)
        path, about = "/models/{name}/repackage", "make a model of a stored one"
        yield Route("POST", path, Scope.MANAGE, self.repackage, about, REPACKAGE)

    async def package(self, call: Call) -> None:
        """Make a model, telling progress line by line. Files are for clients of this machine."""
        name, wanted = await bodies.read(call, PACKAGE, _parse_package)
        if _names_files(wanted):
            call.require_local("files can be packaged")
        answer = ProgressAnswer(call, "package")
        async with while_wanted(call.exchange), self._transfers.package(wanted, name) as watch:
            await answer.follow(
                watch, lambda model: Outcome("Model packaged successfully", [model])
            )

    async def repackage(self, call: Call) -> None:
        """Make a model of a stored one that is run with another context size."""
        wish = await bodies.read(call, REPACKAGE, _parse_repackage)
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


# ---- fields ----------------------------------------------------------------------------------


def _read_file(value: Any, param: str) -> Path:
    path = Path(as_text(value, param, MAX_PATH_CHARACTERS))
    if not path.is_absolute() or "\0" in str(path):
        refuse(param, "the absolute path of a file", value)
    return path


def _read_files(value: Any, param: str) -> tuple[Path, ...]:
    """Read one path, or a list of them."""
    if not isinstance(value, list):
        return (_read_file(value, param),)
    if len(value) > MAX_FILES:
        refuse(param, f"at most {MAX_FILES} files", value)
    return tuple(_read_file(path, f"{param}[{i}]") for i, path in enumerate(value))


def _file(name: str, about: str) -> Field[Path]:
    return Field(name, about, {"type": "string", "maxLength": MAX_PATH_CHARACTERS}, _read_file)


def _files(name: str, about: str) -> Field[tuple[Path, ...]]:
    schema = {"type": ["string", "array"], "items": {"type": "string"}, "maxItems": MAX_FILES}
    return Field(name, about, schema, _read_files)


CONTEXT_SIZE = integer("context_size", "how many tokens its context has", 1, MAX_CONTEXT)
TARGET = required(text("target", "the new model's name", max_characters=MAX_PATH_CHARACTERS))
REPACKAGE = Shape("repackage", (TARGET, CONTEXT_SIZE))

NAME = required(text("name", "the model's name", max_characters=MAX_PATH_CHARACTERS))
GGUF = _files("gguf", "the files of a GGUF model")
SAFETENSORS = _file("safetensors_dir", "the folder of a safetensors model")
FROM = text("from", "a stored model that is changed", max_characters=MAX_PATH_CHARACTERS)
LICENSES = _files("licenses", "texts of licenses")
TEMPLATE = _file("chat_template", "a template of conversations")
MMPROJ = _file("mmproj", "the projector of images")
LORAS = _files("loras", "adapters")
FORMAT = word("format", "the form of its manifest", tuple(Format))
PACKAGE = Shape(
    "package",
    (NAME, GGUF, SAFETENSORS, FROM, LICENSES, TEMPLATE, MMPROJ, LORAS, CONTEXT_SIZE, FORMAT),
)


# ---- parsing ---------------------------------------------------------------------------------


def _parse_repackage(fields: Fields) -> _Repackage:
    target = fields.take(TARGET)
    if not target:
        refuse("target", "the name of a model", target)
    return _Repackage(target, fields.take(CONTEXT_SIZE))


def _parse_package(fields: Fields) -> tuple[str, PackageRequest]:
    name = fields.take(NAME)
    if not name:
        refuse("name", "a name for the model", name)
    wanted = PackageRequest(
        gguf=fields.take(GGUF) or (),
        safetensors_dir=fields.take(SAFETENSORS),
        from_model=fields.take(FROM),
        licenses=fields.take(LICENSES) or (),
        chat_template=fields.take(TEMPLATE),
        mmproj=fields.take(MMPROJ),
        loras=fields.take(LORAS) or (),
        context_size=fields.take(CONTEXT_SIZE),
        form=fields.take(FORMAT),
    )
    return name, wanted


def _names_files(wanted: PackageRequest) -> bool:
    lists = (*wanted.gguf, *wanted.licenses, *wanted.loras)
    single = (wanted.safetensors_dir, wanted.chat_template, wanted.mmproj)
    return bool(lists) or any(path is not None for path in single)
