"""The body of a request for a response to one frozen value. Pure.

What came before is not in the body: :meth:`ResponseRequest.chat` takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from runner.api.asking import ChatRequest
from runner.api.fields import Fields, refuse
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.openai import adapters, generation, media, sampling, structure, translated
from runner.api.openai import parse as chat
from runner.api.openai import tools as chat_tools
from runner.api.responses import conversation, items, shape, tools
from runner.api.responses.items import Item
from runner.api.responses.transcript import Telling
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRequest:
    """One request, valid but for what came before it and what only the loaded model can tell."""

    asked: ChatRequest  # without messages
    instructions: str | None
    items: tuple[Item, ...]
    previous: str | None  # id of the response that it goes on from
    store: bool
    telling: Telling
    echo: dict[str, Any]  # what the response says of its request

    def chat(self, before: Iterable[Item]) -> ChatRequest:
        """Return what is asked after the items of earlier responses.

        Raises INVALID_REQUEST where that is nothing, MODEL_NOT_SUPPORTED for what is not text.
        """
        said = conversation.messages(self.instructions, before, self.items)
        if not any(message["role"] in ("user", "tool", "assistant") for message in said):
            refuse("input", "a message, or what a tool answered", list(self.items))
        checked = translated.read(said, conversation.naming(said), {})
        written = msgspec.json.encode(checked).decode()
        prompt = msgspec.structs.replace(self.asked.prompt, messages_json=written)
        return replace(self.asked, prompt=prompt, remote=media.remote_files(checked))


def parse(body: dict[str, Any]) -> ResponseRequest:
    """Read a request; raise INVALID_REQUEST or MODEL_NOT_SUPPORTED naming the field at fault."""
    fields = Fields(body, shape=shape.SHAPE)
    ignored: dict[str, None] = {}
    previous, store = fields.take(shape.PREVIOUS), fields.take(shape.STORE) is not False
    include = fields.take(shape.INCLUDE) or frozenset()
    metadata = fields.take(shape.METADATA) or {}
    asked = tools.parse(fields, ignored)
    effort, has_summary = _parse_reasoning(fields, ignored)
    _parse_nothing(fields, ignored)
    return ResponseRequest(
        instructions=fields.take(shape.INSTRUCTIONS),
        items=_parse_items(fields, previous, ignored),
        previous=previous,
        store=store,
        telling=Telling(
            tools=asked.known, has_summary=has_summary, is_sealed=shape.SEALED_THOUGHTS in include
        ),
        asked=ChatRequest(
            model=fields.take(generation.MODEL),
            prompt=_parse_prompt(fields, asked.chat, effort),
            sampling=_parse_sampling(fields, include, ignored),
            max_tokens=fields.take(shape.MAX_TOKENS),
            stop=fields.take(generation.STOP) or (),
            choices=1,
            stream=fields.take(generation.STREAM) or False,
            include_usage=True,
            cache_prompt=fields.take(generation.CACHE_PROMPT) is not False,
            adapters=fields.take(adapters.LORA),
            keep_alive_s=fields.take(KEEP_ALIVE),
            ignored=(*ignored, *fields),  # evaluated after all others: what nobody took
        ),
        echo=_echo(body, store=store, metadata=metadata),  # and this when all of it is right
    )


def _parse_prompt(fields: Fields, asked: chat_tools.Tools, effort: str | None) -> ChatPrompt:
    """Read all of the prompt but its messages."""
    arguments = chat.parse_template_arguments(fields)
    return ChatPrompt(
        messages_json="",
        tools_json=asked.tools_json,
        tool_choice=asked.choice,
        tool_name=asked.name,
        allowed_tools=asked.allowed,
        parallel_tool_calls=asked.parallel,
        reasoning_budget=chat.parse_budget(fields),
        reasoning_budget_message=fields.take(chat.BUDGET_MESSAGE) or "",
        enable_thinking=chat.parse_thinking(effort, arguments),
        template_kwargs_json=json.dumps(arguments, ensure_ascii=False, separators=(",", ":")),
    )


def _parse_items(
    fields: Fields, previous: str | None, ignored: dict[str, None]
) -> tuple[Item, ...]:
    value = fields.take(shape.INPUT)
    if value is None and previous is None:
        raise RunnerError(Kind.INVALID_REQUEST, "input is required", param="input")
    return items.parse([] if value is None else value, ignored)


def _parse_reasoning(fields: Fields, ignored: dict[str, None]) -> tuple[str | None, bool]:
    """Return the effort, and whether thoughts are told as a summary."""
    options = fields.take(shape.REASONING)
    if options is None:
        return None, False
    effort = options.take(shape.EFFORT)
    summaries = [options.take(shape.SUMMARY), options.take(shape.GENERATE_SUMMARY)]
    ignored.update(dict.fromkeys(f"reasoning.{name}" for name in options))
    return effort, any(summaries)


def _parse_nothing(fields: Fields, ignored: dict[str, None]) -> None:
    """Take what is only checked."""
    fields.take(shape.TRUNCATION)
    fields.take(shape.BACKGROUND)
    options = fields.take(shape.STREAM_OPTIONS)
    ignored.update(dict.fromkeys(f"stream_options.{name}" for name in options or ()))


def _parse_sampling(fields: Fields, include: frozenset[str], ignored: dict[str, None]) -> Sampling:
    top_logprobs = fields.take(shape.TOP_LOGPROBS)
    if top_logprobs is None and shape.LOGPROBS in include:
        top_logprobs = 0
    json_schema = _parse_format(fields, ignored)
    return sampling.parse(fields, json_schema=json_schema, top_logprobs=top_logprobs)


def _parse_format(fields: Fields, ignored: dict[str, None]) -> str | None:
    options = fields.take(shape.TEXT)
    if options is None:
        return None
    form = options.take(shape.FORMAT)
    ignored.update(dict.fromkeys(f"text.{name}" for name in options))
    if form is None:
        return None
    kind, is_strict = form.take(shape.FORMAT_KIND), form.take(structure.STRICT) or False
    schema = form.take(structure.SCHEMA)
    form.take(structure.LABEL)
    ignored.update(dict.fromkeys(form.param(name) for name in form))
    if kind == "text":
        return None
    if schema is None and kind == "json_schema":
        refuse(form.param("schema"), "a JSON schema (an object)", None)
    return structure.write(
        structure.ANY_OBJECT if schema is None else schema,
        form.param("schema"),
        is_strict=is_strict,
        ignored=ignored,
    )


def _echo(body: dict[str, Any], *, store: bool, metadata: dict[str, str]) -> dict[str, Any]:
    """Return what a response says of its request, as it was sent or as it is understood."""

    def sent(name: str, absent: Any = None) -> Any:
        value = body.get(name)
        return absent if value is None else value

    reasoning = sent("reasoning", {})
    return {
        "model": body["model"],
        "previous_response_id": sent("previous_response_id"),
        "instructions": sent("instructions"),
        "tools": sent("tools", []),
        "tool_choice": sent("tool_choice", "auto"),
        "parallel_tool_calls": sent("parallel_tool_calls", True),
        "text": {"format": {"type": "text"}} | sent("text", {}),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "max_output_tokens": sent("max_output_tokens"),
        "temperature": sent("temperature"),
        "top_p": sent("top_p"),
        "top_logprobs": sent("top_logprobs", 0),
        "truncation": "disabled",
        "background": False,
        "store": store,
        "metadata": metadata,
    }
