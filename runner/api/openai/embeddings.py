"""Embeddings, as OpenAI's SDKs ask for them and read them. Parse and render are pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from runner.api.call import Call, Handler
from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Shape,
    anything,
    as_integer,
    boolean,
    integer,
    refuse,
    word,
)
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.keys import Scope
from runner.api.openai import generation, pooling
from runner.api.openai.preloading import preloading
from runner.api.routes import OPENAI_PREFIXES, Route
from runner.service import Engines
from runner.wire.messages import Embed, Pooled

MAX_INPUTS = 2048  # OpenAI's
MAX_DIMENSIONS = 65536
MAX_TOKEN = 2**31 - 1
MAX_NORM = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsRequest:
    """One request, valid but for what only the loaded model can tell."""

    model: str
    embed: Embed
    is_base64: bool
    keep_alive_s: float | None
    ignored: tuple[str, ...]  # names of fields that had no effect


class Embeddings:
    """The handler of embeddings."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its routes."""
        handler = preloading(self._engines, self)
        for prefix in OPENAI_PREFIXES:
            path = f"{prefix}/embeddings"
            yield Route("POST", path, Scope.INFER, handler, "make vectors of texts", SHAPE)

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(parse)
        await pooling.answer(self._engines, call, request, request.embed, partial(render, request))


def inputs_field(name: str, more: str = "") -> Field[Any]:
    """Declare the member that holds what vectors are made of; :func:`read_inputs` reads it."""
    return anything(
        name,
        f"a text, tokens, or an array of either{more}",
        {"type": ["string", "array"], "minLength": 1, "minItems": 1},
    )


INPUT, CONTENT = inputs_field("input"), inputs_field("content", " (llama-server's name)")
ENCODING = word("encoding_format", "how numbers are written", ("float", "base64"))
DIMENSIONS = integer(
    "dimensions", "how many numbers a vector has, where the model allows fewer", 1, MAX_DIMENSIONS
)
NORM = integer("embd_normalize", "the norm that vectors get: 2 is Euclid's, -1 none", -1, MAX_NORM)
TRUNCATE = boolean(
    "truncate", "whether a text that is too long is cut; unless asked for, it is refused"
)
SHAPE = Shape(
    "embeddings",
    (
        generation.MODEL,
        INPUT,
        CONTENT,
        ENCODING,
        DIMENSIONS,
        NORM,
        TRUNCATE,
        KEEP_ALIVE,
        Ignored("user", "clients are told apart by address and key"),
    ),
)


def parse(body: dict[str, Any]) -> EmbeddingsRequest:
    """Read a request; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=SHAPE)
    encoding = fields.take(ENCODING)
    norm = fields.take(NORM)
    field = CONTENT if CONTENT.name in fields and INPUT.name not in fields else INPUT
    return EmbeddingsRequest(
        model=fields.take(generation.MODEL),
        embed=Embed(
            id=0,
            inputs=read_inputs(fields.take(field), field.name),
            dimensions=fields.take(DIMENSIONS),
            norm=2 if norm is None else norm,
            truncate=fields.take(TRUNCATE) or False,
            param=field.name,
        ),
        is_base64=encoding == "base64",
        keep_alive_s=fields.take(KEEP_ALIVE),
        ignored=tuple(fields),
    )


def render(request: EmbeddingsRequest, pooled: Pooled) -> bytes:
    """Render the answer; base64 holds float32, little-endian, as OpenAI's does."""
    vectors: list[Any]
    if request.is_base64:
        size = 4 * pooled.width
        vectors = [
            base64.b64encode(pooled.values[begin : begin + size]).decode()
            for begin in range(0, len(pooled.values), size)
        ]
    else:
        vectors = [*pooling.rows(pooled)]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(vectors)
            ],
            "model": request.model,
            "usage": pooling.usage(pooled),
        }
    )


def read_inputs(value: Any, name: str) -> tuple[str | tuple[int, ...], ...]:
    """Read a text, a list of tokens, or a list of either."""
    if isinstance(value, str):
        return (_parse_input(value, name),)
    expected = f"a string, tokens, or an array of at most {MAX_INPUTS} of them"
    if not isinstance(value, list) or not value:
        refuse(name, expected, value)
    if isinstance(value[0], int):
        return (_parse_input(value, name),)
    if len(value) > MAX_INPUTS:
        refuse(name, expected, value)
    return tuple(_parse_input(item, f"{name}[{index}]") for index, item in enumerate(value))


def _parse_input(value: Any, param: str) -> str | tuple[int, ...]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value:
        return tuple(
            as_integer(token, f"{param}[{index}]", 0, MAX_TOKEN)
            for index, token in enumerate(value)
        )
    refuse(param, "a string or tokens, not empty", value)
