"""The body of a chat request to one frozen value. Pure.

What the engine gets is rebuilt from validated fields. Fields that nobody here understands are
accepted, as OpenAI's clients need, and reported in ``X-Ignored-Fields``; fields that reach into the
engine's inside are refused by name.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

from runner.api.asking import ChatRequest
from runner.api.fields import Fields, as_boolean, as_text, refuse
from runner.api.openai import generation, messages, sampling, structure, tools
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt

MAX_TEMPLATE_ARGUMENTS = 32
MAX_TEMPLATE_CHARACTERS = 4096

REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")

# Names the template gets from us.
RESERVED_ARGUMENTS = frozenset(
    {
        "add_generation_prompt",
        "bos_token",
        "continue_final_message",
        "documents",
        "eos_token",
        "messages",
        "raise_exception",
        "strftime_now",
        "tools",
        "tool_choice",
    }
)


def parse(body: dict[str, Any]) -> ChatRequest:
    """Read a request; raise INVALID_REQUEST or MODEL_NOT_SUPPORTED naming the field at fault."""
    fields = Fields(body)
    ignored: dict[str, None] = {}
    model = generation.parse_model(fields)
    generation.refuse_private(fields)
    asked_tools = tools.parse(fields, ignored)
    conversation = messages.parse(fields, ignored)
    stream = fields.boolean("stream") or False
    return ChatRequest(
        model=model,
        prompt=_parse_prompt(fields, conversation, asked_tools),
        sampling=sampling.parse(fields, json_schema=structure.parse(fields, ignored)),
        max_tokens=generation.parse_max_tokens(fields),
        stop=generation.parse_stop(fields),
        choices=generation.parse_choices(fields),
        stream=stream,
        include_usage=generation.parse_stream_options(fields, ignored) and stream,
        cache_prompt=fields.boolean("cache_prompt") is not False,
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


def parse_model_name(body: dict[str, Any]) -> str:
    """Read the model's name alone out of a request."""
    return generation.parse_model(Fields(body))


# ---- prompt ----------------------------------------------------------------------------------


def _parse_prompt(
    fields: Fields, conversation: list[messages.Message], asked: tools.Tools
) -> ChatPrompt:
    """Decide, as llama-server does, whether the last message is answered or continued."""
    is_prefill = conversation[-1]["role"] == "assistant"
    wanted = _parse_continue(fields)
    generation_prompt = fields.boolean("add_generation_prompt")
    if wanted and generation_prompt:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "continue_final_message and add_generation_prompt cannot both be true",
            param="continue_final_message",
        )
    if wanted and not is_prefill:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "continue_final_message needs a last message of the assistant",
            param="continue_final_message",
        )
    continues = is_prefill and wanted is not False
    if continues and "tool_calls" in conversation[-1]:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "a message with tool calls cannot be continued",
            param=f"messages[{len(conversation) - 1}].tool_calls",
        )
    arguments = _parse_template_arguments(fields)
    return ChatPrompt(
        messages_json=msgspec.json.encode(conversation).decode(),
        add_generation_prompt=not continues and generation_prompt is not False,
        continue_final_message=continues,
        tools_json=asked.tools_json,
        tool_choice=asked.choice,
        tool_name=asked.name,
        parallel_tool_calls=asked.parallel,
        reasoning_format=_parse_reasoning_format(fields),
        enable_thinking=_parse_thinking(fields, arguments),
        template_kwargs_json=json.dumps(arguments, ensure_ascii=False, separators=(",", ":")),
    )


def _parse_continue(fields: Fields) -> bool | None:
    value = fields.take("continue_final_message")
    if value is None or isinstance(value, bool):
        return value
    if value not in ("auto", "content"):
        refuse("continue_final_message", 'true, false, "auto" or "content"', value)
    return True


def _parse_reasoning_format(
    fields: Fields,
) -> Literal["none", "auto", "deepseek", "deepseek-legacy"]:
    match fields.take("reasoning_format"):
        case None:
            return "auto"
        case "none":
            return "none"
        case "auto":
            return "auto"
        case "deepseek":
            return "deepseek"
        case "deepseek-legacy":
            return "deepseek-legacy"
        case value:
            refuse("reasoning_format", '"none", "auto", "deepseek" or "deepseek-legacy"', value)


def _parse_thinking(fields: Fields, arguments: dict[str, Any]) -> bool | None:
    """Read whether to think; an effort goes to the template too, which may know degrees."""
    effort = fields.take("reasoning_effort")
    if effort is not None:
        if effort not in REASONING_EFFORTS:
            refuse("reasoning_effort", "one of " + ", ".join(REASONING_EFFORTS), effort)
        arguments.setdefault("reasoning_effort", effort)
    asked: bool | None = arguments.get("enable_thinking")
    return False if asked is None and effort == "none" else asked


def _parse_template_arguments(fields: Fields) -> dict[str, Any]:
    arguments = fields.object("chat_template_kwargs") or {}
    if len(arguments) > MAX_TEMPLATE_ARGUMENTS:
        refuse("chat_template_kwargs", f"at most {MAX_TEMPLATE_ARGUMENTS} members", arguments)
    for name, value in arguments.items():
        param = f"chat_template_kwargs.{name[:80]}"
        if name in RESERVED_ARGUMENTS or not name.isidentifier() or name.startswith("_"):
            raise RunnerError(
                Kind.INVALID_REQUEST, f"{param}: this name is not for clients", param=param
            )
        if isinstance(value, dict | list):
            refuse(param, "a string, a number, true, false or null", value)
        if name == "enable_thinking":
            as_boolean(value, param)
        if isinstance(value, str):
            as_text(value, param, MAX_TEMPLATE_CHARACTERS)
    return dict(arguments)
