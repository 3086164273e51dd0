"""Ollama's routes that make models: of a stored one, or of files that are sent first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runner.api import blocking
from runner.api.call import Call, Handler, while_wanted
from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Refused,
    Shape,
    array,
    as_array,
    as_object,
    as_text,
    integer,
    nested,
    refuse,
    text,
)
from runner.api.keys import Scope
from runner.api.ollama import progress
from runner.api.ollama.names import MAX_NAME_CHARACTERS, MODEL, NAME, take_model
from runner.api.ollama.transfers import STREAM, TransferRequest, follow, succeed
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.oci import Digest
from runner.service import Catalogue, PackageRequest, Transfers

MAX_FILES = 1000
MAX_LICENSES = 100
MAX_LICENSE_CHARACTERS = 1024 * 1024


def _read_files(value: Any, param: str) -> dict[str, Digest]:
    """Return digests by file name."""
    files = as_object(value, param)
    if len(files) > MAX_FILES:
        refuse(param, f"at most {MAX_FILES} files", files)
    return {name: _read_digest(digest, f"{param}.{name[:80]}") for name, digest in files.items()}


def _read_digest(value: Any, param: str) -> Digest:
    try:
        return Digest.parse(as_text(value, param))
    except RunnerError:
        refuse(param, "sha256: and 64 lower-case hex digits", value)


def _read_licenses(value: Any, param: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else as_array(value, param)
    if len(texts) > MAX_LICENSES:
        refuse(param, f"at most {MAX_LICENSES} texts", texts)
    read = (as_text(each, f"{param}[{i}]", MAX_LICENSE_CHARACTERS) for i, each in enumerate(texts))
    return tuple(each for each in read if each)


_FILES_SCHEMA = {"type": "object", "additionalProperties": {"type": "string"}}
_FROM = text("from", "the stored model that it is made of", max_characters=MAX_NAME_CHARACTERS)
_FILES = Field(
    "files",
    "GGUF files that it is made of, by name: the digest of each, whose bytes were sent first",
    _FILES_SCHEMA,
    _read_files,
)
_ADAPTERS = Field(
    "adapters", "LoRA adapters that go with it, in the same form", _FILES_SCHEMA, _read_files
)
_LICENSE = Field(
    "license",
    "its licence, or several",
    {"type": ["string", "array"], "items": {"type": "string"}},
    _read_licenses,
)
MAX_CONTEXT = 2**31 - 1
_NUM_CTX = integer("num_ctx", "the context that it is to be run with", 1, MAX_CONTEXT)
_PARAMETERS = nested(
    "parameters",
    "how it is run: num_ctx alone is kept, any other is an error",
    Shape("Ollama model parameters", (_NUM_CTX,)),
)
_TEMPLATE = text("template", "only empty: Ollama's own templates are not understood")
_SYSTEM = text("system", "only empty: what is said to a model is each request's")
_MESSAGES = array("messages", "only empty: what is said to a model is each request's")
_QUANTIZE = text("quantize", "only empty: files are taken as they are")
_EMPTY = (_TEMPLATE, _SYSTEM, _MESSAGES, _QUANTIZE)

CREATE = Shape(
    "Ollama create request",
    (
        MODEL,
        NAME,
        STREAM,
        _FROM,
        _FILES,
        _ADAPTERS,
        _LICENSE,
        _PARAMETERS,
        *_EMPTY,
        *(
            Refused(name, "is of older releases: send from or files")
            for name in ("modelfile", "path", "quantization")
        ),
        *(
            Refused(name, "names a part of Ollama's engine, which this is not")
            for name in ("renderer", "parser")
        ),
        Refused("remote_host", "is not followed: models run here"),
        Ignored("requires", "this is not Ollama"),
        Ignored("info", "the file tells of the model"),
    ),
)


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A model to make."""

    transfer: TransferRequest
    package: PackageRequest


class Creating:
    """The handlers of the routes that make models."""

    def __init__(self, catalogue: Catalogue, transfers: Transfers) -> None:
        self._catalogue = catalogue
        self._transfers = transfers

    def routes(self) -> Iterator[Route[Handler]]:
        """Give their routes."""
        about = "make a model of a stored one, or of files, as Ollama does"
        yield Route("POST", "/api/create", Scope.MANAGE, self.create, about, CREATE)
        path, about = "/api/blobs/{name}", "tell whether a file's bytes need not be sent"
        yield Route("HEAD", path, Scope.MANAGE, self.has_blob, about)
        about = "take a file's bytes for a model that is made later"
        yield Route("POST", path, Scope.MANAGE, self.add_blob, about)

    async def create(self, call: Call) -> None:
        """Make a model, telling progress; of a stored one as it is, that is one more name."""
        wanted = await call.read(parse_create)
        name, package = wanted.transfer.name, wanted.package
        if package == PackageRequest(from_model=package.from_model):
            assert package.from_model is not None
            await self._catalogue.tag(package.from_model, name)
            await succeed(call, progress.CREATE, wanted.transfer)
            return
        async with while_wanted(call.exchange), self._transfers.package(package, name) as watch:
            await follow(call, watch, progress.CREATE, wanted.transfer)

    async def has_blob(self, call: Call) -> None:
        """Tell whether a file's bytes are here: 200, or 404."""
        digest = _read_digest(call.name, "digest")
        if not await self._transfers.has_blob(digest):
            raise RunnerError(Kind.NOT_FOUND, f"{digest} is not here")
        await call.reply(b"")

    async def add_blob(self, call: Call) -> None:
        """Take a file's bytes; they must be those that the digest in the path names."""
        digest = _read_digest(call.name, "digest")
        async with (
            while_wanted(call.exchange),
            blocking.body_file(call.exchange) as file,
            self._transfers.upload(digest, file) as watch,
        ):
            await watch.result()
        while await call.exchange.next_piece():
            pass  # bytes that were here already: some clients read no answer before all is sent
        await call.reply(b"", status=201)


def parse_create(body: dict[str, Any]) -> CreateRequest:
    """Read a body of ``/api/create``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=CREATE)
    name, stream = take_model(fields).strip(), fields.take(STREAM)
    for field in _EMPTY:
        if fields.take(field):
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{field.name} is not kept with a model",
                hint="leave it out",
                param=field.name,
            )
    base, files = fields.take(_FROM), fields.take(_FILES) or {}
    if bool(base) is bool(files):
        raise RunnerError(
            Kind.INVALID_REQUEST, "a model is made of from or of files: send one", param="from"
        )
    package = PackageRequest(
        from_model=base or None,
        uploads=files,
        lora_uploads=tuple((fields.take(_ADAPTERS) or {}).values()),
        license_texts=fields.take(_LICENSE) or (),
        context_size=_take_context(fields),
    )
    return CreateRequest(TransferRequest(name, stream is not False, tuple(fields)), package)


def _take_context(fields: Fields) -> int | None:
    parameters = fields.take(_PARAMETERS)
    if parameters is None:
        return None
    context_size = parameters.take(_NUM_CTX)
    for name in parameters:
        param = parameters.param(name[:80])
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{param} is not kept with a model",
            hint="send it with each request, as one of its options",
            param=param,
        )
    return context_size
