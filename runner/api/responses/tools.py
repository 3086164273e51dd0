"""Tools of a request as the functions that a model is told of. Pure.

A custom tool is a function of one text; a function of a namespace is known by both names. Tools
that OpenAI runs on its own machines are run by nobody here: those that Codex lists unasked are left
out and reported, and the others are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Shape,
    anything,
    array,
    as_object,
    boolean,
    members,
    refuse,
    required,
    text,
)
from runner.api.openai import custom
from runner.api.openai import tools as chat

HOSTED = ("image_generation", "tool_search", "web_search")

Function = dict[str, Any]

TYPE = text("type", "function, custom or namespace")
NAME = text("name", "what the model calls it by")
DESCRIPTION = text("description", "what it does; the model reads this")
PARAMETERS = members("parameters", "the JSON schema of its arguments, which are an object")
STRICT = boolean("strict", "whether a schema that cannot be enforced whole is refused")
NESTED = members("function", "all of it, where it is written as in chat completions")
_UNUSED = (
    Ignored("allowed_callers", "calls come from the model alone"),
    Ignored("async", "the client runs its tools as it likes"),
    Ignored("defer_loading", "the model reads all tools at once"),
)
FUNCTION_TOOL = Shape(
    "response function",
    (
        TYPE,
        NAME,
        DESCRIPTION,
        PARAMETERS,
        STRICT,
        NESTED,
        *_UNUSED,
        Ignored("output_schema", "what a tool answers is not checked"),
    ),
)
CUSTOM_TOOL = Shape("response custom tool", (TYPE, NAME, DESCRIPTION, custom.FORMAT, *_UNUSED))
INNER = required(
    array("tools", "the tools of the namespace", {"items": {"anyOf": [FUNCTION_TOOL, CUSTOM_TOOL]}})
)
NAMESPACE_TOOL = Shape(
    "response namespace",
    (TYPE, NAME, INNER, Ignored("description", "the model reads those of its tools")),
)

TOOLS = array(
    "tools",
    "what the model may call",
    {"items": {"anyOf": [FUNCTION_TOOL, CUSTOM_TOOL, NAMESPACE_TOOL]}, "maxItems": chat.MAX_TOOLS},
)
CHOICE = anything(
    "tool_choice",
    'whether it must: "auto", "none", "required", a tool that it must call, or allowed_tools',
    {"type": ["string", "object"]},
)
FIELDS: tuple[Field[Any], ...] = (TOOLS, CHOICE, chat.PARALLEL)


@dataclass(frozen=True, slots=True)
class Tool:
    """What a client calls a tool that the model knows by one name."""

    name: str
    namespace: str | None = None
    is_custom: bool = False

    @property
    def names(self) -> dict[str, str]:
        """Return the members of a call that name it."""
        return {"name": self.name} | ({"namespace": self.namespace} if self.namespace else {})

    @property
    def known(self) -> str:
        """Return the name that the model is told."""
        return known_name(self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a request says of tools: to the model, and to find the client's tool again."""

    chat: chat.Tools
    known: Mapping[str, Tool]


def known_name(name: str, namespace: str | None) -> str:
    """Return the one name of a tool, as servers of tools write it."""
    return f"{namespace}__{name}" if namespace else name


def parse(fields: Fields, ignored: dict[str, None]) -> Tools:
    """Take all of a request's fields about tools; raise INVALID_REQUEST naming the one at fault."""
    known: dict[str, Tool] = {}
    functions: dict[str, Function] = {}
    for index, value in enumerate(fields.take(TOOLS) or []):
        for param, tool, function in _read_tool(value, f"tools[{index}]", None, ignored):
            if tool.known in known:
                refuse(f"{param}.name", "a name that no other tool has", tool.known)
            known[tool.known] = tool
            functions[tool.known] = {"type": "function", "function": function}
    if len(functions) > chat.MAX_TOOLS:
        refuse("tools", f"at most {chat.MAX_TOOLS} tools", list(functions))
    choice = _read_choice(fields.take(CHOICE), known)
    parallel = fields.take(chat.PARALLEL)
    if not functions:
        return Tools(chat.Tools(), known)
    written = chat.write(list(functions.values()))
    return Tools(replace(choice, tools_json=written, parallel=parallel), known)


# ---- tools -----------------------------------------------------------------------------------

_Read = tuple[str, Tool, Function]  # the name that errors call it by, what it is, what is told


def _read_tool(
    value: Any, param: str, namespace: str | None, ignored: dict[str, None]
) -> Iterator[_Read]:
    kind = as_object(value, param).get("type")
    if kind == "function":
        yield _read_function(value, param, namespace, ignored)
    elif kind == "custom":
        yield _read_custom(value, param, namespace, ignored)
    elif kind == "namespace" and namespace is None:
        yield from _read_namespace(value, param, ignored)
    elif kind in HOSTED and namespace is None:
        ignored[f"{param}:{kind}"] = None
    else:
        refuse(f"{param}.type", "function, custom or namespace: no other tool is run here", kind)


def _read_function(
    value: Any, param: str, namespace: str | None, ignored: dict[str, None]
) -> _Read:
    fields = FUNCTION_TOOL.open(value, param)
    fields.take(TYPE)
    if (nested := fields.take(NESTED)) is not None:
        param = f"{param}.function"
        fields = FUNCTION_TOOL.open(nested, param)
    tool, function = _read_names(fields, namespace)
    function["parameters"] = chat.parse_parameters(
        fields.take(PARAMETERS),
        f"{param}.parameters",
        is_strict=fields.take(STRICT) or False,
        ignored=ignored,
    )
    ignored.update(dict.fromkeys(f"tools[].{name}" for name in fields))
    return param, tool, function


def _read_custom(value: Any, param: str, namespace: str | None, ignored: dict[str, None]) -> _Read:
    fields = CUSTOM_TOOL.open(value, param)
    fields.take(TYPE)
    tool, function = _read_names(fields, namespace, is_custom=True)
    told = custom.describe(function.get("description"), fields.take(custom.FORMAT))
    ignored.update(dict.fromkeys(f"tools[].{name}" for name in fields))
    return param, tool, {**function, **told, "parameters": custom.PARAMETERS}


def _read_namespace(value: Any, param: str, ignored: dict[str, None]) -> Iterator[_Read]:
    fields = NAMESPACE_TOOL.open(value, param)
    fields.take(TYPE)
    name = chat.check_name(fields.take(NAME), f"{param}.name")
    for index, inner in enumerate(fields.take(INNER)):
        yield from _read_tool(inner, f"{param}.tools[{index}]", name, ignored)
    ignored.update(dict.fromkeys(f"tools[].{name}" for name in fields))


def _read_names(
    fields: Fields, namespace: str | None, *, is_custom: bool = False
) -> tuple[Tool, Function]:
    tool = Tool(fields.take(NAME) or "", namespace, is_custom)
    function: Function = {"name": chat.check_name(tool.known, fields.param("name"))}
    if (description := fields.take(DESCRIPTION)) is not None:
        function["description"] = description
    return tool, function


# ---- choice ----------------------------------------------------------------------------------


def _read_choice(value: Any, known: Mapping[str, Tool]) -> chat.Tools:
    """Return what is said of calls: all of ``chat.Tools`` but the tools."""
    match value:
        case None | "auto":
            return chat.Tools()
        case "none":
            return chat.Tools(choice="none")
        case "required":
            if not known:
                refuse("tool_choice", '"auto" or "none", as there are no tools', value)
            return chat.Tools(choice="required")
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(tools)}:
            if not tools:
                refuse("tool_choice.tools", "at least one tool", tools)
            names = [
                _name_of(tool, known, f"tool_choice.tools[{index}]")
                for index, tool in enumerate(tools)
            ]
            return chat.Tools(choice=mode, allowed=tuple(dict.fromkeys(names)))
        case {"type": "function" | "custom"}:
            return chat.Tools(choice="required", name=_name_of(value, known, "tool_choice"))
    refuse(
        "tool_choice",
        '"auto", "none", "required", {"type": "function" or "custom", "name": ...} '
        'or {"type": "allowed_tools", "mode": ..., "tools": [...]}',
        value,
    )


def _name_of(value: Any, known: Mapping[str, Tool], param: str) -> str:
    """Find the tool that a choice names; chat clients write the name one level deeper."""
    match value:
        case {"type": "function", "function": {"name": str(name)}} | {"name": str(name)}:
            found = known_name(name, value.get("namespace"))
            if found in known and known[found].is_custom == (value.get("type") == "custom"):
                return found
            refuse(f"{param}.name", "the name of one of the tools", name)
    refuse(param, "a tool by its type and name", value)
