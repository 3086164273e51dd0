"""The body of a chat request to one frozen value. Pure.

What the engine gets is rebuilt from validated fields. Fields that nobody here understands are
accepted, as OpenAI's clients need, and reported in ``X-Ignored-Fields``; fields that reach into the
engine's inside are refused by name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.openai import generation, messages, sampling, structure
from runner.api.openai.fields import Fields, as_boolean, as_text, refuse
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt, Sampling, Submit

MAX_TEMPLATE_ARGUMENTS = 32
MAX_TEMPLATE_CHARACTERS = 4096

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One chat request, valid but for what only the loaded model can tell."""

    model: str
    prompt: ChatPrompt
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    choices: int
    stream: bool
    include_usage: bool
    cache_prompt: bool
    ignored: tuple[str, ...]  # names of fields that had no effect

    def submit(self, choice: int, *, client: str) -> Submit:
        """Return what the engine is asked for one choice; seeds of choices follow one another."""
        sampled = self.sampling
        if choice and sampled.seed is not None:
            seed = (sampled.seed + choice) % sampling.MAX_SEED
            sampled = msgspec.structs.replace(sampled, seed=seed)
        return Submit(
            id=0,
            prompt=self.prompt,
            sampling=sampled,
            max_tokens=self.max_tokens,
            stop=self.stop,
            cache_prompt=self.cache_prompt,
            client=client,
        )


def parse(body: dict[str, Any]) -> ChatRequest:
    """Read a request; raise INVALID_REQUEST or MODEL_NOT_SUPPORTED naming the field at fault."""
    fields = Fields(body)
    ignored: dict[str, None] = {}
    model = generation.parse_model(fields)
    generation.refuse_private(fields)
    _refuse_tools(fields, ignored)
    conversation = messages.parse(fields, ignored)
    stream = fields.boolean("stream") or False
    return ChatRequest(
        model=model,
        prompt=_parse_prompt(fields, conversation),
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


def _refuse_tools(fields: Fields, ignored: dict[str, None]) -> None:
    """Tools come in a later version; ``tool_choice: "none"`` asks for none of them."""
    chosen = {name: fields.take(name) for name in ("tool_choice", "function_call")}
    for name, choice in chosen.items():
        if choice not in (None, "none", "auto"):
            _refuse_tool(name)
    for name, choice in (("tools", "tool_choice"), ("functions", "function_call")):
        if fields.array(name):
            if chosen[choice] != "none":
                _refuse_tool(name)
            ignored[name] = None


def _refuse_tool(param: str) -> None:
    raise RunnerError(
        Kind.INVALID_REQUEST,
        f"tools are not supported yet: {param}",
        hint='leave it out, or send "tool_choice": "none"',
        param=param,
    )


# ---- prompt ----------------------------------------------------------------------------------


def _parse_prompt(fields: Fields, conversation: list[messages.Message]) -> ChatPrompt:
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
    return ChatPrompt(
        messages_json=msgspec.json.encode(conversation).decode(),
        template_kwargs_json=_parse_template_arguments(fields),
        add_generation_prompt=not continues and generation_prompt is not False,
        continue_final_message=continues,
    )


def _parse_continue(fields: Fields) -> bool | None:
    value = fields.take("continue_final_message")
    if value is None or isinstance(value, bool):
        return value
    if value not in ("auto", "content"):
        refuse("continue_final_message", 'true, false, "auto" or "content"', value)
    return True


def _parse_template_arguments(fields: Fields) -> str:
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
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
