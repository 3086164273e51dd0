"""The functions a model may call, and whether it must: ``tools``, ``tool_choice``. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from runner.api.fields import (
    Field,
    Fields,
    Required,
    Shape,
    anything,
    array,
    boolean,
    members,
    nested,
    refuse,
    required,
    text,
    word,
)
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


TYPE = required(word("type", "what it is", ("function",)))
NAME = text("name", "what the model calls it by")
DESCRIPTION = text("description", "what it does; the model reads this")
STRICT = boolean("strict", "whether a schema that cannot be enforced whole is refused")
PARAMETERS = members("parameters", "the JSON schema of its arguments, which are an object")
FUNCTION = required(
    nested("function", "the function", Shape("function", (NAME, DESCRIPTION, PARAMETERS, STRICT)))
)
TOOL = Shape("tool", (TYPE, FUNCTION))
TOOLS = array("tools", "functions that the model may call", {"items": TOOL, "maxItems": MAX_TOOLS})
ALLOWED_NAME = required(NAME)
ALLOWED_FUNCTION = required(nested("function", "the function", Shape("named", (ALLOWED_NAME,))))
ALLOWED_TOOL = Shape("allowed tool", (TYPE, ALLOWED_FUNCTION))
Mode = Literal["auto", "required"]
MODE: Required[Mode] = required(word("mode", "whether one must be called", get_args(Mode)))
ALLOWED_TOOLS = required(array("tools", "those that may be called", {"items": ALLOWED_TOOL}))
ALLOWED = Shape("allowed tools", (MODE, ALLOWED_TOOLS))
TOOL_CHOICE = anything(
    "tool_choice",
    'whether it must: "auto", "none", "required", the function that it must call, or those that it '
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
    tools = [
        _parse_tool(value, f"tools[{index}]", ignored)
        for index, value in enumerate(fields.take(TOOLS) or [])
    ]
    names = [tool["function"]["name"] for tool in tools]
    _check(tools, names)
    choice = _parse_choice(fields.take(TOOL_CHOICE), names)
    parallel = fields.take(PARALLEL)
    return replace(choice, tools_json=write(tools), parallel=parallel) if tools else Tools()


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


def _check(tools: list[Tool], names: list[str]) -> None:
    if len(tools) > MAX_TOOLS:
        refuse("tools", f"at most {MAX_TOOLS} tools", tools)
    for index, name in enumerate(names):
        if name in names[:index]:
            refuse(f"tools[{index}].function.name", "a name that no other tool has", name)


def _parse_tool(value: Any, param: str, ignored: dict[str, None]) -> Tool:
    fields = TOOL.open(value, param)
    fields.take(TYPE)
    function = fields.take(FUNCTION)
    described: Tool = {"name": check_name(function.take(NAME), f"{param}.function.name")}
    if (description := function.take(DESCRIPTION)) is not None:
        described["description"] = description
    is_strict = function.take(STRICT) or False
    parameters = function.take(PARAMETERS)
    described["parameters"] = parse_parameters(
        parameters, f"{param}.function.parameters", is_strict=is_strict, ignored=ignored
    )
    ignored.update(dict.fromkeys(f"tools[].{name}" for name in fields))
    ignored.update(dict.fromkeys(f"tools[].function.{name}" for name in function))
    return {"type": "function", "function": described}


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
    return {"type": "object", **parameters}


def _parse_choice(value: Any, names: list[str]) -> Tools:
    """Return what is said of calls: all of ``Tools`` but the tools."""
    match value:
        case None | "auto":
            return Tools()
        case "none":
            return Tools(choice="none")
        case "required":
            if not names:
                refuse("tool_choice", '"auto" or "none", as there are no tools', value)
            return Tools(choice="required")
        case {"type": "function", "function": {"name": str(name)}}:
            if name not in names:
                refuse("tool_choice.function.name", "the name of one of the tools", name)
            return Tools(choice="required", name=name)
        case {"type": "allowed_tools"}:
            return _parse_allowed(value.get("allowed_tools"), names)
    refuse(
        "tool_choice",
        '"auto", "none", "required", {"type": "function", "function": {"name": ...}} '
        'or {"type": "allowed_tools", "allowed_tools": {"mode": ..., "tools": [...]}}',
        value,
    )


def _parse_allowed(value: Any, names: list[str]) -> Tools:
    """Read which of the tools may be called. The model is told of all, or no prefix would last."""
    param = "tool_choice.allowed_tools"
    fields = ALLOWED.open(value, param)
    mode = fields.take(MODE)
    items = fields.take(ALLOWED_TOOLS)
    if not 1 <= len(items) <= MAX_TOOLS:
        refuse(f"{param}.tools", f"1 to {MAX_TOOLS} tools", items)
    allowed: dict[str, None] = {}
    for index, item in enumerate(items):
        tool = ALLOWED_TOOL.open(item, f"{param}.tools[{index}]")
        tool.take(TYPE)
        name = tool.take(ALLOWED_FUNCTION).take(ALLOWED_NAME)
        if name not in names:
            refuse(f"{param}.tools[{index}].function.name", "the name of one of the tools", name)
        allowed[name] = None
    return Tools(choice=mode, allowed=tuple(allowed))
