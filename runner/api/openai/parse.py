"""The body of a chat request to one frozen value. Pure.

What the engine gets is rebuilt from validated fields. Fields that nobody here understands are
accepted, as OpenAI's clients need, and reported in ``X-Ignored-Fields``; fields that reach into the
engine's inside are refused by name.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

import msgspec

from runner.api.asking import ChatRequest
from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Refused,
    Shape,
    array,
    as_boolean,
    as_text,
    boolean,
    integer,
    members,
    refuse,
    text,
    word,
)
from runner.api.keep_alive import KEEP_ALIVE
from runner.api.openai import adapters, generation, media, messages, sampling, structure, tools
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt

MAX_TEMPLATE_ARGUMENTS = 32
MAX_TEMPLATE_CHARACTERS = 4096
MAX_BUDGET = 2**31 - 1  # tokens
MAX_BUDGET_CHARACTERS = 1024

Continuation = bool | Literal["content", "reasoning_content"]

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


def _read_continue(value: Any, param: str) -> Continuation:
    match value:
        case bool() | "content" | "reasoning_content":
            return value
        case "auto":
            return True
    refuse(param, 'true, false, "auto", "content" or "reasoning_content"', value)


# ---- fields ----------------------------------------------------------------------------------

ReasoningFormat = Literal["none", "auto", "deepseek", "deepseek-legacy"]

REASONING_FORMAT: Field[ReasoningFormat] = word(
    "reasoning_format", "where thoughts are told", get_args(ReasoningFormat)
)
REASONING_EFFORT = word(
    "reasoning_effort",
    'how much to think, for templates that know degrees; "none": not at all',
    ("none", "minimal", "low", "medium", "high", "xhigh"),
)
BUDGETS = tuple(
    integer(name, f"tokens a thought may have before it is ended; -1: any{more}", -1, MAX_BUDGET)
    for name, more in (
        ("reasoning_budget", ""),
        ("reasoning_budget_tokens", " (llama-server's name)"),
        ("thinking_budget_tokens", " (its other name)"),
    )
)
BUDGET_MESSAGE = text(
    "reasoning_budget_message",
    "the last words of a thought that is ended so",
    max_characters=MAX_BUDGET_CHARACTERS,
)
TEMPLATE_ARGUMENTS = members(
    "chat_template_kwargs",
    "arguments for the model's template, such as enable_thinking",
    {"additionalProperties": {"type": ["string", "number", "boolean"]}},
)
CONTINUE = Field(
    "continue_final_message",
    "whether a last message of the assistant is continued, and what of it",
    {"enum": [True, False, "auto", "content", "reasoning_content"]},
    _read_continue,
)
GENERATION_PROMPT = boolean(
    "add_generation_prompt", "whether the prompt ends with the beginning of an answer"
)
MODALITIES = array(
    "modalities", 'what the answer is made of: only ["text"]', {"items": {"const": "text"}}
)

SHAPE = Shape(
    "chat completion",
    (
        *generation.FIELDS,
        *generation.CHOICES,
        generation.STREAM_OPTIONS,
        KEEP_ALIVE,
        messages.MESSAGES,
        *tools.FIELDS,
        *structure.FIELDS,
        *sampling.FIELDS,
        sampling.LOGPROBS,
        sampling.TOP_LOGPROBS,
        REASONING_EFFORT,
        REASONING_FORMAT,
        *BUDGETS,
        BUDGET_MESSAGE,
        TEMPLATE_ARGUMENTS,
        CONTINUE,
        GENERATION_PROMPT,
        MODALITIES,
        Refused("audio", "asks for speech, which no model here makes"),
        Refused("web_search_options", "asks for a search of the web, which is not done"),
        Ignored("metadata", "answers are not kept"),
        Ignored("moderation", "nothing is moderated"),
        Ignored("prediction", "it only could make the answer faster"),
        Ignored("prompt_cache_key", "all prompts are cached"),
        Ignored("prompt_cache_retention", "all prompts are cached while there is room"),
        Ignored("safety_identifier", "nothing is reported about users"),
        Ignored("service_tier", "all requests are served alike"),
        Ignored("store", "answers are not kept"),
        Ignored("verbosity", "the model is not told how much to say"),
    ),
)


# ---- parsing ---------------------------------------------------------------------------------


def parse(body: dict[str, Any]) -> ChatRequest:
    """Read a request; raise INVALID_REQUEST or MODEL_NOT_SUPPORTED naming the field at fault."""
    fields = Fields(body, shape=SHAPE)
    ignored: dict[str, None] = {}
    model = fields.take(generation.MODEL)
    asked_tools = tools.parse(fields, ignored)
    conversation = messages.parse(fields, ignored)
    stream = fields.take(generation.STREAM) or False
    _check_modalities(fields)
    return ChatRequest(
        model=model,
        prompt=_parse_prompt(fields, conversation, asked_tools),
        sampling=sampling.parse(
            fields,
            json_schema=structure.parse(fields, ignored),
            top_logprobs=sampling.parse_logprobs(fields),
        ),
        max_tokens=generation.parse_max_tokens(fields),
        stop=fields.take(generation.STOP) or (),
        choices=generation.parse_choices(fields),
        stream=stream,
        include_usage=generation.parse_stream_options(fields, ignored) and stream,
        cache_prompt=fields.take(generation.CACHE_PROMPT) is not False,
        adapters=fields.take(adapters.LORA),
        keep_alive_s=fields.take(KEEP_ALIVE),
        custom_tools=asked_tools.custom,
        remote=media.remote_files(conversation),
        ignored=(*ignored, *fields),  # evaluated last: what nobody took
    )


def parse_model_name(body: dict[str, Any]) -> str:
    """Read the model's name alone out of a request."""
    return Fields(body).take(generation.MODEL)


def _check_modalities(fields: Fields) -> None:
    modalities = fields.take(MODALITIES)
    if modalities not in (None, ["text"]):
        refuse("modalities", '["text"]', modalities)


# ---- prompt ----------------------------------------------------------------------------------


def _parse_prompt(
    fields: Fields, conversation: list[messages.Message], asked: tools.Tools
) -> ChatPrompt:
    """Decide, as llama-server does, whether the last message is answered or continued."""
    is_prefill = conversation[-1]["role"] == "assistant"
    wanted = fields.take(CONTINUE)
    generation_prompt = fields.take(GENERATION_PROMPT)
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
    continues = _check_continued(conversation, True if wanted is None else wanted)
    arguments = parse_template_arguments(fields)
    return ChatPrompt(
        messages_json=msgspec.json.encode(conversation).decode(),
        add_generation_prompt=not continues and generation_prompt is not False,
        continue_final_message=continues,
        tools_json=asked.tools_json,
        tool_choice=asked.choice,
        tool_name=asked.name,
        allowed_tools=asked.allowed,
        parallel_tool_calls=asked.parallel,
        reasoning_format=fields.take(REASONING_FORMAT) or "auto",
        reasoning_budget=parse_budget(fields),
        reasoning_budget_message=fields.take(BUDGET_MESSAGE) or "",
        enable_thinking=parse_thinking(fields.take(REASONING_EFFORT), arguments),
        template_kwargs_json=json.dumps(arguments, ensure_ascii=False, separators=(",", ":")),
    )


def _check_continued(conversation: list[messages.Message], wanted: Continuation) -> Continuation:
    """Return what is continued of the last message; raise INVALID_REQUEST where nothing can be."""
    last, param = conversation[-1], f"messages[{len(conversation) - 1}]"
    if last["role"] != "assistant" or wanted is False:
        return False
    if "tool_calls" in last:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "a message with tool calls cannot be continued",
            param=f"{param}.tool_calls",
        )
    if wanted == "reasoning_content" and (last["content"] or "reasoning_content" not in last):
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "to continue a thought the last message must have reasoning_content and no content",
            param=f"{param}.content" if last["content"] else f"{param}.reasoning_content",
        )
    return wanted


def parse_budget(fields: Fields) -> int | None:
    """Read the names of one budget; -1 is llama-server's "as long as it takes"."""
    given = {budget.name: fields.take(budget) for budget in BUDGETS}
    budgets = {budget for budget in given.values() if budget is not None}
    if len(budgets) > 1:
        names = " and ".join(name for name, budget in given.items() if budget is not None)
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{names} name different budgets; send one",
            param=BUDGETS[0].name,
        )
    budget = next(iter(budgets), -1)
    return None if budget == -1 else budget


def parse_thinking(effort: str | None, arguments: dict[str, Any]) -> bool | None:
    """Return whether to think; an effort is an argument of the template, which may know degrees."""
    if effort is not None:
        arguments.setdefault("reasoning_effort", effort)
    asked: bool | None = arguments.get("enable_thinking")
    return False if asked is None and effort == "none" else asked


def parse_template_arguments(fields: Fields) -> dict[str, Any]:
    """Take the arguments that a client gives to the model's template."""
    arguments = fields.take(TEMPLATE_ARGUMENTS) or {}
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
