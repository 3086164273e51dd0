"""The tools a model may call, and whether it must: ``tools``, ``tool_choice``. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from runner.api.fields import (
    Field,
    Fields,
    Required,
    Shape,
    anything,
    array,
    as_object,
    boolean,
    members,
    nested,
    refuse,
    required,
    text,
    word,
)
from runner.api.openai import custom
from runner.api.openai import schema as schemas
from runner.errors import Kind, RunnerError

MAX_TOOLS = 128
MAX_CHARACTERS = 128 * 1024  # of all tools, as the engine takes them
_NAME = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

Tool = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a request says about tools, in the words of ``wire.ChatPrompt``."""

    tools_json: str | None = None
    choice: Literal["auto", "none", "required"] = "auto"
    name: str | None = None
    parallel: bool | None = None
    allowed: tuple[str, ...] = ()
    custom: frozenset[str] = frozenset()  # functions that the client knows as custom tools


Type = Literal["function", "custom"]
TYPE: Required[Type] = required(word("type", "what it is", get_args(Type)))
NAME = text("name", "what the model calls it by")
DESCRIPTION = text("description", "what it does; the model reads this")
STRICT = boolean("strict", "whether a schema that cannot be enforced whole is refused")
PARAMETERS = members("parameters", "the JSON schema of its arguments, which are an object")
FUNCTION = required(
    nested("function", "the function", Shape("function", (NAME, DESCRIPTION, PARAMETERS, STRICT)))
)
TOOL = Shape("tool", (TYPE, FUNCTION))
CUSTOM = required(nested("custom", "the tool", Shape("custom", (NAME, DESCRIPTION, custom.FORMAT))))
CUSTOM_TOOL = Shape("custom tool", (TYPE, CUSTOM))
TOOLS = array(
    "tools",
    "what the model may call",
    {"items": {"anyOf": [TOOL, CUSTOM_TOOL]}, "maxItems": MAX_TOOLS},
)
ALLOWED_NAME = required(NAME)
_NAMED = Shape("named", (ALLOWED_NAME,))
ALLOWED_FUNCTION = required(nested("function", "the function", _NAMED))
ALLOWED_TOOL = Shape("allowed tool", (TYPE, ALLOWED_FUNCTION))
ALLOWED_CUSTOM = required(nested("custom", "the custom tool", _NAMED))
ALLOWED_CUSTOM_TOOL = Shape("allowed custom tool", (TYPE, ALLOWED_CUSTOM))
Mode = Literal["auto", "required"]
MODE: Required[Mode] = required(word("mode", "whether one must be called", get_args(Mode)))
_ALLOWED_ITEMS = {"items": {"anyOf": [ALLOWED_TOOL, ALLOWED_CUSTOM_TOOL]}}
ALLOWED_TOOLS = required(array("tools", "those that may be called", _ALLOWED_ITEMS))
ALLOWED = Shape("allowed tools", (MODE, ALLOWED_TOOLS))
TOOL_CHOICE = anything(
    "tool_choice",
    'whether it must: "auto", "none", "required", the tool that it must call, or those that it '
    "may call",
    {"type": ["string", "object"]},
)
PARALLEL = boolean("parallel_tool_calls", "whether one answer may hold several calls")
FUNCTIONS = array("functions", 'the old form of tools: only with function_call "none"')
FUNCTION_CALL = anything(
    "function_call", 'the old form of tool_choice: "auto" or "none"', {"type": ["string", "object"]}
)
FIELDS: tuple[Field[Any], ...] = (TOOLS, TOOL_CHOICE, PARALLEL, FUNCTIONS, FUNCTION_CALL)


def parse(fields: Fields, ignored: dict[str, None]) -> Tools:
    """Take all of a request's fields about tools."""
    _refuse_functions(fields, ignored)
    kinds: dict[str, Type] = {}
    tools: list[Tool] = []
    for index, value in enumerate(fields.take(TOOLS) or []):
        kind, described = _parse_tool(value, f"tools[{index}]", ignored)
        name = described["name"]
        if name in kinds:
            refuse(f"tools[{index}].{kind}.name", "a name that no other tool has", name)
        kinds[name] = kind
        tools.append({"type": "function", "function": described})
    if len(tools) > MAX_TOOLS:
        refuse("tools", f"at most {MAX_TOOLS} tools", tools)
    choice = _parse_choice(fields.take(TOOL_CHOICE), kinds)
    parallel = fields.take(PARALLEL)
    if not tools:
        return Tools()
    texts = frozenset(name for name, kind in kinds.items() if kind == "custom")
    return replace(choice, tools_json=write(tools), parallel=parallel, custom=texts)


def write(tools: list[Tool]) -> str:
    """Write functions as the engine takes them; raise INVALID_REQUEST for too much."""
    written = json.dumps(tools, ensure_ascii=False, separators=(",", ":"))
    if len(written) > MAX_CHARACTERS:
        refuse("tools", f"at most {MAX_CHARACTERS} characters of JSON", written)
    return written


def _refuse_functions(fields: Fields, ignored: dict[str, None]) -> None:
    """``functions`` were what tools are now, with answers of another shape."""
    choice = fields.take(FUNCTION_CALL)
    functions = fields.take(FUNCTIONS)
    asks = choice not in (None, "none", "auto")
    if asks or (functions and choice != "none"):
        param = "function_call" if asks else "functions"
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{param} is the old form of tools and is not supported",
            hint="send tools and tool_choice",
            param=param,
        )
    if functions:
        ignored["functions"] = None


def _parse_tool(value: Any, param: str, ignored: dict[str, None]) -> tuple[Type, Tool]:
    """Read what a tool is, and what the model is told of it as a function."""
    is_custom = as_object(value, param).get("type") == "custom"
    fields = (CUSTOM_TOOL if is_custom else TOOL).open(value, param)
    kind = fields.take(TYPE)
    told = fields.take(CUSTOM if is_custom else FUNCTION)
    described: Tool = {"name": check_name(told.take(NAME), told.param(NAME.name))}
    if (description := told.take(DESCRIPTION)) is not None:
        described["description"] = description
    if is_custom:
        described |= custom.describe(description, told.take(custom.FORMAT))
        described["parameters"] = custom.PARAMETERS
    else:
        described["parameters"] = _read_parameters(told, ignored)
    ignored.update(dict.fromkeys(f"tools[].{name}" for name in fields))
    ignored.update(dict.fromkeys(f"tools[].{kind}.{name}" for name in told))
    return kind, described


def _read_parameters(function: Fields, ignored: dict[str, None]) -> dict[str, Any]:
    is_strict = function.take(STRICT) or False
    given, param = function.take(PARAMETERS), function.param(PARAMETERS.name)
    return parse_parameters(given, param, is_strict=is_strict, ignored=ignored)


def check_name(name: str | None, param: str) -> str:
    """Return the name of a function, if a model can call it by that."""
    if name is None or not _NAME.fullmatch(name):
        refuse(param, "1 to 64 letters, digits, or any of _ - . :", name)
    return name


def parse_parameters(
    parameters: dict[str, Any] | None, param: str, *, is_strict: bool, ignored: dict[str, None]
) -> dict[str, Any]:
    """Check a function's schema: its arguments are one object, whatever it leaves out."""
    if not parameters:
        return {"type": "object", "properties": {}}
    if parameters.get("type", "object") != "object":
        refuse(f"{param}.type", '"object"', parameters["type"])
    # Beside properties these would rule alone, and take arguments that are no object.
    beside = [name for name in ("$ref", "oneOf", "anyOf") if "properties" in parameters]
    dropped = [name for name in beside if name in parameters]
    parameters = {name: said for name, said in parameters.items() if name not in dropped}
    unenforced = [f"/{name}" for name in dropped] + schemas.check(parameters, param=param)
    if unenforced and is_strict:
        raise schemas.unenforceable(unenforced, param)
    ignored.update(dict.fromkeys(f"{param}#{pointer}" for pointer in unenforced))
    return {"type": "object", **schemas.written(parameters)}


def _parse_choice(value: Any, kinds: Mapping[str, Type]) -> Tools:
    """Return what is said of calls: all of ``Tools`` but the tools."""
    match value:
        case None | "auto":
            return Tools()
        case "none":
            return Tools(choice="none")
        case "required":
            if not kinds:
                refuse("tool_choice", '"auto" or "none", as there are no tools', value)
            return Tools(choice="required")
        case {"type": "function" | "custom" as kind} if isinstance(value.get(kind), dict):
            return Tools(choice="required", name=_read_name(value, "tool_choice", kinds))
        case {"type": "allowed_tools"}:
            return _parse_allowed(value.get("allowed_tools"), kinds)
    refuse(
        "tool_choice",
        '"auto", "none", "required", {"type": "function", "function": {"name": ...}}, '
        '{"type": "custom", "custom": {"name": ...}} '
        'or {"type": "allowed_tools", "allowed_tools": {"mode": ..., "tools": [...]}}',
        value,
    )


def _parse_allowed(value: Any, kinds: Mapping[str, Type]) -> Tools:
    """Read which of the tools may be called. The model is told of all, or no prefix would last."""
    param = "tool_choice.allowed_tools"
    fields = ALLOWED.open(value, param)
    mode = fields.take(MODE)
    items = fields.take(ALLOWED_TOOLS)
    if not 1 <= len(items) <= MAX_TOOLS:
        refuse(f"{param}.tools", f"1 to {MAX_TOOLS} tools", items)
    names = [_read_name(item, f"{param}.tools[{at}]", kinds) for at, item in enumerate(items)]
    return Tools(choice=mode, allowed=tuple(dict.fromkeys(names)))


def _read_name(value: Any, param: str, kinds: Mapping[str, Type]) -> str:
    """Return the name of the tool that a choice is about."""
    is_custom = as_object(value, param).get("type") == "custom"
    fields = (ALLOWED_CUSTOM_TOOL if is_custom else ALLOWED_TOOL).open(value, param)
    kind = fields.take(TYPE)
    named = fields.take(ALLOWED_CUSTOM if is_custom else ALLOWED_FUNCTION)
    name = named.take(ALLOWED_NAME)
    if kinds.get(name) != kind:
        refuse(named.param(ALLOWED_NAME.name), "the name of one of the tools", name)
    return name
