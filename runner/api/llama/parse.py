"""Bodies of llama-server's own routes to frozen values (its README). Pure.

``model`` may be absent where nothing is generated: llama-server has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.api.fields import Fields, as_integer, as_object, refuse
from runner.api.openai import generation, sampling, structure
from runner.errors import Kind, RunnerError
from runner.wire.messages import Detokenize, InfillPrompt, Sampling, Snippet, Submit, Tokenize

MAX_TOKENS = 2**20
MAX_TOKEN = 2**31 - 1
MAX_SNIPPETS = 1024
MAX_FILENAME_CHARACTERS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest:
    """Which tokens a text is."""

    model: str | None
    question: Tokenize


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeRequest:
    """Which text tokens are."""

    model: str | None
    question: Detokenize


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillRequest:
    """A gap to fill."""

    model: str
    prompt: InfillPrompt
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    stream: bool
    cache_prompt: bool
    ignored: tuple[str, ...]

    def submits(self, *, client: str) -> list[Submit]:
        """Return what the engine is asked for."""
        return [
            Submit(
                id=0,
                prompt=self.prompt,
                sampling=self.sampling,
                max_tokens=self.max_tokens,
                stop=self.stop,
                cache_prompt=self.cache_prompt,
                client=client,
            )
        ]


def parse_tokenize(body: dict[str, Any]) -> TokenizeRequest:
    """Read a body of ``/tokenize``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body)
    return TokenizeRequest(
        model=parse_model(fields),
        question=Tokenize(
            text=_required_text(fields, "content"),
            add_special=fields.boolean("add_special") or False,
            parse_special=fields.boolean("parse_special") is not False,
            with_pieces=fields.boolean("with_pieces") or False,
        ),
    )


def parse_detokenize(body: dict[str, Any]) -> DetokenizeRequest:
    """Read a body of ``/detokenize``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body)
    tokens = fields.array("tokens")
    if tokens is None:
        raise RunnerError(Kind.INVALID_REQUEST, "tokens is required", param="tokens")
    if len(tokens) > MAX_TOKENS:
        refuse("tokens", f"at most {MAX_TOKENS} tokens", tokens)
    checked = (as_integer(each, f"tokens[{i}]", 0, MAX_TOKEN) for i, each in enumerate(tokens))
    return DetokenizeRequest(model=parse_model(fields), question=Detokenize(tokens=tuple(checked)))


def parse_infill(body: dict[str, Any]) -> InfillRequest:
    """Read a body of ``/infill``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body)
    ignored: dict[str, None] = {}
    generation.refuse_private(fields)
    return InfillRequest(
        model=generation.parse_model(fields),
        prompt=InfillPrompt(
            prefix=_required_text(fields, "input_prefix"),
            suffix=_required_text(fields, "input_suffix"),
            extra=_parse_extra(fields),
            start=fields.text("prompt") or "",
        ),
        sampling=sampling.parse(fields, json_schema=structure.parse(fields, ignored)),
        max_tokens=generation.parse_max_tokens(fields),
        stop=generation.parse_stop(fields),
        stream=fields.boolean("stream") or False,
        cache_prompt=fields.boolean("cache_prompt") is not False,
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


def parse_model(fields: Fields) -> str | None:
    """Take the name of the model, if there is one."""
    return generation.parse_model(fields) if "model" in fields else None


def _required_text(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if text is None:
        raise RunnerError(Kind.INVALID_REQUEST, f"{name} is required", param=name)
    return text


def _parse_extra(fields: Fields) -> tuple[Snippet, ...]:
    snippets = fields.array("input_extra") or []
    if len(snippets) > MAX_SNIPPETS:
        refuse("input_extra", f"at most {MAX_SNIPPETS} texts", snippets)
    return tuple(_parse_snippet(each, f"input_extra[{i}]") for i, each in enumerate(snippets))


def _parse_snippet(value: Any, param: str) -> Snippet:
    fields = Fields(as_object(value, param), f"{param}.")
    text = fields.text("text")
    if text is None:
        refuse(f"{param}.text", "a string", None)
    filename = fields.text("filename", max_characters=MAX_FILENAME_CHARACTERS)
    return Snippet(filename=filename or "file", text=text)
