"""Bodies of Ollama's routes for text to frozen values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Refused,
    Shape,
    array,
    boolean,
    integer,
    refuse,
    text,
)
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.ollama import conversation, options
from runner.api.ollama.names import MODEL, NAME, take_model
from runner.api.ollama.options import OPTIONS, Options
from runner.api.openai import structure, tools
from runner.api.openai.sampling import MAX_TOP_LOGPROBS
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt, InfillPrompt, Sampling, Submit, TextPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """One request for text, valid but for what only the loaded model can tell."""

    model: str
    prompt: ChatPrompt | TextPrompt | InfillPrompt
    options: Options
    keep_alive_s: float | None  # None: as the server was told
    stream: bool
    ignored: tuple[str, ...]  # names of fields that had no effect

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        return self.options.sampling

    def submits(self, *, client: str) -> list[Submit]:
        """Return what the engine is asked."""
        return [
            Submit(
                id=0,
                prompt=self.prompt,
                sampling=self.options.sampling,
                max_tokens=self.options.max_tokens,
                stop=self.options.stop,
                client=client,
            )
        ]


@dataclass(frozen=True, slots=True)
class Keeping:
    """A request that says nothing: the model is to be loaded, or with 0 seconds unloaded."""

    model: str
    keep_alive_s: float | None
    ignored: tuple[str, ...]  # names of fields, which have no effect


def take_keeping(fields: Fields, model: str) -> Keeping:
    """Read a request that says nothing; whatever it has beside that is of no use."""
    keep_alive_s = fields.take(KEEP_ALIVE)
    return Keeping(model, keep_alive_s, tuple(fields))


# ---- fields of both --------------------------------------------------------------------------


def _read_format(value: Any, param: str) -> dict[str, Any] | None:
    """Return a JSON schema; None: any text."""
    match value:
        case "":
            return None
        case "json":
            return structure.ANY_OBJECT
        case dict():
            return value
    refuse(param, '"json" or a JSON schema', value)


_FORMAT = Field(
    "format",
    'what structure the answer has: "json" for any object, or a JSON schema',
    {"type": ["string", "object"]},
    _read_format,
)
_STREAM = boolean("stream", "whether the answer is sent as it comes; it is unless told not to")
_LOGPROBS = boolean("logprobs", "whether the probabilities of tokens are told")
_TOP_LOGPROBS = integer(
    "top_logprobs", "how many other tokens logprobs tells as well", 0, MAX_TOP_LOGPROBS
)
_COMMON: tuple[Field[Any] | Ignored | Refused, ...] = (
    MODEL,
    NAME,
    _STREAM,
    _FORMAT,
    KEEP_ALIVE,
    OPTIONS,
    conversation.THINK,
    _LOGPROBS,
    _TOP_LOGPROBS,
    Ignored("truncate", "a prompt that does not fit is refused with both numbers"),
    Ignored("shift", "an answer ends where the context does, with done_reason length"),
    Refused("_debug_render_only", "is not taken", hint="POST /apply-template shows the prompt"),
)


def _finish(
    fields: Fields,
    model: str,
    prompt: ChatPrompt | TextPrompt | InfillPrompt,
    ignored: dict[str, None],
) -> TextRequest:
    """Read what both routes have but their prompt."""
    asked = options.parse(fields, ignored)
    schema = fields.take(_FORMAT)
    shown = None
    if schema is not None:
        shown = structure.write(schema, "format", is_strict=False, ignored=ignored)
    sampling = msgspec.structs.replace(
        asked.sampling, json_schema=shown, top_logprobs=_take_logprobs(fields, ignored)
    )
    stream = fields.take(_STREAM)
    return TextRequest(
        model=model,
        prompt=prompt,
        options=Options(sampling, asked.max_tokens, asked.stop),
        keep_alive_s=fields.take(KEEP_ALIVE),
        stream=stream is not False,
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


def _take_logprobs(fields: Fields, ignored: dict[str, None]) -> int | None:
    """Take both fields; as in Ollama, the second counts only beside the first."""
    is_wanted, top = fields.take(_LOGPROBS), fields.take(_TOP_LOGPROBS)
    if is_wanted:
        return top or 0
    if top is not None:
        ignored["top_logprobs"] = None
    return None


# ---- chat ------------------------------------------------------------------------------------

CHAT = Shape("Ollama chat request", (*_COMMON, conversation.MESSAGES, tools.TOOLS))


def parse_chat(body: dict[str, Any]) -> TextRequest | Keeping:
    """Read a body of ``/api/chat``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=CHAT)
    ignored: dict[str, None] = {}
    model = take_model(fields)
    messages = fields.take(conversation.MESSAGES) or []
    if not messages:
        fields.take(_STREAM)  # one line is told either way
        return take_keeping(fields, model)
    said = conversation.parse(messages, ignored)
    asked = tools.parse(Fields({"tools": fields.take(tools.TOOLS)}), ignored)
    think = fields.take(conversation.THINK)
    return _finish(fields, model, conversation.chat_prompt(said, asked, think), ignored)


# ---- generate --------------------------------------------------------------------------------

_PROMPT = text("prompt", "what is asked; nothing at all loads the model, or unloads it")
_SUFFIX = text("suffix", "what comes after the answer: a model for that fills the gap")
_SYSTEM = text("system", "what is said to the model before the prompt")
_RAW = boolean("raw", "whether the prompt goes to the model as it is, without its template")
_TEMPLATE = text(
    "template", "only empty: Ollama's own templates are not understood", max_characters=1 << 20
)
_CONTEXT = array("context", "only empty: /api/chat takes the whole conversation")

GENERATE = Shape(
    "Ollama generate request",
    (
        *_COMMON,
        _PROMPT,
        _SUFFIX,
        _SYSTEM,
        _RAW,
        _TEMPLATE,
        _CONTEXT,
        conversation.IMAGES,
        *(Refused(name, "is for models that draw") for name in ("width", "height", "steps")),
    ),
)


def parse_generate(body: dict[str, Any]) -> TextRequest | Keeping:
    """Read a body of ``/api/generate``; raise INVALID_REQUEST naming the field at fault."""
    fields = Fields(body, shape=GENERATE)
    ignored: dict[str, None] = {}
    model = take_model(fields)
    _refuse_old(fields)
    prompt = fields.take(_PROMPT) or ""
    images = fields.take(conversation.IMAGES) or []
    if not prompt and not images:
        fields.take(_STREAM)  # one line is told either way
        return take_keeping(fields, model)
    return _finish(fields, model, _take_prompt(fields, prompt, images, ignored), ignored)


def _take_prompt(
    fields: Fields, prompt: str, images: list[Any], ignored: dict[str, None]
) -> ChatPrompt | TextPrompt | InfillPrompt:
    suffix, system = fields.take(_SUFFIX), fields.take(_SYSTEM)
    is_raw = fields.take(_RAW) or False
    if not is_raw and not suffix:
        think = fields.take(conversation.THINK)
        said = conversation.ask(prompt, images, system or None, ignored)
        return conversation.chat_prompt(said, tools.Tools(), think)
    for name, is_given in (("system", bool(system)), ("images", bool(images))):
        if is_given:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{name} goes through the model's template, which "
                f"{'raw' if is_raw else 'suffix'} leaves out",
                param=name,
            )
    return InfillPrompt(prefix=prompt, suffix=suffix) if suffix else TextPrompt(text=prompt)


def _refuse_old(fields: Fields) -> None:
    """Refuse what clients send empty, as a habit, and what would change the answer otherwise."""
    if fields.take(_TEMPLATE):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "template: Ollama's own templates are not understood",
            hint="leave it out to use the model's template, or send the whole prompt with raw",
            param="template",
        )
    if fields.take(_CONTEXT):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "context: tokens of an earlier answer are not taken",
            hint="send the conversation to /api/chat: what was computed of it is kept",
            param="context",
        )
